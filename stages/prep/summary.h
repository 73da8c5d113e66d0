#ifndef FMFORGE_PREP_SUMMARY_H
#define FMFORGE_PREP_SUMMARY_H

/* The blocks of prep's report, for people: counts, lengths, and samples as the model sees them. */

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/prep/prep.h"

/* n_dropped: training rows that no sink has seen, since their prompt is measured. */
void summary_add_counts(struct json *report, const struct prep_sink *train,
                        const struct prep_sink *valid, uint64_t n_dropped, uint64_t blank_lines);
void summary_add_lengths(struct json *report, const struct prep_counts *train,
                         const struct prep_counts *valid);
/* The first three training rows, rendered; labelled text in [[ ]]. */
int summary_add_samples(struct json *report, const struct chat_list *rows, const bool *held_out,
                        const struct render *render, const struct prep_config *config,
                        struct err *e) MUST_USE;

#endif
