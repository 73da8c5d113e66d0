#ifndef FMFORGE_VOCAB_LINES_H
#define FMFORGE_VOCAB_LINES_H

/*
 * The lines of a text (stages/text/corpus.h) to train a tokenizer on. Lines that are empty or hold
 * only the end-of-document mark are left out; a line longer than the maximum is cut at a space.
 * When there are more lines than wanted, evenly spaced ones are taken, so that every file has its
 * share.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "stages/text/corpus.h"

#define LINES_DOCUMENT_END "<|endoftext|>"
/* All text is held in memory while training. */
#define LINES_TEXT_BYTES_MAX ((uint64_t)1 << 30)

struct lines {
    struct buf *files; /* the raw bytes of each file, in path order */
    size_t n_files;
    size_t line_bytes_max;
    uint64_t n_bytes; /* of text */
    uint64_t n_lines; /* as counted by the rules above */
    uint64_t n_cuts;  /* of long lines */
    struct corpus corpus;
};

/* Reads everything and counts. `skip` names files of the folder that are left out, by base name
 * without suffix: "valid,test"; one that is not there is ERR_CONFIG. */
int lines_read(struct lines *l, const char *path, const char *skip, size_t line_bytes_max,
               struct err *e) MUST_USE;
void lines_release(struct lines *l); /* safe on zeroed, safe twice */

/* A walk over at most n_wanted lines. */
struct lines_walk {
    const struct lines *lines;
    uint64_t n_wanted;
    size_t i_file;
    size_t at;       /* byte in that file */
    uint64_t i_line; /* lines seen */
};
struct lines_walk lines_walk_open(const struct lines *l, uint64_t n_wanted);
/* The next line; false at the end. Borrowed from l. */
bool lines_walk_next(struct lines_walk *w, const char **line, size_t *n_bytes);

#endif
