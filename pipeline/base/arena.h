#ifndef FMFORGE_BASE_ARENA_H
#define FMFORGE_BASE_ARENA_H

/*
 * A region of memory with one lifetime. It is reserved once, in full, by a program that computed
 * what it needs; after that taking memory cannot fail (running out is our own mistake: CHECK).
 * Blocks are 64-byte aligned and zeroed.
 */

#include <stddef.h>

#include "pipeline/base/err.h"

struct arena {
    const char *name; /* "load", "step", ...: appears in messages */
    unsigned char *bytes;
    size_t capacity_bytes;
    size_t used_bytes;
};

/* Reserves capacity_bytes (may be 0). ERR_NOMEM with name and size. */
int arena_reserve(struct arena *a, const char *name, size_t capacity_bytes, struct err *e) MUST_USE;
void arena_release(struct arena *a);

/* Gives back what lies above the first capacity_bytes (whole pages of it), used or not. */
void arena_shrink(struct arena *a, size_t capacity_bytes);

/* Never fails; lives until the arena is released. */
void *arena_take(struct arena *a, size_t bytes);

/* What arena_take(bytes) uses: for computing the capacity. */
size_t arena_cost(size_t bytes);

#endif
