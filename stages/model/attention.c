#include "stages/model/attention.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/kernels.h"

/*
 * The products, on tiles of queries:
 *   S = Q K^T      (queries, keys)  chain over D
 *   O = P V        (queries, D)     chain over keys
 *   dP = dO V^T,  dS = P * (dP - delta) * scale,  delta_i = dO_i . O_i
 *   dQ = dS K      dK += dS^T Q      dV += P^T dO
 * What no query of a few neighbouring ones sees is left out (kernels_attention.h). The rest has
 * p = 0: fma(0, v, acc) changes at most the sign of a zero sum, which the + 0.0f of the
 * normalisation removes, and in dQ, dK and dV a last + 0.0f or sum with 0.
 *
 * Keys and values are packed into panels once for all heads or tiles that an item multiplies with
 * them: all of them where the packing space holds them, else part after part. A cache has them as
 * panels already, or the codes of these.
 *
 * Backward works on one (sequence, query head) at a time, so that dK and dV of a head are chains
 * over queries in ascending order whatever the threads do; the heads of a group are added in order.
 */

#define TILE 64 /* queries of a tile, or the next multiple of the micro kernel's rows below */
/* Query rows of all heads of a group that are taken together: more of them pay for the packing. */
#define TOGETHER_MAX TILE
/* Keys that are packed at once for so few rows: they are used once, from a near cache. */
#define TOGETHER_KEYS 128

static int round_up(int n, int step)
{
    return (n + step - 1) / step * step;
}

/* Keys or values of one head as panels for products, made as they are needed. */
struct panels {
    const float *x; /* (keys, D), row stride ldx */
    int ldx, d;
    bool by_key; /* a panel is 32 of D for all keys, not all of D for 32 keys */
    int keys_max;
    float *space; /* keys_max x D, D in whole panels */
    int from, to; /* keys that are there */
    /* Of a cache, which has them all as panels: floats, with keys_max of all, or codes. */
    const float *ready;
    const int8_t *codes;
    int keys_all;
    float scale;
};

static void pack(const struct compute *c, const struct panels *p, int first, int to)
{
    const float *x = p->x + (size_t)first * (size_t)p->ldx;
    size_t ldx = (size_t)p->ldx, at = (size_t)(first - p->from);
    if (p->by_key)
        c->kernels->pack_columns(to - first, p->d, x, ldx, (size_t)p->keys_max * GEMM_PANEL,
                                 p->space + at * GEMM_PANEL);
    else
        c->kernels->pack_rows(to - first, p->d, x, ldx, p->space + at * (size_t)p->d);
}

static void unpack(const struct compute *c, const struct panels *p, int first, int to)
{
    size_t at = (size_t)(first - p->from), panel = GEMM_PANEL;
    if (!p->by_key) {
        size_t n = (size_t)(round_up(to, GEMM_PANEL) - first), d = (size_t)p->d;
        c->kernels->unpack8(n * d, p->codes + (size_t)first * d, p->scale, p->space + at * d);
        return;
    }
    for (size_t i = 0; i * panel < (size_t)p->d; i++)
        c->kernels->unpack8((size_t)(to - first) * panel,
                            p->codes + (i * (size_t)p->keys_all + (size_t)first) * panel, p->scale,
                            p->space + (i * (size_t)p->keys_max + at) * panel);
}

/* The panels of keys [from, to), to - from <= keys_max. */
static const float *panels_of(const struct compute *c, struct panels *p, int from, int to)
{
    if (p->ready)
        return p->ready;
    if (p->from != from || p->to < from)
        p->from = p->to = from;
    if (p->to < to) {
        int first = p->by_key ? p->to : from + (p->to - from) / GEMM_PANEL * GEMM_PANEL;
        if (p->codes)
            unpack(c, p, first, to);
        else
            pack(c, p, first, to);
        p->to = to;
    }
    return p->space;
}

static size_t tile_floats(const struct shape *s)
{
    return TILE * (size_t)round_up(s->head_dim, GEMM_PANEL);
}

/* The packing space of a thread: ragged rows of a product, `n_tiles` tiles of queries in panels,
 * then `n_kinds` of panels of the keys at a time that it gives back. */
static int divide_space(const struct compute *c, const struct shape *s, int n_tiles, int n_kinds)
{
    size_t d = (size_t)round_up(s->head_dim, GEMM_PANEL);
    size_t left = c->pack_floats - ATTENTION_PACK_FLOATS - (size_t)n_tiles * tile_floats(s);
    size_t keys = left / (d * (size_t)n_kinds) / GEMM_PANEL * GEMM_PANEL;
    CHECK(keys > 0);
    return (int)keys;
}

/* ---- the cache ---- */

/* Values of one head, codes or floats. */
static size_t cache_head_values(const struct shape *s, int positions)
{
    return size_mul((size_t)round_up(positions, GEMM_PANEL),
                    (size_t)round_up(s->head_dim, GEMM_PANEL));
}

size_t attention_cache_bytes(const struct shape *s, int positions, bool has_codes)
{
    return size_mul(size_mul((size_t)s->kv_heads, cache_head_values(s, positions)),
                    has_codes ? sizeof(int8_t) : sizeof(float));
}

/* What one key or value of a head is written to: its elements are `step` apart within a panel of
 * 32 of them, or, step 1, these panels are `apart`. */
struct cache_row {
    int d;
    size_t at, step, apart;
};

static size_t cache_index(const struct cache_row *r, int i)
{
    return r->step > 1 ? r->at + (size_t)i * r->step
                       : r->at + (size_t)(i / GEMM_PANEL) * r->apart + (size_t)(i % GEMM_PANEL);
}

static bool write_floats(const struct cache_row *r, const float *x, float *to)
{
    for (int i = 0; i < r->d; i++)
        to[cache_index(r, i)] = x[i];
    return true; /* they stay what they are */
}

/* code * scale has been rounded once, the quotient is once more, the inverse too: still by far
 * nearest to the code. */
static bool write_codes(const struct cache_row *r, float scale, const float *x, int8_t *to)
{
    float inverse = 1.0f / scale;
    bool all = true;
    for (int i = 0; i < r->d; i++) {
        bool is_finite = isfinite(x[i]);
        to[cache_index(r, i)] = (int8_t)(is_finite ? lrintf(x[i] * inverse) : 0);
        all = all && is_finite;
    }
    return all;
}

static bool write_row(const struct cache_row *r, float scale, const float *x, void *to)
{
    return scale > 0 ? write_codes(r, scale, x, to) : write_floats(r, x, to);
}

bool attention_cache_write(const struct shape *s, const struct attention_cache *cache, int first,
                           int n, const float *k, const float *v)
{
    int d = s->head_dim;
    size_t head = cache_head_values(s, cache->positions);
    size_t keys_max = (size_t)round_up(cache->positions, GEMM_PANEL);
    bool all = true;
    CHECK(first >= 0 && first + n <= cache->positions);
    for (int i = first; i < first + n; i++)
        for (int h = 0; h < s->kv_heads; h++) {
            size_t from = (size_t)(i - first) * (size_t)shape_kv_dim(s) + (size_t)(h * d);
            size_t at = (size_t)h * head, panel = (size_t)(i / GEMM_PANEL * GEMM_PANEL);
            struct cache_row key = {d, at + panel * (size_t)d + (size_t)i % GEMM_PANEL, GEMM_PANEL,
                                    0};
            struct cache_row value = {d, at + (size_t)i * GEMM_PANEL, 1, keys_max * GEMM_PANEL};
            all = write_row(&key, cache->k_scale, k + from, cache->keys) && all;
            all = write_row(&value, cache->v_scale, v + from, cache->values) && all;
        }
    return all;
}

/* ---- forward ---- */

struct forward_work {
    struct compute *c;
    const struct shape *s;
    int n_runs;
    const struct attention_run *runs;
    const float *q;
    float *o;
    int tile; /* queries */
    int ld_p;
    float *scratch;
    float scale;
};

/* Rows of scores are written in whole panels and have 16 zeros behind what they see. An odd number
 * of cache lines: the same column of all rows is not in the same set. */
static int score_stride(int keys_max)
{
    return round_up(keys_max, GEMM_PANEL) + 16;
}

size_t attention_scratch_floats(int keys_max, int n_threads)
{
    size_t per_thread = size_mul(size_mul(2, TILE), (size_t)score_stride(keys_max));
    return size_mul(per_thread, (size_t)n_threads);
}

static int tile_rows(const struct compute *c)
{
    return TILE / c->kernels->rows_step * c->kernels->rows_step;
}

/* Rows of queries: m of them, `heads` of each position; row i sees first + i / heads keys. */
struct rows {
    int m, first, heads;
};

static int rows_see(const struct rows *r)
{
    return r->first + (r->m - 1) / r->heads;
}

/* scores (m, keys) = x (m, D) . keys^T as far as they are seen. */
static void score_rows(const struct compute *c, const struct rows *r, const float *x, int ldx,
                       struct panels *keys, float *scores, int ld_p, float *pack)
{
    int n_keys = rows_see(r), d = keys->d;
    for (int from = 0; from < n_keys; from += keys->keys_max) {
        int to = n_keys - from < keys->keys_max ? n_keys : from + keys->keys_max;
        struct attention_job job = {
            .part = SEES_COLUMNS,
            .first = r->first - from,
            .heads = r->heads,
            .m = r->m,
            .n = round_up(to - from, GEMM_PANEL),
            .k = d,
            .a = x,
            .lda = (size_t)ldx,
            .b = panels_of(c, keys, from, to),
            .b_panel = (size_t)d * GEMM_PANEL,
            .c = scores + from,
            .ldc = (size_t)ld_p,
        };
        c->kernels->attention_product(&job, pack);
    }
}

/* y (m, D) = p (m, keys) . values (keys, D). */
static void weigh_rows(const struct compute *c, const struct rows *r, const float *p, int ld_p,
                       struct panels *values, float *y, int ldy, float *pack)
{
    int n_keys = rows_see(r);
    for (int from = 0; from < n_keys; from += values->keys_max) {
        int to = n_keys - from < values->keys_max ? n_keys : from + values->keys_max;
        struct attention_job job = {
            .part = SEES_STEPS,
            .first = r->first - from,
            .heads = r->heads,
            .m = r->m,
            .n = values->d,
            .k = to - from,
            .a = p + from,
            .lda = (size_t)ld_p,
            .b = panels_of(c, values, from, to),
            .b_panel = (size_t)values->keys_max * GEMM_PANEL,
            .c = y,
            .ldc = (size_t)ldy,
            .add = from > 0,
        };
        c->kernels->attention_product(&job, pack);
    }
}

/* Keys and values of an item of the forward pass. */
struct forward_item {
    struct panels keys, values;
    float *p, *other; /* the two halves of the thread's scratch */
    float *pack;
};

static struct forward_item forward_open(const struct forward_work *w,
                                        const struct attention_run *run, int kv, bool together,
                                        int i_thread)
{
    int d = w->s->head_dim, keys_max = divide_space(w->c, w->s, 0, 2);
    size_t offset = (size_t)kv * (size_t)d, tile = (size_t)TILE * (size_t)w->ld_p;
    float *pack = w->c->pack + (size_t)i_thread * w->c->pack_floats;
    float *space = pack + ATTENTION_PACK_FLOATS;
    float *p = w->scratch + 2 * (size_t)i_thread * tile;
    struct forward_item item = {.p = p, .other = p + tile, .pack = pack};
    const struct attention_cache *cache = run->cache;
    bool has_codes = cache && cache->k_scale > 0;
    if (together && keys_max > TOGETHER_KEYS)
        keys_max = TOGETHER_KEYS;
    item.keys = (struct panels){.ldx = run->ldk, .d = d, .keys_max = keys_max, .space = space};
    item.values = item.keys;
    item.values.by_key = true;
    item.values.space += (size_t)keys_max * (size_t)round_up(d, GEMM_PANEL);
    if (!cache) {
        item.keys.x = run->k + offset;
        item.values.x = run->v + offset;
        return item;
    }
    item.keys.keys_all = item.values.keys_all = round_up(cache->positions, GEMM_PANEL);
    size_t at = (size_t)kv * cache_head_values(w->s, cache->positions);
    item.keys.scale = cache->k_scale;
    item.values.scale = cache->v_scale;
    if (has_codes) {
        item.keys.codes = (const int8_t *)cache->keys + at;
        item.values.codes = (const int8_t *)cache->values + at;
    } else {
        item.keys.keys_max = item.values.keys_max = item.keys.keys_all;
        item.keys.ready = (const float *)cache->keys + at;
        item.values.ready = (const float *)cache->values + at;
    }
    return item;
}

/* Query rows (stride ldq, ldo) of a key/value head. */
static void forward_rows(const struct forward_work *w, struct forward_item *item,
                         const struct rows *r, const float *q, int ldq, float *o)
{
    const struct kernels *k = w->c->kernels;
    float inverse[TILE];
    score_rows(w->c, r, q, ldq, &item->keys, item->p, w->ld_p, item->pack);
    for (int i = 0; i < r->m; i++)
        inverse[i] = k->softmax((size_t)(r->first + i / r->heads), w->scale,
                                item->p + (size_t)i * (size_t)w->ld_p);
    weigh_rows(w->c, r, item->p, w->ld_p, &item->values, o, ldq, item->pack);
    for (int i = 0; i < r->m; i++)
        k->normalise((size_t)w->s->head_dim, inverse[i], o + (size_t)i * (size_t)ldq);
}

static int run_tiles(const struct attention_run *run, int tile)
{
    return (run->n_rows + tile - 1) / tile;
}

/* The heads of a few positions together, by way of the other half of the scratch. */
static void forward_together(const struct forward_work *w, struct forward_item *item,
                             const struct attention_run *run, size_t at)
{
    const struct shape *s = w->s;
    size_t q_dim = (size_t)shape_q_dim(s), n_rows = (size_t)run->n_rows;
    int group = s->heads / s->kv_heads;
    size_t width = (size_t)(group * s->head_dim);
    float *q = item->other, *o = q + n_rows * width;
    struct rows rows = {run->n_rows * group, run->n_before + 1, group};
    for (size_t i = 0; i < n_rows; i++)
        memcpy(q + i * width, w->q + at + i * q_dim, width * sizeof *q);
    forward_rows(w, item, &rows, q, s->head_dim, o);
    for (size_t i = 0; i < n_rows; i++)
        memcpy(w->o + at + i * q_dim, o + i * width, width * sizeof *o);
}

/* Item = (run, query tile, key/value head); the last tile of a run, which has most to do, first. */
static void forward_item(void *context, size_t i, int i_thread)
{
    const struct forward_work *w = context;
    const struct shape *s = w->s;
    const struct attention_run *run = w->runs;
    int kv = (int)(i % (size_t)s->kv_heads), tile = (int)(i / (size_t)s->kv_heads);
    for (; tile >= run_tiles(run, w->tile); run++)
        tile -= run_tiles(run, w->tile);
    int group = s->heads / s->kv_heads, q_dim = shape_q_dim(s), d = s->head_dim;
    size_t at = (size_t)run->row * (size_t)q_dim + (size_t)(kv * group * d);
    bool single = run->n_rows == 1;
    bool together = !single && run->n_rows * group <= TOGETHER_MAX && 2 * d <= w->ld_p;
    struct forward_item item = forward_open(w, run, kv, single || together, i_thread);
    if (together) {
        forward_together(w, &item, run, at);
        return;
    }
    if (single) { /* decoding: the heads of the group are the rows */
        for (int h = 0; h < group; h += TILE, at += (size_t)(TILE * d)) {
            struct rows rows = {group - h < TILE ? group - h : TILE, run->n_before + 1, TILE};
            forward_rows(w, &item, &rows, w->q + at, d, w->o + at);
        }
        return;
    }
    int first = (run_tiles(run, w->tile) - 1 - tile) * w->tile;
    int m = run->n_rows - first < w->tile ? run->n_rows - first : w->tile;
    struct rows rows = {m, run->n_before + first + 1, 1};
    at += (size_t)first * (size_t)q_dim;
    for (int h = 0; h < group; h++, at += (size_t)d)
        forward_rows(w, &item, &rows, w->q + at, q_dim, w->o + at);
}

static float softmax_scale(const struct shape *s)
{
    return 1.0f / sqrtf((float)s->head_dim);
}

void attention_forward(struct compute *c, const struct shape *s, int n_runs,
                       const struct attention_run *runs, const float *q, float *o, int keys_max,
                       float *scratch)
{
    struct forward_work w = {.c = c,
                             .s = s,
                             .n_runs = n_runs,
                             .runs = runs,
                             .q = q,
                             .o = o,
                             .tile = tile_rows(c),
                             .ld_p = score_stride(keys_max),
                             .scratch = scratch,
                             .scale = softmax_scale(s)};
    size_t n_items = 0;
    for (int i = 0; i < n_runs; i++) {
        CHECK(runs[i].n_before + runs[i].n_rows <= keys_max);
        CHECK(!runs[i].cache || runs[i].n_before + runs[i].n_rows <= runs[i].cache->positions);
        n_items += (size_t)run_tiles(&runs[i], w.tile) * (size_t)s->kv_heads;
    }
    thread_pool_run(c->pool, n_items, forward_item, &w);
}

/* ---- backward ---- */

struct backward_work {
    struct compute *c;
    const struct shape *s;
    int n_runs;
    const struct attention_run *runs;
    const struct attention_grads *g;
    int tile;
    int ld_p;
    float *scratch;
    float scale;
    int key_blocks; /* of 64 keys, of the longest sequence */
};

/* What an item of the backward pass keeps from tile to tile. */
struct backward_item {
    int head;
    struct panels keys, values, keys_by_key;
    float *p, *dp;         /* the two halves of the thread's scratch */
    float *pack, *q, *d_o; /* in the packing space: A, panels of a tile's Q and dO */
    int n_keys;            /* so many rows of dk_heads and dv_heads have a sum */
};

static struct backward_item backward_open(const struct backward_work *w,
                                          const struct attention_run *run, int head, int i_thread)
{
    const struct shape *s = w->s;
    int d = s->head_dim, keys_max = divide_space(w->c, s, 2, 3);
    size_t width = (size_t)round_up(d, GEMM_PANEL), part = (size_t)keys_max * width;
    size_t offset = (size_t)(head / (s->heads / s->kv_heads) * d);
    const float *k = run->k + offset, *v = run->v + offset;
    float *p = w->scratch + 2 * (size_t)i_thread * TILE * (size_t)w->ld_p;
    float *pack = w->c->pack + (size_t)i_thread * w->c->pack_floats;
    float *q = pack + ATTENTION_PACK_FLOATS, *d_o = q + tile_floats(s);
    float *space = d_o + tile_floats(s);
    return (struct backward_item){
        .head = head,
        .keys = {.x = k, .ldx = run->ldk, .d = d, .keys_max = keys_max, .space = space},
        .values = {.x = v, .ldx = run->ldk, .d = d, .keys_max = keys_max, .space = space + part},
        .keys_by_key = {.x = k,
                        .ldx = run->ldk,
                        .d = d,
                        .by_key = true,
                        .keys_max = keys_max,
                        .space = space + 2 * part},
        .p = p,
        .dp = p + TILE * (size_t)w->ld_p,
        .pack = pack,
        .q = q,
        .d_o = d_o,
    };
}

/* p, dp: this tile's scores and dO V^T; p becomes probabilities, dp becomes dS. */
static void score_gradients(const struct backward_work *w, const struct backward_item *item,
                            const struct rows *r, size_t at)
{
    const struct kernels *k = w->c->kernels;
    for (int i = 0; i < r->m; i++) {
        float *p = item->p + (size_t)i * (size_t)w->ld_p;
        float *dp = item->dp + (size_t)i * (size_t)w->ld_p;
        size_t row = at + (size_t)i * (size_t)shape_q_dim(w->s), sees = (size_t)(r->first + i);
        float inverse = k->softmax(sees, w->scale, p);
        float delta = k->dot((size_t)w->s->head_dim, w->g->d_o + row, w->g->o + row);
        k->softmax_backward(sees, inverse, delta, w->scale, p, dp);
    }
}

/* sums (keys, D) (+)= p (m, keys)^T . x (m, D), x in panels: added for the item's n_keys, which
 * have a sum, and the first of it for the keys that only this tile sees. */
static void collect_rows(const struct backward_work *w, const struct backward_item *item,
                         const struct rows *r, const float *p, const float *x, float *sums)
{
    int ends[] = {0, item->n_keys, rows_see(r)};
    for (int i = 0; i < 2; i++) {
        struct attention_job job = {
            .part = IS_SEEN,
            .first = r->first - 1 - ends[i],
            .heads = 1,
            .m = ends[i + 1] - ends[i],
            .n = w->s->head_dim,
            .k = r->m,
            .a = p + ends[i],
            .lda = (size_t)w->ld_p,
            .b = x,
            .b_panel = TILE * GEMM_PANEL,
            .c = sums + (size_t)ends[i] * (size_t)shape_q_dim(w->s),
            .ldc = (size_t)shape_q_dim(w->s),
            .add = i == 0,
        };
        w->c->kernels->attention_product(&job, item->pack);
    }
}

static void backward_tile(const struct backward_work *w, const struct attention_run *run,
                          struct backward_item *item, int first)
{
    const struct compute *c = w->c;
    const struct attention_grads *g = w->g;
    const struct shape *s = w->s;
    int d = s->head_dim, m = run->n_rows - first < w->tile ? run->n_rows - first : w->tile;
    int ldq = shape_q_dim(s);
    struct rows rows = {m, run->n_before + first + 1, 1};
    size_t start = (size_t)run->key_row * (size_t)ldq + (size_t)(item->head * d);
    size_t at = (size_t)(run->row + first) * (size_t)ldq + (size_t)(item->head * d);

    score_rows(c, &rows, g->q + at, ldq, &item->keys, item->p, w->ld_p, item->pack);
    score_rows(c, &rows, g->d_o + at, ldq, &item->values, item->dp, w->ld_p, item->pack);
    score_gradients(w, item, &rows, at);
    weigh_rows(c, &rows, item->dp, w->ld_p, &item->keys_by_key, g->dq + at, ldq, item->pack);
    for (int i = 0; i < m; i++)
        c->kernels->normalise((size_t)d, 1.0f, g->dq + at + (size_t)i * (size_t)ldq);
    c->kernels->pack_columns(m, d, g->q + at, (size_t)ldq, TILE * GEMM_PANEL, item->q);
    c->kernels->pack_columns(m, d, g->d_o + at, (size_t)ldq, TILE * GEMM_PANEL, item->d_o);
    collect_rows(w, item, &rows, item->dp, item->q, g->dk_heads + start);
    collect_rows(w, item, &rows, item->p, item->d_o, g->dv_heads + start);
    item->n_keys = rows_see(&rows);
}

/* The run after the last one of the sequence that begins with run i. */
static int sequence_end(const struct attention_run *runs, int n_runs, int i)
{
    int end = i + 1;
    while (end < n_runs && runs[end].key_row == runs[i].key_row)
        end++;
    return end;
}

/* The first run of a sequence. */
static int sequence_start(const struct backward_work *w, size_t sequence)
{
    int first = 0;
    for (; sequence > 0; sequence--)
        first = sequence_end(w->runs, w->n_runs, first);
    return first;
}

/* Item = (sequence, query head). */
static void backward_item(void *context, size_t i, int i_thread)
{
    const struct backward_work *w = context;
    int head = (int)(i % (size_t)w->s->heads);
    int first_run = sequence_start(w, i / (size_t)w->s->heads);
    int end = sequence_end(w->runs, w->n_runs, first_run);
    struct backward_item item = backward_open(w, w->runs + first_run, head, i_thread);
    for (const struct attention_run *run = w->runs + first_run; run < w->runs + end; run++)
        for (int first = 0; first < run->n_rows; first += w->tile)
            backward_tile(w, run, &item, first);
}

static void add_heads(const struct backward_work *w, const float *heads, float *sum)
{
    const struct shape *s = w->s;
    int group = s->heads / s->kv_heads, d = s->head_dim;
    for (int h = 0; h < s->heads; h++)
        w->c->kernels->add((size_t)d, heads + h * d, sum + h / group * d);
}

/* Item = (sequence, 64 keys). */
static void add_item(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    const struct backward_work *w = context;
    int first_run = sequence_start(w, i / (size_t)w->key_blocks);
    const struct attention_run *run = w->runs + sequence_end(w->runs, w->n_runs, first_run) - 1;
    int first = (int)(i % (size_t)w->key_blocks) * TILE, n = run->n_before + run->n_rows;
    for (int r = first; r < first + TILE && r < n; r++) {
        size_t q_at = (size_t)(run->key_row + r) * (size_t)shape_q_dim(w->s);
        size_t k_at = (size_t)(run->key_row + r) * (size_t)shape_kv_dim(w->s);
        add_heads(w, w->g->dk_heads + q_at, w->g->dk + k_at);
        add_heads(w, w->g->dv_heads + q_at, w->g->dv + k_at);
    }
}

void attention_backward(struct compute *c, const struct shape *s, int n_runs,
                        const struct attention_run *runs, const struct attention_grads *g,
                        int keys_max, float *scratch)
{
    struct backward_work w = {.c = c,
                              .s = s,
                              .n_runs = n_runs,
                              .runs = runs,
                              .g = g,
                              .tile = tile_rows(c),
                              .ld_p = score_stride(keys_max),
                              .scratch = scratch,
                              .scale = softmax_scale(s)};
    size_t sequences = 0;
    for (int i = 0; i < n_runs; i++) {
        int n_keys = runs[i].n_before + runs[i].n_rows, blocks = (n_keys + TILE - 1) / TILE;
        CHECK(n_keys <= keys_max && !runs[i].cache);
        CHECK(runs[i].key_row + n_keys <= g->n_keys);
        sequences += i == 0 || runs[i].key_row != runs[i - 1].key_row;
        w.key_blocks = blocks > w.key_blocks ? blocks : w.key_blocks;
    }
    thread_pool_run(c->pool, sequences * (size_t)s->heads, backward_item, &w);
    thread_pool_run(c->pool, sequences * (size_t)w.key_blocks, add_item, &w);
}
