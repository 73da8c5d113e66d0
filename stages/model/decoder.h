#ifndef FMFORGE_MODEL_DECODER_H
#define FMFORGE_MODEL_DECODER_H

/*
 * Generation: several independent sequences, each with its own key/value cache. The linears run
 * over all given rows at once; every row's bits are those of a training forward pass over the same
 * tokens, whatever else is in the batch.
 *
 * Memory: one arena, computed from shape and plan, reserved once.
 */

#include "pipeline/base/arena.h"
#include "stages/kit/plan_mem.h"
#include "stages/model/compute.h"
#include "stages/model/lora.h"
#include "stages/model/model.h"

struct decoder_plan {
    int sequences; /* at the same time */
    int positions; /* tokens per sequence, prompt and answer; at most shape.context */
    int rows_max;  /* rows per pass: prompts are fed in pieces of this size; 0 = 256 */
};

struct decoder {
    struct compute *compute;       /* borrowed */
    const struct model *model;     /* borrowed */
    const struct adapter *adapter; /* borrowed; NULL = base alone */
    struct decoder_plan plan;
    int *lengths;  /* (sequences) tokens in each cache; a caller may lower one to go back */
    float *logits; /* (sequences, V): of the last fed token of each sequence */
    struct decoder_work *work; /* private */
    struct arena arena;
};

/* m: or a model that is only planned, of which the shape alone is there. */
size_t decoder_bytes(const struct model *m, const struct decoder_plan *plan, int rank,
                     int n_threads);
/* The same bytes as parts: "keys and values" and "scratch". */
void decoder_memory(const struct model *m, const struct decoder_plan *plan, int rank, int n_threads,
                    struct plan_mem *out);
/* The ranges of the model's KV quantisers must not change from here on: the caches are laid out by
 * them. */
int decoder_reserve(struct decoder *d, struct compute *c, const struct model *m,
                    const struct adapter *a, const struct decoder_plan *plan,
                    struct err *e) MUST_USE;
void decoder_release(struct decoder *d); /* safe on zeroed, safe twice */

/* Empties one sequence. */
void decoder_reset(struct decoder *d, int sequence);
/* Appends n tokens to one sequence; logits of the last one are in decoder_logits. all_logits: NULL
 * or (n, V) for every fed token (verification of drafted tokens). ERR_LIMIT when the sequence would
 * outgrow its cache. */
int decoder_feed(struct decoder *d, int sequence, const int32_t *ids, int n, float *all_logits,
                 struct err *e) MUST_USE;
/* One token to each of n different sequences in one pass (n <= plan.sequences). */
int decoder_step(struct decoder *d, const int32_t *sequences, const int32_t *ids, int n,
                 struct err *e) MUST_USE;
static inline const float *decoder_logits(const struct decoder *d, int sequence)
{
    return d->logits + (size_t)sequence * (size_t)d->model->shape.vocab;
}

struct decoder_request {
    const int32_t *prompt;
    int n_prompt;
    int max_new;
    int32_t *out; /* caller's room for max_new tokens */
    int n_out;    /* filled: without the stop token */
    bool stopped; /* a stop token came (else: max_new or the cache was full) */
};

/* Greedy answers (lowest id on ties) to any number of requests, batched over the plan's sequences.
 * ERR_LIMIT when a prompt does not fit, ERR_NUMERIC when logits are not finite. progress may be
 * NULL: called with finished requests. */
int decoder_greedy(struct decoder *d, struct decoder_request *requests, size_t n_requests,
                   const int32_t *stop_ids, int n_stop,
                   void (*progress)(void *context, size_t done), void *context,
                   struct err *e) MUST_USE;

#endif
