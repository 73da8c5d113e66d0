/*
 * Part of kernels_body.h: one tile of a product with a packed weight in exact integers.
 *
 * Each row of A becomes int16 with a scale of its own: a = (max|row| / 32767) * q, q = rint, half
 * to even. A weight is w = (scale / 2) * level, level = 2 code - 3 (2 bits) or 2 code - 15 (4
 * bits), so an element of the product is (float)S * (row scale * (scale / 2)),   S = sum of q *
 * level, exact in int32 for up to 2^31 / (3 * 32767) = 21,845 or 2^31 / (15 * 32767) = 4,369
 * reduction steps. S has no order, so blocking, threads, kernel set and the number of rows cannot
 * change a bit. Where the reduction runs over outputs with a scale each (2 bits only), A is
 * multiplied with the scales first.
 *
 * The sums are made in one of two ways, which the sets choose by INT16_ROWS: by pairs of int16
 * (kernels_pairs.h), or by the tiles of bytes of AMX (kernels_tiles.h). Rows are packed over the
 * whole reduction, and columns in panels of GEMM_PANEL, so sums never leave the registers.
 */

#define INT16_SMALLEST 1e-30f /* a row below is 0: its inverse scale would overflow */

typedef uint32_t __attribute__((may_alias)) pair_t; /* two int16: the earlier step is low */
typedef uint16_t __attribute__((may_alias)) code_t;

/* max |x * factor| (factor NULL = 1), as bits: NaN and infinity are the largest. */
static uint32_t largest_bits(int k, const float *x, const float *factor)
{
    uint32_t most = 0;
    if (factor) {
        for (int i = 0; i < k; i++) {
            uint32_t bits = fm_bits_f32(x[i] * factor[i]) & 0x7FFFFFFFu;
            most = bits > most ? bits : most;
        }
    } else {
        for (int i = 0; i < k; i++) {
            uint32_t bits = fm_bits_f32(x[i]) & 0x7FFFFFFFu;
            most = bits > most ? bits : most;
        }
    }
    return most;
}

/* rint(v) for |v| <= 2^21 stands in the low bits of v + 1.5 * 2^23. */
#define ROUNDING 12582912.0f
static inline uint32_t rounded_bits(float v)
{
    return fm_bits_f32(v + ROUNDING);
}

/* Distance of the two steps of a pair. */
static inline int pair_distance(const struct weight *w)
{
    return w->form == WEIGHT_Q4 ? 4 : 8;
}

/* The row's scale, NaN when the row is not finite; q = rint(x * factor * *inverse). factor: see
 * largest_bits. */
static float int16_row_scale(int k, const float *x, const float *factor, float *inverse)
{
    uint32_t bits = largest_bits(k, x, factor);
    float most = fm_f32_bits(bits);
    bool finite = bits < 0x7F800000u, some = finite && most >= INT16_SMALLEST;
    *inverse = some ? 32767.0f / most : 0.0f;
    return !finite ? fm_f32_bits(0x7FC00000u) : some ? most / 32767.0f : 0.0f;
}

/* Steps i and i + distance of every 2 * distance as pairs; returns the scale. */
static float quantise_row(int k, const float *x, const float *factor, int distance, pair_t *out)
{
    float inverse, scale = int16_row_scale(k, x, factor, &inverse);
    for (int g = 0; g < k; g += 16, out += 8) {
        float v[16];
        for (int i = 0; i < 16; i++)
            v[i] = (factor ? x[g + i] * factor[g + i] : x[g + i]) * inverse;
        if (distance == 8)
            for (int i = 0; i < 8; i++)
                out[i] = (rounded_bits(v[i]) & 0xFFFFu) | (rounded_bits(v[i + 8]) << 16);
        else
            for (int i = 0; i < 8; i++) {
                int at = i % 4 + i / 4 * 8;
                out[i] = (rounded_bits(v[at]) & 0xFFFFu) | (rounded_bits(v[at + 4]) << 16);
            }
    }
    return scale;
}

static const unsigned char *codes_at(const struct weight *w, int n, int k)
{
    size_t per_group = w->form == WEIGHT_Q4 ? 8 : 16;
    return (const unsigned char *)w->data +
           ((size_t)(n / 16) * ((size_t)w->k / per_group) + (size_t)k / per_group) * 64;
}

#if INT16_ROWS == 16
#include "stages/model/kernels_tiles.h"
#else
#include "stages/model/kernels_pairs.h"
#endif

/* c (+)= sums of `rows` x [col, col + cols) of the job, times their scales. */
static void int16_scale(const struct gemm_job *job, int row, int rows, int col, int cols,
                        const int32_t *s, const float *row_scale, const float *column_scale)
{
    for (int y = 0; y < rows; y++, s += NR) {
        float *c = job->c + (size_t)(row + y) * job->ldc + col;
        float scale = row_scale[y];
        if (job->add)
            for (int x = 0; x < cols; x++)
                c[x] = __builtin_fmaf((float)s[x], scale * column_scale[x], c[x]);
        else
            for (int x = 0; x < cols; x++)
                c[x] = (float)s[x] * (scale * column_scale[x]);
    }
}

/*
 * One row against 16 outputs, straight from the storage form, which is read once: what counts is
 * the memory's speed. Codes stay where they are in their byte: masked, they are 1, 4, 16 or 64
 * times the code (4 bits: 1 or 16), with sums of their own, which are divided at the end of every
 * block. Within a block the largest sum fits into 32 bits: 64 * 3 * 32767 * 1024 / 4, or 16 * 15 *
 * 32767 * 512 / 2. Short vectors take two neighbours in one sweep: a cache line is read whole.
 */
#define INT16_BLOCK 1024
#define INT16_BLOCK_Q4 512

#if V_WIDTH == 4 || V_WIDTH == 8
#define SWEEP_VECTORS 2
#define EACH_VECTOR(X) X(0) X(1)
#define EACH_VECTOR_OF(r, X) X(r, 0) X(r, 1)
#else
#define SWEEP_VECTORS 1
#define EACH_VECTOR(X) X(0)
#define EACH_VECTOR_OF(r, X) X(r, 0)
#endif
#define SWEEP_WIDTH (SWEEP_VECTORS * V_WIDTH)

/* Named variables again. */
#define SWEEP_DECLARE(v) \
    VI c##v##_0 = VI_SET1(0), c##v##_1 = VI_SET1(0), c##v##_2 = VI_SET1(0), c##v##_3 = VI_SET1(0);
#define SWEEP_LOAD(v) \
    VI low_##v = VI_LOAD(codes + (v)*V_WIDTH), high_##v = VI_SHIFT_RIGHT(low_##v, 8);
#define SWEEP_DOT(v, i, half, mask) c##v##_##i = VI_DOT(c##v##_##i, x_i, VI_AND(half##_##v, mask));

/* sum[v] += of outputs v * V_WIDTH and on. */
static inline void int16_groups(int n_groups, const uint32_t *codes, const pair_t *x, VI *sum)
{
    const VI m0 = VI_SET1(0x00030003), m1 = VI_SET1(0x000C000C), m2 = VI_SET1(0x00300030),
             m3 = VI_SET1(0x00C000C0);
    EACH_VECTOR(SWEEP_DECLARE)
    for (int g = 0; g < n_groups; g++, codes += 16, x += 8) {
        CODES_AHEAD(codes);
        EACH_VECTOR(SWEEP_LOAD)
#define STEP(at, X)                             \
    {                                           \
        const VI x_i = VI_SET1((int32_t)x[at]); \
        EACH_VECTOR(X)                          \
    }
#define LOW_0(v) SWEEP_DOT(v, 0, low, m0)
#define LOW_1(v) SWEEP_DOT(v, 1, low, m1)
#define LOW_2(v) SWEEP_DOT(v, 2, low, m2)
#define LOW_3(v) SWEEP_DOT(v, 3, low, m3)
#define HIGH_0(v) SWEEP_DOT(v, 0, high, m0)
#define HIGH_1(v) SWEEP_DOT(v, 1, high, m1)
#define HIGH_2(v) SWEEP_DOT(v, 2, high, m2)
#define HIGH_3(v) SWEEP_DOT(v, 3, high, m3)
        STEP(0, LOW_0)
        STEP(1, LOW_1)
        STEP(2, LOW_2)
        STEP(3, LOW_3)
        STEP(4, HIGH_0)
        STEP(5, HIGH_1)
        STEP(6, HIGH_2)
        STEP(7, HIGH_3)
    }
#define SWEEP_SUM(v)                                                                           \
    c##v##_0 = VI_ADD(c##v##_0, VI_SHIFT_RIGHT_SIGNED(c##v##_1, 2));                           \
    c##v##_2 = VI_ADD(VI_SHIFT_RIGHT_SIGNED(c##v##_2, 4), VI_SHIFT_RIGHT_SIGNED(c##v##_3, 6)); \
    sum[v] = VI_ADD(sum[v], VI_ADD(c##v##_0, c##v##_2));
    EACH_VECTOR(SWEEP_SUM)
}

static inline void int16_groups_q4(int n_groups, const uint32_t *codes, const pair_t *x, VI *sum)
{
    const VI m0 = VI_SET1(0x000F000F), m1 = VI_SET1(0x00F000F0);
    EACH_VECTOR(SWEEP_DECLARE)
    for (int g = 0; g < n_groups; g++, codes += 16, x += 4) {
        CODES_AHEAD(codes);
        EACH_VECTOR(SWEEP_LOAD)
#define Q4_HIGH_2(v) SWEEP_DOT(v, 2, high, m0)
#define Q4_HIGH_3(v) SWEEP_DOT(v, 3, high, m1)
        STEP(0, LOW_0)
        STEP(1, LOW_1)
        STEP(2, Q4_HIGH_2)
        STEP(3, Q4_HIGH_3)
    }
#define SWEEP_SUM_Q4(v)                                                                        \
    c##v##_1 = VI_ADD(VI_SHIFT_RIGHT_SIGNED(c##v##_1, 4), VI_SHIFT_RIGHT_SIGNED(c##v##_3, 4)); \
    sum[v] = VI_ADD(sum[v], VI_ADD(VI_ADD(c##v##_0, c##v##_2), c##v##_1));
    EACH_VECTOR(SWEEP_SUM_Q4)
}

/* s[j] = the sum of q * code of output col + j. */
static void int16_one(const struct weight *w, int col, const pair_t *x, int32_t *s)
{
    bool four = w->form == WEIGHT_Q4;
    int block = four ? INT16_BLOCK_Q4 : INT16_BLOCK, per_group = four ? 8 : 16;
    for (int part = 0; part < 16; part += SWEEP_WIDTH) {
        VI sum[SWEEP_VECTORS];
        for (int v = 0; v < SWEEP_VECTORS; v++)
            sum[v] = VI_SET1(0);
        for (int k = 0; k < w->k; k += block) {
            int n_groups = (w->k - k < block ? w->k - k : block) / per_group;
            const uint32_t *codes = (const uint32_t *)(const void *)codes_at(w, col, k) + part;
            if (four)
                int16_groups_q4(n_groups, codes, x + k / 2, sum);
            else
                int16_groups(n_groups, codes, x + k / 2, sum);
        }
        for (int v = 0; v < SWEEP_VECTORS; v++)
            VI_STORE(s + part + v * V_WIDTH, sum[v]);
    }
}

/*
 * Few rows against 16 outputs: a code is unpacked once for all of them and stays in a register. The
 * sums are of codes again, and over the whole reduction: 3 * 32767 * GEMM_INT16_K_MAX and 15 *
 * 32767 * GEMM_INT16_K_MAX_Q4 fit.
 */
#define FEW_SUM(r, v) VI c##r##_##v = VI_SET1(0);
#define FEW_DECLARE(r) EACH_VECTOR_OF(r, FEW_SUM)
#define FEW_LOAD(v) VI word_##v = VI_LOAD(codes + (v)*V_WIDTH);
#define FEW_ADD(r, v) c##r##_##v = VI_DOT(c##r##_##v, x_##r, code_##v);
#define FEW_DOT(r)                                         \
    VI x_##r = VI_SET1((int32_t)x[(r)*pairs + (size_t)i]); \
    EACH_VECTOR_OF(r, FEW_ADD)
#define FEW_PUT(r, v) VI_STORE(s + (r)*16 + (v)*V_WIDTH, c##r##_##v);
#define FEW_STORE(r) EACH_VECTOR_OF(r, FEW_PUT)
#define FEW_CODE(v) VI code_##v = VI_AND(word_##v, mask);
#define FEW_NEXT_Q2(v) word_##v = VI_SHIFT_RIGHT(word_##v, 2);
#define FEW_NEXT_Q4(v) word_##v = VI_SHIFT_RIGHT(word_##v, 4);

/* Unrolled, gcc 12 sorts the sums anew and spills them. */
#define FEW_KERNEL(R, Q, MASK, PER_WORD)                                                     \
    static void int16_few_##R##_##Q(int n_groups, const uint32_t *codes, const pair_t *x,    \
                                    size_t pairs, int32_t *s)                                \
    {                                                                                        \
        const VI mask = VI_SET1(MASK);                                                       \
        ROWS_##R(FEW_DECLARE) for (int g = 0; g < n_groups; g++, codes += 16, x += PER_WORD) \
        {                                                                                    \
            CODES_AHEAD(codes);                                                              \
            EACH_VECTOR(FEW_LOAD)                                                            \
            NOT_UNROLLED                                                                     \
            for (int i = 0; i < PER_WORD; i++) {                                             \
                EACH_VECTOR(FEW_CODE)                                                        \
                EACH_VECTOR(FEW_NEXT_##Q)                                                    \
                ROWS_##R(FEW_DOT)                                                            \
            }                                                                                \
        }                                                                                    \
        ROWS_##R(FEW_STORE)                                                                  \
    }
#define FEW_KERNELS(R) FEW_KERNEL(R, Q2, 0x00030003, 8) FEW_KERNEL(R, Q4, 0x000F000F, 4)
FEW_KERNELS(2)
FEW_KERNELS(3)
FEW_KERNELS(4)

/* s[r][j] = the sum of q * code of row r and output col + j. */
static void int16_few(const struct weight *w, int col, int rows, const pair_t *x, int32_t *s)
{
    bool four = w->form == WEIGHT_Q4;
    size_t pairs = (size_t)w->k / 2;
    int n_groups = w->k / (four ? 8 : 16);
    for (int part = 0; part < 16; part += SWEEP_WIDTH) {
        const uint32_t *codes = (const uint32_t *)(const void *)codes_at(w, col, 0) + part;
        if (rows == 2)
            (four ? int16_few_2_Q4 : int16_few_2_Q2)(n_groups, codes, x, pairs, s + part);
        else if (rows == 3)
            (four ? int16_few_3_Q4 : int16_few_3_Q2)(n_groups, codes, x, pairs, s + part);
        else
            (four ? int16_few_4_Q4 : int16_few_4_Q2)(n_groups, codes, x, pairs, s + part);
    }
}

/* c (+)= one row's sums of codes with 16 outputs, made sums of levels, times their scales. */
static void int16_scale_codes(const struct gemm_job *job, int row, int col, const int32_t *s,
                              int32_t total, float row_scale)
{
    const struct weight *w = &job->b;
    uint32_t below = (w->form == WEIGHT_Q4 ? 15u : 3u) * (uint32_t)total;
    float *c = job->c + (size_t)row * job->ldc + col;
    for (int i = 0; i < 16; i++) { /* the halves of the difference may not fit, it does */
        float sum = (float)(int32_t)(2 * (uint32_t)s[i] - below);
        float scale = row_scale * (0.5f * w->scale[w->n_scales == 1 ? 0 : col + i]);
        c[i] = job->add ? __builtin_fmaf(sum, scale, c[i]) : sum * scale;
    }
}

/* Rows <= GEMM_FEW_ROWS against outputs. */
static void int16_few_rows(const struct gemm_job *job, int row, int rows, int col, int cols,
                           float *pack)
{
    const struct weight *w = &job->b;
    size_t pairs = (size_t)job->k / 2;
    pair_t *x = (pair_t *)(pack + GEMM_INT16_SCALES);
    float row_scale[GEMM_FEW_ROWS];
    int32_t total[GEMM_FEW_ROWS] = {0}, s[4 * 16];
    for (int y = 0; y < rows; y++) {
        const float *a = job->a + (size_t)(row + y) * job->lda;
        pair_t *x_y = x + (size_t)y * pairs;
        row_scale[y] = quantise_row(job->k, a, NULL, pair_distance(w), x_y);
        for (size_t i = 0; i < pairs; i++)
            total[y] += (int16_t)(uint16_t)x_y[i] + (int16_t)(uint16_t)(x_y[i] >> 16);
    }
    for (int j = 0; j < cols; j += 16) {
        for (int y = 0, n = few_rows(rows); y < rows; y += n, n = few_rows(rows - y)) {
            if (n == 1)
                int16_one(w, col + j, x, s);
            else
                int16_few(w, col + j, n, x + (size_t)y * pairs, s);
            for (int i = 0; i < n; i++)
                int16_scale_codes(job, row + y + i, col + j, s + i * 16, total[y + i],
                                  row_scale[y + i]);
        }
    }
}

/* Half the scales of columns [col, col + n). */
static void int16_column_scales(const struct gemm_job *job, int col, int n, float *scale)
{
    const struct weight *w = &job->b;
    for (int i = 0; i < GEMM_PANEL; i++)
        scale[i] = w->n_scales == 1 ? 0.5f * w->scale[0]
                   : job->b_by_k    ? 0.5f
                   : i < n          ? 0.5f * w->scale[col + i]
                                    : 0.0f;
}

/* As gemm_tile for a packed weight; rows <= gemm_int16_rows. */
static void gemm_int16_tile(const struct gemm_job *job, int row, int rows, int col, int cols,
                            float *pack)
{
    const struct weight *w = &job->b;
    if (rows <= INT16_STRAIGHT_ROWS && !job->b_by_k && job->n_then == 0) {
        int16_few_rows(job, row, rows, col, cols, pack);
        return;
    }
    float *row_scale = pack, *then = then_space(job, rows, pack);
    then_pack(job, row, rows, then);
    packed_t *bp = (packed_t *)(row_scale + GEMM_INT16_SCALES), *ap = bp + packed_panel(job->k);
    int16_begin(rows);
    int16_pack_rows(job, row, rows, row_scale, ap, bp);
    for (int x = 0; x < cols; x += GEMM_PANEL) {
        int n = cols - x < GEMM_PANEL ? cols - x : GEMM_PANEL;
        float column_scale[GEMM_PANEL];
        int16_column_scales(job, col + x, n, column_scale);
        if (job->b_by_k)
            int16_pack_inputs(w, col + x, n, bp);
        else
            int16_pack_outputs(w, col + x, n, bp);
        for (int y = 0; y < rows; y += INT16_ROWS) {
            int here = rows - y < INT16_ROWS ? rows - y : INT16_ROWS;
            ask_for_rows(job->c + (size_t)(row + y + INT16_ROWS) * job->ldc + col + x, job->ldc,
                         rows - y - INT16_ROWS, INT16_ROWS);
            for (int j = 0; j < n; j += NR) {
                int32_t sums[INT16_ROWS * NR] __attribute__((aligned(64)));
                int16_sums(job->k, here, ap + (size_t)y * packed_row(job->k), bp + j, sums);
                int16_scale(job, row + y, here, col + x + j, n - j < NR ? n - j : NR, sums,
                            row_scale + y, column_scale + j);
            }
        }
        then_add(job, row, rows, col + x, n, then);
    }
    int16_end();
}
