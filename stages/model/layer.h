#ifndef FMFORGE_MODEL_LAYER_H
#define FMFORGE_MODEL_LAYER_H

/*
 * One layer, forward and backward. Training and decoding run the same two halves around attention:
 *
 *   layer_project: x -> h = norm(x) -> q, k, v (LoRA, RoPE, head norms, KV fake quant)
 *   layer_finish:  o -> mid = x + out(o) -> y = mid + ffn(norm(mid))
 *
 * What the backward pass reads is exactly what the forward pass used: kept, or made again from what
 * is kept by the same operations (layer_remake). With COMPUTE_INT16 the queries before their norm,
 * gate and up are rounded to 16 bits with a scale of each row (ops_round16), so that they can be
 * kept in half the room; gradients go straight through that rounding.
 *
 * The feed-forward half runs over a few hundred rows at a time (layer_ffn_rows): what is as wide as
 * F exists only for these.
 */

#include "pipeline/base/arena.h"
#include "stages/model/attention.h"
#include "stages/model/lora.h"
#include "stages/model/model.h"
#include "stages/model/ops.h"

/* Hands out floats from an arena, or only counts them (arena NULL): the plan and the reservation
 * walk the same code. */
struct taker {
    struct arena *arena;
    size_t bytes;
};
float *taker_floats(struct taker *t, size_t a, size_t b); /* a * b of them; NULL while counting */

#define LAYER_LORAS 7 /* modules of a layer of segment 0 */

/* How the widest of a layer's activations are kept for the backward pass. */
enum layer_keep {
    LAYER_KEEP_NOTHING, /* of a forward pass: nothing but what the layers after it read */
    LAYER_KEEP_F32,
    LAYER_KEEP_16, /* of COMPUTE_INT16: 16 bits where nothing is lost; o is made again */
};

/* A layer's activations; T = tokens. k_* and v_* are NULL in segment 1. q_rotated, o, gate and up
 * are NULL where they are not kept as floats: then those of the scratch are used. */
struct layer_acts {
    float *x;         /* (T, C) residual stream before the layer */
    float *x_rstd;    /* (T) */
    float *q_rotated; /* (T, H*D) after RoPE */
    struct rows16 q_rotated16;
    float *q_rstd;    /* (T, H) */
    float *k_rotated; /* (T, KV*D) */
    float *k_rstd;    /* (T, KV) */
    float *k;         /* (T, KV*D) */
    float *v;         /* (T, KV*D) */
    float *o;         /* (T, H*D) attention output */
    float *mid;       /* (T, C) residual stream between attention and feed-forward */
    float *mid_rstd;  /* (T) */
    float *gate, *up; /* (T, F) */
    struct rows16 gate16, up16;
    float *lora[LAYER_LORAS]; /* (T, R) each: scale * x A; NULL without LoRA, and beyond the
                               * modules of a layer of segment 1 */
};
/* Rows of a layer's two halves: up to the projections, and from attention's output on. */
struct layer_rows {
    int project, finish;
};
void layer_acts_take(struct taker *t, const struct shape *s, bool reuses, struct layer_rows rows,
                     int rank, enum layer_keep keep, struct layer_acts *out);

/* Rows that the feed-forward half takes at a time, of so many tokens. */
int layer_ffn_rows(const struct shape *s, int tokens);

/* Scratch shared by all layers; N = layer_ffn_rows. */
struct layer_scratch {
    float *h;                   /* (T, C) after the attention norm */
    float *qkv;                 /* (T, H*D + 2*KV*D) */
    float *q_rotated;           /* (T, H*D); this, o, gate and up only without LAYER_KEEP_F32 */
    float *q;                   /* (T, H*D) after the head norm */
    float *k_normed, *v_raw;    /* (T, KV*D) before fake quant */
    float *o;                   /* (T, H*D) */
    float *g;                   /* (N, C) after the feed-forward norm */
    float *gate, *up;           /* (N, F) */
    float *act;                 /* (N, F) */
    float *d_act;               /* (N, F); backward only from here */
    float *d_up;                /* (N, F) */
    float *d_h;                 /* (T, C) */
    float *d_o;                 /* (T, H*D) */
    float *d_q;                 /* (T, H*D) */
    float *d_lora;              /* (T, R) of each module of a linear */
    float *dk_heads, *dv_heads; /* (T, H*D) */
};
void layer_scratch_take(struct taker *t, const struct shape *s, int tokens, int rank,
                        enum layer_keep keep, struct layer_scratch *out);

/* What a pass over the layers holds fixed. Gradient arrays: at most one is not NULL. */
struct layer_pass {
    struct compute *c;
    const struct model *m;
    const struct adapter *a; /* or NULL */
    int n_tokens;
    const int32_t *pos;
    struct layer_scratch *scratch;
    float *grad_lora; /* flat, as the adapter */
    float *grad_full; /* flat, as the model */
};

/* ERR_NUMERIC names the norm whose row was not finite, or so large that its square is not (then the
 * norm gives zeros, and a loss of nothing but zeros is finite): rstd (n_rows, per_row) as the norm
 * of this role left it, layer -1 = the final one. tokens: of the rows, NULL = their index. */
int layer_check_norm(const struct shape *s, int layer, enum tensor_role role, int n_rows,
                     int per_row, const float *rstd, const int32_t *tokens, struct err *e) MUST_USE;

/* Queries in scratch->q, keys and values in a. */
void layer_project(const struct layer_pass *p, int layer, struct layer_acts *a);
/* The norms of layer_project; of layer_finish with the tokens of its rows. */
int layer_check_projected(const struct layer_pass *p, int layer, const struct layer_acts *a,
                          const int32_t *tokens, struct err *e) MUST_USE;
int layer_check_finished(const struct layer_pass *p, int layer, const struct layer_acts *a,
                         const int32_t *tokens, struct err *e) MUST_USE;
/* What layer_project left in the scratch, from what is kept: h, q_rotated, q. */
void layer_remake(const struct layer_pass *p, int layer, const struct layer_acts *a);
/* Where attention's output belongs. */
float *layer_attended(const struct layer_pass *p, const struct layer_acts *a);
/* y (T, C) may be a->x; NULL: only what the backward pass takes. */
void layer_finish(const struct layer_pass *p, int layer, struct layer_acts *a, float *y);

/* dx (T, C): gradient of y on entry, of mid on return. */
void layer_finish_backward_ffn(const struct layer_pass *p, int layer, const struct layer_acts *a,
                               float *dx);
/* scratch->d_o = gradient of o, from dx = gradient of mid. */
void layer_finish_backward_out(const struct layer_pass *p, int layer, const struct layer_acts *a,
                               const float *dx);
/* From scratch->d_q and (segment 0) dk, dv, gradients of q, k, v: dx += gradient of x. dk and dv
 * are overwritten. need_dx false: nothing below needs it. */
void layer_project_backward(const struct layer_pass *p, int layer, const struct layer_acts *a,
                            float *dk, float *dv, bool need_dx, float *dx);

#endif
