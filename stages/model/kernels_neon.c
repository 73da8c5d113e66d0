/* 64-bit ARM. */

#include <stddef.h>
#include <stdint.h>

#if defined(__aarch64__)
#include <arm_neon.h>

#define V_WIDTH 4
#define VF float32x4_t
#define V_LOAD(p) vld1q_f32(p)
#define V_LOAD_HALF(p) vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#define V_LOAD_BF16(p) vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))
#define V_STORE(p, v) vst1q_f32((p), (v))
#define V_SET1(s) vdupq_n_f32(s)
#define V_ADD(a, b) vaddq_f32((a), (b))
#define V_MUL(a, b) vmulq_f32((a), (b))
#define V_MAX(a, b) vbslq_f32(vcgtq_f32((a), (b)), (a), (b))
#define V_FMA(a, b, c) vfmaq_f32((c), (a), (b))
#define VI int32x4_t
#define VI_SET1(s) vdupq_n_s32(s)
#define VI_LOAD(p) vld1q_s32((const int32_t *)(p))
#define VI_STORE(p, v) vst1q_s32((p), (v))
#define VI_DOT(c, a, b) \
    vaddq_s32((c), dot_pairs(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)))
#define VI_ADD(a, b) vaddq_s32((a), (b))
#define VI_AND(a, b) vandq_s32((a), (b))
#define VI_SHIFT_RIGHT(a, n) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), (n)))
#define VI_SHIFT_RIGHT_SIGNED(a, n) vshrq_n_s32((a), (n))
#define GEMM_ROWS 8
#define INT16_ROWS 8
#define KERNELS_NAME "neon"
#define KERNELS_SYMBOL kernels_neon

static inline int32x4_t dot_pairs(int16x8_t a, int16x8_t b)
{
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}

static inline void transpose_tile(const float *src, size_t ld, int rows, float *dst, size_t ldd)
{
    const float32x4_t zero = vdupq_n_f32(0.0f);
    float32x4_t r0 = vld1q_f32(src);
    float32x4_t r1 = rows > 1 ? vld1q_f32(src + ld) : zero;
    float32x4_t r2 = rows > 2 ? vld1q_f32(src + 2 * ld) : zero;
    float32x4_t r3 = rows > 3 ? vld1q_f32(src + 3 * ld) : zero;
    float32x4_t a0 = vzip1q_f32(r0, r2), a1 = vzip2q_f32(r0, r2);
    float32x4_t b0 = vzip1q_f32(r1, r3), b1 = vzip2q_f32(r1, r3);
    vst1q_f32(dst, vzip1q_f32(a0, b0));
    vst1q_f32(dst + ldd, vzip2q_f32(a0, b0));
    vst1q_f32(dst + 2 * ldd, vzip1q_f32(a1, b1));
    vst1q_f32(dst + 3 * ldd, vzip2q_f32(a1, b1));
}

#include "stages/model/kernels_body.h"
#else
typedef int kernels_neon_is_for_aarch64;
#endif
