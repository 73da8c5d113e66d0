#ifndef FMFORGE_TESTS_FUZZ_SEED_H
#define FMFORGE_TESTS_FUZZ_SEED_H

/*
 * Seeds of the corpus. A file is its bytes, but for NAME.hex, which is text:
 *
 *   # a comment to the end of the line
 *   28 b5 2f fd        bytes, two hex digits each
 *   "FMTOKS01"         the bytes of a text, without escapes
 *   00*48              a byte that many times
 */

#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

struct seed {
    char *name; /* without its folder and without .hex */
    struct buf bytes;
};

struct seed_list {
    struct seed *seeds;
    size_t n_seeds;
};

/* Reads one file; the caller releases. */
int seed_read(struct seed *s, const char *path, struct err *e) MUST_USE;
void seed_release(struct seed *s);
/* All files of a folder, sorted by name; a folder without files is ERR_MISSING. */
int seed_list_read(struct seed_list *l, const char *folder, struct err *e) MUST_USE;
void seed_list_release(struct seed_list *l); /* safe on zeroed */

#endif
