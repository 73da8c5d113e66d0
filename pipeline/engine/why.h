#ifndef FMFORGE_ENGINE_WHY_H
#define FMFORGE_ENGINE_WHY_H

/*
 * Why a stage runs, or why it does not: the difference between the recipe it has now and that of
 * its newest recorded run, field by field, with the producer through which a changed input came; of
 * a stage that only waits for others the way to the one that runs for a reason of its own; what it
 * took before, with what would run after it; of a result that is there how it came about.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/plan.h"
#include "pipeline/provenance/runs.h"

/* pipeline/schema/why.schema.json; owned by the caller. l: a ledger without runs is fine. */
struct json *why_to_json(const struct plan *p, size_t i, const struct ledger *l);
/* The same for people. */
void why_to_text(const struct json *why, struct buf *out);

#endif
