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
    double n_rows; /* that the interval of a share reckons with (score_interval); 0: it has none */
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

/*
 * The Wilson 95 % interval of a share of n rows that are right or wrong.
 *
 * leaf_f1 and word_f1 are no such shares: a row may be right in part, and a row has several leaves.
 * Their share is sum(part) / sum(whole) over rows, part = 2 both and whole = expected + answered of
 * a row's leaves (word_f1: its F1 and 1), and its variance is that of a ratio of sums over drawn
 * rows, sum((part - share whole)^2) / sum(whole)^2 (Cochran, "Sampling Techniques", 1977, chapter
 * 6). Their n is the number of rows that, right or wrong, would vary as much, share (1 - share) /
 * variance: the effective sample size, in the same interval (Dean and Pagano, "Evaluating
 * confidence interval methods for binomial proportions in clustered surveys", 2015). Where each row
 * is right or wrong as a whole, with one leaf, that is the number of rows. Rows that are all alike
 * do not say how much they vary: they count as they are.
 */
void score_interval(double share, double n, double *low, double *high);
/* n of score_interval for sum(part) / sum(whole). */
double score_effective_rows(const double *part, const double *whole, size_t n_rows);

#endif
