#include "stages/model/gemm.h"

#include "pipeline/base/check.h"
#include "stages/model/kernels.h"

/*
 * Threads take tiles of rows x columns. Every output element is one chain, so the cut may follow
 * the number of threads: it is the cut with the least estimated time. Per reduction step a tile
 * costs rows * cols / 16 fma, and packing its rows and columns costs about PACK_COST / 16 fma per
 * element.
 */
#define PACK_COST 8
/* Few rows with a matrix straight from where it is: one of so many elements or more is taken in
 * parts of a multiple of STRAIGHT_COLUMNS (of a panel, where it lies by panels). What counts is to
 * read it, so the rows do not. */
#define STRAIGHT_PARTS 32768
#define STRAIGHT_COLUMNS 16
/* Multiplications with codes by each element of a vector that take about as long as threads to
 * meet: fewer are one thread's. */
#define INT16_ALONE 16384
/* Parts that each thread takes of few rows' product with packed weights, where what counts is the
 * memory's speed: with one part each the others wait for the thread that has less of it. */
#define ROW_PARTS 2

struct tiling {
    int rows, cols; /* of a tile */
    int n_rows, n_cols;
};

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

static struct tiling choose_tiling(const struct gemm_job *job, int rows_step, int rows_max,
                                   int n_threads)
{
    struct tiling best = {0};
    double best_cost = 0;
    int least_rows = divide_up(job->m, rows_max);
    int most_cols = divide_up(job->n, GEMM_PANEL);
    for (int i = least_rows; i < least_rows + 2 * n_threads + 2; i++) {
        int rows = divide_up(divide_up(job->m, i), rows_step) * rows_step;
        for (int j = 1; j <= 4 * n_threads && j <= most_cols; j++) {
            int cols = divide_up(most_cols, j) * GEMM_PANEL;
            struct tiling t = {rows, cols, divide_up(job->m, rows), divide_up(job->n, cols)};
            double tiles = (double)t.n_rows * t.n_cols;
            double turns = (double)(((int64_t)t.n_rows * t.n_cols + n_threads - 1) / n_threads);
            /* Half the ideal division, half whole turns: other programs want the cores too. */
            double times = 0.5 * turns + 0.5 * tiles / n_threads;
            double cost = times * ((double)rows * cols + PACK_COST * (rows + cols) + 64);
            if (best.rows == 0 || cost < best_cost) {
                best = t;
                best_cost = cost;
            }
        }
    }
    return best;
}

struct gemm_run {
    const struct gemm_job *job;
    const struct compute *c;
    void (*tile)(const struct gemm_job *job, int row, int rows, int col, int cols, float *pack);
    struct tiling tiling;
};

/* Tiles of one row block are neighbours: its rows of A stay in a shared cache. */
static void run_tile(void *context, size_t i, int i_thread)
{
    const struct gemm_run *g = context;
    const struct gemm_job *job = g->job;
    const struct tiling *t = &g->tiling;
    int row = (int)(i / (size_t)t->n_cols) * t->rows;
    int col = (int)(i % (size_t)t->n_cols) * t->cols;
    int rows = job->m - row < t->rows ? job->m - row : t->rows;
    int cols = job->n - col < t->cols ? job->n - col : t->cols;
    g->tile(job, row, rows, col, cols, g->c->pack + (size_t)i_thread * g->c->pack_floats);
}

/* A product over nothing: y = 0 or y unchanged. */
static bool is_empty(const struct gemm_job *job)
{
    if (job->m > 0 && job->n > 0 && job->k == 0 && !job->add)
        for (int y = 0; y < job->m; y++)
            for (int x = 0; x < job->n; x++)
                job->c[(size_t)y * job->ldc + (size_t)x] = 0.0f;
    return job->m == 0 || job->n == 0 || job->k == 0;
}

static bool takes_int16(const struct compute *c, const struct gemm_job *job)
{
    if (c->precision != COMPUTE_INT16 || job->a_by_k)
        return false;
    if (job->b.form == WEIGHT_Q4) /* its gradients are few and peaked: they stay in fp32 */
        return !job->b_by_k && job->k % 16 == 0 && job->k <= GEMM_INT16_K_MAX_Q4;
    return job->b.form == WEIGHT_Q2 && job->k <= GEMM_INT16_K_MAX;
}

/* All rows, in about so many parts of a multiple of `step` columns. */
static void run_columns(struct gemm_run *g, int parts, int step)
{
    int cols = divide_up(divide_up(g->job->n, parts), step) * step;
    g->tiling = (struct tiling){g->job->m, cols, 1, divide_up(g->job->n, cols)};
    thread_pool_run(g->c->pool, (size_t)g->tiling.n_cols, run_tile, g);
}

/* Few rows: nothing is gained by cutting them, so there is nothing to choose. */
static void run_few(struct gemm_run *g, bool int16, bool tiny)
{
    const struct gemm_job *job = g->job;
    const struct kernels *k = g->c->kernels;
    bool straight = gemm_is_straight(job);
    int n_threads = thread_pool_size(g->c->pool);
    double elements = (double)job->n * job->k;
    bool parts = straight ? elements >= STRAIGHT_PARTS
                 : int16  ? elements * (k->int16_tiles ? 1 : job->m) >= INT16_ALONE * k->width
                          : !tiny;
    if (parts && n_threads > 1)
        run_columns(g, int16 ? ROW_PARTS * n_threads : n_threads,
                    job->b.panels ? WEIGHT_PANEL
                    : straight    ? STRAIGHT_COLUMNS
                                  : GEMM_PANEL);
    else
        g->tile(job, 0, job->m, 0, job->n, g->c->pack);
}

/* Steps of what follows on the job's tiles; -1: it cannot. */
static int steps_on_tiles(const struct gemm_job *job)
{
    int steps = 0;
    for (int i = 0; i < job->n_then; i++) {
        int first = (int)(job->then[i].c - job->c), n = job->then[i].n;
        if (first % GEMM_PANEL != 0 || (n % GEMM_PANEL != 0 && first + n != job->n))
            return -1;
        steps += job->then[i].k;
        if (is_empty(&job->then[i]) || steps > GEMM_THEN_STEPS)
            return -1;
    }
    return job->m > GEMM_FEW_ROWS ? steps : -1;
}

static void run_job(struct compute *c, const struct gemm_job *job);

/* What cannot follow on the tiles follows on the whole. */
static void run_apart(struct compute *c, const struct gemm_job *job)
{
    struct gemm_job alone = *job;
    alone.n_then = 0;
    run_job(c, &alone);
    for (int i = 0; i < job->n_then; i++)
        run_job(c, &job->then[i]);
}

static void run_job(struct compute *c, const struct gemm_job *job)
{
    CHECK(job->m >= 0 && job->n >= 0 && job->k >= 0);
    CHECK(c->pack_floats >= GEMM_PACK_FLOATS);
    int then_steps = job->n_then == 0 ? 0 : job->k == 0 ? -1 : steps_on_tiles(job);
    if (then_steps < 0) {
        run_apart(c, job);
        return;
    }
    if (is_empty(job))
        return;
    bool int16 = takes_int16(c, job);
    struct gemm_run g = {job, c, int16 ? c->kernels->gemm_int16_tile : c->kernels->gemm_tile, {0}};
    int n_threads = thread_pool_size(c->pool);
    bool tiny = (double)job->m * job->n * job->k < 1 << 17;
    if (job->m <= GEMM_FEW_ROWS) {
        run_few(&g, int16, tiny);
        return;
    }
    g.tiling = choose_tiling(job, int16 ? GEMM_INT16_PANEL_ROWS : c->kernels->rows_step,
                             int16 ? gemm_int16_rows(job->k, then_steps) : GEMM_ROWS_MAX,
                             tiny ? 1 : n_threads);
    size_t n_tiles = (size_t)g.tiling.n_rows * (size_t)g.tiling.n_cols;
    if (tiny || n_tiles == 1) {
        for (size_t i = 0; i < n_tiles; i++)
            run_tile(&g, i, 0);
    } else {
        thread_pool_run(c->pool, n_tiles, run_tile, &g);
    }
}

static void check_codes(const struct weight *w)
{
    if (w->form == WEIGHT_Q2)
        CHECK(w->n % 16 == 0 && w->k % 16 == 0);
    if (w->form == WEIGHT_Q4)
        CHECK(w->n % 16 == 0 && w->k % 8 == 0);
}

static struct gemm_job job_xwt(int m, const float *x, int ldx, const struct weight *w, float *y,
                               int ldy, bool add)
{
    CHECK(ldx >= w->k && ldy >= w->n);
    check_codes(w);
    return (struct gemm_job){
        .m = m,
        .n = w->n,
        .k = w->k,
        .a = x,
        .lda = (size_t)ldx,
        .b_by_k = w->panels,
        .b = *w,
        .ldb = w->panels ? WEIGHT_PANEL : (size_t)w->k,
        .c = y,
        .ldc = (size_t)ldy,
        .add = add,
    };
}

static struct gemm_job job_xw(int m, const float *dy, int lddy, const struct weight *w, float *dx,
                              int lddx, bool add)
{
    CHECK(lddy >= w->n && lddx >= w->k && !w->panels);
    check_codes(w);
    return (struct gemm_job){
        .m = m,
        .n = w->k,
        .k = w->n,
        .a = dy,
        .lda = (size_t)lddy,
        .b_by_k = true,
        .b = *w,
        .ldb = (size_t)w->k,
        .c = dx,
        .ldc = (size_t)lddx,
        .add = add,
    };
}

void gemm_xwt(struct compute *c, int m, const float *x, int ldx, const struct weight *w, float *y,
              int ldy, bool add)
{
    struct gemm_job job = job_xwt(m, x, ldx, w, y, ldy, add);
    run_job(c, &job);
}

void gemm_xw(struct compute *c, int m, const float *dy, int lddy, const struct weight *w, float *dx,
             int lddx, bool add)
{
    struct gemm_job job = job_xw(m, dy, lddy, w, dx, lddx, add);
    run_job(c, &job);
}

void gemm_xwt_then(struct compute *c, int m, const float *x, int ldx, const struct weight *w,
                   float *y, int ldy, int n_thin, const struct gemm_thin *thin)
{
    struct gemm_job job = job_xwt(m, x, ldx, w, y, ldy, false), then[GEMM_THIN_MAX];
    CHECK(n_thin <= GEMM_THIN_MAX);
    for (int i = 0; i < n_thin; i++)
        then[i] = job_xw(m, thin[i].x, thin[i].w.n, &thin[i].w, y + thin[i].first, ldy, true);
    job.then = then;
    job.n_then = n_thin;
    run_job(c, &job);
}

void gemm_xw_then(struct compute *c, int m, const float *dy, int lddy, const struct weight *w,
                  float *dx, int lddx, bool add, int n_thin, const struct gemm_thin *thin)
{
    struct gemm_job job = job_xw(m, dy, lddy, w, dx, lddx, add), then[GEMM_THIN_MAX];
    CHECK(n_thin <= GEMM_THIN_MAX);
    for (int i = 0; i < n_thin; i++)
        then[i] = job_xwt(m, thin[i].x, thin[i].w.k, &thin[i].w, dx + thin[i].first, lddx, true);
    job.then = then;
    job.n_then = n_thin;
    run_job(c, &job);
}

void gemm_dw(struct compute *c, int m, int n, int k, const float *dy, int lddy, const float *x,
             int ldx, float *dw, int lddw, bool add)
{
    CHECK(lddy >= n && ldx >= k && lddw >= k);
    struct gemm_job job = {
        .m = n,
        .n = k,
        .k = m,
        .a = dy,
        .lda = (size_t)lddy,
        .a_by_k = true,
        .b_by_k = true,
        .b = weight_dense(x, m, k),
        .ldb = (size_t)ldx,
        .c = dw,
        .ldc = (size_t)lddw,
        .add = add,
    };
    run_job(c, &job);
}
