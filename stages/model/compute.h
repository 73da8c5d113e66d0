#ifndef FMFORGE_MODEL_COMPUTE_H
#define FMFORGE_MODEL_COMPUTE_H

/*
 * What mathematics runs on: a pool of threads and one kernel set. Every kernel set gives the same
 * bytes (DESIGN: numbers): each output element is one chain of fused multiply-adds over the
 * reduction index in ascending order; reductions that must be vectorised use 16 virtual lanes
 * (element i goes to lane i % 16) and the fixed tree of kernels.h.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/arena.h"
#include "pipeline/base/err.h"
#include "pipeline/base/thread.h"

struct kernels; /* stages/model/kernels.h: a table of function pointers */

/* Arithmetic of products with a packed weight. INT16: each row of the other factor as 16-bit
 * integers with a scale of its own, summed exactly (kernels_int16.h). */
enum compute_precision {
    COMPUTE_F32,
    COMPUTE_INT16,
};

/* As users write them; ends with NULL: the two above, then the names of the training toolkit's flag
 * --precision (REFERENCE 3.1), which all are int16 here: 16 bits are what they ask for. */
extern const char *const compute_precision_names[];
#define COMPUTE_PRECISION_DEFAULT "int16"
enum compute_precision compute_precision_of(int choice); /* an index of the names */
/* What to tell who chose it, or NULL. */
const char *compute_precision_note(int choice);

struct compute {
    enum compute_precision precision; /* F32 when opened; may be set between products */
    struct thread_pool *pool;
    const struct kernels *kernels;
    float *pack;        /* per-thread packing space, 64-byte aligned */
    size_t pack_floats; /* per thread */
    struct arena space; /* holds pack */
};

/* kernels_name: "auto" takes the best this CPU has; ERR_CONFIG names what is not available. */
int compute_open(struct compute *c, int n_threads, const char *kernels_name,
                 struct err *e) MUST_USE;
void compute_close(struct compute *c); /* safe on zeroed, safe twice */
const char *compute_kernels_name(const struct compute *c);
/* True when this program and this CPU have the set: for tests that compare sets. */
bool compute_has(const char *kernels_name);

/* Elements of a flat array that one item of a loop takes; sums are per block of this size. */
#define COMPUTE_BLOCK 4096

/* fn(context, first, n) for [0, n_elements) cut into runs of whole blocks, in parallel. */
void compute_blocks(struct compute *c, size_t n_elements,
                    void (*fn)(void *context, size_t first, size_t n), void *context);
/* The sum of fn over the blocks [first, first + COMPUTE_BLOCK), added in index order. */
double compute_block_sum(struct compute *c, size_t n_elements,
                         double (*fn)(void *context, size_t first, size_t n), void *context);
/* fn(context, first, n) for rows [0, m) of row_floats each, cut into items of a few thousand. */
void compute_rows(struct compute *c, int m, size_t row_floats,
                  void (*fn)(void *context, int first, int n), void *context);

#endif
