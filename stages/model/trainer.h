#ifndef FMFORGE_MODEL_TRAINER_H
#define FMFORGE_MODEL_TRAINER_H

/*
 * One optimiser step after another over one flat array of parameters, whatever they mean: the LoRA
 * values of an adapter or all weights of a model. The caller gives a function that adds a
 * micro-batch's gradients; the trainer chooses rows, weighs, clips and updates.
 *
 * Rows: each epoch is one permutation by (seed, stream, epoch); its rows are dealt to
 * ceil(rows / rows_per_step) steps as evenly as they go. Step s is a pure function of its number.
 *
 * Weighting: the gradients of all micro-batches of a step are scaled by 1 / (labelled tokens of the
 * step), so that every labelled token weighs the same however rows fall into micro-batches. (The
 * toolkit averages per micro-batch: tokens of short answers weigh more.)
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/arena.h"
#include "stages/kit/plan_mem.h"
#include "stages/kit/rows.h"
#include "stages/model/compute.h"
#include "stages/model/schedule.h"
#include "stages/model/transformer.h"

/* Adds scale * d(sum of losses) to grads (NULL: evaluation, nothing but the loss). */
typedef int trainer_loss_fn(void *context, const struct batch *b, float scale, float *grads,
                            struct loss_sum *sum, struct err *e);

/* AdamW in recover and draft, which have no parameters for it: as the nano toolkits were made,
 * which come out again only with these. `train` has PyTorch's defaults, where beta2 is 0.999. */
#define TRAINER_BETA1 0.9
#define TRAINER_BETA2 0.99
#define TRAINER_EPS 1e-8

/* A run of parameters that share a weight decay. */
struct trainer_group {
    size_t first, count;
    float weight_decay;
};

struct trainer_plan {
    struct schedule schedule; /* total_steps = how many steps there will be */
    int64_t seed;
    const char *stream; /* name of the stream that shuffles */
    uint32_t rows_per_step;
    int tokens_max; /* of a micro-batch */
    double beta1, beta2, eps;
    double clip; /* largest global norm of the gradient; 0 = off */
};

struct trainer {
    struct compute *compute; /* borrowed, as all of the caller's part */
    struct trainer_plan plan;
    const struct rows *rows;
    void *context;
    trainer_loss_fn *loss;
    /* Either may be NULL. Before the batches of a step and of an evaluation; after the batches of a
     * step, before clipping. */
    int (*prepare)(void *context, bool for_training, struct err *e);
    int (*finish)(void *context, double rate, int64_t step, float *grads, struct err *e);
    void (*name_at)(void *context, size_t offset, char *out, size_t out_bytes);
    float *params;
    size_t n_params;
    const struct trainer_group *groups;
    size_t n_groups;

    float *grads, *moment_1, *moment_2; /* (n_params) in arena */
    uint32_t *order;                    /* the permutation of epoch order_epoch */
    int64_t order_epoch;
    struct arena arena;
};

struct trainer_result {
    struct loss_sum loss;
    int64_t n_input_tokens;
    double rate, norm;
};

/* Steps in one epoch of n_rows rows. */
int64_t trainer_epoch_steps(uint32_t n_rows, uint32_t rows_per_step);
/* Steps that see so many rows: one sees n_rows / trainer_epoch_steps of them, which is fewer than
 * rows_per_step where that does not divide n_rows. */
int64_t trainer_steps_for(double rows, uint32_t n_rows, uint32_t rows_per_step);

/* Bytes that trainer_reserve takes. */
size_t trainer_bytes(size_t n_params, uint32_t n_rows);
/* The same bytes as parts: "gradients", "moments" and "order of rows". */
void trainer_memory(size_t n_params, uint32_t n_rows, struct plan_mem *out);
/* The caller has filled its part. Moments start at zero. */
int trainer_reserve(struct trainer *t, struct err *e) MUST_USE;
void trainer_release(struct trainer *t); /* safe on zeroed, safe twice */

/* Step number `step`, from 1. A step without labelled tokens changes nothing. ERR_NUMERIC names
 * step and tensor. */
int trainer_step(struct trainer *t, int64_t step, struct trainer_result *out,
                 struct err *e) MUST_USE;

/* The largest of the micro-batches that all steps of the plan and evaluations of at most
 * valid_rows_max rows of `valid` (NULL = none) will make. Looks at plan and rows alone, before
 * anything is reserved; beyond 10^8 rows it takes what a micro-batch may have. */
struct trainer_largest {
    int tokens, targets;
};
struct trainer_largest trainer_largest(const struct trainer *t, const struct rows *valid,
                                       uint32_t valid_rows_max);

/* Loss over at most rows_max rows, evenly spaced through `rows` (epoch 0). */
int trainer_evaluate(struct trainer *t, const struct rows *rows, uint32_t rows_max,
                     struct loss_sum *out, struct err *e) MUST_USE;

#endif
