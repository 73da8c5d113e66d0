/*
 * Part of kernels_body.h: one tile of a product.
 *
 * The reduction is cut into blocks of GEMM_K_BLOCK steps. For each block the rows of the tile are
 * packed into panels ap[panel][step][rows], which stay in L2; then each panel of 32 columns is
 * packed (weights are unpacked here, once per tile) into bp[step][32], which stays in L1, and a
 * micro kernel of `rows` x 2 vectors sweeps all row panels over it with every sum in a register.
 * Between blocks the sums rest in C: storing and loading a float is exact, so an element is one
 * chain of fma whatever the blocking. Ragged edges run the same micro kernels on zero-padded panels
 * with a spare C tile.
 */

#define NR (2 * V_WIDTH) /* columns of a micro kernel */

#define ROWS_1(X) X(0)
#define ROWS_2(X) ROWS_1(X) X(1)
#define ROWS_3(X) ROWS_2(X) X(2)
#define ROWS_4(X) ROWS_3(X) X(3)
#define ROWS_6(X) ROWS_4(X) X(4) X(5)
#define ROWS_8(X) ROWS_6(X) X(6) X(7)
#define ROWS_14(X) ROWS_8(X) X(8) X(9) X(10) X(11) X(12) X(13)

/* Accumulators are named variables: gcc 12 keeps an array of them in memory. */
#define MICRO_DECLARE(i) VF c##i##_0, c##i##_1;
#define MICRO_ZERO(i) c##i##_0 = c##i##_1 = V_SET1(0.0f);
#define MICRO_LOAD(i)               \
    c##i##_0 = V_LOAD(c + (i)*ldc); \
    c##i##_1 = V_LOAD(c + (i)*ldc + V_WIDTH);
#define MICRO_STEP(i) MICRO_STEP_OF(i, a[i])
#define MICRO_STEP_APART(i) MICRO_STEP_OF(i, a[(i)*a_row])
#define MICRO_STEP_OF(i, a_of_i)              \
    {                                         \
        VF a_i = V_SET1(a_of_i);              \
        c##i##_0 = V_FMA(a_i, b_0, c##i##_0); \
        c##i##_1 = V_FMA(a_i, b_1, c##i##_1); \
    }
#define MICRO_STORE(i)              \
    V_STORE(c + (i)*ldc, c##i##_0); \
    V_STORE(c + (i)*ldc + V_WIDTH, c##i##_1);

#define MICRO_BODY(R, A_STEP, STEP)                                 \
    ROWS_##R(MICRO_DECLARE) if (from_zero)                          \
    {                                                               \
        ROWS_##R(MICRO_ZERO)                                        \
    }                                                               \
    else                                                            \
    {                                                               \
        ROWS_##R(MICRO_LOAD)                                        \
    }                                                               \
    for (int k = 0; k < steps; k++, a += A_STEP, b += GEMM_PANEL) { \
        VF b_0 = V_LOAD(b), b_1 = V_LOAD(b + V_WIDTH);              \
        ROWS_##R(STEP)                                              \
    }                                                               \
    ROWS_##R(MICRO_STORE)

/* A packed: a[step][R]; or apart: a[step a_step + row a_row]. */
#define MICRO_KERNEL(R)                                                                           \
    static void micro_##R(int steps, const float *a, const float *b, float *c, size_t ldc,        \
                          bool from_zero)                                                         \
    {                                                                                             \
        MICRO_BODY(R, R, MICRO_STEP)                                                              \
    }                                                                                             \
    static void apart_##R(int steps, const float *a, size_t a_row, size_t a_step, const float *b, \
                          float *c, size_t ldc, bool from_zero)                                   \
    {                                                                                             \
        MICRO_BODY(R, a_step, MICRO_STEP_APART)                                                   \
    }

MICRO_KERNEL(1)
MICRO_KERNEL(2)
MICRO_KERNEL(4)
#if GEMM_ROWS == 6
MICRO_KERNEL(6)
#endif
#if GEMM_ROWS >= 8
MICRO_KERNEL(8)
#endif
#if GEMM_ROWS == 14
MICRO_KERNEL(14)
#endif

/* One row against a whole panel: two vectors are too few chains to wait for. */
#if V_WIDTH == 4 || V_WIDTH == 8
#if V_WIDTH == 4
#define PANEL_VECTORS(X) ROWS_8(X)
#else
#define PANEL_VECTORS(X) ROWS_4(X)
#endif
#define MICRO_ROW_DECLARE(i) VF c##i = V_SET1(0.0f);
#define MICRO_ROW_LOAD(i) c##i = V_LOAD(c + (i)*V_WIDTH);
#define MICRO_ROW_STEP(i) c##i = V_FMA(a_k, V_LOAD(b + (i)*V_WIDTH), c##i);
#define MICRO_ROW_STORE(i) V_STORE(c + (i)*V_WIDTH, c##i);
static void micro_row(int steps, const float *a, size_t a_step, const float *b, float *c,
                      bool from_zero)
{
    PANEL_VECTORS(MICRO_ROW_DECLARE)
    if (!from_zero) {
        PANEL_VECTORS(MICRO_ROW_LOAD)
    }
    for (int k = 0; k < steps; k++, a += a_step, b += GEMM_PANEL) {
        VF a_k = V_SET1(*a);
        PANEL_VECTORS(MICRO_ROW_STEP)
    }
    PANEL_VECTORS(MICRO_ROW_STORE)
}
#endif

/* The rows of the smallest micro kernel that holds n rows. */
static int micro_rows(int n)
{
    if (n <= 2)
        return n;
    if (n <= 4)
        return 4;
#if GEMM_ROWS == 14
    if (n <= 8)
        return 8;
#endif
    return GEMM_ROWS;
}

#define MICRO_CASE(R)                                                 \
    case R:                                                           \
        if (a_row == 1 && a_step == R)                                \
            micro_##R(steps, a, b, c, ldc, from_zero);                \
        else                                                          \
            apart_##R(steps, a, a_row, a_step, b, c, ldc, from_zero); \
        break;
static void micro_run(int r, int steps, const float *a, size_t a_row, size_t a_step, const float *b,
                      float *c, size_t ldc, bool from_zero)
{
    switch (r) {
        MICRO_CASE(1)
        MICRO_CASE(2)
        MICRO_CASE(4)
#if GEMM_ROWS == 6
        MICRO_CASE(6)
#endif
#if GEMM_ROWS >= 8
        MICRO_CASE(8)
#endif
#if GEMM_ROWS == 14
        MICRO_CASE(14)
#endif
    default:
        break;
    }
}

/* dst[step][i] = src[i][step] for rows i < n (0 up to r), step < steps; dst has row stride r and is
 * written in order; up to V_WIDTH - 1 floats behind its end are overwritten. */
static void pack_transposed(const float *src, size_t ld, int n, int r, int steps, float *dst)
{
    for (int i = 0; i < r; i += V_WIDTH) {
        int rows = n - i < V_WIDTH ? n - i : V_WIDTH;
        bool whole = r % V_WIDTH == 0 || r < V_WIDTH; /* spills only into what is written later */
        int k = 0;
        if (rows > 0 && whole)
            for (; k + V_WIDTH <= steps; k += V_WIDTH)
                transpose_tile(src + (size_t)i * ld + k, ld, rows, dst + (size_t)k * r + i,
                               (size_t)r);
        int here = r - i < V_WIDTH ? r - i : V_WIDTH;
        for (; k < steps; k++)
            for (int j = 0; j < here; j++)
                dst[(size_t)k * r + i + j] = j < rows ? src[(size_t)(i + j) * ld + k] : 0.0f;
    }
}

/* dst[step][i] = src[step][i] for i < n, 0 up to r. */
static void pack_straight(const float *src, size_t ld, int n, int r, int steps, float *dst)
{
    if (n == r && r == GEMM_PANEL) {
        for (int k = 0; k < steps; k++)
            memcpy(dst + (size_t)k * GEMM_PANEL, src + (size_t)k * ld, GEMM_PANEL * sizeof *dst);
    } else if (n == r && r == GEMM_ROWS) {
        for (int k = 0; k < steps; k++)
            memcpy(dst + (size_t)k * GEMM_ROWS, src + (size_t)k * ld, GEMM_ROWS * sizeof *dst);
    } else {
        for (int k = 0; k < steps; k++)
            for (int i = 0; i < r; i++)
                dst[(size_t)k * r + i] = i < n ? src[(size_t)k * ld + i] : 0.0f;
    }
}

/* An element of a BF16 or F16 weight. */
static inline float float_of_16(const struct weight *w, size_t at)
{
    uint16_t h = ((const uint16_t *)w->data)[at];
    return w->form == WEIGHT_F16 ? fm_of_half(h) : fm_f32_bits((uint32_t)h << 16);
}

static inline bool is_16(const struct weight *w)
{
    return w->form == WEIGHT_BF16 || w->form == WEIGHT_F16;
}

/* n elements that follow each other. */
static inline void floats_of_16(const struct weight *w, size_t at, int n, float *out)
{
    const uint16_t *h = (const uint16_t *)w->data + at;
    int i = 0;
    if (w->form == WEIGHT_F16)
        for (; i + V_WIDTH <= n; i += V_WIDTH)
            V_STORE(out + i, V_LOAD_HALF(h + i));
    else
        for (; i + 8 <= n; i += 8)
            for (int j = 0; j < 8; j++)
                out[i + j] = fm_f32_bits((uint32_t)h[i + j] << 16);
    for (; i < n; i++)
        out[i] = float_of_16(w, at + (size_t)i);
}

/* One 64-byte group as out[input][output]: 16 x 16 for Q2, 8 x 16 for Q4. Little-endian hosts. */
static inline void unpack_q2(const unsigned char *group, const float *scale, float *out)
{
    uint32_t u[LANES];
    memcpy(u, group, sizeof u);
    for (int i = 0; i < 16; i++)
        for (int n = 0; n < LANES; n++)
            out[i * GEMM_PANEL + n] = scale[n] * ((float)(int32_t)((u[n] >> (2 * i)) & 3) - 1.5f);
}

static inline void unpack_q4(const unsigned char *group, const float *scale, float *out)
{
    uint32_t u[LANES];
    memcpy(u, group, sizeof u);
    for (int i = 0; i < 8; i++)
        for (int n = 0; n < LANES; n++)
            out[i * GEMM_PANEL + n] = scale[n] * ((float)(int32_t)((u[n] >> (4 * i)) & 15) - 7.5f);
}

/* Inputs [k0, k0+steps) of outputs [n0, n0+16) as out[step][GEMM_PANEL stride]. */
static void unpack_codes(const struct weight *w, int n0, int k0, int steps, float *out)
{
    float scale[LANES];
    for (int i = 0; i < LANES; i++)
        scale[i] = w->scale[w->n_scales == 1 ? 0 : n0 + i];
    int per_group = w->form == WEIGHT_Q2 ? 16 : 8;
    const unsigned char *groups =
        (const unsigned char *)w->data +
        ((size_t)(n0 / 16) * (size_t)(w->k / per_group) + (size_t)(k0 / per_group)) * 64;
    for (int k = 0; k < steps; k += per_group, groups += 64, out += per_group * GEMM_PANEL) {
        if (w->form == WEIGHT_Q2)
            unpack_q2(groups, scale, out);
        else
            unpack_q4(groups, scale, out);
    }
}

/* bp[step][32] from n rows of a BF16 weight, 2 * pairs steps of each: two neighbours are moved as
 * one float, and parted where they have come to. spare: pairs x GEMM_PANEL floats. */
static void pack_bf16_pairs(const uint16_t *src, size_t ld, int n, int pairs, float *spare,
                            float *bp)
{
    pack_transposed((const float *)(const void *)src, ld / 2, n, GEMM_PANEL, pairs, spare);
    for (int p = 0; p < pairs; p++, spare += GEMM_PANEL, bp += 2 * GEMM_PANEL)
        for (int i = 0; i < GEMM_PANEL; i++) {
            uint32_t pair = fm_bits_f32(spare[i]);
            bp[i] = fm_f32_bits(pair << 16);
            bp[GEMM_PANEL + i] = fm_f32_bits(pair & 0xFFFF0000u);
        }
}

/* The panel is columns [col, col+n) of op(B), steps [k0, k0+steps): bp[step][32], 0 beyond n.
 * spare: 16 x GEMM_PANEL floats. */
static void pack_b_outputs(const struct gemm_job *job, int col, int n, int k0, int steps, float *bp,
                           float *spare)
{
    const struct weight *w = &job->b;
    if (w->form == WEIGHT_F32) {
        const float *src = (const float *)w->data + (size_t)col * job->ldb + k0;
        pack_transposed(src, job->ldb, n, GEMM_PANEL, steps, bp);
    } else if (w->form == WEIGHT_BF16 && job->ldb % 2 == 0 && steps % 2 == 0) {
        const uint16_t *src = (const uint16_t *)w->data + (size_t)col * job->ldb + k0;
        for (int k = 0; k < steps; k += 32)
            pack_bf16_pairs(src + k, job->ldb, n, (steps - k < 32 ? steps - k : 32) / 2, spare,
                            bp + (size_t)k * GEMM_PANEL);
    } else if (is_16(w)) {
        size_t first = (size_t)col * job->ldb + (size_t)k0;
        for (int k = 0; k < steps; k += 16) {
            int here = steps - k < 16 ? steps - k : 16;
            for (int i = 0; i < n; i++)
                floats_of_16(w, first + (size_t)i * job->ldb + (size_t)k, here, spare + i * 16);
            pack_transposed(spare, 16, n, GEMM_PANEL, here, bp + (size_t)k * GEMM_PANEL);
        }
    } else {
        for (int i = 0; i < GEMM_PANEL; i += 16) {
            if (i < n)
                unpack_codes(w, col + i, k0, steps, bp + i);
            else
                for (int k = 0; k < steps; k++)
                    memset(bp + (size_t)k * GEMM_PANEL + i, 0, 16 * sizeof *bp);
        }
    }
}

/* As above where the reduction runs over the rows of W (or of a plain matrix). */
static void pack_b_inputs(const struct gemm_job *job, int col, int n, int k0, int steps, float *bp,
                          float *spare)
{
    const struct weight *w = &job->b;
    if (w->form == WEIGHT_F32) {
        const float *src = (const float *)w->data + (size_t)k0 * job->ldb + col;
        pack_straight(src, job->ldb, n, GEMM_PANEL, steps, bp);
    } else if (is_16(w)) {
        size_t first = (size_t)k0 * job->ldb + (size_t)col;
        for (int k = 0; k < steps; k++, bp += GEMM_PANEL) {
            floats_of_16(w, first + (size_t)k * job->ldb, n, bp);
            for (int i = n; i < GEMM_PANEL; i++)
                bp[i] = 0.0f;
        }
    } else {
        int per_group = w->form == WEIGHT_Q2 ? 16 : 8;
        if (n < GEMM_PANEL)
            memset(bp, 0, (size_t)steps * GEMM_PANEL * sizeof *bp);
        for (int k = 0; k < steps; k += 16)
            for (int i = 0; i < n; i += 16) {
                int inputs = n - i < 16 ? n - i : 16;
                float *dst = bp + (size_t)k * GEMM_PANEL + i;
                for (int j = 0; j < inputs; j += per_group)
                    unpack_codes(w, k0 + k, col + i + j, per_group, spare + (size_t)j * GEMM_PANEL);
                for (int j = 0; j < inputs; j += V_WIDTH)
                    for (int r = 0; r < 16; r += V_WIDTH)
                        transpose_tile(spare + (size_t)j * GEMM_PANEL + r, GEMM_PANEL,
                                       inputs - j < V_WIDTH ? inputs - j : V_WIDTH,
                                       dst + (size_t)r * GEMM_PANEL + j, GEMM_PANEL);
            }
    }
}

/* One row panel against one column panel, c the corner of their product: full columns go straight
 * to it, ragged ones through a spare tile. a_row, a_step: floats of A from row to row and from step
 * to step. */
static void gemm_panels(float *c, size_t ldc, int rows, int cols, int steps, const float *a,
                        size_t a_row, size_t a_step, const float *bp, bool from_zero)
{
    int r = micro_rows(rows);
#if V_WIDTH == 4 || V_WIDTH == 8
    if (rows == 1 && cols == GEMM_PANEL) {
        micro_row(steps, a, a_step, bp, c, from_zero);
        return;
    }
#endif
    for (int j = 0; j < cols; j += NR, c += NR) {
        int here = cols - j < NR ? cols - j : NR;
        if (here == NR && r == rows) {
            micro_run(r, steps, a, a_row, a_step, bp + j, c, ldc, from_zero);
            continue;
        }
        float tile[GEMM_ROWS * NR];
        for (int y = 0; y < r; y++)
            for (int x = 0; x < NR; x++)
                tile[y * NR + x] =
                    from_zero || y >= rows || x >= here ? 0.0f : c[(size_t)y * ldc + x];
        micro_run(r, steps, a, a_row, a_step, bp + j, tile, NR, false);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < here; x++)
                c[(size_t)y * ldc + x] = tile[y * NR + x];
    }
}

/* A panel of C that is written next: `most` rows of the n that are left. Worth it behind so many
 * steps; fewer follow on a tile that is near. */
#define ASK_STEPS 64
static inline void ask_for_rows(const float *c, size_t ldc, int n, int most)
{
    for (int y = 0; y < n && y < most; y++)
        for (int x = 0; x < GEMM_PANEL; x += 16)
            __builtin_prefetch(c + (size_t)y * ldc + x, 1);
}

/* Of n rows that are left of GEMM_FEW_ROWS or less, those that are taken at once: equal shares. */
static int few_rows(int n)
{
    return n <= 4 ? n : (n + 1) / 2;
}

/* One row against rows of halves, straight from where they are: what counts is the memory's speed.
 * The same chains; 8 vectors of columns at a time, so that enough of them are under way. */
#define HALF_AHEAD 64
#define HALF_DECLARE(i) VF c##i = V_SET1(0.0f);
#define HALF_LOAD(i) c##i = V_LOAD(c + (i)*V_WIDTH);
#define HALF_STEP(i) c##i = V_FMA(a_k, V_LOAD_HALF(b + (i)*V_WIDTH), c##i);
#define HALF_STORE(i) V_STORE(c + (i)*V_WIDTH, c##i);
#define HALF_KERNEL(N)                                                                           \
    static void half_row_##N(int steps, const float *a, const uint16_t *b, size_t ldb, float *c, \
                             bool add)                                                           \
    {                                                                                            \
        ROWS_##N(HALF_DECLARE) if (add)                                                          \
        {                                                                                        \
            ROWS_##N(HALF_LOAD)                                                                  \
        }                                                                                        \
        for (int k = 0; k < steps; k++, b += ldb) {                                              \
            VF a_k = V_SET1(a[k]);                                                               \
            __builtin_prefetch(b + HALF_AHEAD);                                                  \
            __builtin_prefetch(b + HALF_AHEAD + 32);                                             \
            ROWS_##N(HALF_STEP)                                                                  \
        }                                                                                        \
        ROWS_##N(HALF_STORE)                                                                     \
    }
HALF_KERNEL(1)
HALF_KERNEL(4)
HALF_KERNEL(8)

/* R rows against N vectors of columns, which are read and widened once for all of them. */
#define HALVES_DECLARE_2(i) VF c##i##_0 = V_SET1(0.0f), c##i##_1 = c##i##_0;
#define HALVES_DECLARE_4(i) HALVES_DECLARE_2(i) VF c##i##_2 = c##i##_0, c##i##_3 = c##i##_0;
#define HALVES_LOAD_2(i)            \
    c##i##_0 = V_LOAD(c + (i)*ldc); \
    c##i##_1 = V_LOAD(c + (i)*ldc + V_WIDTH);
#define HALVES_LOAD_4(i)                          \
    HALVES_LOAD_2(i)                              \
    c##i##_2 = V_LOAD(c + (i)*ldc + 2 * V_WIDTH); \
    c##i##_3 = V_LOAD(c + (i)*ldc + 3 * V_WIDTH);
#define HALVES_B_2 VF b_0 = V_LOAD_HALF(b), b_1 = V_LOAD_HALF(b + V_WIDTH);
#define HALVES_B_4 \
    HALVES_B_2 VF b_2 = V_LOAD_HALF(b + 2 * V_WIDTH), b_3 = V_LOAD_HALF(b + 3 * V_WIDTH);
#define HALVES_STEP_2(i)                    \
    VF a_##i = V_SET1(a[(i)*lda]);          \
    c##i##_0 = V_FMA(a_##i, b_0, c##i##_0); \
    c##i##_1 = V_FMA(a_##i, b_1, c##i##_1);
#define HALVES_STEP_4(i)                    \
    HALVES_STEP_2(i)                        \
    c##i##_2 = V_FMA(a_##i, b_2, c##i##_2); \
    c##i##_3 = V_FMA(a_##i, b_3, c##i##_3);
#define HALVES_STORE_2(i)           \
    V_STORE(c + (i)*ldc, c##i##_0); \
    V_STORE(c + (i)*ldc + V_WIDTH, c##i##_1);
#define HALVES_STORE_4(i)                         \
    HALVES_STORE_2(i)                             \
    V_STORE(c + (i)*ldc + 2 * V_WIDTH, c##i##_2); \
    V_STORE(c + (i)*ldc + 3 * V_WIDTH, c##i##_3);
#define HALVES_KERNEL(R, N)                                                                \
    static void halves_##R##_##N(int steps, const float *a, size_t lda, const uint16_t *b, \
                                 size_t ldb, float *c, size_t ldc, bool add)               \
    {                                                                                      \
        ROWS_##R(HALVES_DECLARE_##N) if (add)                                              \
        {                                                                                  \
            ROWS_##R(HALVES_LOAD_##N)                                                      \
        }                                                                                  \
        for (int k = 0; k < steps; k++, a++, b += ldb) {                                   \
            __builtin_prefetch(b + HALF_AHEAD);                                            \
            HALVES_B_##N ROWS_##R(HALVES_STEP_##N)                                         \
        }                                                                                  \
        ROWS_##R(HALVES_STORE_##N)                                                         \
    }
HALVES_KERNEL(2, 2)
HALVES_KERNEL(2, 4)
HALVES_KERNEL(3, 2)
HALVES_KERNEL(4, 2)

/* One row, columns [x, end) of the job. */
static void half_row(const struct gemm_job *job, int row, int x, int end)
{
    const float *a = job->a + (size_t)row * job->lda;
    const uint16_t *b = job->b.data;
    float *c = job->c + (size_t)row * job->ldc;
    for (; x + 8 * V_WIDTH <= end; x += 8 * V_WIDTH)
        half_row_8(job->k, a, b + x, job->ldb, c + x, job->add);
    for (; x + 4 * V_WIDTH <= end; x += 4 * V_WIDTH)
        half_row_4(job->k, a, b + x, job->ldb, c + x, job->add);
    for (; x + V_WIDTH <= end; x += V_WIDTH)
        half_row_1(job->k, a, b + x, job->ldb, c + x, job->add);
    for (; x < end; x++) {
        float sum = job->add ? c[x] : 0.0f;
        for (int k = 0; k < job->k; k++)
            sum = __builtin_fmaf(a[k], fm_of_half(b[(size_t)k * job->ldb + (size_t)x]), sum);
        c[x] = sum;
    }
}

/* Up to four rows. */
static void half_rows(const struct gemm_job *job, int row, int rows, int x, int end)
{
    const float *a = job->a + (size_t)row * job->lda;
    const uint16_t *b = job->b.data;
    float *c = job->c + (size_t)row * job->ldc;
    for (; rows == 2 && x + 4 * V_WIDTH <= end; x += 4 * V_WIDTH)
        halves_2_4(job->k, a, job->lda, b + x, job->ldb, c + x, job->ldc, job->add);
    for (; rows > 1 && x + 2 * V_WIDTH <= end; x += 2 * V_WIDTH) {
        if (rows == 2)
            halves_2_2(job->k, a, job->lda, b + x, job->ldb, c + x, job->ldc, job->add);
        else if (rows == 3)
            halves_3_2(job->k, a, job->lda, b + x, job->ldb, c + x, job->ldc, job->add);
        else
            halves_4_2(job->k, a, job->lda, b + x, job->ldb, c + x, job->ldc, job->add);
    }
    for (int i = 0; i < rows && x < end; i++)
        half_row(job, row + i, x, end);
}

/* ---- what follows on a tile (gemm_job.then) ---- */

static int then_steps(const struct gemm_job *job)
{
    int steps = 0;
    for (int i = 0; i < job->n_then; i++)
        steps += job->then[i].k;
    return steps;
}

static float *then_space(const struct gemm_job *job, int rows, float *pack)
{
    return pack + GEMM_PACK_FLOATS - gemm_then_floats(then_steps(job), rows);
}

static void pack_a(const struct gemm_job *job, int row, int rows, int k0, int steps, float *ap)
{
    for (int y = 0; y < rows; y += GEMM_ROWS) {
        int n = rows - y < GEMM_ROWS ? rows - y : GEMM_ROWS;
        float *dst = ap + (size_t)y * steps;
        if (job->a_by_k)
            pack_straight(job->a + (size_t)k0 * job->lda + row + y, job->lda, n, micro_rows(n),
                          steps, dst);
        else
            pack_transposed(job->a + (size_t)(row + y) * job->lda + k0, job->lda, n, micro_rows(n),
                            steps, dst);
    }
}

static void sweep_rows(const struct gemm_job *job, int row, int rows, int col, int cols, int k0,
                       int steps, const float *ap, const float *bp)
{
    for (int y = 0; y < rows; y += GEMM_ROWS) {
        int here = rows - y < GEMM_ROWS ? rows - y : GEMM_ROWS;
        float *c = job->c + (size_t)(row + y) * job->ldc + col;
        if (steps >= ASK_STEPS)
            ask_for_rows(c + GEMM_ROWS * job->ldc, job->ldc, rows - y - GEMM_ROWS, GEMM_ROWS);
        gemm_panels(c, job->ldc, here, cols, steps, ap + (size_t)y * steps, 1,
                    (size_t)micro_rows(here), bp, k0 == 0 && !job->add);
    }
}

/* Their rows of A, one behind the other; space: then_space. */
static void then_pack(const struct gemm_job *job, int row, int rows, float *space)
{
    float *ap = space + (16 + GEMM_THEN_STEPS) * GEMM_PANEL;
    for (int i = 0; i < job->n_then; i++) {
        pack_a(&job->then[i], row, rows, 0, job->then[i].k, ap);
        ap += (size_t)(rows + 16) * (size_t)job->then[i].k;
    }
}

/* On columns [col, col + cols) of one panel. */
static void then_add(const struct gemm_job *job, int row, int rows, int col, int cols, float *space)
{
    float *bp = space + 16 * GEMM_PANEL, *ap = bp + GEMM_THEN_STEPS * GEMM_PANEL;
    for (int i = 0; i < job->n_then; i++) {
        const struct gemm_job *t = &job->then[i];
        int first = col - (int)(t->c - job->c);
        int n = t->n - first < cols ? t->n - first : cols;
        if (first >= 0 && n > 0) {
            if (t->b_by_k)
                pack_b_inputs(t, first, n, 0, t->k, bp, space);
            else
                pack_b_outputs(t, first, n, 0, t->k, bp, space);
            sweep_rows(t, row, rows, first, n, 0, t->k, ap, bp);
        }
        ap += (size_t)(rows + 16) * (size_t)t->k;
    }
}

static void gemm_tile(const struct gemm_job *job, int row, int rows, int col, int cols, float *pack)
{
    if (rows <= GEMM_FEW_ROWS && job->b.form == WEIGHT_F16 && job->b_by_k && !job->a_by_k &&
        job->n_then == 0) {
        for (int y = 0, n = few_rows(rows); y < rows; y += n, n = few_rows(rows - y))
            half_rows(job, row + y, n, col, col + cols);
        return;
    }
    float *spare = pack;
    float *ap = spare + 16 * GEMM_PANEL;
    float *then = then_space(job, rows, pack);
    float *bp = then - (size_t)GEMM_K_BLOCK * GEMM_PANEL;
    then_pack(job, row, rows, then);
    for (int k0 = 0; k0 < job->k; k0 += GEMM_K_BLOCK) {
        int steps = job->k - k0 < GEMM_K_BLOCK ? job->k - k0 : GEMM_K_BLOCK;
        pack_a(job, row, rows, k0, steps, ap);
        for (int x = 0; x < cols; x += GEMM_PANEL) {
            int n = cols - x < GEMM_PANEL ? cols - x : GEMM_PANEL;
            if (job->b_by_k)
                pack_b_inputs(job, col + x, n, k0, steps, bp, spare);
            else
                pack_b_outputs(job, col + x, n, k0, steps, bp, spare);
            sweep_rows(job, row, rows, col + x, n, k0, steps, ap, bp);
            if (k0 + steps == job->k)
                then_add(job, row, rows, col + x, n, then);
        }
    }
}
