#ifndef FMFORGE_REPORT_BLOCK_READ_H
#define FMFORGE_REPORT_BLOCK_READ_H

/*
 * What the blocks have in common when they are read. Blocks come from other programs: each of
 * these refuses what is not as described, with ERR_FORMAT and a text that the page shows.
 */

#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

/* A text that may be absent ("" then) but not of another type. Borrowed. */
int block_maybe_text(const struct json *o, const char *key, const char **out,
                     struct err *e) MUST_USE;
/* An array of texts; *n (may be NULL) is how many. Borrowed. */
int block_texts(const struct json *o, const char *key, const struct json **out, size_t *n,
                struct err *e) MUST_USE;
/* An array of arrays of exactly n_columns items each. Borrowed. */
int block_rows(const struct json *o, const char *key, size_t n_columns, const struct json **out,
               struct err *e) MUST_USE;
/* An array of numbers as doubles; the caller xfrees *out, also when it is empty. */
int block_numbers(const struct json *o, const char *key, double **out, size_t *n,
                  struct err *e) MUST_USE;
/* ERR_FORMAT unless v is a text. */
int block_is_text(const struct json *v, struct err *e) MUST_USE;

#endif
