/* RMSNorm, RoPE and the head norm; rows in 16 bits. */

#include <string.h>

#include "pipeline/base/check.h"
#include "stages/model/fmath.h"
#include "stages/model/kernels.h"
#include "stages/model/ops.h"

struct norm_run {
    const struct kernels *k;
    int m, heads, dim; /* heads = 1 for the plain norm */
    const float *dy, *x, *w;
    size_t lddy, ldx;
    float eps;
    float *y, *rotated, *rstd, *dw;
    size_t ldy, ldr;
    const float *rstd_in; /* (M, heads) */
    const int32_t *pos;
    const float *cos_sin;
    const struct rows16 *round; /* or NULL */
};

static void norm_rows(void *context, int first, int n)
{
    const struct norm_run *r = context;
    for (int t = first; t < first + n; t++) {
        float rstd = r->k->rmsnorm(r->dim, r->x + (size_t)t * r->ldx, r->w, r->eps,
                                   r->y + (size_t)t * r->ldy);
        if (r->rstd)
            r->rstd[t] = rstd;
    }
}

void ops_rmsnorm(struct compute *c, int m, int dim, const float *x, int ldx, const float *w,
                 float eps, float *y, int ldy, float *rstd)
{
    CHECK(ldx >= dim && ldy >= dim);
    struct norm_run r = {
        .k = c->kernels,
        .dim = dim,
        .x = x,
        .ldx = (size_t)ldx,
        .w = w,
        .eps = eps,
        .y = y,
        .ldy = (size_t)ldy,
        .rstd = rstd,
    };
    compute_rows(c, m, (size_t)dim, norm_rows, &r);
}

/* dw: threads share the columns, so every sum runs over the tokens in order. */
#define DW_COLUMNS 64

static void dw_columns(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    const struct norm_run *r = context;
    int first = (int)i * DW_COLUMNS;
    int cols = r->dim - first < DW_COLUMNS ? r->dim - first : DW_COLUMNS;
    if (r->heads == 1) {
        r->k->rmsnorm_dw(r->m, cols, r->dy + first, r->lddy, r->x + first, r->ldx, r->rstd_in, 1,
                         r->dw + first);
        return;
    }
    for (int t = 0; t < r->m; t++)
        r->k->rmsnorm_dw(r->heads, cols, r->dy + (size_t)t * r->lddy + first, (size_t)r->dim,
                         r->x + (size_t)t * r->ldx + first, (size_t)r->dim,
                         r->rstd_in + (size_t)t * (size_t)r->heads, 1, r->dw + first);
}

static void run_dw(struct compute *c, struct norm_run *r)
{
    size_t n_items = ((size_t)r->dim + DW_COLUMNS - 1) / DW_COLUMNS;
    if (r->m > 0)
        thread_pool_run(c->pool, n_items, dw_columns, r);
}

static void norm_backward_rows(void *context, int first, int n)
{
    const struct norm_run *r = context;
    for (int t = first; t < first + n; t++)
        r->k->rmsnorm_backward(r->dim, r->dy + (size_t)t * r->lddy, r->x + (size_t)t * r->ldx, r->w,
                               r->rstd_in[t], r->y + (size_t)t * r->ldy, true);
}

void ops_rmsnorm_backward(struct compute *c, int m, int dim, const float *dy, int lddy,
                          const float *x, int ldx, const float *w, const float *rstd, float *dx,
                          int lddx, float *dw)
{
    CHECK(lddy >= dim && ldx >= dim && lddx >= dim);
    struct norm_run r = {
        .k = c->kernels,
        .m = m,
        .heads = 1,
        .dim = dim,
        .dy = dy,
        .lddy = (size_t)lddy,
        .x = x,
        .ldx = (size_t)ldx,
        .w = w,
        .rstd_in = rstd,
        .y = dx,
        .ldy = (size_t)lddx,
        .dw = dw,
    };
    if (dw)
        run_dw(c, &r);
    compute_rows(c, m, (size_t)dim, norm_backward_rows, &r);
}

void ops_rope_fill(float theta, int d, int positions, float *cos_sin)
{
    CHECK(d % 2 == 0 && theta > 0);
    for (int i = 0; i < d / 2; i++) {
        double frequency = fm_pow((double)theta, -2.0 * (double)i / (double)d);
        for (int p = 0; p < positions; p++) {
            float *out = cos_sin + ((size_t)p * (size_t)(d / 2) + (size_t)i) * 2;
            out[0] = (float)fm_cos((double)p * frequency);
            out[1] = (float)fm_sin((double)p * frequency);
        }
    }
}

/* Row t of the kept ones; dim as in ops_round16. */
static int16_t *row16(const struct rows16 *r, int t, int dim)
{
    return r->q ? r->q + (size_t)t * (size_t)((dim + 1) / 2 * 2) : NULL;
}

static void round_row(const struct kernels *k, const struct rows16 *r, int t, int dim, float *x)
{
    float scale = k->round16((size_t)dim, x, row16(r, t, dim));
    if (r->q)
        r->scale[t] = scale;
}

/* The norm of each head of a row; rstd may be NULL. */
static void norm_heads(const struct norm_run *r, int t, const float *rotated, float *y)
{
    for (int h = 0; h < r->heads; h++) {
        size_t at = (size_t)h * (size_t)r->dim;
        float rstd = r->k->rmsnorm(r->dim, rotated + at, r->w, r->eps, y + at);
        if (r->rstd)
            r->rstd[(size_t)t * (size_t)r->heads + (size_t)h] = rstd;
    }
}

static void rope_norm_rows(void *context, int first, int n)
{
    const struct norm_run *r = context;
    for (int t = first; t < first + n; t++) {
        const float *table = r->cos_sin + (size_t)r->pos[t] * (size_t)r->dim;
        const float *x = r->x + (size_t)t * r->ldx;
        float *y = r->y + (size_t)t * r->ldy;
        float *rotated = r->rotated ? r->rotated + (size_t)t * r->ldr : y;
        for (int h = 0; h < r->heads; h++) {
            size_t at = (size_t)h * (size_t)r->dim;
            r->k->rope(r->dim, table, x + at, rotated + at);
        }
        if (r->round)
            round_row(r->k, r->round, t, r->heads * r->dim, rotated);
        norm_heads(r, t, rotated, y);
    }
}

static void head_norm_rows(void *context, int first, int n)
{
    const struct norm_run *r = context;
    for (int t = first; t < first + n; t++)
        norm_heads(r, t, r->x + (size_t)t * r->ldx, r->y + (size_t)t * r->ldy);
}

void ops_head_norm(struct compute *c, int m, int heads, int d, const float *rotated, const float *w,
                   float eps, float *y)
{
    size_t width = (size_t)heads * (size_t)d;
    struct norm_run r = {
        .k = c->kernels,
        .heads = heads,
        .dim = d,
        .x = rotated,
        .ldx = width,
        .w = w,
        .eps = eps,
        .y = y,
        .ldy = width,
    };
    compute_rows(c, m, width, head_norm_rows, &r);
}

struct round_run {
    const struct kernels *k;
    const struct rows16 *rows;
    float *x;
    int dim;
};

static void round_rows(void *context, int first, int n)
{
    const struct round_run *r = context;
    for (int t = first; t < first + n; t++)
        round_row(r->k, r->rows, t, r->dim, r->x + (size_t)t * (size_t)r->dim);
}

void ops_round16(struct compute *c, int m, int dim, float *x, const struct rows16 *out)
{
    struct round_run r = {c->kernels, out, x, dim};
    compute_rows(c, m, (size_t)dim, round_rows, &r);
}

static void unpack_rows(void *context, int first, int n)
{
    const struct round_run *r = context;
    for (int t = first; t < first + n; t++)
        r->k->unpack16((size_t)r->dim, row16(r->rows, t, r->dim), r->rows->scale[t],
                       r->x + (size_t)t * (size_t)r->dim);
}

void ops_unpack16(struct compute *c, int m, int dim, const struct rows16 *rows, float *x)
{
    struct round_run r = {c->kernels, rows, x, dim};
    compute_rows(c, m, (size_t)dim, unpack_rows, &r);
}

static void check_positions(int m, const struct rope_table *t, const int32_t *pos)
{
    for (int i = 0; i < m; i++)
        CHECK(pos[i] >= 0 && pos[i] < t->positions);
}

void ops_rope_norm(struct compute *c, int m, int heads, const struct rope_table *t,
                   const int32_t *pos, const float *x, int ldx, const float *w, float eps,
                   const struct rows16 *round, float *rotated, int ldr, float *y, int ldy,
                   float *rstd)
{
    CHECK(t->d % 2 == 0);
    check_positions(m, t, pos);
    struct norm_run r = {
        .k = c->kernels,
        .heads = heads,
        .dim = t->d,
        .x = x,
        .ldx = (size_t)ldx,
        .w = w,
        .eps = eps,
        .rotated = rotated,
        .ldr = (size_t)ldr,
        .y = y,
        .ldy = (size_t)ldy,
        .rstd = rstd,
        .pos = pos,
        .cos_sin = t->cos_sin,
        .round = round,
    };
    compute_rows(c, m, (size_t)heads * (size_t)t->d, rope_norm_rows, &r);
}

static void rope_norm_backward_rows(void *context, int first, int n)
{
    const struct norm_run *r = context;
    for (int t = first; t < first + n; t++) {
        const float *table = r->cos_sin + (size_t)r->pos[t] * (size_t)r->dim;
        for (int h = 0; h < r->heads; h++) {
            size_t at = (size_t)h * (size_t)r->dim;
            float *dx = r->y + (size_t)t * r->ldy + at;
            r->k->rmsnorm_backward(r->dim, r->dy + (size_t)t * r->lddy + at,
                                   r->x + (size_t)t * r->ldx + at, r->w,
                                   r->rstd_in[(size_t)t * (size_t)r->heads + (size_t)h], dx, false);
            r->k->rope_backward(r->dim, table, dx, dx);
        }
    }
}

void ops_rope_norm_backward(struct compute *c, int m, int heads, const struct rope_table *t,
                            const int32_t *pos, const float *dy, int lddy, const float *rotated,
                            int ldr, const float *w, const float *rstd, float *dx, int lddx,
                            float *dw)
{
    check_positions(m, t, pos);
    struct norm_run r = {
        .k = c->kernels,
        .m = m,
        .heads = heads,
        .dim = t->d,
        .dy = dy,
        .lddy = (size_t)lddy,
        .x = rotated,
        .ldx = (size_t)ldr,
        .w = w,
        .rstd_in = rstd,
        .y = dx,
        .ldy = (size_t)lddx,
        .dw = dw,
        .pos = pos,
        .cos_sin = t->cos_sin,
    };
    if (dw)
        run_dw(c, &r);
    compute_rows(c, m, (size_t)heads * (size_t)t->d, rope_norm_backward_rows, &r);
}
