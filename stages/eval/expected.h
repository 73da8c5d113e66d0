#ifndef FMFORGE_EVAL_EXPECTED_H
#define FMFORGE_EVAL_EXPECTED_H

/* How likely a model finds the answers that a golden set expects. Finer than counting right
 * answers: it moves before one flips. */

#include "stages/kit/stage.h"
#include "stages/model/adapted.h"
#include "stages/model/transformer.h"
#include "stages/text/prompt_format.h"

struct expected_job {
    const struct stage_run *run;
    const struct adapted *adapted;
    const struct prompt_format *format;
    const struct goldenset *golden;
    const struct sample *prompts; /* by row */
    bool default_system;
};

/* *sum: cross entropy of the tokens of every expected answer, with the one that ends its turn. A
 * row that does not fit the model's context with its answer is left out and counted. */
int expected_measure(const struct expected_job *job, struct compute *c, struct loss_sum *sum,
                     size_t *n_left_out, struct err *e) MUST_USE;

#endif
