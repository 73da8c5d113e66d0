#ifndef FMFORGE_KIT_ROWS_H
#define FMFORGE_KIT_ROWS_H

/*
 * Rows to train on, as a trainer sees them: it knows nothing of files and text, and who reads those
 * knows nothing of models. Everything is a pure function of (epoch, row).
 */

#include <stdint.h>

/* Flat tokens without padding; see struct batch of the transformer. */
struct rows_batch {
    int n_tokens, n_segments;
    const int32_t *ids, *pos, *target; /* (n_tokens) */
    const int32_t *segment_start;      /* (n_segments + 1) */
    const float *weight;               /* (n_tokens), NULL = 1 */
};

struct rows {
    void *context;
    uint32_t n_rows; /* per epoch; 0 = none */
    uint32_t row_tokens_max;
    uint32_t (*tokens)(void *context, int64_t epoch, uint32_t row);
    uint32_t (*labels)(void *context, int64_t epoch, uint32_t row); /* sum of weights >= 1 */
    /* Tokens with a target; NULL = all. */
    uint32_t (*targets)(void *context, int64_t epoch, uint32_t row);
    /* One batch of these rows; its arrays stay until the next call. */
    void (*fill)(void *context, int64_t epoch, const uint32_t *rows, uint32_t n_rows,
                 struct rows_batch *out);
};

#endif
