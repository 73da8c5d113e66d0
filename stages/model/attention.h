#ifndef FMFORGE_MODEL_ATTENTION_H
#define FMFORGE_MODEL_ATTENTION_H

/*
 * Causal attention with grouped heads: head h of H reads key/value head h / (H / KV).
 *
 *   s_ij = scale * q_i . k_j,  j <= i;   p = softmax over j;   o_i = sum_j p_ij v_j,
 *   scale = 1 / sqrt(D)
 *
 * Arithmetic: dots are chains over D; the softmax sum has 16 lanes by key index, counted from the
 * start of the segment, and the fixed tree of kernels.h; the sum over keys is a chain in ascending
 * order. So one query against a cache, a prompt, a packed batch and a sample alone give the same
 * bits. Query tiles of 64 rows; no (T x T) buffer exists.
 */

#include "stages/model/compute.h"
#include "stages/model/shape.h"

/*
 * A cache of one sequence's keys and values in one layer, in the order in which the products read
 * them: nothing is packed when a token attends to it. Keys: for each head, 32 keys after 32 keys,
 * of these element by element, (keys / 32, D, 32). Values: for each head, 32 elements after 32
 * elements, of these key by key, (D / 32, keys, 32), with D rounded up to 32. The number of keys is
 * rounded up to 32 in both, and a head's values lie rounded-up keys * rounded-up D apart.
 *
 * Where quantisers of 8 bits have made them (ops_kv_quant), code * scale is the very value: the
 * codes are kept, a quarter of the bytes, and turned into values part after part.
 */
struct attention_cache {
    int positions;          /* room for so many keys */
    float k_scale, v_scale; /* of codes, int8; both 0: it holds floats */
    void *keys, *values;    /* attention_cache_bytes each */
};

/* Scales below are not taken for codes: their inverse could be infinite. */
#define ATTENTION_SCALE_MIN 1e-30f

size_t attention_cache_bytes(const struct shape *s, int positions, bool has_codes);
/* Keys and values (n, KV*D) of the positions [first, first + n). False: one of them is NaN, which
 * no code stands for. */
bool attention_cache_write(const struct shape *s, const struct attention_cache *cache, int first,
                           int n, const float *k, const float *v);

/* Consecutive queries of one sequence and the keys they see. */
struct attention_run {
    int row; /* first query: row of q and o */
    int n_rows;
    int n_before;   /* keys before the first query's own: row r sees n_before + r + 1 keys */
    const float *k; /* (keys, KV*D), row stride ldk */
    const float *v;
    int ldk;
    int key_row; /* backward: row of dk and dv that belongs to the first key */
    const struct attention_cache *cache; /* NULL, or instead of k and v; forward only */
};

/* Floats of scratch for runs of at most keys_max keys. */
size_t attention_scratch_floats(int keys_max, int n_threads);

/* o (M, H*D) from q (M, H*D). */
void attention_forward(struct compute *c, const struct shape *s, int n_runs,
                       const struct attention_run *runs, const float *q, float *o, int keys_max,
                       float *scratch);

/* What backward reads and writes, contiguous; M rows of queries, N rows of keys (ldk = KV*D). The
 * runs of one sequence are neighbours in ascending order and have the same key_row. */
struct attention_grads {
    int n_keys;                 /* N */
    const float *q, *o, *d_o;   /* (M, H*D) */
    float *dq;                  /* (M, H*D) overwritten */
    float *dk, *dv;             /* (N, KV*D) added to: several layers may share keys and values */
    float *dk_heads, *dv_heads; /* scratch (N, H*D): one partial sum per query head */
};
void attention_backward(struct compute *c, const struct shape *s, int n_runs,
                        const struct attention_run *runs, const struct attention_grads *g,
                        int keys_max, float *scratch);

#endif
