#ifndef FMFORGE_TEXT_SCORE_H
#define FMFORGE_TEXT_SCORE_H

/*
 * Answers against a golden set. Metrics, each a share of the rows from 0 to 1 unless said
 * otherwise:
 *
 *   rows             how many rows there are (a count)
 *   exact_match      the answer is the expected text, byte for byte
 * of a set of JSON answers:
 *   json_valid       the answer is one strict JSON value of the expected type, and nothing else
 *   leaf_f1          2 both / (expected + answered), over the leaves of all rows (overlap.h)
 *   FIELD_match      the field is text and equal to the expected one
 *   FIELD_overlap    the field is text and shares a content word (words.h) with the last user
 *                    message
 *   FIELD_distinct   how many different texts the field has (a count)
 * of a set of text answers:
 *   word_f1          the mean over rows of 2 both / (expected + answered), over words
 *   number_match     the last number of the answer is that of the expected one; only where every
 *                    expected answer has a number
 *
 * A row that is not valid JSON has no field right and no leaf.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/text/goldenset.h"

/* One metric of a set of answers. */
struct score_metric {
    char name[160];
    double value;
    bool is_share;
};

#define SCORE_METRICS_MAX (4 + 2 * GOLDEN_FIELDS_MAX)

struct score {
    size_t n_rows;
    bool *exact; /* by row */
    bool *valid; /* by row */
    struct score_metric metrics[SCORE_METRICS_MAX];
    size_t n_metrics;
};

/* answers: one text per row of the set. */
void score_answers(struct score *s, const struct goldenset *g, char *const *answers);
/* What a field must be matched with, and what a row's answer has there: NULL where it has no such
 * text. field NULL: the whole answer of a text set. Caller xfrees. */
char *score_label(const struct goldenset *g, const struct golden_field *field, const char *answer);
void score_release(struct score *s); /* safe on zeroed, safe twice */

/* {"exact_match": 0.87, ..., "rows": 100}; caller frees. */
struct json *score_to_json(const struct score *s);

/* The Wilson 95 % interval of a share k / n. */
void score_interval(double share, size_t n, double *low, double *high);

#endif
