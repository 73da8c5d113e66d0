#ifndef FMFORGE_STORE_LISTING_H
#define FMFORGE_STORE_LISTING_H

/* The listing of a stored folder: a `sha256sum` line for each file, sorted by the bytes of their
 * paths. */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"

/* Walks one: *cursor starts at the text and moves on; false at the end or at a line that is no
 * listing line (then *cursor is not at the end). path points into the text, n_path bytes long; it
 * is relative and has no ".." part. */
bool listing_next(const char **cursor, struct content_id *id, const char **path, size_t *n_path);

/* ERR_FORMAT unless a folder can have it: every line whole, paths in ascending order, none of them
 * below another one. */
int listing_check(const char *text, struct err *e) MUST_USE;

#endif
