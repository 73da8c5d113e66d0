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

/* R rows against N vectors of columns. Accumulators are named variables: gcc 12 keeps an array of
 * them in memory. */
#define MICRO_DECLARE_1(i) VF c##i##_0;
#define MICRO_DECLARE_2(i) MICRO_DECLARE_1(i) VF c##i##_1;
#define MICRO_DECLARE_4(i) MICRO_DECLARE_2(i) VF c##i##_2, c##i##_3;
#define MICRO_ZERO_1(i) c##i##_0 = V_SET1(0.0f);
#define MICRO_ZERO_2(i) MICRO_ZERO_1(i) c##i##_1 = c##i##_0;
#define MICRO_ZERO_4(i) MICRO_ZERO_2(i) c##i##_2 = c##i##_3 = c##i##_0;
#define MICRO_LOAD_1(i) c##i##_0 = V_LOAD(c + (i)*ldc);
#define MICRO_LOAD_2(i) MICRO_LOAD_1(i) c##i##_1 = V_LOAD(c + (i)*ldc + V_WIDTH);
#define MICRO_LOAD_4(i)                           \
    MICRO_LOAD_2(i)                               \
    c##i##_2 = V_LOAD(c + (i)*ldc + 2 * V_WIDTH); \
    c##i##_3 = V_LOAD(c + (i)*ldc + 3 * V_WIDTH);
#define MICRO_B_1(LOAD) VF b_0 = LOAD(b);
#define MICRO_B_2(LOAD) MICRO_B_1(LOAD) VF b_1 = LOAD(b + V_WIDTH);
#define MICRO_B_4(LOAD) MICRO_B_2(LOAD) VF b_2 = LOAD(b + 2 * V_WIDTH), b_3 = LOAD(b + 3 * V_WIDTH);
#define MICRO_FMA_1(i) c##i##_0 = V_FMA(a_##i, b_0, c##i##_0);
#define MICRO_FMA_2(i) MICRO_FMA_1(i) c##i##_1 = V_FMA(a_##i, b_1, c##i##_1);
#define MICRO_FMA_4(i)                      \
    MICRO_FMA_2(i)                          \
    c##i##_2 = V_FMA(a_##i, b_2, c##i##_2); \
    c##i##_3 = V_FMA(a_##i, b_3, c##i##_3);
#define MICRO_STORE_1(i) V_STORE(c + (i)*ldc, c##i##_0);
#define MICRO_STORE_2(i) MICRO_STORE_1(i) V_STORE(c + (i)*ldc + V_WIDTH, c##i##_1);
#define MICRO_STORE_4(i)                          \
    MICRO_STORE_2(i)                              \
    V_STORE(c + (i)*ldc + 2 * V_WIDTH, c##i##_2); \
    V_STORE(c + (i)*ldc + 3 * V_WIDTH, c##i##_3);
#define MICRO_A(i) VF a_##i = V_SET1(a[i]);
#define MICRO_A_APART(i) VF a_##i = V_SET1(a[(i)*a_row]);
#define MICRO_STEP(i) MICRO_A(i) MICRO_FMA_2(i)
#define MICRO_STEP_APART(i) MICRO_A_APART(i) MICRO_FMA_2(i)

#define MICRO_BODY(R, N, A_STEP, STEP, B_STEP, LOAD_B)          \
    ROWS_##R(MICRO_DECLARE_##N) if (from_zero)                  \
    {                                                           \
        ROWS_##R(MICRO_ZERO_##N)                                \
    }                                                           \
    else                                                        \
    {                                                           \
        ROWS_##R(MICRO_LOAD_##N)                                \
    }                                                           \
    for (int k = 0; k < steps; k++, a += A_STEP, b += B_STEP) { \
        MICRO_B_##N(LOAD_B) ROWS_##R(STEP)                      \
    }                                                           \
    ROWS_##R(MICRO_STORE_##N)

/* A packed: a[step][R]; or apart: a[step a_step + row a_row]. */
#define MICRO_KERNEL(R)                                                                           \
    static void micro_##R(int steps, const float *a, const float *b, float *c, size_t ldc,        \
                          bool from_zero)                                                         \
    {                                                                                             \
        MICRO_BODY(R, 2, R, MICRO_STEP, GEMM_PANEL, V_LOAD)                                       \
    }                                                                                             \
    static void apart_##R(int steps, const float *a, size_t a_row, size_t a_step, const float *b, \
                          float *c, size_t ldc, bool from_zero)                                   \
    {                                                                                             \
        MICRO_BODY(R, 2, a_step, MICRO_STEP_APART, GEMM_PANEL, V_LOAD)                            \
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
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        V_STORE(out + i, w->form == WEIGHT_F16 ? V_LOAD_HALF(h + i) : V_LOAD_BF16(h + i));
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

/* Where op(B) of b_by_k has step k of a column: elements before it. */
static inline size_t element_at(const struct gemm_job *job, int k, int col)
{
    size_t panel = 0, at = (size_t)col;
    if (job->b.panels) {
        panel = at / WEIGHT_PANEL * (size_t)job->k * WEIGHT_PANEL;
        at %= WEIGHT_PANEL;
    }
    return panel + (size_t)k * job->ldb + at;
}

/* As above where the reduction runs over the rows of W (or of a plain matrix), or W is by panels;
 * the columns are of one. */
static void pack_b_inputs(const struct gemm_job *job, int col, int n, int k0, int steps, float *bp,
                          float *spare)
{
    const struct weight *w = &job->b;
    if (w->form == WEIGHT_F32) {
        const float *src = (const float *)w->data + element_at(job, k0, col);
        pack_straight(src, job->ldb, n, GEMM_PANEL, steps, bp);
    } else if (is_16(w)) {
        size_t first = element_at(job, k0, col);
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

/* R rows against N vectors of columns of floats, halves or bf16, straight from where these are:
 * what counts is the memory's speed, so what is read some steps later is asked for. */
#define STRAIGHT_AHEAD 128
#define STRAIGHT_LOAD_float(p) (__builtin_prefetch((p) + STRAIGHT_AHEAD), V_LOAD(p))
#define STRAIGHT_LOAD_half(p) (__builtin_prefetch((p) + STRAIGHT_AHEAD), V_LOAD_HALF(p))
#define STRAIGHT_LOAD_bf16(p) (__builtin_prefetch((p) + STRAIGHT_AHEAD), V_LOAD_BF16(p))
#define STRAIGHT_STEP_1(i) MICRO_A_APART(i) MICRO_FMA_1(i)
#define STRAIGHT_STEP_2(i) MICRO_A_APART(i) MICRO_FMA_2(i)
#define STRAIGHT_STEP_4(i) MICRO_A_APART(i) MICRO_FMA_4(i)
#define STRAIGHT_KERNEL(R, N, T, ELEMENT)                                          \
    static void T##_##R##_##N(const struct gemm_job *job, int row, int col)        \
    {                                                                              \
        int steps = job->k;                                                        \
        size_t a_row = job->lda, ldc = job->ldc;                                   \
        const float *a = job->a + (size_t)row * a_row;                             \
        const ELEMENT *b = (const ELEMENT *)job->b.data + element_at(job, 0, col); \
        float *c = job->c + (size_t)row * ldc + col;                               \
        bool from_zero = !job->add;                                                \
        MICRO_BODY(R, N, 1, STRAIGHT_STEP_##N, job->ldb, STRAIGHT_LOAD_##T)        \
    }
#define STRAIGHT_KERNELS(R, N)            \
    STRAIGHT_KERNEL(R, N, float, float)   \
    STRAIGHT_KERNEL(R, N, half, uint16_t) \
    STRAIGHT_KERNEL(R, N, bf16, uint16_t)
STRAIGHT_KERNELS(1, 1)
STRAIGHT_KERNELS(1, 2)
STRAIGHT_KERNELS(1, 4)
STRAIGHT_KERNELS(2, 1)
STRAIGHT_KERNELS(2, 2)
STRAIGHT_KERNELS(2, 4)
STRAIGHT_KERNELS(3, 1)
STRAIGHT_KERNELS(3, 2)
STRAIGHT_KERNELS(4, 1)
STRAIGHT_KERNELS(4, 2)

static bool takes_straight(const struct gemm_job *job, int rows)
{
    return rows <= GEMM_FEW_ROWS && gemm_is_straight(job) && job->n_then == 0;
}

#define STRAIGHT_CASE(R, N)                                            \
    case R * 8 + N:                                                    \
        (job->b.form == WEIGHT_F16    ? half_##R##_##N                 \
         : job->b.form == WEIGHT_BF16 ? bf16_##R##_##N                 \
                                      : float_##R##_##N)(job, row, x); \
        break;
static void straight_run(const struct gemm_job *job, int row, int rows, int x, int vectors)
{
    switch (rows * 8 + vectors) {
        STRAIGHT_CASE(1, 1)
        STRAIGHT_CASE(1, 2)
        STRAIGHT_CASE(1, 4)
        STRAIGHT_CASE(2, 1)
        STRAIGHT_CASE(2, 2)
        STRAIGHT_CASE(2, 4)
        STRAIGHT_CASE(3, 1)
        STRAIGHT_CASE(3, 2)
        STRAIGHT_CASE(4, 1)
        STRAIGHT_CASE(4, 2)
    default:
        break;
    }
}

/* Whether n vectors from column x on are in one panel; tiles begin at any multiple of
 * GEMM_PANEL. */
static bool in_panel(const struct gemm_job *job, int x, int n)
{
    return !job->b.panels || x % WEIGHT_PANEL + n * V_WIDTH <= WEIGHT_PANEL;
}

/* The columns [col, end) that are whole vectors; returns the first one that is not. */
static int straight_rows(const struct gemm_job *job, int row, int rows, int col, int end)
{
    int x = col;
    for (int n = rows <= 2 ? 4 : 2; n > 0; n /= 2)
        for (; x + n * V_WIDTH <= end && in_panel(job, x, n); x += n * V_WIDTH)
            for (int y = 0, r = few_rows(rows); y < rows; y += r, r = few_rows(rows - y))
                straight_run(job, row + y, r, x, n);
    return x;
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
    if (takes_straight(job, rows)) {
        int rest = straight_rows(job, row, rows, col, col + cols);
        cols -= rest - col;
        col = rest;
        if (cols == 0)
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
