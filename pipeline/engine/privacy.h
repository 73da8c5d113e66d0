#ifndef FMFORGE_ENGINE_PRIVACY_H
#define FMFORGE_ENGINE_PRIVACY_H

/*
 * What may leave for a shared cache. Only outputs of stages ever leave, whole results at a time,
 * and never one that is private:
 *
 *   an input is private    when it is a private facet; a path in the folder of a toolkit that has a
 *                          private facet, or that a layout knows; an output of a private result
 *   a result is private    when it makes a private facet; when its stage has a private input that
 *                          it copies. A stage says in --describe which inputs its outputs copy
 *                          ("copies"); one that does not say copies all of them.
 *
 * So what `import` makes of a private base stays, and what is trained on it leaves. Beside that, an
 * object that has the content id of something private never leaves, whatever a stage says.
 */

#include <stdbool.h>

#include "pipeline/engine/graph.h"
#include "pipeline/engine/plan.h"
#include "pipeline/store/id_set.h"

struct privacy {
    const struct graph *graph;
    bool *is_private;  /* per instance */
    bool **input_is;   /* per instance and input */
    struct id_set ids; /* of what is private and known so far */
};

void privacy_open(struct privacy *p, const struct graph *g);
void privacy_release(struct privacy *p); /* safe on zeroed */

/* May what instance i has made leave? Its result is in the plan. */
bool privacy_may_leave(struct privacy *p, const struct plan *plan, size_t i);

#endif
