#ifndef FMFORGE_TEXT_BATCH_H
#define FMFORGE_TEXT_BATCH_H

/*
 * Rows of tokens as the model takes them: flat, without padding. A segment is one sample: attention
 * stays inside it and its positions start at 0, so packing changes nothing. target[t] is the id
 * that position t predicts, or -1 where there is no loss.
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/arena.h"
#include "stages/kit/rng.h"
#include "stages/text/tokfile.h"

#define TOKEN_BATCH_NO_TARGET (-1)

struct token_batch {
    int32_t *ids, *pos, *target; /* (tokens_max) */
    int32_t *segment_start;      /* n_segments + 1 entries; the last is n_tokens */
    float *weight;               /* (tokens_max) of each target; 1 unless set below */
    int n_tokens, n_segments;
    int n_targets; /* positions with loss */
    int tokens_max;
};

/* What token_batch_reserve takes from its arena. */
size_t token_batch_bytes(int tokens_max);
void token_batch_reserve(struct token_batch *b, struct arena *a, int tokens_max);
void token_batch_clear(struct token_batch *b);

/* Appends one row of a tokens file; it must fit (CHECK). */
void token_batch_add_row(struct token_batch *b, const struct tokfile *t, uint64_t row);

/*
 * Word dropout (Iyyer et al., "Deep unordered composition rivals syntactic methods", ACL 2015) on
 * the tokens [first, n_tokens): each token of a prompt becomes padding (SPM_PAD) with probability
 * `share`. What stays: tokens that are a target or predict one, and the first of a segment. Token i
 * takes value first_draw + (i - first) of the stream.
 */
void token_batch_drop_prompt(struct token_batch *b, int first, double share, const struct rng *r,
                             uint64_t first_draw);

/* The first n targets of every answer that begins at [first, n_tokens) get this weight. */
void token_batch_weigh_leads(struct token_batch *b, int first, int n, float weight);

/*
 * Prompt loss weight (Huerta-Enochian and Ko, "Instruction fine-tuning: does prompt loss matter?",
 * EMNLP 2024): tokens of [first, n_tokens) without a target, which are row `row` of t, get the next
 * token of their sample as one, with this weight. After the other two: a dropped token is still to
 * be predicted, and what is a prompt is known by its missing targets.
 */
void token_batch_teach_prompt(struct token_batch *b, int first, const struct tokfile *t,
                              uint64_t row, float weight);

/*
 * Appends n inputs of plain text: next[0..n) follows, shifted by one: next[i] is what ids[i]
 * predicts. Every position has loss. A segment begins at the first id and at every EOS; the last
 * token of a document predicts the EOS behind it, so a model learns to end.
 */
void token_batch_add_text(struct token_batch *b, const int32_t *ids, const int32_t *next, int n,
                          int32_t eos);

#endif
