#ifndef FMFORGE_STORE_RUN_LINE_H
#define FMFORGE_STORE_RUN_LINE_H

/*
 * runs.log: one line of canonical JSON for each run that makes no commit, since it executed no
 * stage to its end, delivered nothing and owes nothing. `status` says how it ended: also failed,
 * interrupted, or a gate that does not hold.
 *
 *   {"manifest":"<SHA-256>","name":"task","stages":4,"started":"2026-...Z","status":"ok"}
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/err.h"

struct run_line {
    const char *name, *started, *status, *manifest; /* nothing in them needs an escape */
    uint64_t n_stages;
};

/* `sync` false: it is not waited for, and a power cut may lose it. */
int run_line_add(const struct run_line *l, const char *home, bool sync, struct err *e) MUST_USE;

#endif
