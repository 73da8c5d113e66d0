#ifndef FMFORGE_TESTS_SCRATCH_H
#define FMFORGE_TESTS_SCRATCH_H

/* What unit tests share: an error that ends the test, and a folder with files of their own. */

#include <stddef.h>

#include "pipeline/base/err.h"

#define SCRATCH_BYTES 40

/* Fails the test with the error's text. */
void need(int rc, const struct err *e);

/* Makes a folder in /tmp; -1 when that is impossible. */
int scratch_open(char folder[SCRATCH_BYTES]);
/* Removes it with what is in it. */
int scratch_remove(const char *folder);
/* Writes a file, and the folders on the way. */
void scratch_put(const char *folder, const char *name, const char *text);
/* A file of one zstd frame. */
void scratch_put_zstd(const char *path, const void *bytes, size_t n_bytes);

#endif
