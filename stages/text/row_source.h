#ifndef FMFORGE_TEXT_ROW_SOURCE_H
#define FMFORGE_TEXT_ROW_SOURCE_H

/* Rows to train on, whatever they are: a tokens file (the same in every epoch) or windows of plain
 * text. Holds the batch that rows are put into. */

#include "stages/text/batch.h"
#include "stages/text/tokfile.h"
#include "stages/text/windows.h"

struct row_source {
    const struct tokfile *tokens; /* borrowed; one of the two */
    struct windows *windows;      /* borrowed */
    uint32_t n_rows;
    uint32_t row_tokens_max;
    struct token_batch batch; /* see row_source_reserve */
};

void row_source_of_tokens(struct row_source *s, const struct tokfile *t);
void row_source_of_windows(struct row_source *s, struct windows *w);

/* Room for batches of tokens_max tokens, from an arena: token_batch_bytes(tokens_max). */
void row_source_reserve(struct row_source *s, struct arena *a, int tokens_max);

uint32_t row_source_tokens(const struct row_source *s, int64_t epoch, uint32_t row);
uint32_t row_source_labels(const struct row_source *s, int64_t epoch, uint32_t row);
/* Puts rows into s->batch, in place of what was there. */
void row_source_fill(struct row_source *s, int64_t epoch, const uint32_t *rows, uint32_t n_rows);

#endif
