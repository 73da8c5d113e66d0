#ifndef FMFORGE_STORE_STATE_FILE_H
#define FMFORGE_STORE_STATE_FILE_H

/*
 * state/<n>: a run that found everything there, so that the same command can say the same again
 * without finding out. <n> is a hash of the question; the question itself is in the file.
 *
 *   "FMSTATE1" | u64 bytes of body | body | u64 sum of all before
 *   body: question, text, name, manifest (each u32 bytes and the bytes) | u64 stages | packed set
 *
 * A file that is cut short, flipped or of another form is no state.
 */

#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"

/* Above this all go when one is added: each costs one run that looks at everything. */
#define STATE_FILES_MAX 64

struct state_file {
    const char *question; /* working folder, program, manifest, options: whatever decides */
    size_t question_bytes;
    const char *text; /* what the run printed, up to its time */
    const char *name, *manifest;
    uint64_t n_stages;
    const void *seen; /* seen.h */
    size_t seen_bytes;
};

/* Makes the folder and publishes; the texts end with a NUL. */
int state_file_write(const char *home, const struct state_file *s, struct err *e) MUST_USE;
/* Fills *out, which borrows from *map, and is true when there is a sound one for out->question. */
bool state_file_read(const char *home, struct file_map *map, struct state_file *out);
/* home/state/<n> of a question; caller xfrees. */
char *state_file_path(const char *home, const char *question, size_t question_bytes);

#endif
