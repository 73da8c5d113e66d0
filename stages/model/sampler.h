#ifndef FMFORGE_MODEL_SAMPLER_H
#define FMFORGE_MODEL_SAMPLER_H

/*
 * The next token from logits: temperature, then top-k, then top-p, in the order of Hugging Face's
 * logits warpers, and the accept-or-resample rule of speculative sampling (Leviathan et al., "Fast
 * inference from transformers via speculative decoding", 2023, algorithm 1).
 *
 * Draws are counter based: token i of an answer is a pure function of (seed, i) and of the logits
 * before it, so an answer does not depend on threads, kernels or what ran before.
 */

#include <stdbool.h>
#include <stdint.h>

#include "stages/kit/rng.h"

struct sampling {
    double temperature; /* 0: always the likeliest token (the lowest id on ties) */
    int top_k;          /* only the k likeliest tokens (lower id first on ties); 0 = all */
    double top_p;       /* then the fewest likeliest whose sum reaches p of the rest; 1 = all */
    int64_t seed;
};

struct sampler_item {
    double p;
    int32_t id;
};

struct sampler {
    struct sampling plan;
    int vocab;
    struct rng drafted, accepted, drawn;
    struct sampler_item *order; /* (V) */
    double *rest;               /* (V) */
};

/* What a token is drawn for: each has its own stream. */
enum sampler_use { SAMPLER_DRAFT, SAMPLER_ANSWER };

void sampler_init(struct sampler *s, const struct sampling *plan, int vocab);
void sampler_release(struct sampler *s); /* safe on zeroed, safe twice */

/* p (V): the distribution that the plan makes of the logits (V), finite; sums to 1 within rounding.
 */
void sampler_distribution(const struct sampler *s, const float *logits, double *p);
/* An id drawn from p for token i of the answer. p need not sum to 1; it must not be all 0 (CHECK).
 */
int32_t sampler_draw(const struct sampler *s, const double *p, enum sampler_use use, uint64_t i);
/* May drafted id stand as token i: true with probability min(1, p[id] / q[id]). */
bool sampler_accept(const struct sampler *s, const double *p, const double *q, int32_t id,
                    uint64_t i);
/* The token in place of a refused one, from max(0, p - q) normalised: drafted or not, token i then
 * has exactly distribution p. */
int32_t sampler_replace(const struct sampler *s, const double *p, const double *q, uint64_t i);

#endif
