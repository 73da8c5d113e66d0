/* Plain C: any CPU. fmaf may be a library call, so this set is slow; it is the reference. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "stages/model/fmath.h"

#define V_WIDTH 1
#define VF float
#define V_LOAD(p) (*(p))
#define V_LOAD_HALF(p) fm_of_half(*(p))
#define V_LOAD_BF16(p) fm_f32_bits((uint32_t) * (p) << 16)
#define V_STORE(p, v) (*(p) = (v))
#define V_SET1(s) (s)
#define V_ADD(a, b) ((a) + (b))
#define V_MUL(a, b) ((a) * (b))
#define V_MAX(a, b) ((a) > (b) ? (a) : (b))
#define V_FMA(a, b, c) __builtin_fmaf((a), (b), (c))
#define VI int32_t
#define VI_SET1(s) (s)
#define VI_LOAD(p) ((int32_t) * (p))
#define VI_STORE(p, v) (*(p) = (v))
#define VI_DOT(c, a, b) ((c) + dot_pair((uint32_t)(a), (uint32_t)(b)))
#define VI_ADD(a, b) ((a) + (b))
#define VI_AND(a, b) ((a) & (b))
#define VI_SHIFT_RIGHT(a, n) ((int32_t)((uint32_t)(a) >> (n)))
#define VI_SHIFT_RIGHT_SIGNED(a, n) ((a) >> (n))
#define GEMM_ROWS 4
#define INT16_ROWS 4
#define KERNELS_NAME "portable"
#define KERNELS_SYMBOL kernels_portable

static inline int32_t dot_pair(uint32_t a, uint32_t b)
{
    return (int16_t)(uint16_t)a * (int16_t)(uint16_t)b +
           (int16_t)(uint16_t)(a >> 16) * (int16_t)(uint16_t)(b >> 16);
}

static inline void transpose_tile(const float *src, size_t ld, int rows, float *dst, size_t ldd)
{
    (void)ld;
    (void)ldd;
    *dst = rows > 0 ? *src : 0.0f;
}

#include "stages/model/kernels_body.h"
