/* x86-64 with AVX2, FMA and F16C; compiled with -mavx2 -mfma -mf16c. */

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define V_WIDTH 8
#define VF __m256
#define V_LOAD(p) _mm256_loadu_ps(p)
#define V_LOAD_HALF(p) _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p)))
#define V_LOAD_BF16(p)   \
    _mm256_castsi256_ps( \
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p))), 16))
#define V_STORE(p, v) _mm256_storeu_ps((p), (v))
#define V_SET1(s) _mm256_set1_ps(s)
#define V_ADD(a, b) _mm256_add_ps((a), (b))
#define V_MUL(a, b) _mm256_mul_ps((a), (b))
#define V_MAX(a, b) _mm256_max_ps((a), (b))
#define V_FMA(a, b, c) _mm256_fmadd_ps((a), (b), (c))
#define VI __m256i
#define VI_SET1(s) _mm256_set1_epi32(s)
#define VI_LOAD(p) _mm256_loadu_si256((const void *)(p))
#define VI_STORE(p, v) _mm256_storeu_si256((void *)(p), (v))
#define VI_DOT(c, a, b) _mm256_add_epi32((c), _mm256_madd_epi16((a), (b)))
#define VI_ADD(a, b) _mm256_add_epi32((a), (b))
#define VI_AND(a, b) _mm256_and_si256((a), (b))
#define VI_SHIFT_RIGHT(a, n) _mm256_srli_epi32((a), (n))
#define VI_SHIFT_RIGHT_SIGNED(a, n) _mm256_srai_epi32((a), (n))
#define GEMM_ROWS 6
#define INT16_ROWS 4
#define KERNELS_NAME "avx2"
#define KERNELS_SYMBOL kernels_avx2

/* 8 x 8: pairs of floats, pairs of pairs, then 128-bit halves. */
static inline void transpose_tile(const float *src, size_t ld, int rows, float *dst, size_t ldd)
{
#define ROW(i) ((i) < rows ? _mm256_loadu_ps(src + (i)*ld) : _mm256_setzero_ps())
    __m256 r0 = ROW(0), r1 = ROW(1), r2 = ROW(2), r3 = ROW(3);
    __m256 r4 = ROW(4), r5 = ROW(5), r6 = ROW(6), r7 = ROW(7);
#undef ROW
#define LOW(a, b) _mm256_unpacklo_ps(a, b)
#define HIGH(a, b) _mm256_unpackhi_ps(a, b)
    __m256 a0 = LOW(r0, r1), a1 = HIGH(r0, r1), a2 = LOW(r2, r3), a3 = HIGH(r2, r3);
    __m256 a4 = LOW(r4, r5), a5 = HIGH(r4, r5), a6 = LOW(r6, r7), a7 = HIGH(r6, r7);
#undef LOW
#undef HIGH
#define EVEN(a, b) _mm256_shuffle_ps(a, b, 0x44)
#define ODD(a, b) _mm256_shuffle_ps(a, b, 0xEE)
    r0 = EVEN(a0, a2), r1 = ODD(a0, a2), r2 = EVEN(a1, a3), r3 = ODD(a1, a3);
    r4 = EVEN(a4, a6), r5 = ODD(a4, a6), r6 = EVEN(a5, a7), r7 = ODD(a5, a7);
#undef EVEN
#undef ODD
#define STORE(i, a, b, half) _mm256_storeu_ps(dst + (i)*ldd, _mm256_permute2f128_ps(a, b, half))
    STORE(0, r0, r4, 0x20);
    STORE(1, r1, r5, 0x20);
    STORE(2, r2, r6, 0x20);
    STORE(3, r3, r7, 0x20);
    STORE(4, r0, r4, 0x31);
    STORE(5, r1, r5, 0x31);
    STORE(6, r2, r6, 0x31);
    STORE(7, r3, r7, 0x31);
#undef STORE
}

#include "stages/model/kernels_body.h"
#else
typedef int kernels_avx2_is_for_x86_64;
#endif
