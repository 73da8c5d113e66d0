#ifndef FMFORGE_ENGINE_REMOTE_CHECK_H
#define FMFORGE_ENGINE_REMOTE_CHECK_H

/*
 * Is what a shared cache says about an action possible? The record names this stage and exactly the
 * outputs that it declares; the statement is one of this recipe, program, inputs and outputs.
 * Whether the outputs are what the stage would have made only making them says: whoever may write
 * to the server is believed.
 */

#include <stdint.h>

#include "pipeline/engine/graph.h"
#include "pipeline/engine/plan.h"

struct remote_claim {
    struct action action;
    double wall_seconds;   /* that making it took */
    struct content_id log; /* hex[0] == 0: none */
};

/* record: a file with the record's two lines; its statement is in the plan's store. ERR_FORMAT says
 * what is wrong. */
int remote_check(const struct plan *p, size_t i, const char *record, struct remote_claim *out,
                 struct err *e) MUST_USE;

/* The log of a stored statement; hex[0] == 0 when it has none or cannot be read. */
struct content_id remote_log(struct store *s, const struct action *a);

#endif
