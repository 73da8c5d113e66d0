#ifndef FMFORGE_TRAIN_TRAIN_RUN_H
#define FMFORGE_TRAIN_TRAIN_RUN_H

/* One run of the train stage: its config, its opened and checked inputs. */

#include "pipeline/base/json.h"
#include "pipeline/base/sha256.h"
#include "stages/kit/stage.h"
#include "stages/model/lora_training.h"
#include "stages/text/row_source.h"
#include "stages/train/sample_check.h"

enum train_keep { TRAIN_KEEP_BEST, TRAIN_KEEP_LAST };

struct train_config {
    int64_t lead_tokens, lead_weight;
    int64_t epochs, batch_size, accumulation, rank, eval_every, seed, checkpoint_every;
    double learning_rate, warmup_fraction, alpha, weight_decay, beta1, beta2, eps, clip;
    double prompt_dropout, prompt_weight;
    int64_t max_steps, micro_batch_tokens;
    bool activation_checkpointing;
    int keep;      /* enum train_keep */
    int precision; /* index of compute_precision_names */
};

/* Another training, to say when this one is as far: its metrics. */
struct train_against {
    bool given;
    double steps, loss; /* how long it took, and its last held-out loss */
};

struct train_run {
    const struct stage_run *run;
    const struct train_config *config;
    struct compute compute;
    struct model base;
    struct content_id base_id;
    struct tokfile train, valid;
    struct row_source train_rows, valid_rows;
    struct arena batches;
    struct adapter adapter;
    struct train_against against;
    struct sample_check samples;
    struct lora_training training;
};

/* Opens and checks every input; ready for lora_training_run. Release also after a failure. */
int train_run_open(struct train_run *t, const struct stage_run *run, struct err *e) MUST_USE;
/* The numbers of the result; n_loops: of sample_check_run with the adapter that is written. Caller
 * frees. */
struct json *train_run_metrics(const struct train_run *t, int n_loops);
/* What is odd about the rows and the result, added to a report: a function of the inputs alone.
 * n_loops and first: of sample_check_run with the adapter that is written. */
void train_run_findings(const struct train_run *t, int n_loops, int first, struct json *report);
/* Rounds the adapter to fp16 first. */
int train_run_save(struct train_run *t, const char *path, struct err *e) MUST_USE;
void train_run_release(struct train_run *t); /* safe on zeroed */

#endif
