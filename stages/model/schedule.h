#ifndef FMFORGE_MODEL_SCHEDULE_H
#define FMFORGE_MODEL_SCHEDULE_H

/*
 * The learning rate of each optimiser step. Steps count from 1. Linear warmup that reaches the peak
 * at step `warmup_steps`, then either a half cosine down to min_ratio * peak or a constant.
 *
 * Every step has a rate above 0, the first and the last too. The toolkit this replaces counts from
 * 0, so that its first step has rate 0 and is wasted; and its warmup of one epoch is half of its
 * default run of two.
 */

#include <stdint.h>

enum schedule_shape {
    SCHEDULE_COSINE,
    SCHEDULE_CONSTANT,
};

struct schedule {
    enum schedule_shape shape;
    double peak;
    double min_ratio; /* of the cosine's end */
    int64_t warmup_steps;
    int64_t total_steps;
};

/* 1 <= step <= total_steps (CHECK). Same bits on every machine. */
double schedule_rate(const struct schedule *s, int64_t step);

/* ceil(fraction * total), at most total; the warmup of a run that says it as a share. */
int64_t schedule_warmup(double fraction, int64_t total_steps);

#endif
