#ifndef FMFORGE_INSPECT_SUBJECT_H
#define FMFORGE_INSPECT_SUBJECT_H

/* What the thing is, and everything that is said about it as one JSON tree: printed as it is with
 * --json, or drawn as a sheet for people (sheet.h). */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/json.h"
#include "stages/kit/stage.h"

struct inspect_config {
    int64_t micro_batch_tokens;
    bool json, activation_checkpointing;
    int precision; /* index of compute_precision_names */
    int64_t rank, row_tokens, rows, sequences, positions;
};

/*
 * {"path", "what": toolkit | base | draft | adapter | tensors | package | shape, then as far as it
 * has them: "format", "toolkit", "facets", "shape", "counts", "draft_counts", "tensors",
 * "metadata", "package", "belongs", "checked", "memory"}. Caller frees *facts, also after an error.
 * Errors: ERR_CONFIG for a thing of no known kind, else what its reader says.
 */
int subject_facts(const struct stage_run *run, struct json **facts, struct err *e) MUST_USE;

#endif
