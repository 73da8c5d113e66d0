/*
 * Part of kernels_body.h: attention. Its products take B in panels that serve several of them, use
 * A where it is when a step of it lies together, and leave out what no query of a row panel sees.
 */

static void pack_rows(int n, int k, const float *x, size_t ldx, float *panels)
{
    for (int i = 0; i < n; i += GEMM_PANEL)
        pack_transposed(x + (size_t)i * ldx, ldx, n - i < GEMM_PANEL ? n - i : GEMM_PANEL,
                        GEMM_PANEL, k, panels + (size_t)i * (size_t)k);
}

static void pack_columns(int k, int cols, const float *x, size_t ldx, size_t apart, float *panels)
{
    for (int i = 0; i < cols; i += GEMM_PANEL, panels += apart)
        pack_straight(x + i, ldx, cols - i < GEMM_PANEL ? cols - i : GEMM_PANEL, GEMM_PANEL, k,
                      panels);
}

/* Steps [from, to) and columns [0, cols) of a row panel. */
struct panel_part {
    int rows, from, to, cols;
};

static struct panel_part panel_part(const struct attention_job *job, int y)
{
    struct panel_part p = {job->m - y < GEMM_ROWS ? job->m - y : GEMM_ROWS, 0, job->k, job->n};
    int sees = job->first + (y + p.rows - 1) / job->heads;
    if (job->part == SEES_COLUMNS && sees < p.cols)
        p.cols = (sees + NR - 1) / NR * NR;
    if (job->part == SEES_STEPS && sees < p.to)
        p.to = sees;
    if (job->part == IS_SEEN && y > job->first)
        p.from = y - job->first;
    return p;
}

static void attention_product(const struct attention_job *job, float *pack)
{
    size_t a_row = job->part == IS_SEEN ? 1 : job->lda,
           a_step = job->part == IS_SEEN ? job->lda : 1;
    for (int k0 = 0; k0 < job->k; k0 += GEMM_K_BLOCK) {
        int end = job->k - k0 < GEMM_K_BLOCK ? job->k : k0 + GEMM_K_BLOCK;
        int ragged = job->m % GEMM_ROWS, last = job->m - ragged;
        bool packed = job->part != IS_SEEN && micro_rows(ragged) != ragged;
        if (packed)
            pack_transposed(job->a + (size_t)last * job->lda + k0, job->lda, ragged,
                            micro_rows(ragged), end - k0, pack);
        for (int x = 0; x < job->n; x += GEMM_PANEL) {
            const float *b = job->b + (size_t)(x / GEMM_PANEL) * job->b_panel;
            for (int y = 0; y < job->m; y += GEMM_ROWS) {
                struct panel_part p = panel_part(job, y);
                int from = p.from > k0 ? p.from : k0, to = p.to < end ? p.to : end;
                int cols = p.cols - x < GEMM_PANEL ? p.cols - x : GEMM_PANEL;
                if (from >= to || cols <= 0)
                    continue;
                bool here = packed && y == last;
                gemm_panels(job->c + (size_t)y * job->ldc + x, job->ldc, p.rows, cols, to - from,
                            here ? pack : job->a + (size_t)y * a_row + (size_t)from * a_step,
                            here ? 1 : a_row, here ? (size_t)micro_rows(ragged) : a_step,
                            b + (size_t)from * GEMM_PANEL, from == p.from && !job->add);
            }
        }
    }
}

static float lanes_largest(struct lanes a)
{
    float t[LANES];
    lanes_store(t, a);
    for (int i = 0; i < 8; i++)
        t[i] = t[i] > t[i + 8] ? t[i] : t[i + 8];
    for (int i = 0; i < 4; i++)
        t[i] = t[i] > t[i + 4] ? t[i] : t[i + 4];
    t[0] = t[0] > t[2] ? t[0] : t[2];
    t[1] = t[1] > t[3] ? t[1] : t[3];
    return t[0] > t[1] ? t[0] : t[1];
}

/* Whole vectors: the last one begins with what is left of the row and ends with copies of its first
 * score, which are in no sum. */
static float softmax_row(size_t n, float scale, float *p)
{
    static const float ones[2 * LANES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct lanes best = lanes_set(p[0]), sum = lanes_set(0.0f);
    lanes_store(p + n, best);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        best = lanes_max(lanes_load(p + i), best);
    if (i < n) /* not the vector that was just written over */
        best = lanes_max(lanes_load(n < LANES ? p : p + n - LANES), best);
    float shift = lanes_largest(best) * scale;
    struct lanes factor = lanes_set(scale), minus = lanes_set(-shift);
    struct lanes least = lanes_set(FM_EXPF_LEAST);
    size_t whole = (n + LANES - 1) / LANES * LANES;
    for (i = 0; i < whole; i += LANES)
        lanes_store(p + i, lanes_max(least, lanes_fma(lanes_load(p + i), factor, minus)));
    V_LOOP
    for (i = 0; i < whole; i++)
        p[i] = fm_expf_from_least(p[i]);
    for (i = 0; i + LANES <= n; i += LANES)
        sum = lanes_fma(lanes_load(p + i), lanes_load(ones), sum);
    if (i < n)
        sum = lanes_fma(lanes_load(p + i), lanes_load(ones + LANES - (n - i)), sum);
    lanes_store(p + n, lanes_set(0.0f));
    return 1.0f / lanes_sum(sum);
}

static void softmax_backward_row(size_t n, float inverse, float delta, float scale, float *p,
                                 float *dp)
{
    size_t whole = (n + LANES - 1) / LANES * LANES;
    V_LOOP
    for (size_t i = 0; i < whole; i++) {
        p[i] = p[i] * inverse;
        dp[i] = (p[i] * (dp[i] - delta)) * scale;
    }
    lanes_store(p + n, lanes_set(0.0f));
    lanes_store(dp + n, lanes_set(0.0f));
}

static void normalise_row(size_t n, float factor, float *y)
{
    V_LOOP
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] * factor + 0.0f;
}
