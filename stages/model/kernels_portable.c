/* Plain C: any CPU. fmaf may be a library call, so this set is slow; it is the reference. */

#include <math.h>
#include <stddef.h>

#define V_WIDTH 1
#define VF float
#define V_LOAD(p) (*(p))
#define V_STORE(p, v) (*(p) = (v))
#define V_SET1(s) (s)
#define V_ADD(a, b) ((a) + (b))
#define V_MUL(a, b) ((a) * (b))
#define V_MAX(a, b) ((a) > (b) ? (a) : (b))
#define V_FMA(a, b, c) __builtin_fmaf((a), (b), (c))
#define GEMM_ROWS 4
#define KERNELS_NAME "portable"
#define KERNELS_SYMBOL kernels_portable

static inline void transpose_tile(const float *src, size_t ld, int rows, float *dst, size_t ldd)
{
    (void)ld;
    (void)ldd;
    *dst = rows > 0 ? *src : 0.0f;
}

#include "stages/model/kernels_body.h"
