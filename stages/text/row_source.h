#ifndef FMFORGE_TEXT_ROW_SOURCE_H
#define FMFORGE_TEXT_ROW_SOURCE_H

/* Rows to train on, whatever they are: a tokens file (the same in every epoch) or windows of plain
 * text. Holds the batch that rows are put into. */

#include "stages/kit/rows.h"
#include "stages/text/batch.h"
#include "stages/text/tokfile.h"
#include "stages/text/windows.h"

struct row_source {
    const struct tokfile *tokens; /* borrowed; one of the two */
    struct windows *windows;      /* borrowed */
    uint32_t n_rows;
    uint32_t row_tokens_max;
    double prompt_dropout; /* share of a prompt's tokens that become padding; tokens files only */
    int lead_tokens, lead_weight; /* the first tokens of answers weigh more; tokens files only */
    double prompt_weight;         /* in [0, 1), of predicting the prompt; tokens files only */
    struct rng dropout;           /* draws of prompt_dropout, by epoch, row and token */
    struct token_batch batch;     /* see row_source_reserve */
};

void row_source_of_tokens(struct row_source *s, const struct tokfile *t);
void row_source_of_windows(struct row_source *s, struct windows *w);

/* Room for batches of tokens_max tokens, from an arena: token_batch_bytes(tokens_max). */
void row_source_reserve(struct row_source *s, struct arena *a, int tokens_max);

/* The rows as a trainer takes them; s is borrowed. Without rows (a zeroed s) n_rows is 0. */
struct rows row_source_rows(struct row_source *s);

#endif
