#ifndef FMFORGE_TEXT_CORPUS_H
#define FMFORGE_TEXT_CORPUS_H

/*
 * Plain text as stages take it: one file, or a folder of *.txt and *.txt.zst, in path order.
 * Refused, with file, line and what was found: what is no plain text (plain.h), damaged .zst, a
 * text without a character. Found and said (finding.h): other files of the folder, empty ones, very
 * long lines, odd characters. A byte order mark at the beginning is left out, and said.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/text/finding.h"
#include "stages/text/plain.h"

/* A line above this is named: newlines were lost, or something else than text is in it. Paragraphs
 * written in one line stay far below. */
#define CORPUS_LONG_LINE_BYTES ((size_t)64 << 10)

struct corpus_file {
    char *path;
    char *name; /* "a/books.txt.zst": "books" */
};

struct corpus {
    struct corpus_file *files;
    size_t n_files;
    bool is_folder;
    struct finding others, empty, long_lines, marks;
    struct plain plain;
};

/* Lists the files. ERR_MISSING when there are none. */
int corpus_open(struct corpus *c, const char *path, struct err *e) MUST_USE;
/* Reads file i into text (initialised by the caller), unpacked and checked. limit: its name, for
 * the message. */
int corpus_read(struct corpus *c, size_t i, uint64_t max_bytes, const char *limit, struct buf *text,
                struct err *e) MUST_USE;
/* Is there a file of that name? */
bool corpus_has(const struct corpus *c, const char *name, size_t n_bytes);
/* Moves what was found to a table; name: of the input, "text". */
void corpus_take_findings(struct corpus *c, const char *name, struct json *table);
void corpus_close(struct corpus *c); /* safe on zeroed, safe twice */

#endif
