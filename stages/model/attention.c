#include "stages/model/attention.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/gemm.h"
#include "stages/model/ops.h"

/*
 * All products are the gemm tiles of the kernel set on small blocks:
 *   S = Q K^T      (queries, keys)  chain over D
 *   O = P V        (queries, D)     chain over keys
 *   dP = dO V^T,  dS = P * (dP - delta) * scale,  delta_i = dO_i . O_i
 *   dQ = dS K      dK += dS^T Q      dV += P^T dO
 * Keys behind a query inside its tile have p = 0: fma(0, v, acc) changes at most the sign of a zero
 * sum, which the + 0.0f of the normalisation removes.
 *
 * Backward works on one (sequence, query head) at a time, so that dK and dV of a head are chains
 * over queries in ascending order whatever the threads do; the heads of a group are added in order.
 */

#define TILE 64
/* Query rows of all heads of a group that are taken together: more of them pay for the packing. */
#define TOGETHER_MAX TILE

struct forward_work {
    struct compute *c;
    const struct shape *s;
    int n_runs;
    const struct attention_run *runs;
    const float *q;
    float *o;
    int ld_p;
    float *scratch;
    float scale;
};

static int padded_keys(int keys_max)
{
    return (keys_max + 15) / 16 * 16;
}

size_t attention_scratch_floats(const struct shape *s, int keys_max, int n_threads)
{
    (void)s;
    size_t per_thread = size_mul(size_mul(2, TILE), (size_t)padded_keys(keys_max));
    return size_mul(per_thread, (size_t)n_threads);
}

/* Scores to unnormalised probabilities in one row; returns 1 / sum. Zero behind `visible`. */
static float softmax_row(const struct compute *c, int visible, int n_keys, float scale, float *p)
{
    float largest = ops_row_max(c, visible, p);
    float sum = ops_row_exp(c, visible, p, scale, largest * scale, p);
    memset(p + visible, 0, sizeof *p * (size_t)(n_keys - visible));
    return 1.0f / sum;
}

/* `m` query rows (stride ldq, ldo) of a key/value head, `heads` of each position: row i sees first
 * + i / heads keys. */
static void forward_rows(const struct forward_work *w, const struct attention_run *run, int kv,
                         int m, const float *q, int ldq, float *o, int first, int heads,
                         int i_thread)
{
    float *p = w->scratch + (size_t)i_thread * 2 * TILE * (size_t)w->ld_p;
    int d = w->s->head_dim, n_keys = first + (m - 1) / heads;
    size_t offset = (size_t)kv * (size_t)d;
    float inverse[TILE];
    gemm_local(w->c, i_thread, GEMM_NT, m, n_keys, d, q, ldq, run->k + offset, run->ldk, p, w->ld_p,
               false);
    for (int i = 0; i < m; i++)
        inverse[i] =
            softmax_row(w->c, first + i / heads, n_keys, w->scale, p + (size_t)i * (size_t)w->ld_p);
    gemm_local(w->c, i_thread, GEMM_NN, m, d, n_keys, p, w->ld_p, run->v + offset, run->ldk, o, ldq,
               false);
    for (int i = 0; i < m; i++) {
        float *row = o + (size_t)i * (size_t)ldq;
        for (int j = 0; j < d; j++)
            row[j] = row[j] * inverse[i] + 0.0f;
    }
}

static int run_tiles(const struct attention_run *run)
{
    return (run->n_rows + TILE - 1) / TILE;
}

/* The heads of a few positions together, by way of the other half of the scratch: keys and values
 * are packed once for all of them. */
static void forward_together(const struct forward_work *w, const struct attention_run *run, int kv,
                             int m, size_t at, int i_thread)
{
    const struct shape *s = w->s;
    size_t q_dim = (size_t)shape_q_dim(s), tile = (size_t)TILE * (size_t)w->ld_p;
    int group = s->heads / s->kv_heads;
    size_t width = (size_t)(group * s->head_dim), rows = (size_t)m;
    float *q = w->scratch + (2 * (size_t)i_thread + 1) * tile, *o = q + rows * width;
    for (size_t i = 0; i < rows; i++)
        memcpy(q + i * width, w->q + at + i * q_dim, width * sizeof *q);
    forward_rows(w, run, kv, m * group, q, s->head_dim, o, run->n_before + 1, group, i_thread);
    for (size_t i = 0; i < rows; i++)
        memcpy(w->o + at + i * q_dim, o + i * width, width * sizeof *o);
}

/* Item = (run, query tile, key/value head). */
static void forward_item(void *context, size_t i, int i_thread)
{
    const struct forward_work *w = context;
    const struct shape *s = w->s;
    const struct attention_run *run = w->runs;
    int kv = (int)(i % (size_t)s->kv_heads), tile = (int)(i / (size_t)s->kv_heads);
    for (; tile >= run_tiles(run); run++)
        tile -= run_tiles(run);
    int group = s->heads / s->kv_heads, q_dim = shape_q_dim(s);
    size_t head_offset = (size_t)(kv * group * s->head_dim);
    if (run->n_rows == 1) { /* decoding: the heads of the group are the rows */
        size_t at = (size_t)run->row * (size_t)q_dim + head_offset;
        for (int h = 0; h < group; h += TILE)
            forward_rows(w, run, kv, group - h < TILE ? group - h : TILE,
                         w->q + at + (size_t)(h * s->head_dim), s->head_dim,
                         w->o + at + (size_t)(h * s->head_dim), run->n_before + 1, TILE, i_thread);
        return;
    }
    if (run->n_rows * group <= TOGETHER_MAX && 2 * s->head_dim <= w->ld_p) {
        size_t at = (size_t)run->row * (size_t)q_dim + head_offset;
        forward_together(w, run, kv, run->n_rows, at, i_thread);
        return;
    }
    int first = tile * TILE;
    int m = run->n_rows - first < TILE ? run->n_rows - first : TILE;
    for (int h = 0; h < group; h++) {
        size_t at =
            (size_t)(run->row + first) * (size_t)q_dim + head_offset + (size_t)(h * s->head_dim);
        forward_rows(w, run, kv, m, w->q + at, q_dim, w->o + at, run->n_before + first + 1, 1,
                     i_thread);
    }
}

static float softmax_scale(const struct shape *s)
{
    return 1.0f / sqrtf((float)s->head_dim);
}

void attention_forward(struct compute *c, const struct shape *s, int n_runs,
                       const struct attention_run *runs, const float *q, float *o, int keys_max,
                       float *scratch)
{
    struct forward_work w = {
        c, s, n_runs, runs, q, o, padded_keys(keys_max), scratch, softmax_scale(s)};
    size_t n_items = 0;
    for (int i = 0; i < n_runs; i++) {
        CHECK(runs[i].n_before + runs[i].n_rows <= keys_max);
        n_items += (size_t)run_tiles(&runs[i]) * (size_t)s->kv_heads;
    }
    thread_pool_run(c->pool, n_items, forward_item, &w);
}

struct backward_work {
    struct compute *c;
    const struct shape *s;
    int n_runs;
    const struct attention_run *runs;
    const struct attention_grads *g;
    int ld_p;
    float *scratch;
    float scale;
};

/* p, dp: this tile's unnormalised probabilities and dO V^T; p becomes normalised, dp becomes dS.
 * Row i sees n_before + i + 1 keys. */
static void score_gradients(const struct backward_work *w, int m, int n_before, size_t at, float *p,
                            float *dp)
{
    int d = w->s->head_dim, n_keys = n_before + m;
    for (int i = 0; i < m; i++) {
        float *p_row = p + (size_t)i * (size_t)w->ld_p, *dp_row = dp + (size_t)i * (size_t)w->ld_p;
        size_t row = at + (size_t)i * (size_t)shape_q_dim(w->s);
        float inverse = softmax_row(w->c, n_before + i + 1, n_keys, w->scale, p_row);
        float delta = ops_row_dot(w->c, d, w->g->d_o + row, w->g->o + row);
        for (int j = 0; j < n_keys; j++) {
            p_row[j] = p_row[j] * inverse;
            dp_row[j] = (p_row[j] * (dp_row[j] - delta)) * w->scale;
        }
    }
}

static void backward_tile(const struct backward_work *w, const struct attention_run *run, int head,
                          int first, int i_thread)
{
    const struct compute *c = w->c;
    const struct attention_grads *g = w->g;
    const struct shape *s = w->s;
    float *p = w->scratch + (size_t)i_thread * 2 * TILE * (size_t)w->ld_p;
    float *dp = p + TILE * (size_t)w->ld_p;
    int d = s->head_dim, m = run->n_rows - first < TILE ? run->n_rows - first : TILE;
    int n_before = run->n_before + first, n_keys = n_before + m;
    int ldp = w->ld_p, ldq = shape_q_dim(s), ldk = run->ldk;
    size_t start = (size_t)run->key_row * (size_t)ldq + (size_t)(head * d);
    size_t at = (size_t)(run->row + first) * (size_t)ldq + (size_t)(head * d);
    size_t offset = (size_t)(head / (s->heads / s->kv_heads) * d);
    const float *q = g->q + at, *d_o = g->d_o + at, *k = run->k + offset, *v = run->v + offset;

    gemm_local(c, i_thread, GEMM_NT, m, n_keys, d, q, ldq, k, ldk, p, ldp, false);
    gemm_local(c, i_thread, GEMM_NT, m, n_keys, d, d_o, ldq, v, ldk, dp, ldp, false);
    score_gradients(w, m, n_before, at, p, dp);
    gemm_local(c, i_thread, GEMM_NN, m, d, n_keys, dp, ldp, k, ldk, g->dq + at, ldq, false);
    gemm_local(c, i_thread, GEMM_TN, n_keys, d, m, dp, ldp, q, ldq, g->dk_heads + start, ldq, true);
    gemm_local(c, i_thread, GEMM_TN, n_keys, d, m, p, ldp, d_o, ldq, g->dv_heads + start, ldq,
               true);
}

/* The run after the last one of the sequence that begins with run i. */
static int sequence_end(const struct attention_run *runs, int n_runs, int i)
{
    int end = i + 1;
    while (end < n_runs && runs[end].key_row == runs[i].key_row)
        end++;
    return end;
}

/* Item = (sequence, query head). */
static void backward_item(void *context, size_t i, int i_thread)
{
    const struct backward_work *w = context;
    int head = (int)(i % (size_t)w->s->heads), first_run = 0;
    for (size_t left = i / (size_t)w->s->heads; left > 0; left--)
        first_run = sequence_end(w->runs, w->n_runs, first_run);
    int end = sequence_end(w->runs, w->n_runs, first_run);
    for (const struct attention_run *run = w->runs + first_run; run < w->runs + end; run++)
        for (int first = 0; first < run->n_rows; first += TILE)
            backward_tile(w, run, head, first, i_thread);
}

static void add_heads(const struct shape *s, const float *heads, float *sum)
{
    int group = s->heads / s->kv_heads, d = s->head_dim;
    for (int kv = 0; kv < s->kv_heads; kv++)
        for (int h = 0; h < group; h++)
            for (int j = 0; j < d; j++)
                sum[kv * d + j] += heads[(kv * group + h) * d + j];
}

/* Item = 64 keys. */
static void add_item(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    const struct backward_work *w = context;
    int n = w->g->n_keys, first = (int)i * TILE, end = first + TILE < n ? first + TILE : n;
    for (int r = first; r < end; r++) {
        size_t q_at = (size_t)r * (size_t)shape_q_dim(w->s);
        size_t k_at = (size_t)r * (size_t)shape_kv_dim(w->s);
        add_heads(w->s, w->g->dk_heads + q_at, w->g->dk + k_at);
        add_heads(w->s, w->g->dv_heads + q_at, w->g->dv + k_at);
    }
}

void attention_backward(struct compute *c, const struct shape *s, int n_runs,
                        const struct attention_run *runs, const struct attention_grads *g,
                        int keys_max, float *scratch)
{
    struct backward_work w = {
        c, s, n_runs, runs, g, padded_keys(keys_max), scratch, softmax_scale(s)};
    size_t head_bytes = (size_t)g->n_keys * (size_t)shape_q_dim(s) * sizeof(float), sequences = 0;
    for (int i = 0; i < n_runs; i++) {
        CHECK(runs[i].n_before + runs[i].n_rows <= keys_max);
        CHECK(runs[i].key_row + runs[i].n_before + runs[i].n_rows <= g->n_keys);
        sequences += i == 0 || runs[i].key_row != runs[i - 1].key_row;
    }
    memset(g->dk_heads, 0, head_bytes);
    memset(g->dv_heads, 0, head_bytes);
    thread_pool_run(c->pool, sequences * (size_t)s->heads, backward_item, &w);
    thread_pool_run(c->pool, (size_t)((g->n_keys + TILE - 1) / TILE), add_item, &w);
}
