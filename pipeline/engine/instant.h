#ifndef FMFORGE_ENGINE_INSTANT_H
#define FMFORGE_ENGINE_INSTANT_H

/*
 * The run with nothing to do, in the time of its stat calls. A run that found everything there
 * keeps what it said, and the state of whatever that stood on (store/state_file.h, store/seen.h):
 *
 *   manifest, toolkit.yaml (by a layout: the shelf, and the whole folder), paths of skip_without,
 *   inputs, stage programs, their libraries and what the loader would map instead, fmforge itself,
 *   metrics in the store, the store's folders with the actions and objects, last/<name>.json,
 *   owed/<name>, baselines of drop gates, what was delivered
 *
 * The same command in the same folder says it again when all of it is as it was. Else, and whenever
 * anything is unexpected, the run goes its whole way. Nothing is kept of a run that made, delivered
 * or recorded something: the files it wrote are younger than it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/engine/term.h"

struct instant {
    const char *manifest_path, *home, *program_folder, *out_root;
    const char *const *sets;
    size_t n_sets;
    int64_t began_ns; /* seen_clock_ns when the program began */
};

/* Two commands with equal bytes mean the same. False when the folder has no name. */
bool instant_question(const struct instant *in, struct buf *b);
/* True when it was so: the result is printed, and is a line of runs.log. Exit status 0. */
bool instant_run(const struct instant *in, const struct term *term, double started_ms);

struct run;
struct seen;
/* What a plan stands on, but for the toolkits' toolkit.yaml (plan_memory.h). */
void instant_see_plan(struct seen *s, const struct run *r);
/* False when the clock of file times was set back while the run looked. */
bool instant_clock_went_on(const struct run *r);
/* Keeps the state of a run that had nothing to do; text: what it prints, up to its time. One that
 * cannot be kept costs time, nothing else. */
void instant_keep(const struct run *r, const char *text);

#endif
