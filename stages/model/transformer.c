#include "stages/model/transformer.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/gemm.h"
#include "stages/model/layer.h"

/*
 * TRAIN_NOTHING keeps one layer's activations, written again by every layer: segment 1 writes no
 * keys and values, so those of the last layer of segment 0 stay. Recomputing keeps the input of
 * every second layer and the activations of two: the backward pass makes those of a pair again from
 * the pair's input before it goes through it. The same bits, since it is the same code on the same
 * numbers. Otherwise every layer has its own.
 *
 * The layers have two kinds of rows: all tokens of the batch, and the *late* ones, those with a
 * target. Layers of segment 1, and what follows the projections in the last layer of segment 0,
 * have late rows only.
 */
#define PAIR 2

struct transformer_work {
    struct layer_acts *acts; /* L of them; several share their arrays unless all are kept */
    struct layer_scratch scratch;
    struct attention_run *runs; /* (tokens_max) */
    float *attention;           /* scratch */
    size_t attention_floats;
    float *late_x;     /* (late_max, C) late rows of the residual stream where they begin */
    int32_t *late_pos; /* (late_max) their positions */
    float *x;          /* (late_max, C) late rows of the residual stream after the last layer */
    float *head_h;     /* (late_max, C) after the final norm */
    float *head_rstd;
    float *logits;           /* (slice_rows, V) */
    int32_t *rows, *targets; /* (late_max) labelled rows */
    int n_rows;
    float *dx;      /* (T, C); backward only from here */
    float *d_head;  /* (late_max, C) gradient of head_h */
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

static int late_max(const struct transformer_plan *plan)
{
    return plan->late_max > 0 ? plan->late_max : plan->tokens_max;
}

static int slice_rows(const struct shape *s, const struct transformer_plan *plan)
{
    if (plan->slice_rows > 0)
        return plan->slice_rows;
    size_t fit = SLICE_BYTES_MAX / ((size_t)s->vocab * sizeof(float));
    int rows = fit < 128 ? (int)fit : 128;
    rows = rows < 16 ? 16 : rows;
    return rows < late_max(plan) ? rows : late_max(plan);
}

static int keys_max(const struct shape *s, const struct transformer_plan *plan)
{
    return plan->tokens_max < s->context ? plan->tokens_max : s->context;
}

static void *take_bytes(struct taker *t, size_t n, size_t item_bytes)
{
    return taker_floats(t, 1, size_mul(n, item_bytes) / sizeof(float) + 1);
}

/* Where wide_bytes_max is 0. */
#define WIDE_BYTES_MAX ((size_t)1 << 29)

static enum layer_keep how_to_keep(const struct shape *s, const struct transformer_plan *plan)
{
    if (plan->what == TRAIN_NOTHING)
        return LAYER_KEEP_NOTHING;
    if (plan->precision != COMPUTE_INT16)
        return LAYER_KEEP_F32;
    size_t floats = 2 * ((size_t)s->ffn + (size_t)shape_q_dim(s));
    size_t layers = plan->recompute ? PAIR : (size_t)shape_layers(s);
    size_t bytes =
        size_mul(size_mul(floats, sizeof(float)), size_mul(layers, (size_t)plan->tokens_max));
    size_t most = plan->wide_bytes_max > 0 ? plan->wide_bytes_max : WIDE_BYTES_MAX;
    return bytes <= most ? LAYER_KEEP_F32 : LAYER_KEEP_16;
}

/* Rows of a layer with activations of its own. */
static struct layer_rows own_rows(const struct shape *s, const struct transformer_plan *plan,
                                  int layer)
{
    int writer = s->layers_0 - 1, late = late_max(plan), all = plan->tokens_max;
    return (struct layer_rows){layer > writer ? late : all, layer < writer ? all : late};
}

static void take_acts(struct taker *t, const struct shape *s, const struct transformer_plan *plan,
                      struct layer_acts *acts)
{
    struct layer_acts shared[PAIR] = {{0}}, counted;
    enum layer_keep keep = how_to_keep(s, plan);
    int n_shared = plan->what == TRAIN_NOTHING ? 1 : plan->recompute ? PAIR : 0;
    for (int i = 0; i < n_shared; i++)
        layer_acts_take(t, s, false, (struct layer_rows){plan->tokens_max, plan->tokens_max},
                        plan->rank, keep, &shared[i]);
    for (int i = 0; i < shape_layers(s); i++) {
        struct layer_acts *out = acts == NULL ? &counted : &acts[i];
        if (n_shared > 0)
            *out = shared[i % n_shared];
        else
            layer_acts_take(t, s, shape_layer_reuses(s, i), own_rows(s, plan, i), plan->rank, keep,
                            out);
        if (n_shared == PAIR && i >= PAIR && i % PAIR == 0)
            out->x = taker_floats(t, (size_t)own_rows(s, plan, i).project, (size_t)s->hidden);
    }
}

static struct transformer_work *take_work(struct taker *t, const struct shape *s,
                                          const struct transformer_plan *plan, int n_threads)
{
    struct transformer_work counted = {0}, *w = &counted;
    size_t n = (size_t)plan->tokens_max, hidden = (size_t)s->hidden, slice;
    size_t late = (size_t)late_max(plan);
    bool backward = plan->what != TRAIN_NOTHING;
    void *own = take_bytes(t, 1, sizeof *w);
    if (own != NULL)
        w = own;
    slice = (size_t)slice_rows(s, plan);
    w->acts = take_bytes(t, (size_t)shape_layers(s), sizeof *w->acts);
    take_acts(t, s, plan, w->acts);
    layer_scratch_take(t, s, plan->tokens_max, plan->rank, how_to_keep(s, plan), &w->scratch);
    w->runs = take_bytes(t, n, sizeof *w->runs);
    w->attention_floats = attention_scratch_floats(keys_max(s, plan), n_threads);
    w->attention = taker_floats(t, w->attention_floats, 1);
    w->late_x = taker_floats(t, late, hidden);
    w->late_pos = take_bytes(t, late, sizeof *w->late_pos);
    w->x = taker_floats(t, late, hidden);
    w->head_h = taker_floats(t, late, hidden);
    w->head_rstd = taker_floats(t, late, 1);
    w->logits = taker_floats(t, slice, (size_t)s->vocab);
    w->rows = take_bytes(t, late, sizeof *w->rows);
    w->targets = take_bytes(t, late, sizeof *w->targets);
    w->losses = take_bytes(t, slice, sizeof *w->losses);
    w->correct = take_bytes(t, slice, sizeof *w->correct);
    if (backward) {
        w->dx = taker_floats(t, n, hidden);
        w->d_head = taker_floats(t, late, hidden);
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

void transformer_memory(const struct shape *shape, const struct transformer_plan *plan,
                        int n_threads, struct plan_mem *out)
{
    struct taker t = {0};
    take_acts(&t, shape, plan, NULL);
    plan_mem_add(out, "activations", t.bytes);
    plan_mem_add(out, "scratch", transformer_bytes(shape, plan, n_threads) - t.bytes);
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
    CHECK(t->compute->precision == t->plan.precision);
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
        if (w->n_rows == late_max(&t->plan))
            return err_set(e, ERR_LIMIT, "batch with more than %d targets: so many were planned",
                           w->n_rows);
        w->rows[w->n_rows] = i;
        w->late_pos[w->n_rows] = b->pos[i];
        w->targets[w->n_rows++] = b->target[i];
    }
    return 0;
}

/* The last layer that writes keys and values. */
static int last_writer(const struct shape *s)
{
    return s->layers_0 - 1;
}

/* The late rows of a segment in consecutive pieces; *row: its first late row, moved on. */
static int late_runs(const struct transformer_work *w, const struct attention_run *segment,
                     int *row, struct attention_run *out)
{
    int n_runs = 0, end = segment->row + segment->n_rows;
    while (*row < w->n_rows && w->rows[*row] < end) {
        struct attention_run run = *segment;
        run.row = *row;
        run.n_before = w->rows[*row] - segment->row;
        run.n_rows = 0;
        do {
            run.n_rows++;
            (*row)++;
        } while (*row < w->n_rows && w->rows[*row] < end && w->rows[*row] == w->rows[*row - 1] + 1);
        out[n_runs++] = run;
    }
    return n_runs;
}

/* Runs of a layer's queries over the keys and values that it reads; their number. */
static int set_runs(struct transformer_work *w, const struct shape *s, const struct batch *b,
                    int layer)
{
    int source = layer < last_writer(s) ? layer : last_writer(s);
    const struct layer_acts *a = &w->acts[source];
    int kv = shape_kv_dim(s), n_runs = 0, row = 0;
    for (int i = 0; i < b->n_segments; i++) {
        int first = b->segment_start[i];
        size_t at = (size_t)first * (size_t)kv;
        struct attention_run run = {.row = first,
                                    .n_rows = b->segment_start[i + 1] - first,
                                    .k = a->k + at,
                                    .v = a->v + at,
                                    .ldk = kv,
                                    .key_row = first};
        if (layer < last_writer(s))
            w->runs[n_runs++] = run;
        else
            n_runs += late_runs(w, &run, &row, w->runs + n_runs);
    }
    return n_runs;
}

/* out (n_rows, width) = the late rows of x (T, width); out may be x. */
static void gather_late(const struct transformer_work *w, size_t width, const float *x, float *out)
{
    for (int i = 0; i < w->n_rows; i++)
        memmove(out + (size_t)i * width, x + (size_t)w->rows[i] * width, width * sizeof(float));
}

/* The inverse in place, with zeros in the other rows. */
static void spread_late(const struct transformer_work *w, int n_tokens, size_t width, float *x)
{
    int late = w->n_rows - 1;
    for (int i = n_tokens - 1; i >= 0; i--) {
        float *row = x + (size_t)i * width;
        if (late >= 0 && w->rows[late] == i)
            memmove(row, x + (size_t)late-- * width, width * sizeof(float));
        else
            memset(row, 0, width * sizeof(float));
    }
}

/* The pass over late rows that belongs to one over all rows. */
static struct layer_pass late_pass(const struct layer_pass *p, const struct transformer_work *w)
{
    struct layer_pass late = *p;
    late.n_tokens = w->n_rows;
    late.pos = w->late_pos;
    return late;
}

/* The activations of the last writer behind its projections. */
static struct layer_acts late_acts(const struct transformer_work *w, const struct shape *s)
{
    struct layer_acts a = w->acts[last_writer(s)];
    a.x = w->late_x;
    return a;
}

static void observe_kv(struct transformer *t, const struct layer_pass *p, int layer)
{
    int n = p->n_tokens, kv = shape_kv_dim(&t->shape);
    t->kv_abs_max[2 * layer] = ops_abs_max(p->c, n, kv, t->work->scratch.k_normed, kv);
    t->kv_abs_max[2 * layer + 1] = ops_abs_max(p->c, n, kv, t->work->scratch.v_raw, kv);
}

/* Attention of a layer's queries in the scratch, all of them or the late ones. */
static void attend(struct transformer *t, const struct layer_pass *p, const struct batch *b,
                   int layer)
{
    struct transformer_work *w = t->work;
    int n_runs = set_runs(w, &t->shape, b, layer);
    attention_forward(p->c, &t->shape, n_runs, w->runs, w->scratch.q,
                      layer_attended(p, &w->acts[layer]), keys_max(&t->shape, &t->plan),
                      w->attention);
}

/* After forward_layer. Values have no norm of their own, and a quantiser clips an infinite one. */
static int check_layer(struct transformer *t, const struct layer_pass *all, int layer,
                       struct err *e)
{
    struct transformer_work *w = t->work;
    struct layer_pass late = late_pass(all, w);
    int writer = last_writer(&t->shape);
    const struct layer_acts *a = &w->acts[layer];
    const int32_t *tokens = layer <= writer ? NULL : w->rows;
    int rc = layer_check_projected(tokens ? &late : all, layer, a, tokens, e);
    if (rc == 0 && layer <= writer && !isfinite(t->kv_abs_max[2 * layer + 1])) {
        char name[SHAPE_NAME_BYTES];
        shape_range_name(&t->shape, layer, true, name);
        return err_set(e, ERR_NUMERIC, "the values of %s are not finite", name);
    }
    if (rc == 0 && layer < writer)
        return layer_check_finished(all, layer, a, NULL, e);
    return rc == 0 ? layer_check_finished(&late, layer, a, w->rows, e) : rc;
}

/* y: as of layer_finish. Without late rows the last writer only writes its keys and values. */
static void forward_layer(struct transformer *t, const struct layer_pass *all,
                          const struct batch *b, int layer, float *y)
{
    struct transformer_work *w = t->work;
    const struct shape *s = &t->shape;
    struct layer_pass late = late_pass(all, w);
    struct layer_acts turn = late_acts(w, s);
    int writer = last_writer(s);
    const struct layer_pass *p = layer <= writer ? all : &late;
    struct layer_acts *a = &w->acts[layer];
    layer_project(p, layer, a);
    if (layer <= writer)
        observe_kv(t, p, layer);
    if (layer == writer) {
        if (w->n_rows == 0)
            return;
        gather_late(w, (size_t)shape_q_dim(s), w->scratch.q, w->scratch.q);
        gather_late(w, (size_t)s->hidden, a->x, w->late_x);
        p = &late;
        a = &turn;
    }
    attend(t, p, b, layer);
    layer_finish(p, layer, a, y);
}

static int forward(struct transformer *t, const struct layer_pass *all, const struct batch *b,
                   struct err *e)
{
    struct transformer_work *w = t->work;
    const struct shape *s = &t->shape;
    int n_layers = shape_layers(s), writer = last_writer(s), rc = 0;
    ops_embed(all->c, b->n_tokens, &all->m->embedding, b->ids, w->acts[0].x);
    for (int i = 0; i < n_layers && (i <= writer || w->n_rows > 0) && rc == 0; i++) {
        forward_layer(t, all, b, i, i + 1 < n_layers ? w->acts[i + 1].x : w->x);
        rc = check_layer(t, all, i, e);
    }
    if (rc != 0 || w->n_rows == 0)
        return rc;
    ops_rmsnorm(all->c, w->n_rows, s->hidden, w->x, s->hidden, all->m->final_norm,
                (float)s->norm_eps, w->head_h, s->hidden, w->head_rstd);
    return layer_check_norm(s, -1, ROLE_FINAL_NORM, w->n_rows, 1, w->head_rstd, w->rows, e);
}

int transformer_hidden(struct transformer *t, const struct model *m, const struct adapter *a,
                       const struct batch *b, float *out, int *n_rows, struct err *e)
{
    struct layer_pass p = {t->compute, m, a, b->n_tokens, b->pos, &t->work->scratch, NULL, NULL};
    int rc = start_pass(t, m, a, b, e);
    if (rc != 0)
        return rc;
    rc = forward(t, &p, b, e);
    if (rc != 0)
        return rc;
    memcpy(out, t->work->head_h, (size_t)t->work->n_rows * (size_t)t->shape.hidden * sizeof(float));
    if (n_rows != NULL)
        *n_rows = t->work->n_rows;
    return 0;
}

void transformer_logits(struct compute *c, const struct model *m, int n_rows, const float *hidden,
                        float *logits)
{
    const struct weight *output = m->output.panels ? &m->output : &m->embedding;
    gemm_xwt(c, n_rows, hidden, m->shape.hidden, output, logits, m->shape.vocab, false);
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

/* dx (n_rows, C): gradient of the late rows after the last layer. */
static void backward_head(struct transformer *t, const struct layer_pass *p)
{
    struct transformer_work *w = t->work;
    int hidden = t->shape.hidden;
    float *d_norm = NULL;
    if (p->grad_full != NULL)
        d_norm = p->grad_full + (p->m->final_norm - p->m->flat);
    memset(w->dx, 0, (size_t)w->n_rows * (size_t)hidden * sizeof(float));
    ops_rmsnorm_backward(p->c, w->n_rows, hidden, w->d_head, hidden, w->x, hidden, p->m->final_norm,
                         w->head_rstd, w->dx, hidden, d_norm);
}

/* The activations of `layer` and, when it begins a pair, those of the one above it again: what the
 * backward pass reads of both. */
static void remake(struct transformer *t, const struct layer_pass *all, const struct batch *b,
                   int layer)
{
    struct transformer_work *w = t->work;
    const struct shape *s = &t->shape;
    int first = layer / PAIR * PAIR,
        end = first + PAIR < shape_layers(s) ? first + PAIR : shape_layers(s);
    if (t->plan.recompute && layer == end - 1)
        for (int i = first; i < end; i++)
            forward_layer(t, all, b, i, i + 1 < end ? w->acts[i + 1].x : NULL);
    const struct layer_acts *a = &w->acts[layer];
    struct layer_pass late = late_pass(all, w);
    layer_remake(layer <= last_writer(s) ? all : &late, layer, a);
    if (layer == last_writer(s)) {
        gather_late(w, (size_t)shape_q_dim(s), w->scratch.q, w->scratch.q);
        gather_late(w, (size_t)s->hidden, a->x, w->late_x);
    }
    if (!a->o)
        attend(t, layer < last_writer(s) ? all : &late, b, layer);
}

static void backward(struct transformer *t, const struct layer_pass *all, const struct batch *b)
{
    struct transformer_work *w = t->work;
    const struct shape *s = &t->shape;
    struct layer_pass late = late_pass(all, w);
    struct layer_acts turn = late_acts(w, s);
    size_t kv_bytes = (size_t)b->n_tokens * (size_t)shape_kv_dim(s) * sizeof(float);
    int writer = last_writer(s);
    bool embedding = all->grad_full != NULL;
    backward_head(t, all);
    /* Segment 1 and the last layer of segment 0 read the same keys and values: their gradients
     * add up in dk and dv. */
    memset(w->dk, 0, kv_bytes);
    memset(w->dv, 0, kv_bytes);
    for (int i = shape_layers(s) - 1; i >= 0; i--) {
        const struct layer_pass *p = i < writer ? all : &late;
        const struct layer_acts *a = i == writer ? &turn : &w->acts[i];
        remake(t, all, b, i);
        layer_finish_backward_ffn(p, i, a, w->dx);
        layer_finish_backward_out(p, i, a, w->dx);
        int n_runs = set_runs(w, s, b, i);
        struct attention_grads g = {.n_keys = b->n_tokens,
                                    .q = w->scratch.q,
                                    .o = layer_attended(p, a),
                                    .d_o = w->scratch.d_o,
                                    .dq = w->scratch.d_q,
                                    .dk = w->dk,
                                    .dv = w->dv,
                                    .dk_heads = w->scratch.dk_heads,
                                    .dv_heads = w->scratch.dv_heads};
        attention_backward(p->c, s, n_runs, w->runs, &g, keys_max(s, &t->plan), w->attention);
        if (i == writer) {
            spread_late(w, b->n_tokens, (size_t)shape_q_dim(s), w->scratch.d_q);
            spread_late(w, b->n_tokens, (size_t)s->hidden, w->dx);
            p = all;
            a = &w->acts[i];
        }
        layer_project_backward(p, i, a, w->dk, w->dv, i > 0 || embedding, w->dx);
        if (i <= writer) {
            memset(w->dk, 0, kv_bytes);
            memset(w->dv, 0, kv_bytes);
        }
    }
    if (embedding)
        ops_embed_backward(all->c, b->n_tokens, s->hidden, b->ids, w->dx, all->grad_full);
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
    rc = forward(t, &p, b, e);
    if (rc == 0)
        rc = run_head(t, &p, head, context, grads != NULL, e);
    if (rc == 0 && grads != NULL && t->work->n_rows > 0)
        backward(t, &p, b);
    return rc;
}

/* ---- cross entropy ---- */

struct cross_entropy {
    const struct transformer_work *w;
    const float *weight; /* of struct batch */
    int vocab;
    float scale;
    struct loss_sum sum;
};

/* Each row's gradient times its token's weight. */
static void weigh(const struct cross_entropy *x, const struct head_slice *slice)
{
    for (int i = 0; i < slice->n_rows; i++) {
        float weight = x->weight[slice->rows[i]];
        float *row = slice->logits + (size_t)i * (size_t)x->vocab;
        for (int v = 0; v < x->vocab && weight != 1; v++)
            row[v] *= weight;
    }
}

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
        if (x->weight && x->weight[slice->rows[i]] < 1)
            continue;
        x->sum.loss += x->w->losses[i];
        x->sum.n_tokens++;
        x->sum.n_correct += x->w->correct[i];
    }
    if (x->weight && slice->want_grad)
        weigh(x, slice);
    return 0;
}

int transformer_loss(struct transformer *t, const struct model *m, const struct adapter *a,
                     const struct batch *b, float loss_scale, float *grads, struct loss_sum *sum,
                     struct err *e)
{
    struct cross_entropy x = {t->work, b->weight, t->shape.vocab, loss_scale, *sum};
    int rc = transformer_run(t, m, a, b, cross_entropy_head, &x, grads, e);
    if (rc != 0)
        return rc;
    *sum = x.sum; /* one sum over all batches: how rows are grouped changes no bit of it */
    return 0;
}
