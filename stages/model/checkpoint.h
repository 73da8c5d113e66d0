#ifndef FMFORGE_MODEL_CHECKPOINT_H
#define FMFORGE_MODEL_CHECKPOINT_H

/*
 * The state of an unfinished training run, so that a killed run goes on where its last checkpoint
 * was and ends with the same bytes as one that was never killed. One file, written to a temporary,
 * fsynced and renamed: at every moment the old one or the new one is there, whole.
 *
 * The state is a list of named memory blocks that the run owns (parameters, moments, step counters,
 * curves). Saving copies them out; loading copies them back, but only after the whole file has been
 * checked: magic, version, order of bytes, the digest of what is being trained (config and inputs),
 * the name and length of every block, and a SHA-256 over everything. A checkpoint is a private file
 * of one machine, never an artifact: blocks hold numbers in the machine's own order of bytes, and a
 * mark says which.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"

#define CHECKPOINT_NAME_BYTES 32

struct checkpoint_block {
    const char *name; /* shorter than CHECKPOINT_NAME_BYTES; the order of blocks is fixed */
    void *bytes;
    size_t n_bytes;
};

int checkpoint_save(const char *path, const struct content_id *digest,
                    const struct checkpoint_block *blocks, size_t n_blocks, struct err *e) MUST_USE;

/* True: every block was restored. False: nothing was touched and `why` says the reason ("" when
 * there is no file at all): absent, damaged, from another run. Never fatal: the run starts anew. */
bool checkpoint_load(const char *path, const struct content_id *digest,
                     const struct checkpoint_block *blocks, size_t n_blocks, struct err *why);

#endif
