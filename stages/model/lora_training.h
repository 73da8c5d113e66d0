#ifndef FMFORGE_MODEL_LORA_TRAINING_H
#define FMFORGE_MODEL_LORA_TRAINING_H

/*
 * Training an adapter on a frozen base: what recover (plain text) and train (conversations) share.
 * The caller opens base, adapter and rows; this plans memory, runs the loop and tells how it went.
 */

#include "stages/model/lora.h"
#include "stages/model/model.h"
#include "stages/model/train_loop.h"

/* Rows are put together until a micro-batch has micro_tokens (a longer row is one alone). It
 * bounds memory and changes no bit of the result. */
#define LORA_MICRO_TOKENS 2048 /* where micro_tokens is 0 */

/* Answers that are tried after each epoch, and their longest. */
#define LORA_TRAINING_SAMPLES 4
#define LORA_TRAINING_SAMPLE_TOKENS 48

struct lora_options {
    int64_t total_steps;
    uint32_t rows_per_step;
    double learning_rate, warmup_fraction, weight_decay, beta1, beta2, eps, clip;
    int64_t seed;
    int64_t eval_every, checkpoint_every;
    uint32_t valid_rows_max;
    bool keep_best;
    bool recompute;                   /* transformer_plan */
    enum compute_precision precision; /* transformer_plan */
    int64_t micro_tokens;             /* 0 = LORA_MICRO_TOKENS */
};

struct lora_training {
    /* The caller's part, borrowed. */
    const struct stage_run *run;
    struct compute *compute;
    const struct model *base;
    struct adapter *adapter; /* its values are trained in place */
    struct rows rows;
    struct rows valid; /* n_rows 0 = none */
    struct lora_options options;
    int (*after_evaluation)(void *context, int64_t step, struct err *e); /* as in train_loop */
    void *context;
    struct plan_mem
        beside; /* what the caller took beside base and adapter: for the plan it prints */

    struct trainer_largest largest; /* micro-batch; 0 = what lora_training_tokens_max allows */
    struct transformer transformer;
    struct trainer trainer;
    struct train_loop loop; /* loop.state and the curves are the result */
    struct trainer_group group;
};

/* Tokens that a batch of the rows must hold. */
int lora_training_tokens_max(const struct lora_training *t);
/* What lora_training_run reserves, by parts: for the largest micro-batch that there will be. Of
 * base and adapter only the sizes are looked at: shape, rank and n_values. Rows that are not there
 * (no `tokens`: n_rows and row_tokens_max alone) are planned as full micro-batches of labelled
 * tokens. Adds to *out. */
void lora_training_memory(struct lora_training *t, struct plan_mem *out);
/* What answering a few prompts after each epoch takes beside it (train's sample check), of prompts
 * of up to so many tokens. */
void lora_training_sample_memory(const struct model *base, int rank, int prompt_tokens,
                                 int n_threads, struct plan_mem *out);
/* NULL when the plan fits into so many bytes; else what is needed and which settings would make it
 * fit, or that none does. Caller xfrees. */
char *lora_training_advice(const struct lora_training *t, uint64_t available_bytes);
/* Plans, reserves, runs. */
int lora_training_run(struct lora_training *t, struct err *e) MUST_USE;
void lora_training_release(struct lora_training *t); /* safe on zeroed, safe twice */

/* {"rows":..,"steps":..,"tokens":..,"train_loss":..,"valid_loss":..,...}; caller frees. */
struct json *lora_training_metrics(const struct lora_training *t);
/* {"blocks":[numbers, curves]}: the metrics under this title; caller frees. */
struct json *lora_training_report(const struct lora_training *t, const struct json *metrics,
                                  const char *title);

#endif
