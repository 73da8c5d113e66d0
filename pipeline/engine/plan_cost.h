#ifndef FMFORGE_ENGINE_PLAN_COST_H
#define FMFORGE_ENGINE_PLAN_COST_H

/*
 * What a run is expected to take: for each instance that would run, the wall time of its newest
 * earlier execution, from that one's statement. It is looked for in the store (last/<name>.json
 * names the action), then in the newest runs of the ledger. Another config may take another time:
 * this is what is known, not a model.
 */

#include "pipeline/base/err.h"
#include "pipeline/engine/plan.h"
#include "pipeline/provenance/runs.h"

/* Runs of the ledger that are read when the store does not know. */
#define PLAN_COST_RUNS_MAX 5

struct plan_cost {
    double *seconds;  /* one per instance; negative: not known, or cached */
    double sum;       /* of those that are known */
    size_t n_unknown; /* instances that would run and have no earlier execution here */
};

/* l: NULL or a ledger without runs is fine. What cannot be read is unknown. Release afterwards. */
void plan_cost_open(struct plan_cost *c, const struct plan *p, const struct ledger *l);
/* Of the result that is there: its execution, when it was of this instance; negative: not known. */
double plan_cost_made(const struct plan *p, size_t i);
void plan_cost_release(struct plan_cost *c); /* safe on zeroed */

#endif
