#ifndef FMFORGE_TEXT_TEXTINDEX_H
#define FMFORGE_TEXT_TEXTINDEX_H

/*
 * Texts by their words, to find the nearest one. A text is a bag of words; a word weighs
 * tf * log2((N + 1) / df), the logarithm in 1/65536 by integers, so that no library's rounding
 * reaches a result. Ties go to the text that was added first.
 */

#include <stddef.h>
#include <stdint.h>

struct textindex_entry {
    uint64_t hash; /* of the word */
    uint32_t text;
    uint32_t n_times;
};

struct textindex {
    struct textindex_entry *entries; /* after finish: sorted by hash, then text */
    size_t n_entries;
    size_t capacity;
    uint32_t n_texts;
    double *norms;     /* squared, by text */
    uint32_t *n_words; /* different words, by text */
    double *dots;      /* scratch of a search, by text */
};

void textindex_add(struct textindex *x, const char *text, size_t n_bytes); /* zeroed at first */
void textindex_finish(struct textindex *x);                                /* then search */
void textindex_release(struct textindex *x);                               /* safe twice */

struct textindex_match {
    uint32_t text;
    double value; /* in [0, 1] */
};
/* The greatest cosine of weighted bags. CHECKs that there is a text. */
struct textindex_match textindex_nearest(struct textindex *x, const char *text, size_t n_bytes);
/* The greatest share of common words: |A and B| / |A or B| over different words. */
struct textindex_match textindex_alike(struct textindex *x, const char *text, size_t n_bytes);

#endif
