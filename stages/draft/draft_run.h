#ifndef FMFORGE_DRAFT_DRAFT_RUN_H
#define FMFORGE_DRAFT_DRAFT_RUN_H

/* One run of the draft stage: its config, its opened and checked inputs. */

#include "pipeline/base/sha256.h"
#include "stages/draft/distil.h"
#include "stages/text/row_source.h"
#include "stages/text/spm.h"

struct draft_config {
    int64_t epochs, tokens, ce_tokens, batch_tokens, window, valid_tokens, evaluations, seed;
    int64_t checkpoint_every;
    const char *mix;
    double learning_rate, warmup_fraction, weight_decay, clip;
};

struct draft_run {
    const struct stage_run *run;
    const struct draft_config *config;
    struct compute compute;
    struct model base, student;
    struct adapter adapter;
    struct content_id base_id, adapter_id;
    struct spm *spm;
    struct windows text, valid_text;
    struct tokfile train, valid;
    struct row_source rows, valid_rows;
    uint64_t pass_tokens; /* of one pass over the rows */
    struct arena batches;
    struct distil distil;
};

/* Opens and checks every input; ready for distil_run. Release also after a failure. */
int draft_run_open(struct draft_run *d, const struct stage_run *run, struct err *e) MUST_USE;
int draft_run_save(const struct draft_run *d, const char *path, struct err *e) MUST_USE;
void draft_run_release(struct draft_run *d); /* safe on zeroed */

#endif
