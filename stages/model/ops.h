#ifndef FMFORGE_MODEL_OPS_H
#define FMFORGE_MODEL_OPS_H

/*
 * The element-wise and row-wise operations of the model, forward and backward side by side.
 * Formulas: REFERENCE of the model class; each is checked against a naive double-precision version
 * and central differences in tests/unit/ops_test.c. M = tokens, all arrays fp32.
 */

#include <stdbool.h>
#include <stdint.h>

#include "stages/model/compute.h"
#include "stages/model/weight.h"

/* y[m][i] = w[i] * x[m][i] * rstd[m], rstd = 1/sqrt(mean(x^2) + eps). rstd is kept for backward. */
void ops_rmsnorm(struct compute *c, int m, int dim, const float *x, int ldx, const float *w,
                 float eps, float *y, int ldy, float *rstd);
/* dx += ..., dw += ... (dw NULL: weight frozen; dw sums over tokens in ascending order). */
void ops_rmsnorm_backward(struct compute *c, int m, int dim, const float *dy, int lddy,
                          const float *x, int ldx, const float *w, const float *rstd, float *dx,
                          int lddx, float *dw);

/* Rows as 16-bit integers, each with a scale of its own: x = q * scale. q NULL: nothing is kept. */
struct rows16 {
    int16_t *q;   /* (M, dim), dim rounded up to even */
    float *scale; /* (M) */
};
/* x becomes what 16 bits hold of each row: scale = max|row| / 32767, q = rint(x / scale), half to
 * even. A row that is not finite becomes NaN. */
void ops_round16(struct compute *c, int m, int dim, float *x, const struct rows16 *out);
void ops_unpack16(struct compute *c, int m, int dim, const struct rows16 *r, float *x);

/*
 * RoPE, interleaved pairs (2i, 2i+1), angle = position * theta^(-2i/D), then RMSNorm over each
 * head's D values with one shared weight (D): exactly this order. In place is allowed (y == x).
 * x: M rows of H heads x D; rotated[M][H*D] receives the values after RoPE (needed by backward).
 * round: NULL, or what stands in rotated is rounded as by ops_round16 before the norm.
 */
struct rope_table {
    int d, positions;     /* head width; positions in [0, positions) */
    const float *cos_sin; /* (positions, D/2, 2), own sin and cos, rounded from double */
};
void ops_rope_fill(float theta, int d, int positions, float *cos_sin);
void ops_rope_norm(struct compute *c, int m, int heads, const struct rope_table *t,
                   const int32_t *pos, const float *x, int ldx, const float *w, float eps,
                   const struct rows16 *round, float *rotated, int ldr, float *y, int ldy,
                   float *rstd /* (M, H) */);
/* Its norm alone: y (M, H*D) from rotated (M, H*D). */
void ops_head_norm(struct compute *c, int m, int heads, int d, const float *rotated, const float *w,
                   float eps, float *y);
/* dx = (overwrites); dw += or NULL. dx may be dy. */
void ops_rope_norm_backward(struct compute *c, int m, int heads, const struct rope_table *t,
                            const int32_t *pos, const float *dy, int lddy, const float *rotated,
                            int ldr, const float *w, const float *rstd, float *dx, int lddx,
                            float *dw);

/* KV fake quant, per tensor, symmetric int8: y = scale * clamp(rint(x / scale), -128, 127), half to
 * even; scale 0 = off (copy). Its gradient is straight-through: dx = dy, also where a value was
 * clamped, as in Apple's tamm (tests/ref/README.md). */
void ops_kv_quant(struct compute *c, int m, int dim, const float *x, int ldx, float scale, float *y,
                  int ldy);
/* max |x| over a block: for range observers. */
float ops_abs_max(struct compute *c, int m, int dim, const float *x, int ldx);

/* y = up * silu(gate). */
void ops_swiglu(struct compute *c, int m, int dim, const float *gate, const float *up, float *y);
/* Overwrites dgate and dup; either may be dy's own array. */
void ops_swiglu_backward(struct compute *c, int m, int dim, const float *dy, const float *gate,
                         const float *up, float *dgate, float *dup);

/* y[m] = row ids[m] of the table (unscaled). */
void ops_embed(struct compute *c, int m, const struct weight *table, const int32_t *ids, float *y);
/* dtable[ids[m]] += dy[m], tokens in ascending order. */
void ops_embed_backward(struct compute *c, int m, int dim, const int32_t *ids, const float *dy,
                        float *dtable /* (V, dim) */);

/*
 * Cross entropy over R rows of logits (R, V): loss[r] = -log softmax(logits[r])[target[r]] in
 * double. When dscale != 0 the logits are overwritten by dscale * (softmax - onehot).
 * Targets are all valid (callers gather labelled rows first). correct may be NULL: 1 where argmax
 * (lowest index on ties) equals the target.
 */
void ops_cross_entropy(struct compute *c, int rows, int vocab, float *logits, const int32_t *target,
                       float dscale, double *loss, unsigned char *correct);

/*
 * Reverse KL of a draft (student) to its teacher, KL(student || teacher) per row, temperature 1, in
 * double. When dscale != 0, student logits are overwritten by dscale * d kl / d logits. teacher is
 * scratch afterwards.
 */
void ops_reverse_kl(struct compute *c, int rows, int vocab, float *student, float *teacher,
                    float dscale, double *kl);
/* accept[r] = sum_v min(softmax(student)[v], softmax(teacher)[v]): the expected acceptance of one
 * drafted token under speculative sampling. Inputs unchanged. */
void ops_overlap(struct compute *c, int rows, int vocab, const float *student, const float *teacher,
                 double *accept);

/*
 * One row by the calling thread alone, for use inside an item of thread_pool_run (attention).
 * Sums: 16 lanes and the fixed tree.
 */
float ops_row_max(const struct compute *c, int n, const float *x); /* n >= 1 */
/* y[i] = exp(x[i] * scale - shift) and returns the sum; y may be x. */
float ops_row_exp(const struct compute *c, int n, const float *x, float scale, float shift,
                  float *y);
float ops_row_dot(const struct compute *c, int n, const float *x, const float *y);

int32_t ops_argmax(const float *x, int n); /* lowest index on ties */

void ops_add(struct compute *c, size_t n, const float *x, float *y); /* y += x */
void ops_scale(struct compute *c, size_t n, float s, float *y);      /* y *= s */

/* Sum of squares in double: fixed blocks of 4096 in index order, each of 16 lanes; for norms. */
double ops_sum_squares(struct compute *c, size_t n, const float *x);
bool ops_all_finite(struct compute *c, size_t n, const float *x);

/*
 * AdamW (Loshchilov and Hutter), decoupled decay, as torch.optim.AdamW computes it:
 * p *= 1 - lr*wd; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
 * p -= lr/(1-b1^t) * m / (sqrt(v/(1-b2^t)) + eps). g is read as gscale * g (clipping).
 */
struct adamw_step {
    float lr, beta1, beta2, eps, weight_decay, gscale;
    int64_t t; /* 1 for the first step */
};
void ops_adamw(struct compute *c, size_t n, const struct adamw_step *s, float *p, const float *g,
               float *m, float *v);

#endif
