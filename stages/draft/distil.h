#ifndef FMFORGE_DRAFT_DISTIL_H
#define FMFORGE_DRAFT_DISTIL_H

/*
 * The distillation itself: a small dense model (student) learns the distribution of base + adapter
 * (teacher) at the labelled tokens, by reverse KL, KL(student || teacher), temperature 1, mean per
 * labelled token. A fresh student may learn the text itself first (cross entropy).
 *
 * Acceptance: under speculative sampling a drafted token is kept with probability
 * sum_v min(student, teacher). a_k is the mean, over places with k labelled tokens in a row, of the
 * product of k of these: the chance that k drafted tokens are all kept, in contexts of the data.
 */

#include "stages/kit/stage.h"
#include "stages/model/flat_params.h"
#include "stages/model/lora.h"
#include "stages/model/train_loop.h"

#define DISTIL_DRAFT_TOKENS 5

struct distil_options {
    uint32_t rows_per_step;
    int64_t ce_steps, kl_steps;
    double learning_rate, warmup_fraction, weight_decay, clip;
    int64_t seed, eval_every, checkpoint_every;
    uint32_t valid_rows_max;
    int tokens_max; /* of a micro-batch */
};

struct distil_acceptance {
    double sum[DISTIL_DRAFT_TOKENS];
    int64_t n[DISTIL_DRAFT_TOKENS];
    int32_t last_row; /* token index of the run's last labelled row, -2 = none */
    double run[DISTIL_DRAFT_TOKENS];
    int n_run;
};

struct distil {
    /* The caller's part, borrowed. */
    const struct stage_run *run;
    struct compute *compute;
    const struct model *base;
    const struct adapter *adapter; /* NULL = base alone */
    struct model *student;         /* trainable */
    struct rows rows, valid;
    struct distil_options options;
    struct plan_mem beside; /* what the caller took beside the models: for the plan it prints */

    struct transformer teacher_pass, student_pass;
    struct train_loop ce, kl;
    struct trainer trainer;
    struct trainer_group *groups;
    float *hidden;         /* (tokens_max, C): the teacher's final states of labelled rows */
    float *teacher_logits; /* (slice, V) */
    double *row_values;    /* (slice) */
    struct arena arena;
    const struct batch *batch; /* at hand */
    float scale;               /* of it */
    struct loss_sum *sum;
    struct distil_acceptance *acceptance; /* NULL unless measured */
};

int distil_run(struct distil *d, struct err *e) MUST_USE;
/* KL and acceptance on the valid rows, of the student as it is stored (BF16). */
int distil_measure(struct distil *d, double *kl, double acceptance[DISTIL_DRAFT_TOKENS],
                   struct err *e) MUST_USE;
void distil_release(struct distil *d); /* safe on zeroed, safe twice */

#endif
