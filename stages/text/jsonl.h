#ifndef FMFORGE_TEXT_JSONL_H
#define FMFORGE_TEXT_JSONL_H

/*
 * The lines of a JSONL file, one strict JSON value each (pipeline/base/json.h: UTF-8, no duplicate
 * keys, no NUL, no lone surrogates, depth limit, nothing after the value). A line ends with LF or
 * CR LF; the last one may end without. Blank lines are left out and counted. A byte order mark in
 * front of the file is left out; on any other line it is refused. Files that end in .zst are
 * unpacked.
 *
 * A bad line ends nothing: the caller may go on with the next one and report all.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"

/* Unpacked size of a .zst file, which is held in memory. */
#define JSONL_UNPACKED_BYTES_MAX ((uint64_t)1 << 30)

struct jsonl {
    struct file_map map; /* of a plain file */
    struct buf unpacked; /* of a .zst file */
    const char *at;
    size_t n_left;
    uint64_t line;    /* number of the line last given, from 1 */
    const char *text; /* that line without its end; borrowed until close */
    size_t n_text;
    uint64_t blank_lines; /* so far */
    bool has_mark;        /* a byte order mark was left out */
};

int jsonl_open(struct jsonl *j, const char *path, struct err *e) MUST_USE;
void jsonl_close(struct jsonl *j); /* safe on zeroed, safe twice */

/* Advances to the next line that is not blank; false at the end. */
bool jsonl_next(struct jsonl *j);
/* Parses the current line; the caller frees *out. Message: "column N: reason". */
int jsonl_value(const struct jsonl *j, struct json **out, struct err *e) MUST_USE;

#endif
