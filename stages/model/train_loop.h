#ifndef FMFORGE_MODEL_TRAIN_LOOP_H
#define FMFORGE_MODEL_TRAIN_LOOP_H

/*
 * A whole training run around a trainer: evaluation, loss curves, the best parameters, checkpoints
 * in the work folder, progress. A run that is killed and started again ends with the same bytes:
 * everything that reaches an output is in the checkpoint, and every step depends only on its number
 * and on what the checkpoint holds.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/arena.h"
#include "pipeline/base/json.h"
#include "stages/kit/stage.h"
#include "stages/model/checkpoint.h"
#include "stages/model/trainer.h"

/* A curve holds at most this many points. */
#define TRAIN_LOOP_TRAIN_POINTS 200
#define TRAIN_LOOP_BLOCKS_MAX 8 /* of the caller */

struct loss_point {
    int64_t step;
    double loss; /* mean per labelled token */
};

struct loss_curve {
    struct loss_point *points;
    size_t max;
};

/* Everything that changes and is not a parameter or a moment. Plain numbers: saved as they are. */
struct train_state {
    int64_t step; /* done */
    int64_t n_input_tokens, n_labels;
    int64_t n_train_points, n_valid_points;
    double sum_loss, sum_labels; /* since the last point of the training curve */
    int64_t best_step;           /* 0 = before the first */
    double best_loss;            /* valid, at best_step */
    double last_valid_loss;
    double last_train_loss; /* of the last point */
    int64_t n_clipped;      /* steps whose gradient was clipped */
};

struct train_loop {
    /* The caller's part, borrowed. */
    const struct stage_run *run;
    struct trainer *trainer;
    const struct rows *valid; /* NULL = none */
    uint32_t valid_rows_max;  /* rows of one evaluation */
    const char *phase;        /* "train", "qat": checkpoint file and messages */
    int64_t eval_every;       /* steps; 0 = at the end of each epoch */
    int64_t checkpoint_every; /* steps; 0 = only at the end and when interrupted */
    bool keep_best;           /* needs valid */
    struct checkpoint_block blocks[TRAIN_LOOP_BLOCKS_MAX]; /* further state of the caller */
    size_t n_blocks;
    /* May be NULL: called after each evaluation. An error ends the run. */
    int (*after_evaluation)(void *context, int64_t step, struct err *e);
    void *context;

    struct train_state state;
    struct loss_curve train_curve, valid_curve;
    float *best; /* (n_params), keep_best only */
    struct arena arena;
};

size_t train_loop_bytes(const struct train_loop *l); /* of the arena */
/* The same bytes as parts: "best so far" and "curves". */
void train_loop_memory(const struct train_loop *l, struct plan_mem *out);
int train_loop_reserve(struct train_loop *l, struct err *e) MUST_USE;
void train_loop_release(struct train_loop *l); /* safe on zeroed, safe twice */

/* Runs to the end, from the checkpoint when there is one of the same run. On return the trainer's
 * parameters are the last ones, or the best with keep_best. Interrupted: saves and ERR_IO. */
int train_loop_run(struct train_loop *l, struct err *e) MUST_USE;

/* Adds the block {"type":"series",...} with both curves to a report. */
void train_loop_chart(const struct train_loop *l, const char *title, struct json *report);

#endif
