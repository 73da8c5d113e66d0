/*
 * The text of every kernel set. A kernels_<set>.c defines, then includes this file once:
 *   V_WIDTH      floats per vector: 1, 4, 8 or 16
 *   VF           vector of V_WIDTH floats
 *   V_LOAD_HALF(p) V_LOAD_BF16(p)  V_WIDTH finite halves, or bf16, as floats
 *   V_LOAD(p) V_STORE(p, v) V_SET1(s) V_ADD(a, b) V_MUL(a, b) V_MAX(a, b) V_FMA(a, b, c) = a b + c
 *                (V_MAX: a > b ? a : b)
 *   VI           vector of V_WIDTH int32, each also a pair of int16
 *   VI_SET1(s) VI_LOAD(p) VI_STORE(p, v) VI_DOT(c, a, b) = c + a.low b.low + a.high b.high
 *   VI_ADD(a, b) VI_AND(a, b) VI_SHIFT_RIGHT(a, n) VI_SHIFT_RIGHT_SIGNED(a, n)
 *   GEMM_ROWS    rows of the largest micro kernel: 4, 6, 8 or 14
 *   INT16_ROWS   the same for integers: 4 or 8 by pairs, 16 by the tiles of AMX
 *   transpose_tile(src, ld, rows, dst, ldd)  V_WIDTH columns of `rows` <= V_WIDTH rows of src
 * become V_WIDTH rows of dst, each stored as one whole vector (0 beyond `rows`), in order
 *   CODES_AHEAD(p)  optional: asks the memory for what follows the codes at p
 *   KERNELS_NAME, KERNELS_SYMBOL
 * Element-wise loops are plain C and vectorise at -O3; V_LOOP says that arrays are equal or apart.
 * No include guard on purpose: one set per translation unit.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "stages/model/fmath.h"
#include "stages/model/kernels.h"
#include "stages/model/quant.h"

#if defined(__clang__)
#define V_LOOP _Pragma("clang loop vectorize(assume_safety)")
#define NOT_UNROLLED _Pragma("nounroll")
#else
#define V_LOOP _Pragma("GCC ivdep")
#define NOT_UNROLLED _Pragma("GCC unroll 1")
#endif

#ifndef CODES_AHEAD /* without it one row takes 1.25 x as long (AVX2, one thread) */
#define CODES_AHEAD(p) __builtin_prefetch((const char *)(p) + 4096)
#endif

#define LANES 16
#define V_PARTS (LANES / V_WIDTH)

/* The 16 virtual lanes. */
struct lanes {
    VF part[V_PARTS];
};

static inline struct lanes lanes_set(float s)
{
    struct lanes r;
    for (int i = 0; i < V_PARTS; i++)
        r.part[i] = V_SET1(s);
    return r;
}

static inline struct lanes lanes_load(const float *p)
{
    struct lanes r;
    for (int i = 0; i < V_PARTS; i++)
        r.part[i] = V_LOAD(p + i * V_WIDTH);
    return r;
}

static inline void lanes_store(float *p, struct lanes a)
{
    for (int i = 0; i < V_PARTS; i++)
        V_STORE(p + i * V_WIDTH, a.part[i]);
}

static inline struct lanes lanes_fma(struct lanes a, struct lanes b, struct lanes c)
{
    struct lanes r;
    for (int i = 0; i < V_PARTS; i++)
        r.part[i] = V_FMA(a.part[i], b.part[i], c.part[i]);
    return r;
}

static inline struct lanes lanes_mul(struct lanes a, struct lanes b)
{
    struct lanes r;
    for (int i = 0; i < V_PARTS; i++)
        r.part[i] = V_MUL(a.part[i], b.part[i]);
    return r;
}

static inline struct lanes lanes_max(struct lanes a, struct lanes b)
{
    struct lanes r;
    for (int i = 0; i < V_PARTS; i++)
        r.part[i] = V_MAX(a.part[i], b.part[i]);
    return r;
}

/* The last n < 16 elements of a row, 0 beyond. */
static inline struct lanes lanes_load_tail(const float *p, size_t n, float fill)
{
    float t[LANES];
    for (size_t i = 0; i < LANES; i++)
        t[i] = i < n ? p[i] : fill;
    return lanes_load(t);
}

static inline float lanes_sum(struct lanes a)
{
    float t[LANES];
    lanes_store(t, a);
    for (int i = 0; i < 8; i++)
        t[i] += t[i + 8];
    for (int i = 0; i < 4; i++)
        t[i] += t[i + 4];
    return (t[0] + t[2]) + (t[1] + t[3]);
}

static inline double lanes_sum_double(const double *lane)
{
    double t[LANES];
    memcpy(t, lane, sizeof t);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            t[i] += t[i + half];
    return t[0];
}

#include "stages/model/kernels_gemm.h"
#include "stages/model/kernels_int16.h"
#include "stages/model/kernels_norm.h"
#include "stages/model/kernels_rows.h"
#include "stages/model/kernels_softmax.h"
/* what takes from these */
#include "stages/model/kernels_attention.h"

const struct kernels KERNELS_SYMBOL = {
    .name = KERNELS_NAME,
    .width = V_WIDTH,
    .rows_step = GEMM_ROWS,
    .int16_tiles = INT16_ROWS == 16,
    .gemm_tile = gemm_tile,
    .gemm_int16_tile = gemm_int16_tile,
    .pack_rows = pack_rows,
    .pack_columns = pack_columns,
    .attention_product = attention_product,
    .softmax = softmax_row,
    .softmax_backward = softmax_backward_row,
    .normalise = normalise_row,
    .rmsnorm = rmsnorm_row,
    .rmsnorm_backward = rmsnorm_backward_row,
    .rmsnorm_dw = rmsnorm_dw_cols,
    .rope = rope_row,
    .rope_backward = rope_backward_row,
    .kv_quant = kv_quant_row,
    .abs_max = abs_max_row,
    .swiglu = swiglu_row,
    .swiglu_backward = swiglu_backward_row,
    .round16 = round16_row,
    .unpack16 = unpack16_row,
    .unpack8 = unpack8_row,
    .cross_entropy = cross_entropy_row,
    .reverse_kl = reverse_kl_row,
    .overlap = overlap_row,
    .add = add_row,
    .scale = scale_row,
    .dot = dot_row,
    .row_max = max_row,
    .row_exp = exp_row,
    .sum_squares = sum_squares_row,
    .all_finite = all_finite_row,
    .adamw = adamw_row,
    .fake_q2 = fake_q2_row,
    .fake_q2_backward = fake_q2_backward_row,
    .fake_q4 = fake_q4_row,
    .q2_error = q2_error_row,
};
