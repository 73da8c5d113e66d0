#include "stages/model/transformer.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/gemm.h"
#include "stages/model/layer.h"

/*
 * TRAIN_NOTHING keeps one layer's activations, written again by every layer: segment 1 writes no
 * keys and values, so those of the last layer of segment 0 stay. Otherwise every layer has its own.
 */
struct transformer_work {
    struct layer_acts *acts; /* L of them; all equal when nothing is trained, but for k and v */
    struct layer_scratch scratch;
    struct attention_run *runs; /* (tokens_max) */
    float *attention;           /* scratch */
    size_t attention_floats;
    float *x;      /* (T, C) residual stream after the last layer */
    float *head_x; /* (T, C) labelled rows of x */
    float *head_h; /* (T, C) after the final norm */
    float *head_rstd;
    float *logits;           /* (slice_rows, V) */
    int32_t *rows, *targets; /* (T) labelled rows */
    int n_rows;
    float *dx;      /* (T, C); backward only from here */
    float *d_head;  /* (T, C) gradient of head_h, then of head_x */
    float *dk, *dv; /* (T, KV*D) */
    double *losses; /* (slice_rows) */
    unsigned char *correct;
};

int batch_check(const struct batch *b, const struct shape *shape, struct err *e)
{
    if (b->n_tokens < 1 || b->n_segments < 1 || b->segment_start[0] != 0 ||
        b->segment_start[b->n_segments] != b->n_tokens)
        return err_set(e, ERR_FORMAT, "batch: segments do not cover its %d tokens", b->n_tokens);
    for (int i = 0; i < b->n_segments; i++) {
        int first = b->segment_start[i], end = b->segment_start[i + 1];
        if (end <= first || end > b->n_tokens)
            return err_set(e, ERR_FORMAT, "batch: segment %d is empty or out of order", i);
        if (end - first > shape->context)
            return err_set(e, ERR_LIMIT, "batch: a segment of %d tokens, the context is %d",
                           end - first, shape->context);
        for (int t = first; t < end; t++) {
            if (b->pos[t] != t - first)
                return err_set(e, ERR_FORMAT, "batch: token %d has position %d, expected %d", t,
                               (int)b->pos[t], t - first);
            if (b->ids[t] < 0 || b->ids[t] >= shape->vocab || b->target[t] < -1 ||
                b->target[t] >= shape->vocab)
                return err_set(e, ERR_FORMAT, "batch: token %d: id %d, target %d, vocabulary %d", t,
                               (int)b->ids[t], (int)b->target[t], shape->vocab);
        }
    }
    return 0;
}

/* ---- memory ---- */

#define SLICE_BYTES_MAX ((size_t)64 << 20)

static int slice_rows(const struct shape *s, const struct transformer_plan *plan)
{
    if (plan->slice_rows > 0)
        return plan->slice_rows;
    size_t fit = SLICE_BYTES_MAX / ((size_t)s->vocab * sizeof(float));
    int rows = fit < 128 ? (int)fit : 128;
    rows = rows < 16 ? 16 : rows;
    return rows < plan->tokens_max ? rows : plan->tokens_max;
}

static int keys_max(const struct shape *s, const struct transformer_plan *plan)
{
    return plan->tokens_max < s->context ? plan->tokens_max : s->context;
}

static void *take_bytes(struct taker *t, size_t n, size_t item_bytes)
{
    return taker_floats(t, 1, size_mul(n, item_bytes) / sizeof(float) + 1);
}

static void take_acts(struct taker *t, const struct shape *s, const struct transformer_plan *plan,
                      struct layer_acts *acts)
{
    struct layer_acts shared = {0}, *out = NULL;
    if (plan->what == TRAIN_NOTHING)
        layer_acts_take(t, s, false, plan->tokens_max, plan->rank, &shared);
    for (int i = 0; i < shape_layers(s); i++) {
        struct layer_acts counted;
        out = acts == NULL ? &counted : &acts[i];
        if (plan->what == TRAIN_NOTHING)
            *out = shared;
        else
            layer_acts_take(t, s, shape_layer_reuses(s, i), plan->tokens_max, plan->rank, out);
    }
}

static struct transformer_work *take_work(struct taker *t, const struct shape *s,
                                          const struct transformer_plan *plan, int n_threads)
{
    struct transformer_work counted = {0}, *w = &counted;
    size_t n = (size_t)plan->tokens_max, hidden = (size_t)s->hidden, slice;
    bool backward = plan->what != TRAIN_NOTHING;
    void *own = take_bytes(t, 1, sizeof *w);
    if (own != NULL)
        w = own;
    slice = (size_t)slice_rows(s, plan);
    w->acts = take_bytes(t, (size_t)shape_layers(s), sizeof *w->acts);
    take_acts(t, s, plan, w->acts);
    layer_scratch_take(t, s, plan->tokens_max, plan->rank, backward, &w->scratch);
    w->runs = take_bytes(t, n, sizeof *w->runs);
    w->attention_floats = attention_scratch_floats(s, keys_max(s, plan), n_threads);
    w->attention = taker_floats(t, w->attention_floats, 1);
    w->x = taker_floats(t, n, hidden);
    w->head_x = taker_floats(t, n, hidden);
    w->head_h = taker_floats(t, n, hidden);
    w->head_rstd = taker_floats(t, n, 1);
    w->logits = taker_floats(t, slice, (size_t)s->vocab);
    w->rows = take_bytes(t, n, sizeof *w->rows);
    w->targets = take_bytes(t, n, sizeof *w->targets);
    w->losses = take_bytes(t, slice, sizeof *w->losses);
    w->correct = take_bytes(t, slice, sizeof *w->correct);
    if (backward) {
        w->dx = taker_floats(t, n, hidden);
        w->d_head = taker_floats(t, n, hidden);
        w->dk = taker_floats(t, n, (size_t)shape_kv_dim(s));
        w->dv = taker_floats(t, n, (size_t)shape_kv_dim(s));
    }
    return own;
}

static size_t abs_max_count(const struct shape *s)
{
    return 2 * (size_t)s->layers_0;
}

size_t transformer_bytes(const struct shape *shape, const struct transformer_plan *plan,
                         int n_threads)
{
    struct taker t = {0};
    take_work(&t, shape, plan, n_threads);
    taker_floats(&t, abs_max_count(shape), 1);
    return t.bytes;
}

int transformer_reserve(struct transformer *t, struct compute *c, const struct shape *shape,
                        const struct transformer_plan *plan, struct err *e)
{
    int n_threads = thread_pool_size(c->pool);
    memset(t, 0, sizeof *t);
    CHECK(plan->tokens_max > 0);
    CHECK(plan->what != TRAIN_LORA || plan->rank > 0);
    int rc = arena_reserve(&t->arena, "step", transformer_bytes(shape, plan, n_threads), e);
    if (rc != 0)
        return rc;
    struct taker taker = {.arena = &t->arena};
    t->compute = c;
    t->shape = *shape;
    t->plan = *plan;
    t->work = take_work(&taker, shape, plan, n_threads);
    t->kv_abs_max = taker_floats(&taker, abs_max_count(shape), 1);
    return 0;
}

void transformer_release(struct transformer *t)
{
    arena_release(&t->arena);
    memset(t, 0, sizeof *t);
}

/* ---- forward ---- */

static int start_pass(struct transformer *t, const struct model *m, const struct adapter *a,
                      const struct batch *b, struct err *e)
{
    struct transformer_work *w = t->work;
    CHECK(shape_equal(&t->shape, &m->shape));
    CHECK(a == NULL || (a->rank == t->plan.rank && shape_equal(&a->shape, &m->shape)));
    if (b->n_tokens > t->plan.tokens_max)
        return err_set(e, ERR_LIMIT, "batch of %d tokens, planned for %d", b->n_tokens,
                       t->plan.tokens_max);
    int rc = batch_check(b, &t->shape, e);
    if (rc != 0)
        return rc;
    w->n_rows = 0;
    for (int i = 0; i < b->n_tokens; i++) {
        if (b->target[i] < 0)
            continue;
        w->rows[w->n_rows] = i;
        w->targets[w->n_rows++] = b->target[i];
    }
    return 0;
}

/* Runs over the keys and values that a layer reads. */
static void set_runs(struct transformer_work *w, const struct shape *s, const struct batch *b,
                     int layer)
{
    int source = shape_layer_reuses(s, layer) ? s->layers_0 - 1 : layer;
    const struct layer_acts *a = &w->acts[source];
    int kv = shape_kv_dim(s);
    for (int i = 0; i < b->n_segments; i++) {
        int first = b->segment_start[i];
        size_t at = (size_t)first * (size_t)kv;
        struct attention_run run = {first, b->segment_start[i + 1] - first, 0, a->k + at, a->v + at,
                                    kv};
        w->runs[i] = run;
    }
}

static void forward(struct transformer *t, const struct layer_pass *p, const struct batch *b)
{
    struct transformer_work *w = t->work;
    const struct shape *s = &t->shape;
    int n = b->n_tokens, n_layers = shape_layers(s), kv = shape_kv_dim(s);
    ops_embed(p->c, n, &p->m->embedding, b->ids, w->acts[0].x);
    for (int i = 0; i < n_layers; i++) {
        struct layer_acts *a = &w->acts[i];
        layer_project(p, i, a);
        if (!shape_layer_reuses(s, i)) {
            t->kv_abs_max[2 * i] = ops_abs_max(p->c, n, kv, a->k_normed, kv);
            t->kv_abs_max[2 * i + 1] = ops_abs_max(p->c, n, kv, a->v_raw, kv);
        }
        set_runs(w, s, b, i);
        attention_forward(p->c, s, b->n_segments, w->runs, a->q, a->o, keys_max(s, &t->plan),
                          w->attention);
        layer_finish(p, i, a, i + 1 < n_layers ? w->acts[i + 1].x : w->x);
    }
    size_t row_floats = (size_t)s->hidden;
    for (int i = 0; i < w->n_rows; i++)
        memcpy(w->head_x + (size_t)i * row_floats, w->x + (size_t)w->rows[i] * row_floats,
               row_floats * sizeof(float));
    if (w->n_rows > 0)
        ops_rmsnorm(p->c, w->n_rows, s->hidden, w->head_x, s->hidden, p->m->final_norm,
                    (float)s->norm_eps, w->head_h, s->hidden, w->head_rstd);
}

int transformer_hidden(struct transformer *t, const struct model *m, const struct adapter *a,
                       const struct batch *b, float *out, int *n_rows, struct err *e)
{
    struct layer_pass p = {t->compute, m, a, b->n_tokens, b->pos, &t->work->scratch, NULL, NULL};
    int rc = start_pass(t, m, a, b, e);
    if (rc != 0)
        return rc;
    forward(t, &p, b);
    memcpy(out, t->work->head_h, (size_t)t->work->n_rows * (size_t)t->shape.hidden * sizeof(float));
    if (n_rows != NULL)
        *n_rows = t->work->n_rows;
    return 0;
}

void transformer_logits(struct compute *c, const struct model *m, int n_rows, const float *hidden,
                        float *logits)
{
    gemm_xwt(c, n_rows, hidden, m->shape.hidden, &m->embedding, logits, m->shape.vocab, false);
}

/* ---- head and backward ---- */

/* Slices of labelled rows through the output matrix, the loss, and back to d_head. */
static int run_head(struct transformer *t, const struct layer_pass *p, head_fn *head, void *context,
                    bool want_grad, struct err *e)
{
    struct transformer_work *w = t->work;
    int hidden = t->shape.hidden, vocab = t->shape.vocab, at_once = slice_rows(&t->shape, &t->plan);
    for (int first = 0; first < w->n_rows; first += at_once) {
        int n = w->n_rows - first < at_once ? w->n_rows - first : at_once;
        const float *h = w->head_h + (size_t)first * (size_t)hidden;
        struct head_slice slice = {n,         first,    w->rows + first, w->targets + first,
                                   w->logits, want_grad};
        transformer_logits(p->c, p->m, n, h, w->logits);
        int rc = head(context, p->c, &slice, e);
        if (rc != 0)
            return rc;
        if (!want_grad)
            continue;
        gemm_xw(p->c, n, w->logits, vocab, &p->m->embedding,
                w->d_head + (size_t)first * (size_t)hidden, hidden, false);
        if (p->grad_full != NULL) /* the embedding's gradient lies at offset 0 */
            gemm_dw(p->c, n, vocab, hidden, w->logits, vocab, h, hidden, p->grad_full, hidden,
                    true);
    }
    return 0;
}

static void backward_head(struct transformer *t, const struct layer_pass *p, int n_tokens)
{
    struct transformer_work *w = t->work;
    int hidden = t->shape.hidden;
    size_t row_bytes = (size_t)hidden * sizeof(float);
    float *d_norm = NULL;
    if (p->grad_full != NULL)
        d_norm = p->grad_full + (p->m->final_norm - p->m->flat);
    memset(w->dx, 0, (size_t)n_tokens * row_bytes);
    if (w->n_rows == 0)
        return;
    /* head_h is not needed any more: it takes the gradient of head_x. */
    memset(w->head_h, 0, (size_t)w->n_rows * row_bytes);
    ops_rmsnorm_backward(p->c, w->n_rows, hidden, w->d_head, hidden, w->head_x, hidden,
                         p->m->final_norm, w->head_rstd, w->head_h, hidden, d_norm);
    for (int i = 0; i < w->n_rows; i++)
        memcpy(w->dx + (size_t)w->rows[i] * (size_t)hidden, w->head_h + (size_t)i * (size_t)hidden,
               row_bytes);
}

static void backward(struct transformer *t, const struct layer_pass *p, const struct batch *b)
{
    struct transformer_work *w = t->work;
    const struct shape *s = &t->shape;
    size_t kv_bytes = (size_t)b->n_tokens * (size_t)shape_kv_dim(s) * sizeof(float);
    bool embedding = p->grad_full != NULL;
    backward_head(t, p, b->n_tokens);
    /* Segment 1 and the last layer of segment 0 read the same keys and values: their gradients
     * add up in dk and dv. */
    memset(w->dk, 0, kv_bytes);
    memset(w->dv, 0, kv_bytes);
    for (int i = shape_layers(s) - 1; i >= 0; i--) {
        const struct layer_acts *a = &w->acts[i];
        layer_finish_backward_ffn(p, i, a, w->dx);
        layer_finish_backward_out(p, i, a, w->dx);
        set_runs(w, s, b, i);
        struct attention_grads g = {a->q,  a->o,  w->scratch.d_o,      w->scratch.d_q,
                                    w->dk, w->dv, w->scratch.dk_heads, w->scratch.dv_heads};
        attention_backward(p->c, s, b->n_segments, w->runs, &g, keys_max(s, &t->plan),
                           w->attention);
        layer_project_backward(p, i, a, w->dk, w->dv, i > 0 || embedding, w->dx);
        if (!shape_layer_reuses(s, i)) {
            memset(w->dk, 0, kv_bytes);
            memset(w->dv, 0, kv_bytes);
        }
    }
    if (embedding)
        ops_embed_backward(p->c, b->n_tokens, s->hidden, b->ids, w->dx, p->grad_full);
}

int transformer_run(struct transformer *t, const struct model *m, const struct adapter *a,
                    const struct batch *b, head_fn *head, void *context, float *grads,
                    struct err *e)
{
    struct layer_pass p = {t->compute, m, a, b->n_tokens, b->pos, &t->work->scratch, NULL, NULL};
    if (grads != NULL) {
        CHECK(t->plan.what != TRAIN_NOTHING);
        CHECK(t->plan.what != TRAIN_LORA || a != NULL);
        CHECK(t->plan.what != TRAIN_FULL || (a == NULL && m->flat != NULL));
        if (t->plan.what == TRAIN_LORA)
            p.grad_lora = grads;
        else
            p.grad_full = grads;
    }
    int rc = start_pass(t, m, a, b, e);
    if (rc != 0)
        return rc;
    forward(t, &p, b);
    rc = run_head(t, &p, head, context, grads != NULL, e);
    if (rc == 0 && grads != NULL && t->work->n_rows > 0)
        backward(t, &p, b);
    return rc;
}

/* ---- cross entropy ---- */

struct cross_entropy {
    const struct transformer_work *w;
    int vocab;
    float scale;
    struct loss_sum sum;
};

static int cross_entropy_head(void *context, struct compute *c, const struct head_slice *slice,
                              struct err *e)
{
    struct cross_entropy *x = context;
    ops_cross_entropy(c, slice->n_rows, x->vocab, slice->logits, slice->target,
                      slice->want_grad ? x->scale : 0, x->w->losses, x->w->correct);
    for (int i = 0; i < slice->n_rows; i++) {
        if (!isfinite(x->w->losses[i]))
            return err_set(e, ERR_NUMERIC, "loss of token %d of the batch is not finite",
                           (int)slice->rows[i]);
        x->sum.loss += x->w->losses[i];
        x->sum.n_tokens++;
        x->sum.n_correct += x->w->correct[i];
    }
    return 0;
}

int transformer_loss(struct transformer *t, const struct model *m, const struct adapter *a,
                     const struct batch *b, float loss_scale, float *grads, struct loss_sum *sum,
                     struct err *e)
{
    struct cross_entropy x = {t->work, t->shape.vocab, loss_scale, {0, 0, 0}};
    int rc = transformer_run(t, m, a, b, cross_entropy_head, &x, grads, e);
    if (rc != 0)
        return rc;
    sum->loss += x.sum.loss;
    sum->n_tokens += x.sum.n_tokens;
    sum->n_correct += x.sum.n_correct;
    return 0;
}
