#ifndef FMFORGE_PRETRAIN_QAT_H
#define FMFORGE_PRETRAIN_QAT_H

/*
 * Quantisation-aware training of a model's weights: the trained (master) weights stay fp32, every
 * pass uses their values on the grid, gradients go straight through to the masters.
 *
 * Linears: 2 bits, balanced set, one scale per tensor, s = f max|W| where max|W| is that of the
 * start (a moving maximum would make the grid jump) and f is learnable, trained as its relative
 * change from the least-squares start: s = s_start (1 + theta). Embedding: 4 bits, one scale per
 * row from its largest value, in each step anew. Norms stay fp32. Keys and values: int8 with a
 * range that follows their largest absolute value (momentum 0.9) and is frozen towards the end.
 */

#include "pipeline/base/arena.h"
#include "stages/model/checkpoint.h"
#include "stages/model/model.h"
#include "stages/model/quant.h"
#include "stages/model/transformer.h"

struct qat_state {
    int64_t step;        /* done */
    int64_t freeze_step; /* ranges move up to this step */
};

struct qat {
    struct compute *compute;    /* borrowed */
    const struct model *master; /* borrowed; trainable */
    struct model view;          /* what passes use: the master's norms, grid values, KV ranges */
    struct qat_state state;

    float *fake;        /* (n_flat) grid values at the places of their masters */
    float *scale_start; /* (linears) */
    float *theta, *theta_grad, *theta_m, *theta_v; /* (linears) */
    float *row_scale;                              /* (V) */
    float *ranges;          /* (layers_0, 4): copies of the view's ranges, for the checkpoint */
    unsigned char **packed; /* (linears + 1) storage forms, after qat_pack */
    float *scale;           /* (linears) current scales */
    struct arena arena;
};

size_t qat_bytes(const struct shape *s);
/* Starts from the master's values: scales by search, ranges off. */
int qat_reserve(struct qat *q, struct compute *c, const struct model *master,
                struct err *e) MUST_USE;
void qat_release(struct qat *q); /* safe on zeroed, safe twice */

/* Searches the scales of the master's present values. */
void qat_start(struct qat *q, int64_t freeze_step);
/* Puts the master's present values on the grid: before passes. */
void qat_round(struct qat *q);
/* After a pass of training or calibration: ranges follow. */
void qat_observe(struct qat *q, const float *kv_abs_max);
/* Gradients at grid values become gradients of the masters, in place; the scales take their step.
 */
void qat_backward(struct qat *q, double rate, int64_t step, float *grads);

/* Checkpoint blocks: at most 5. After loading: qat_restore. */
size_t qat_blocks(struct qat *q, struct checkpoint_block *out);
void qat_restore(struct qat *q);

/* Packs the grid values into storage forms; the view uses these from now on: the same values. */
int qat_pack(struct qat *q, struct err *e) MUST_USE;

#endif
