#include "stages/model/decoder.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/layer.h"
#include "stages/model/transformer.h"

struct decoder_work {
    int rows_max;
    struct layer_acts acts; /* of one layer at a time */
    struct layer_scratch scratch;
    struct attention_cache *caches; /* (layers_0, sequences) */
    struct attention_run *runs;
    float *attention;
    int32_t *ids, *pos;
    float *x;          /* (rows_max, C) after the last layer */
    float *h;          /* (rows_max, C) after the final norm */
    float *rstd;       /* (rows_max) */
    float *row_logits; /* (sequences, V) in the order of a step */
};

/* Tokens appended to one sequence. */
struct piece {
    int sequence;
    const int32_t *ids;
    int n;
};

static int rows_of(const struct decoder_plan *plan)
{
    int rows = plan->rows_max > 0 ? plan->rows_max : 256;
    rows = rows < plan->positions ? rows : plan->positions;
    return rows > plan->sequences ? rows : plan->sequences;
}

static void *take_bytes(struct taker *t, size_t n, size_t item_bytes)
{
    return taker_floats(t, 1, size_mul(n, item_bytes) / sizeof(float) + 1);
}

static struct attention_cache *take_caches(struct taker *t, const struct model *m,
                                           const struct decoder_plan *plan)
{
    const struct shape *s = &m->shape;
    size_t n = size_mul((size_t)s->layers_0, (size_t)plan->sequences);
    bool has_codes = model_has_kv_codes(m);
    size_t bytes = attention_cache_bytes(s, plan->positions, has_codes);
    struct attention_cache *caches = take_bytes(t, n, sizeof *caches);
    char *keys = take_bytes(t, n, bytes), *values = take_bytes(t, n, bytes);
    for (size_t i = 0; caches && i < n; i++) {
        const struct model_layer *l = &m->layers[i / (size_t)plan->sequences];
        caches[i] = (struct attention_cache){
            .positions = plan->positions,
            .k_scale = has_codes ? kv_range_scale(&l->key_range) : 0,
            .v_scale = has_codes ? kv_range_scale(&l->value_range) : 0,
            .keys = keys + i * bytes,
            .values = values + i * bytes,
        };
    }
    return caches;
}

static struct decoder_work *take_work(struct taker *t, const struct model *m,
                                      const struct decoder_plan *plan, int rank, int n_threads)
{
    const struct shape *s = &m->shape;
    struct decoder_work counted = {0}, *w = &counted;
    struct decoder_work *own = take_bytes(t, 1, sizeof *w);
    if (own != NULL)
        w = own;
    int rows = rows_of(plan);
    size_t n = (size_t)rows, hidden = (size_t)s->hidden;
    w->rows_max = rows;
    layer_acts_take(t, s, false, (struct layer_rows){rows, rows}, rank, LAYER_KEEP_NOTHING,
                    &w->acts);
    layer_scratch_take(t, s, rows, rank, LAYER_KEEP_NOTHING, &w->scratch);
    w->caches = take_caches(t, m, plan);
    w->runs = take_bytes(t, n, sizeof *w->runs);
    w->attention = taker_floats(t, attention_scratch_floats(plan->positions, n_threads), 1);
    w->ids = take_bytes(t, n, sizeof *w->ids);
    w->pos = take_bytes(t, n, sizeof *w->pos);
    w->x = taker_floats(t, n, hidden);
    w->h = taker_floats(t, n, hidden);
    w->rstd = taker_floats(t, n, 1);
    w->row_logits = taker_floats(t, (size_t)plan->sequences, (size_t)s->vocab);
    return own;
}

size_t decoder_bytes(const struct model *m, const struct decoder_plan *plan, int rank,
                     int n_threads)
{
    struct taker t = {0};
    take_work(&t, m, plan, rank, n_threads);
    take_bytes(&t, (size_t)plan->sequences, sizeof(int));
    taker_floats(&t, (size_t)plan->sequences, (size_t)m->shape.vocab);
    return t.bytes;
}

void decoder_memory(const struct model *m, const struct decoder_plan *plan, int rank, int n_threads,
                    struct plan_mem *out)
{
    struct taker t = {0};
    take_caches(&t, m, plan);
    plan_mem_add(out, "keys and values", t.bytes);
    plan_mem_add(out, "scratch", decoder_bytes(m, plan, rank, n_threads) - t.bytes);
}

int decoder_reserve(struct decoder *d, struct compute *c, const struct model *m,
                    const struct adapter *a, const struct decoder_plan *plan, struct err *e)
{
    int n_threads = thread_pool_size(c->pool), rank = a == NULL ? 0 : a->rank;
    memset(d, 0, sizeof *d);
    CHECK(plan->sequences > 0);
    CHECK(a == NULL || shape_equal(&a->shape, &m->shape));
    if (plan->positions < 1 || plan->positions > m->shape.context)
        return err_set(e, ERR_LIMIT, "decoder of %d positions, the context is %d", plan->positions,
                       m->shape.context);
    int rc = arena_reserve(&d->arena, "decoder", decoder_bytes(m, plan, rank, n_threads), e);
    if (rc != 0)
        return rc;
    struct taker taker = {.arena = &d->arena};
    d->compute = c;
    d->model = m;
    d->adapter = a;
    d->plan = *plan;
    d->work = take_work(&taker, m, plan, rank, n_threads);
    d->lengths = take_bytes(&taker, (size_t)plan->sequences, sizeof *d->lengths);
    d->logits = taker_floats(&taker, (size_t)plan->sequences, (size_t)m->shape.vocab);
    return 0;
}

void decoder_release(struct decoder *d)
{
    arena_release(&d->arena);
    memset(d, 0, sizeof *d);
}

void decoder_reset(struct decoder *d, int sequence)
{
    CHECK(sequence >= 0 && sequence < d->plan.sequences);
    d->lengths[sequence] = 0;
}

/* ---- one pass ---- */

static const struct attention_cache *cache_of(const struct decoder *d, int layer, int sequence)
{
    return &d->work->caches[layer * d->plan.sequences + sequence];
}

/* The rows' ids and positions, and what they attend to but for the layer's cache. */
static int place_rows(struct decoder *d, const struct piece *pieces, int n_pieces, int *n_rows,
                      struct err *e)
{
    struct decoder_work *w = d->work;
    *n_rows = 0;
    for (int i = 0; i < n_pieces; i++) {
        const struct piece *p = &pieces[i];
        CHECK(p->sequence >= 0 && p->sequence < d->plan.sequences);
        int length = d->lengths[p->sequence];
        if (p->n > d->plan.positions - length)
            return err_set(e, ERR_LIMIT, "sequence of %d tokens and %d more, the cache holds %d",
                           length, p->n, d->plan.positions);
        struct attention_run run = {.row = *n_rows, .n_rows = p->n, .n_before = length};
        w->runs[i] = run;
        for (int j = 0; j < p->n; j++) {
            if (p->ids[j] < 0 || p->ids[j] >= d->model->shape.vocab)
                return err_set(e, ERR_FORMAT, "token id %d, the vocabulary has %d", (int)p->ids[j],
                               d->model->shape.vocab);
            w->ids[*n_rows] = p->ids[j];
            w->pos[(*n_rows)++] = length + j;
        }
    }
    return 0;
}

static int write_cache(struct decoder *d, const struct piece *pieces, int n_pieces, int layer,
                       struct err *e)
{
    struct decoder_work *w = d->work;
    const struct shape *s = &d->model->shape;
    for (int i = 0; i < n_pieces; i++) {
        const struct attention_run *run = &w->runs[i];
        size_t from = (size_t)run->row * (size_t)shape_kv_dim(s);
        if (!attention_cache_write(s, cache_of(d, layer, pieces[i].sequence), run->n_before,
                                   pieces[i].n, w->acts.k + from, w->acts.v + from))
            return err_set(e, ERR_NUMERIC, "keys or values of layer %d are not finite", layer);
    }
    return 0;
}

/* Behind the last keys and values that are written a row reaches nothing but its own logits: of a
 * piece that wants those of its last row alone, that one goes on. */
static void keep_last_row(struct decoder *d, int n_rows)
{
    struct decoder_work *w = d->work;
    const struct shape *s = &d->model->shape;
    size_t last = (size_t)n_rows - 1, hidden = (size_t)s->hidden, q = (size_t)shape_q_dim(s);
    memmove(w->acts.x, w->acts.x + last * hidden, hidden * sizeof(float));
    memmove(w->scratch.q, w->scratch.q + last * q, q * sizeof(float));
    w->pos[0] = w->pos[last];
    w->runs[0].n_before += (int)last;
    w->runs[0].n_rows = 1;
}

/* Runs all pieces' tokens at once; w->x holds their rows in order, or, where last_only, the last
 * row of the only piece. */
static int feed_rows(struct decoder *d, const struct piece *pieces, int n_pieces, bool last_only,
                     struct err *e)
{
    struct decoder_work *w = d->work;
    const struct shape *s = &d->model->shape;
    int n_rows = 0, rc = place_rows(d, pieces, n_pieces, &n_rows, e);
    if (rc != 0)
        return rc;
    CHECK(n_pieces == 1 || !last_only);
    struct layer_pass p = {d->compute, d->model,    d->adapter, n_rows,
                           w->pos,     &w->scratch, NULL,       NULL};
    ops_embed(p.c, n_rows, &d->model->embedding, w->ids, w->acts.x);
    for (int i = 0; i < shape_layers(s); i++) {
        int source = shape_layer_reuses(s, i) ? s->layers_0 - 1 : i;
        layer_project(&p, i, &w->acts);
        rc = layer_check_projected(&p, i, &w->acts, NULL, e);
        if (rc == 0 && source == i)
            rc = write_cache(d, pieces, n_pieces, i, e);
        if (rc != 0)
            return rc;
        if (last_only && i == s->layers_0 - 1) {
            keep_last_row(d, n_rows);
            p.n_tokens = 1;
        }
        for (int j = 0; j < n_pieces; j++)
            w->runs[j].cache = cache_of(d, source, pieces[j].sequence);
        attention_forward(p.c, s, n_pieces, w->runs, w->scratch.q, w->scratch.o, d->plan.positions,
                          w->attention);
        layer_finish(&p, i, &w->acts, i + 1 < shape_layers(s) ? w->acts.x : w->x);
        rc = layer_check_finished(&p, i, &w->acts, NULL, e);
        if (rc != 0)
            return rc;
    }
    for (int i = 0; i < n_pieces; i++)
        d->lengths[pieces[i].sequence] += pieces[i].n;
    return 0;
}

/* logits (n, V) of the first n rows. */
static int head(struct decoder *d, int n, float *logits, struct err *e)
{
    struct decoder_work *w = d->work;
    const struct shape *s = &d->model->shape;
    ops_rmsnorm(d->compute, n, s->hidden, w->x, s->hidden, d->model->final_norm, (float)s->norm_eps,
                w->h, s->hidden, w->rstd);
    transformer_logits(d->compute, d->model, n, w->h, logits);
    return layer_check_norm(s, -1, ROLE_FINAL_NORM, n, 1, w->rstd, NULL, e);
}

int decoder_feed(struct decoder *d, int sequence, const int32_t *ids, int n, float *all_logits,
                 struct err *e)
{
    size_t vocab = (size_t)d->model->shape.vocab;
    CHECK(n > 0);
    for (int first = 0; first < n; first += d->work->rows_max) {
        int here = n - first < d->work->rows_max ? n - first : d->work->rows_max;
        struct piece piece = {sequence, ids + first, here};
        int rc = feed_rows(d, &piece, 1, all_logits == NULL, e);
        if (rc == 0 && all_logits != NULL)
            rc = head(d, here, all_logits + (size_t)first * vocab, e);
        if (rc != 0)
            return rc;
    }
    float *last = d->logits + (size_t)sequence * vocab;
    if (all_logits == NULL)
        return head(d, 1, last, e);
    memcpy(last, all_logits + (size_t)(n - 1) * vocab, vocab * sizeof *last);
    return 0;
}

int decoder_step(struct decoder *d, const int32_t *sequences, const int32_t *ids, int n,
                 struct err *e)
{
    size_t vocab = (size_t)d->model->shape.vocab;
    CHECK(n > 0 && n <= d->plan.sequences);
    struct piece *pieces = xalloc_array((size_t)n, sizeof *pieces);
    for (int i = 0; i < n; i++) {
        struct piece piece = {sequences[i], ids + i, 1};
        for (int j = 0; j < i; j++)
            CHECK(sequences[j] != sequences[i]);
        pieces[i] = piece;
    }
    int rc = feed_rows(d, pieces, n, false, e);
    xfree(pieces);
    if (rc == 0)
        rc = head(d, n, d->work->row_logits, e);
    if (rc != 0)
        return rc;
    for (int i = 0; i < n; i++)
        memcpy(d->logits + (size_t)sequences[i] * vocab, d->work->row_logits + (size_t)i * vocab,
               vocab * sizeof(float));
    return 0;
}

/* ---- greedy answers ---- */

struct greedy {
    struct decoder *d;
    const int32_t *stop_ids;
    int n_stop;
    struct decoder_request **active; /* (sequences) NULL = free */
    int32_t *sequences, *ids;        /* of the next step */
};

/* A row of NaN has a first index too: it must not read as an answer. */
static int check_logits(const struct greedy *g, int sequence, struct err *e)
{
    const struct decoder *d = g->d;
    size_t vocab = (size_t)d->model->shape.vocab;
    if (ops_all_finite(d->compute, vocab, decoder_logits(d, sequence)))
        return 0;
    return err_set(e, ERR_NUMERIC, "the logits after %d tokens are not finite",
                   d->lengths[sequence]);
}

/* Takes the next token of a sequence; false when its answer is complete. */
static bool take_token(struct greedy *g, int sequence, struct decoder_request *r, int32_t *id)
{
    *id = ops_argmax(decoder_logits(g->d, sequence), g->d->model->shape.vocab);
    for (int i = 0; i < g->n_stop; i++)
        r->stopped = r->stopped || *id == g->stop_ids[i];
    if (r->stopped)
        return false;
    r->out[r->n_out++] = *id;
    return r->n_out < r->max_new && g->d->lengths[sequence] < g->d->plan.positions;
}

static int start_request(struct greedy *g, int sequence, struct decoder_request *r, struct err *e)
{
    r->n_out = 0;
    r->stopped = false;
    if (r->n_prompt < 1 || r->n_prompt > g->d->plan.positions)
        return err_set(e, ERR_LIMIT, "a prompt of %d tokens, the cache holds 1 to %d", r->n_prompt,
                       g->d->plan.positions);
    decoder_reset(g->d, sequence);
    return decoder_feed(g->d, sequence, r->prompt, r->n_prompt, NULL, e);
}

/* Fills free sequences with requests and collects the tokens of the next step. *n_done counts
 * requests that ended. */
static int collect(struct greedy *g, struct decoder_request *requests, size_t n_requests,
                   size_t *next, size_t *n_done, int *n, struct err *e)
{
    int rc = 0;
    *n = 0;
    for (int s = 0; s < g->d->plan.sequences; s++) {
        for (;;) {
            if (g->active[s] == NULL) {
                if (*next == n_requests)
                    break;
                rc = start_request(g, s, &requests[*next], e);
                if (rc != 0)
                    return rc;
                g->active[s] = &requests[(*next)++];
            }
            int32_t id = 0;
            rc = check_logits(g, s, e);
            if (rc != 0)
                return rc;
            if (g->active[s]->max_new > 0 && take_token(g, s, g->active[s], &id)) {
                g->sequences[*n] = s;
                g->ids[(*n)++] = id;
                break;
            }
            g->active[s] = NULL;
            (*n_done)++;
        }
    }
    return 0;
}

int decoder_greedy(struct decoder *d, struct decoder_request *requests, size_t n_requests,
                   const int32_t *stop_ids, int n_stop,
                   void (*progress)(void *context, size_t done), void *context, struct err *e)
{
    size_t slots = (size_t)d->plan.sequences, next = 0, n_done = 0;
    struct greedy g = {d,
                       stop_ids,
                       n_stop,
                       xalloc_array(slots, sizeof *g.active),
                       xalloc_array(slots, sizeof *g.sequences),
                       xalloc_array(slots, sizeof *g.ids)};
    int rc = 0;
    for (;;) {
        int n = 0;
        size_t before = n_done;
        rc = collect(&g, requests, n_requests, &next, &n_done, &n, e);
        if (rc == 0 && progress != NULL && n_done != before)
            progress(context, n_done);
        if (rc != 0 || n == 0)
            break;
        rc = decoder_step(d, g.sequences, g.ids, n, e);
        if (rc != 0)
            break;
    }
    xfree(g.active);
    xfree(g.sequences);
    xfree(g.ids);
    return rc;
}
