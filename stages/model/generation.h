#ifndef FMFORGE_MODEL_GENERATION_H
#define FMFORGE_MODEL_GENERATION_H

/*
 * One answer at a time, token by token: greedy or sampled, alone or with a draft model.
 *
 * Speculative decoding: the draft proposes up to draft_tokens tokens, one pass of the base over all
 * of them gives the base's distribution at each place, and as many are kept as the rule in
 * sampler.h allows; the pass itself gives one token more. What comes out has exactly the base's
 * distribution; with temperature 0 it is the very text that the base gives alone.
 */

#include "stages/model/decoder.h"
#include "stages/model/sampler.h"

#define GENERATION_DRAFT_TOKENS_MAX 8

struct generation_counts {
    int64_t answers, tokens; /* tokens: with the stop tokens */
    int64_t base_passes;     /* not counting prompts */
    /* Place k (0 = first) of a draft: how often it was judged, which takes that all before it were
     * kept, and how often it was kept. */
    int64_t judged[GENERATION_DRAFT_TOKENS_MAX], kept[GENERATION_DRAFT_TOKENS_MAX];
};

struct generation_plan {
    struct sampling sampling;
    int draft_tokens; /* proposed at a time, 1 to GENERATION_DRAFT_TOKENS_MAX; unused without draft
                       */
    double draft_confidence; /* greedy: what the draft holds less likely is not proposed; 0 = all */
    const int32_t *stop_ids; /* borrowed */
    int n_stop;
};

struct generation {
    struct decoder *base;  /* borrowed; its sequence 0 is used */
    struct decoder *draft; /* borrowed, same vocabulary; NULL: without */
    struct generation_plan plan;
    struct generation_counts counts; /* summed over answers */
    /* May be NULL. Called with all tokens so far whenever there are more (without a stop token);
     * false ends the answer there. */
    bool (*on_tokens)(void *context, const int32_t *ids, int n_ids);
    void *context;
    struct sampler sampler;
    int32_t *ids;  /* prompt and answer */
    int n_ids;     /* decided */
    float *logits; /* (draft_tokens + 1, V) */
    double *p;     /* (V) the base's distribution at one place */
    double *q;     /* (draft_tokens, V) the draft's */
};

/* Set on_tokens and context afterwards. */
void generation_init(struct generation *g, struct decoder *base, struct decoder *draft,
                     const struct generation_plan *plan);
void generation_release(struct generation *g); /* safe on zeroed, safe twice */

/* Answers one request. ERR_LIMIT when the prompt does not fit, ERR_NUMERIC when logits are not
 * finite. */
int generation_answer(struct generation *g, struct decoder_request *r, struct err *e) MUST_USE;

/* An answer of n tokens loops when its second half repeats a piece of at most 8 tokens that is in
 * the answer four times or more. Returns the length of the piece, 0 = no loop. */
int generation_loop_period(const int32_t *ids, int n);

#endif
