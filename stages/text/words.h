#ifndef FMFORGE_TEXT_WORDS_H
#define FMFORGE_TEXT_WORDS_H

/*
 * Words of a text: runs of ASCII letters and digits and of bytes above ASCII, letters in lower
 * case. Nothing depends on a locale.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A walk over the words of a text. */
struct words {
    const char *at;
    const char *end;
};
#define WORD_BYTES_MAX 64 /* a longer run is given in pieces of this size */
struct word {
    char text[WORD_BYTES_MAX + 1];
    size_t n_bytes;
    bool has_digit;
};

struct words words_open(const char *text, size_t n_bytes);
bool words_next(struct words *w, struct word *out);

uint64_t word_hash(const struct word *w); /* FNV-1a, 64 bits */
/* Do two texts share a content word: at least three letters, no digit, and not one of the words
 * that say nothing of a subject? */
bool words_share_content(const char *a, const char *b);

#endif
