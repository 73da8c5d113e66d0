#ifndef FMFORGE_PRETRAIN_PRETRAIN_RUN_H
#define FMFORGE_PRETRAIN_PRETRAIN_RUN_H

/* One run of the pretrain stage: fp32 training, then training on the grid. */

#include "pipeline/base/json.h"
#include "stages/kit/stage.h"
#include "stages/model/flat_params.h"
#include "stages/model/train_loop.h"
#include "stages/pretrain/qat.h"
#include "stages/text/row_source.h"
#include "stages/text/spm.h"

enum pretrain_mode {
    PRETRAIN_FRESH,
    PRETRAIN_RANDOM,
};

struct pretrain_config {
    int mode;
    int64_t tokens, qat_tokens, batch_tokens, sequence_length, valid_tokens, evaluations, seed;
    int64_t checkpoint_every;
    const char *mix;
    double learning_rate, qat_learning_rate, warmup_fraction, weight_decay, clip, repeat_fraction;
    int precision;
};

struct pretrain_run {
    const struct stage_run *run;
    const struct pretrain_config *config;
    struct compute compute;
    struct shape shape;
    struct model model;            /* trainable */
    struct adapter own;            /* private: use adapter */
    const struct adapter *adapter; /* NULL = none; nothing is trained with one */
    struct qat qat;
    struct spm *spm;
    struct windows text, valid;
    struct row_source text_rows, valid_rows;
    struct rows rows, held_out;
    struct transformer pass;
    struct trainer trainer;
    struct trainer_group *groups;
    struct train_loop fp32, grid;
    bool on_grid;       /* the second phase is on */
    bool calibrates;    /* ranges of keys and values follow passes without gradients too */
    struct arena arena; /* groups, batches */
};

/* Opens and checks every input, plans and reserves all memory. Release also after a failure. */
int pretrain_run_open(struct pretrain_run *p, const struct stage_run *run, struct err *e) MUST_USE;
/* The first phase: plain fp32. */
int pretrain_run_dense(struct pretrain_run *p, struct err *e) MUST_USE;
/* The second: on the grid; the result is packed. */
int pretrain_run_grid(struct pretrain_run *p, struct err *e) MUST_USE;
/* Numbers of the result; caller frees. */
struct json *pretrain_run_metrics(const struct pretrain_run *p);
void pretrain_run_release(struct pretrain_run *p); /* safe on zeroed */

#endif
