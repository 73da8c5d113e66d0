#ifndef FMFORGE_TEXT_OVERLAP_H
#define FMFORGE_TEXT_OVERLAP_H

/*
 * How much of an expected answer an answer has, counted with repeats: words of a text, or leaves of
 * a JSON value, a leaf being a path and a value ("slots.artist" and "abba"); the order of an array
 * does not count.
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

/* The last number of a text, thousands with commas and leading zeros allowed; false without one. A
 * minus is a sign only where no letter or digit stands before it ("3-4" is 4). */
bool overlap_last_number(const char *text, double *out);

#endif
