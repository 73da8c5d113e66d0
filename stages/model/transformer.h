#ifndef FMFORGE_MODEL_TRANSFORMER_H
#define FMFORGE_MODEL_TRANSFORMER_H

/*
 * Forward and backward passes over a batch of packed samples.
 *
 * A batch is a flat list of tokens without padding. A segment is one sample: attention is causal
 * inside it, positions restart, so packed and unpacked give the same bits. Only rows with a target
 * are ever multiplied with the output matrix, in slices of rows: no (tokens x vocab) buffer exists.
 * Behind the last keys and values that are written (those of the last layer of segment 0) a row
 * reaches nothing but its own logits: from there on only rows with a target are worked on, which
 * leaves out what has no effect on the loss, and no bit changes.
 *
 * Memory: one arena per struct transformer, computed from shape and plan, reserved once.
 */

#include "pipeline/base/arena.h"
#include "stages/kit/plan_mem.h"
#include "stages/model/compute.h"
#include "stages/model/lora.h"
#include "stages/model/model.h"

struct batch {
    int n_tokens;
    const int32_t *ids;    /* (T) */
    const int32_t *pos;    /* (T) position inside the segment: 0, 1, 2, ... */
    const int32_t *target; /* (T) id of the token to predict here, -1 = no loss */
    int n_segments;
    const int32_t *segment_start; /* (n_segments + 1): first token of each; last = n_tokens */
    const float *weight; /* (T) factor of each token's gradient; NULL = 1. Losses are without
                          * it, and of the tokens that weigh at least 1: others are taught along */
};

/* ERR_FORMAT / ERR_LIMIT: ids and targets inside the vocabulary, positions restart at segment
 * starts and stay inside the context, segments cover the tokens. */
int batch_check(const struct batch *b, const struct shape *shape, struct err *e) MUST_USE;

enum train_what {
    TRAIN_NOTHING, /* forward only: evaluation, teacher */
    TRAIN_LORA,    /* gradients of an adapter; the base is frozen */
    TRAIN_FULL,    /* gradients of every parameter of the base (no adapter) */
};

struct transformer_plan {
    int tokens_max;
    int late_max; /* tokens with a target in a batch, at most; 0 = tokens_max */
    int rank;     /* LoRA rank of the adapters that will be passed; 0 = none */
    enum train_what what;
    int slice_rows; /* rows of logits at a time; 0 = default (at most 128, at most 64 MiB) */
    bool recompute; /* keep only every second layer's input and make the rest again for the
                     * backward pass: the same bits, about a third more time (activation
                     * checkpointing) */
    enum compute_precision precision; /* what struct compute says while a pass runs (CHECK) */
    size_t wide_bytes_max; /* of the widest activations in fp32; 0 = 512 MiB. COMPUTE_INT16 keeps
                            * more than that in 16 bits: the same bits, a little slower */
};

struct transformer {
    struct compute *compute; /* borrowed */
    struct shape shape;
    struct transformer_plan plan;
    float *kv_abs_max; /* (layers_0, 2): largest |key|, |value| before KV quantisation in the last
                          forward pass: for range observers (model_observe_kv) */
    struct transformer_work *work; /* private: activations and scratch in the arena */
    struct arena arena;
};

/* Bytes that transformer_reserve takes: the memory plan. */
size_t transformer_bytes(const struct shape *shape, const struct transformer_plan *plan,
                         int n_threads);
/* The same bytes as parts: "activations" (kept for the backward pass) and "scratch". */
void transformer_memory(const struct shape *shape, const struct transformer_plan *plan,
                        int n_threads, struct plan_mem *out);
int transformer_reserve(struct transformer *t, struct compute *c, const struct shape *shape,
                        const struct transformer_plan *plan, struct err *e) MUST_USE;
void transformer_release(struct transformer *t); /* safe on zeroed, safe twice */

struct loss_sum {
    double loss;      /* sum of -log p over labelled tokens */
    int64_t n_tokens; /* labelled */
    int64_t n_correct;
};

/*
 * Cross entropy over the labelled tokens of a batch, added to *sum (caller zeroes it).
 * grads: NULL = forward only; else gradients of loss_scale * weighted sum are ADDED to it: for
 * TRAIN_LORA an array of shape_lora_floats (as adapter->values), for TRAIN_FULL of
 * shape_flat_floats. adapter may be NULL where the plan does not train it; its rank must be the
 * plan's. ERR_NUMERIC names the first norm that was given what is not finite, or the token whose
 * loss is not.
 */
int transformer_loss(struct transformer *t, const struct model *m, const struct adapter *a,
                     const struct batch *b, float loss_scale, float *grads, struct loss_sum *sum,
                     struct err *e) MUST_USE;

/* What a head gets: some labelled rows' logits. */
struct head_slice {
    int n_rows;
    int first;             /* index of the first of them among the batch's labelled rows */
    const int32_t *rows;   /* (n_rows) token index in the batch, ascending */
    const int32_t *target; /* (n_rows) */
    float *logits;         /* (n_rows, V): to be overwritten by gradients when want_grad */
    bool want_grad;
};
typedef int head_fn(void *context, struct compute *c, const struct head_slice *slice,
                    struct err *e);

/* As transformer_loss with any loss: `head` is called on slices of the labelled rows in order and
 * puts d loss / d logits in place of the logits (distillation of a draft). */
int transformer_run(struct transformer *t, const struct model *m, const struct adapter *a,
                    const struct batch *b, head_fn *head, void *context, float *grads,
                    struct err *e) MUST_USE;

/* Forward pass only: final normed hidden states of the labelled rows, in order, to
 * out (n_labelled, C). out has room for batch->n_tokens rows. *n_rows may be NULL. */
int transformer_hidden(struct transformer *t, const struct model *m, const struct adapter *a,
                       const struct batch *b, float *out, int *n_rows, struct err *e) MUST_USE;
/* logits (R, V) = hidden (R, C) . embedding^T: with transformer_hidden, a teacher's logits for the
 * rows [slice->first, +n_rows). */
void transformer_logits(struct compute *c, const struct model *m, int n_rows, const float *hidden,
                        float *logits);

#endif
