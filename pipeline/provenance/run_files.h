#ifndef FMFORGE_PROVENANCE_RUN_FILES_H
#define FMFORGE_PROVENANCE_RUN_FILES_H

/*
 * The files of one run's commit (pipeline/README.md draws their tree), in memory. On their way to
 * fmforge-ledger they are one file: for each, in the order of their paths' bytes, a line
 * "<bytes> <path>", the bytes, and a newline.
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* All files of a run together. */
#define RUN_FILES_BYTES_MAX ((uint64_t)1 << 30)

struct run_file {
    char *path;           /* "stages/train/recipe.json" */
    unsigned char *bytes; /* and a 0 */
    size_t n_bytes;
};

struct run_files {
    struct run_file *items;
    size_t n_items;
};

/* Copies the bytes. No two have one path. */
void run_files_add(struct run_files *f, const char *path, const void *bytes, size_t n_bytes);
/* By the bytes of their paths. */
void run_files_sort(struct run_files *f);
/* A `sha256sum` line of each, appended. */
void run_files_sums(const struct run_files *f, struct buf *out);
/* Sorted ones; appended. */
void run_files_pack(const struct run_files *f, struct buf *out);
/* Reads what run_files_pack wrote. ERR_FORMAT: cut short, a path that is absolute, goes upwards or
 * is not behind the one before it. Released by run_files_release, also after an error. */
int run_files_read(const char *path, uint64_t max_bytes, struct run_files *out,
                   struct err *e) MUST_USE;
void run_files_release(struct run_files *f); /* safe on zeroed and twice */

#endif
