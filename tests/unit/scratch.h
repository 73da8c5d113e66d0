#ifndef FMFORGE_TESTS_SCRATCH_H
#define FMFORGE_TESTS_SCRATCH_H

/* Files that unit tests make for themselves. */

#include <stddef.h>

/* A file of one zstd frame. */
void scratch_put_zstd(const char *path, const void *bytes, size_t n_bytes);

#endif
