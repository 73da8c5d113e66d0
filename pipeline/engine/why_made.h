#ifndef FMFORGE_ENGINE_WHY_MADE_H
#define FMFORGE_ENGINE_WHY_MADE_H

/*
 * How a result that is there came about: its statement says when and in which invocation, the
 * ledger which run that is, why it ran then, and what differed from the run before:
 *
 *   {"at","seconds","pipeline","stage","origin"?,"run":commit|null,"why"?,"before":commit|null,
 *    "changes":[{"field","old","new","from"?}]}
 *
 * `run` is the run that executed it, or, when that one was killed before its commit, the first one
 * that recorded it; null: no run of the ledger does. `before`: the newest earlier run that has this
 * stage; without one there is nothing to compare. With `origin`, the url of a shared cache, it was
 * made elsewhere: time, pipeline and stage are of there, `run` is the one of this pipeline that has
 * fetched it.
 */

#include "pipeline/engine/plan.h"
#include "pipeline/provenance/runs.h"

/* Caller frees. NULL when instance i is not cached or its statement is gone. */
struct json *why_made(const struct plan *p, size_t i, const struct ledger *l);
void why_made_to_text(const struct json *made, struct buf *out);

#endif
