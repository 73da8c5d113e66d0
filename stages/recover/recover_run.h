#ifndef FMFORGE_RECOVER_RECOVER_RUN_H
#define FMFORGE_RECOVER_RECOVER_RUN_H

/* One run of the recover stage: its config, its opened and checked inputs. */

#include "pipeline/base/sha256.h"
#include "stages/kit/stage.h"
#include "stages/model/lora_training.h"
#include "stages/text/row_source.h"
#include "stages/text/spm.h"

/* The choices of `rank`. */
extern const char *const recover_rank_names[];

struct recover_config {
    int rank;      /* index of recover_rank_names */
    int precision; /* index of compute_precision_names */
    int64_t tokens, batch_tokens, window, valid_tokens, evaluations, seed, checkpoint_every;
    const char *mix;
    double repeat_fraction;
    double alpha, learning_rate, warmup_fraction, weight_decay, clip;
};

struct recover_run {
    const struct stage_run *run;
    const struct recover_config *config;
    struct compute compute;
    struct model base;
    struct content_id base_id;
    struct spm *spm;
    struct windows text, valid;
    struct row_source text_rows, valid_rows;
    struct arena batches;
    struct adapter adapter;
    struct lora_training training;
};

/* Opens and checks every input; ready for lora_training_run. Release also after a failure. */
int recover_run_open(struct recover_run *r, const struct stage_run *run, struct err *e) MUST_USE;
int recover_run_save(const struct recover_run *r, const char *path, struct err *e) MUST_USE;
void recover_run_release(struct recover_run *r); /* safe on zeroed */

#endif
