#ifndef FMFORGE_ENGINE_PLAN_GATES_H
#define FMFORGE_ENGINE_PLAN_GATES_H

/*
 * What is known of the gates before a run: those of a stage whose result is there, and that of the
 * stage it is compared with, are judged as a run would judge them. What needs a stage whose gates
 * do not hold will be held back, also when its result is there; so will what comes after it.
 */

#include "pipeline/engine/plan.h"
#include "pipeline/engine/plan_cost.h"

struct plan_gates {
    struct json *records; /* of what is known, as in run.json */
    char **held;          /* one per instance: why a run would hold it back, or NULL */
    size_t n_instances;
};

/* cost: what is held back costs nothing; or NULL. Metrics that cannot be read are not judged.
 * Writes nothing. Release afterwards. */
void plan_gates_open(struct plan_gates *g, const struct plan *p, struct plan_cost *cost);
void plan_gates_release(struct plan_gates *g); /* safe on zeroed */

#endif
