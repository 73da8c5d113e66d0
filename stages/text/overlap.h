#ifndef FMFORGE_TEXT_OVERLAP_H
#define FMFORGE_TEXT_OVERLAP_H

/*
 * How much of an expected answer an answer has, counted with repeats: words of a text, or leaves of
 * a JSON value, a leaf being a path and a value ("slots.artist" and "abba"). The order of an array
 * does not count: an item of the one is compared with an item of the other, those that have most
 * leaves in common first, so that two records do not lend each other their values.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/json.h"

struct overlap {
    size_t n_both, n_expected, n_answer;
};

struct overlap overlap_words(const char *expected, const char *answer);
/* answer NULL: it has no leaf. */
struct overlap overlap_leaves(const struct json *expected, const struct json *answer);
/* 2 both / (expected + answer); 1 when both are empty. */
double overlap_f1(const struct overlap *o);

/* The last number of a text: "3,456.5", "007", ".5", "1e-3"; false without one. A minus ("-" or
 * U+2212) is a sign only where no letter or digit stands before it ("3-4" is 4). */
bool overlap_last_number(const char *text, double *out);

#endif
