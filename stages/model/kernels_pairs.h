/*
 * Part of kernels_body.h, through kernels_int16.h: the sums by pairs of int16, which one
 * instruction multiplies and adds. A pair are steps i and i + 8 of every 16, since a half of a
 * lane's 32 bits holds 8 codes of the storage form (weight.h); with 4 bits i and i + 4 of every 8.
 * Rows are packed as ap[INT16_ROWS rows][pair][INT16_ROWS], columns as bp[pair][GEMM_PANEL].
 */

typedef pair_t packed_t;

#define INT16_STRAIGHT_ROWS GEMM_FEW_ROWS

/* Of one row of A, and of a panel of B. */
static inline size_t packed_row(int k)
{
    return (size_t)k / 2;
}
static inline size_t packed_panel(int k)
{
    return packed_row(k) * GEMM_PANEL;
}

static inline void int16_begin(int rows)
{
    (void)rows;
}
static inline void int16_end(void)
{
}

/* Accumulators are named variables, as in kernels_gemm.h. */
#define INT16_DECLARE(i) VI c##i##_0 = VI_SET1(0), c##i##_1 = VI_SET1(0);
#define INT16_STEP(i)                          \
    {                                          \
        VI a_i = VI_SET1((int32_t)a[i]);       \
        c##i##_0 = VI_DOT(c##i##_0, a_i, b_0); \
        c##i##_1 = VI_DOT(c##i##_1, a_i, b_1); \
    }
#define INT16_STORE(i)              \
    VI_STORE(s + (i)*NR, c##i##_0); \
    VI_STORE(s + (i)*NR + V_WIDTH, c##i##_1);

#define INT16_KERNEL(R)                                                                  \
    static void int16_micro_##R(int pairs, const pair_t *a, const pair_t *b, int32_t *s) \
    {                                                                                    \
        ROWS_##R(INT16_DECLARE) for (int p = 0; p < pairs; p++, a += R, b += GEMM_PANEL) \
        {                                                                                \
            VI b_0 = VI_LOAD(b), b_1 = VI_LOAD(b + V_WIDTH);                             \
            ROWS_##R(INT16_STEP)                                                         \
        }                                                                                \
        ROWS_##R(INT16_STORE)                                                            \
    }

INT16_KERNEL(1)
#if INT16_ROWS == 4
INT16_KERNEL(4)
#define int16_micro int16_micro_4
#else
INT16_KERNEL(8)
#define int16_micro int16_micro_8
#endif

/* The 256 codes of a group as 2 code - 3: out[i][2n + h] = output n, input i + 8h. */
static inline void unpack_int16(const unsigned char *group, code_t *out, size_t stride)
{
    const code_t *u = (const code_t *)(const void *)group;
    for (int i = 0; i < 8; i++)
        for (int n = 0; n < 32; n++)
            out[(size_t)i * stride + n] = (uint16_t)((((u[n] >> (2 * i)) & 3) * 2) - 3);
}

/* The 128 codes of a 4-bit group as 2 code - 15: out[i][2n + h] = output n, input i + 4h. */
static inline void unpack_int16_q4(const unsigned char *group, code_t *out, size_t stride)
{
    const code_t *u = (const code_t *)(const void *)group;
    for (int i = 0; i < 4; i++)
        for (int n = 0; n < 32; n++)
            out[(size_t)i * stride + n] = (uint16_t)((((u[n] >> (4 * i)) & 15) * 2) - 15);
}

/* Outputs [col, col + n) against all inputs: bp[pair][32], 0 beyond n. */
static void int16_pack_outputs(const struct weight *w, int col, int n, pair_t *bp)
{
    for (int i = 0; i < GEMM_PANEL; i += 16) {
        pair_t *dst = bp + i;
        for (int k = 0; k < w->k; k += 16, dst += (size_t)8 * GEMM_PANEL) {
            if (i < n && w->form == WEIGHT_Q4) {
                unpack_int16_q4(codes_at(w, col + i, k), (code_t *)dst, (size_t)2 * GEMM_PANEL);
                unpack_int16_q4(codes_at(w, col + i, k + 8), (code_t *)(dst + 4 * GEMM_PANEL),
                                (size_t)2 * GEMM_PANEL);
            } else if (i < n)
                unpack_int16(codes_at(w, col + i, k), (code_t *)dst, (size_t)2 * GEMM_PANEL);
            else
                for (int p = 0; p < 8; p++)
                    memset(dst + (size_t)p * GEMM_PANEL, 0, 16 * sizeof *dst);
        }
    }
}

/* Inputs [col, col + n) against all outputs; 2 bits only. */
static void int16_pack_inputs(const struct weight *w, int col, int n, pair_t *bp)
{
    float group[8 * 16], turned[16 * 8 + V_WIDTH];
    pair_t *dst = bp;
    if (n < GEMM_PANEL)
        memset(bp, 0, (size_t)(w->n / 2) * GEMM_PANEL * sizeof *bp);
    for (int o = 0; o < w->n; o += 16, dst += (size_t)8 * GEMM_PANEL) {
        for (int i = 0; i < n; i += 16) {
            unpack_int16(codes_at(w, o, col + i), (code_t *)group, 32);
            pack_transposed(group, 16, 8, 8, 16, turned); /* [output][input i, i + 8 in halves] */
            const pair_t *t = (const pair_t *)turned;
            for (int p = 0; p < 8; p++) {
                pair_t *to = dst + (size_t)p * GEMM_PANEL + i;
                for (int j = 0; j < 8; j++) {
                    uint32_t low = t[p * 8 + j], high = t[(p + 8) * 8 + j];
                    to[j] = (low & 0xFFFFu) | (high << 16);
                    to[j + 8] = (low >> 16) | (high & 0xFFFF0000u);
                }
            }
        }
    }
}

/* Rows [row, row + rows) and their scales; spare: a panel's space. */
static void int16_pack_rows(const struct gemm_job *job, int row, int rows, float *row_scale,
                            packed_t *ap, packed_t *spare)
{
    const struct weight *w = &job->b;
    const float *factor = job->b_by_k && w->n_scales > 1 ? w->scale : NULL;
    size_t pairs = packed_row(job->k);
    for (int y = 0; y < rows; y += INT16_ROWS) {
        int n = rows - y < INT16_ROWS ? rows - y : INT16_ROWS;
        for (int i = 0; i < n; i++)
            row_scale[y + i] = quantise_row(job->k, job->a + (size_t)(row + y + i) * job->lda,
                                            factor, pair_distance(w), spare + (size_t)i * pairs);
        pack_transposed((const float *)spare, pairs, n, n == 1 ? 1 : INT16_ROWS, (int)pairs,
                        (float *)(ap + (size_t)y * pairs));
    }
}

/* s[i][j] of `rows` rows and NR columns. */
static void int16_sums(int k, int rows, const packed_t *a, const packed_t *b, int32_t *s)
{
    if (rows == 1)
        int16_micro_1(k / 2, a, b, s);
    else
        int16_micro(k / 2, a, b, s);
}
