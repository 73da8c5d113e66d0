/* Element-wise operations, embedding, sums for norms, AdamW. */

#include "stages/model/ops.h"

#include "pipeline/base/check.h"
#include "stages/model/kernels.h"

/* The arrays of one operation; which are used depends on the operation. */
struct ops_run {
    const struct compute *c;
    const struct kernels *k;
    const float *a, *b, *g;
    size_t lda;
    float *y, *z, *u;
    size_t ldy;
    int dim;
    float s;
    const int32_t *ids;
    const struct weight *table;
    const struct adamw_factors *adamw;
    int m;
};

static void kv_quant_rows(void *context, int first, int n)
{
    const struct ops_run *r = context;
    for (int t = first; t < first + n; t++) {
        const float *x = r->a + (size_t)t * r->lda;
        float *y = r->y + (size_t)t * r->ldy;
        if (r->s != 0.0f)
            r->k->kv_quant(r->dim, r->s, x, y);
        else
            for (int i = 0; i < r->dim; i++)
                y[i] = x[i];
    }
}

void ops_kv_quant(struct compute *c, int m, int dim, const float *x, int ldx, float scale, float *y,
                  int ldy)
{
    struct ops_run r = {
        .k = c->kernels,
        .a = x,
        .lda = (size_t)ldx,
        .y = y,
        .ldy = (size_t)ldy,
        .dim = dim,
        .s = scale,
    };
    compute_rows(c, m, (size_t)dim, kv_quant_rows, &r);
}

#define ABS_MAX_ROWS 32

/* The first float of each thread's packing space holds its maximum. */
static void abs_max_item(void *context, size_t i, int i_thread)
{
    const struct ops_run *r = context;
    float *best = r->c->pack + (size_t)i_thread * r->c->pack_floats;
    for (int t = (int)i * ABS_MAX_ROWS; t < (int)(i + 1) * ABS_MAX_ROWS && t < r->m; t++) {
        float v = r->k->abs_max((size_t)r->dim, r->a + (size_t)t * r->lda);
        *best = v > *best ? v : *best;
    }
}

float ops_abs_max(struct compute *c, int m, int dim, const float *x, int ldx)
{
    struct ops_run r = {
        .c = c,
        .k = c->kernels,
        .a = x,
        .lda = (size_t)ldx,
        .dim = dim,
        .m = m,
    };
    int n_threads = thread_pool_size(c->pool);
    for (int i = 0; i < n_threads; i++)
        c->pack[(size_t)i * c->pack_floats] = 0.0f;
    thread_pool_run(c->pool, ((size_t)m + ABS_MAX_ROWS - 1) / ABS_MAX_ROWS, abs_max_item, &r);
    float best = 0.0f;
    for (int i = 0; i < n_threads; i++) {
        float v = c->pack[(size_t)i * c->pack_floats];
        best = v > best ? v : best;
    }
    return best;
}

static void swiglu_block(void *context, size_t first, size_t n)
{
    const struct ops_run *r = context;
    r->k->swiglu(n, r->a + first, r->b + first, r->y + first);
}

void ops_swiglu(struct compute *c, int m, int dim, const float *gate, const float *up, float *y)
{
    struct ops_run r = {.k = c->kernels, .a = gate, .b = up, .y = y};
    compute_blocks(c, (size_t)m * (size_t)dim, swiglu_block, &r);
}

static void swiglu_backward_block(void *context, size_t first, size_t n)
{
    const struct ops_run *r = context;
    r->k->swiglu_backward(n, r->g + first, r->a + first, r->b + first, r->y + first, r->z + first);
}

void ops_swiglu_backward(struct compute *c, int m, int dim, const float *dy, const float *gate,
                         const float *up, float *dgate, float *dup)
{
    struct ops_run r = {.k = c->kernels, .g = dy, .a = gate, .b = up, .y = dgate, .z = dup};
    compute_blocks(c, (size_t)m * (size_t)dim, swiglu_backward_block, &r);
}

static void embed_rows(void *context, int first, int n)
{
    const struct ops_run *r = context;
    for (int t = first; t < first + n; t++)
        weight_unpack_row(r->table, r->ids[t], r->y + (size_t)t * (size_t)r->table->k);
}

void ops_embed(struct compute *c, int m, const struct weight *table, const int32_t *ids, float *y)
{
    struct ops_run r = {.table = table, .ids = ids, .y = y};
    compute_rows(c, m, (size_t)table->k, embed_rows, &r);
}

/* Threads share the columns, so every row's sum runs over the tokens in order. */
#define EMBED_COLUMNS 64

static void embed_backward_columns(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    const struct ops_run *r = context;
    size_t dim = (size_t)r->dim, first = i * EMBED_COLUMNS;
    size_t cols = dim - first < EMBED_COLUMNS ? dim - first : EMBED_COLUMNS;
    for (int t = 0; t < r->m; t++)
        r->k->add(cols, r->a + (size_t)t * dim + first, r->y + (size_t)r->ids[t] * dim + first);
}

void ops_embed_backward(struct compute *c, int m, int dim, const int32_t *ids, const float *dy,
                        float *dtable)
{
    struct ops_run r = {.k = c->kernels, .a = dy, .y = dtable, .ids = ids, .dim = dim, .m = m};
    thread_pool_run(c->pool, ((size_t)dim + EMBED_COLUMNS - 1) / EMBED_COLUMNS,
                    embed_backward_columns, &r);
}

static void add_block(void *context, size_t first, size_t n)
{
    const struct ops_run *r = context;
    r->k->add(n, r->a + first, r->y + first);
}

void ops_add(struct compute *c, size_t n, const float *x, float *y)
{
    struct ops_run r = {.k = c->kernels, .a = x, .y = y};
    compute_blocks(c, n, add_block, &r);
}

static void scale_block(void *context, size_t first, size_t n)
{
    const struct ops_run *r = context;
    r->k->scale(n, r->s, r->y + first);
}

void ops_scale(struct compute *c, size_t n, float s, float *y)
{
    struct ops_run r = {.k = c->kernels, .s = s, .y = y};
    compute_blocks(c, n, scale_block, &r);
}

static double sum_squares_block(void *context, size_t first, size_t n)
{
    const struct ops_run *r = context;
    return r->k->sum_squares(n, r->a + first);
}

double ops_sum_squares(struct compute *c, size_t n, const float *x)
{
    struct ops_run r = {.k = c->kernels, .a = x};
    return compute_block_sum(c, n, sum_squares_block, &r);
}

static double not_finite_block(void *context, size_t first, size_t n)
{
    const struct ops_run *r = context;
    return r->k->all_finite(n, r->a + first) ? 0.0 : 1.0;
}

bool ops_all_finite(struct compute *c, size_t n, const float *x)
{
    struct ops_run r = {.k = c->kernels, .a = x};
    return compute_block_sum(c, n, not_finite_block, &r) == 0.0;
}

static void adamw_block(void *context, size_t first, size_t n)
{
    const struct ops_run *r = context;
    r->k->adamw(n, r->adamw, r->y + first, r->g + first, r->z + first, r->u + first);
}

/* b^t by squaring: a fixed sequence of double products. */
static double power(double b, int64_t t)
{
    double result = 1.0;
    for (; t > 0; t /= 2, b *= b)
        if (t % 2)
            result *= b;
    return result;
}

void ops_adamw(struct compute *c, size_t n, const struct adamw_step *s, float *p, const float *g,
               float *m, float *v)
{
    CHECK(s->t >= 1);
    double beta1 = (double)s->beta1, beta2 = (double)s->beta2;
    struct adamw_factors f = {
        .decay = (float)(1.0 - (double)s->lr * (double)s->weight_decay),
        .beta1 = s->beta1,
        .one_minus_beta1 = (float)(1.0 - beta1),
        .beta2 = s->beta2,
        .one_minus_beta2 = (float)(1.0 - beta2),
        .step = (float)((double)s->lr / (1.0 - power(beta1, s->t))),
        .inv_correction = (float)(1.0 / __builtin_sqrt(1.0 - power(beta2, s->t))),
        .eps = s->eps,
        .gscale = s->gscale,
    };
    struct ops_run r = {.k = c->kernels, .adamw = &f, .y = p, .g = g, .z = m, .u = v};
    compute_blocks(c, n, adamw_block, &r);
}

float ops_row_max(const struct compute *c, int n, const float *x)
{
    return c->kernels->row_max((size_t)n, x);
}

float ops_row_exp(const struct compute *c, int n, const float *x, float scale, float shift,
                  float *y)
{
    return c->kernels->row_exp((size_t)n, x, scale, shift, y);
}

float ops_row_dot(const struct compute *c, int n, const float *x, const float *y)
{
    return c->kernels->dot((size_t)n, x, y);
}

/* The largest of n values and `least`, 16 side by side: in one chain each waits for the one before.
 */
static float largest_of(int n, const float *x, float least)
{
    float t[16];
    for (int j = 0; j < 16; j++)
        t[j] = least;
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            t[j] = x[i + j] > t[j] ? x[i + j] : t[j];
    for (; i < n; i++)
        t[0] = x[i] > t[0] ? x[i] : t[0];
    for (int j = 1; j < 16; j++)
        t[0] = t[j] > t[0] ? t[j] : t[0];
    return t[0];
}

int32_t ops_argmax(const float *x, int n)
{
    enum { BLOCK = 256 };
    float most = x[0];
    int32_t best = 0;
    for (int32_t i = 0; i < n; i += BLOCK) {
        float largest = largest_of(n - i < BLOCK ? n - i : BLOCK, x + i, most);
        if (largest > most) {
            most = largest;
            best = i;
        }
    }
    for (int32_t i = best; i < n; i++)
        if (x[i] == most)
            return i;
    return 0;
}
