#ifndef FMFORGE_TESTS_TOY_TRAINING_H
#define FMFORGE_TESTS_TOY_TRAINING_H

/*
 * A training whose gradients can be told on paper: a labelled token pulls every parameter towards a
 * target of its own, its loss is half of the squared distance. Row r has 2 + r % 3 tokens; all but
 * the first have a label, but for row TOY_BARE, which has none.
 */

#include "stages/model/trainer.h"

#define TOY_ROWS 7
#define TOY_BARE 5
#define TOY_PARAMS 10
#define TOY_DECAYED 6 /* parameters of the first group, the only one with weight decay */
#define TOY_DECAY 0.1
#define TOY_CLIP 3.0
#define TOY_SEEN_MAX 4096

struct toy {
    struct trainer trainer;
    struct compute compute;
    struct rows rows;
    struct trainer_group groups[2];
    float params[TOY_PARAMS];
    int32_t ids[64], pos[64], target[64], segment_start[64];
    int seen[TOY_SEEN_MAX], n_seen; /* rows of training batches in the order they came */
    int n_batches;                  /* of them */
    struct trainer_largest largest; /* of all batches, also of evaluations */
    int64_t fail_at;                /* this batch fails, counted from 1; 0 = none does */
    float spoil;                    /* added to the gradient of the parameter before the last */
};

/* Where a token pulls parameter j. */
double toy_goal(int row, int pos, int j);
/* Three rows a step, two micro-batches or more in most steps. */
void toy_open(struct toy *t, int64_t total_steps, int n_threads);
void toy_close(struct toy *t);

#endif
