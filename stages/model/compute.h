#ifndef FMFORGE_MODEL_COMPUTE_H
#define FMFORGE_MODEL_COMPUTE_H

/*
 * What mathematics runs on: a pool of threads and one kernel set. Every kernel set gives the same
 * bytes (DESIGN: numbers): each output element is one chain of fused multiply-adds over the
 * reduction index in ascending order; reductions that must be vectorised use 16 virtual lanes
 * (element i goes to lane i % 16) and the fixed tree of kernels.h.
 */

#include "pipeline/base/err.h"
#include "pipeline/base/thread.h"

struct kernels; /* stages/model/kernels.h: a table of function pointers */

struct compute {
    struct thread_pool *pool;
    const struct kernels *kernels;
    float *pack;       /* per-thread packing space, 64-byte aligned */
    size_t pack_floats; /* per thread */
};

/* kernels_name: "auto" takes the best this CPU has; ERR_CONFIG names what is not available. */
int compute_open(struct compute *c, int n_threads, const char *kernels_name, struct err *e) MUST_USE;
void compute_close(struct compute *c); /* safe on zeroed, safe twice */
const char *compute_kernels_name(const struct compute *c);

#endif
