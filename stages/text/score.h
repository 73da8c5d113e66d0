#ifndef FMFORGE_TEXT_SCORE_H
#define FMFORGE_TEXT_SCORE_H

/*
 * Answers against a golden set. Metrics, each a share of the rows from 0 to 1 unless said
 * otherwise:
 *
 *   rows              how many rows there are (a count)
 *   exact_match       the answer is the expected text, byte for byte
 *   json_valid        the answer is one strict JSON object, and nothing else
 *   FIELD_match       the field is text and equal to the expected one
 *   FIELD_overlap     the field is text and shares a content word (words.h) with the last user
 * message FIELD_distinct    how many different texts the field has (a count)
 *
 * Only exact_match for a set of text answers. A row that is not valid JSON has no field right.
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

#define SCORE_METRICS_MAX (3 + 2 * GOLDEN_FIELDS_MAX)

struct score {
    size_t n_rows;
    bool *exact; /* by row */
    bool *valid; /* by row */
    struct score_metric metrics[SCORE_METRICS_MAX];
    size_t n_metrics;
};

/* answers: one text per row of the set. */
void score_answers(struct score *s, const struct goldenset *g, char *const *answers);
void score_release(struct score *s); /* safe on zeroed, safe twice */

/* {"exact_match": 0.87, ..., "rows": 100}; caller frees. */
struct json *score_to_json(const struct score *s);

/* The Wilson 95 % interval of a share k / n. */
void score_interval(double share, size_t n, double *low, double *high);

#endif
