#ifndef FMFORGE_PROVENANCE_ORIGIN_H
#define FMFORGE_PROVENANCE_ORIGIN_H

/*
 * What the record says about one thing that a stage made, for those who describe it in the forms of
 * others (bom.h, model_card.h): its audit, its run, and how it did on golden sets.
 */

#include <stdbool.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"

struct origin {
    struct json *audit;       /* the report of audit.h */
    struct run_record run;    /* that made or delivered it */
    const struct json *made;  /* its output in run.json: name, kind, id, folder */
    const struct json *stage; /* that made it: the first of audit's chain */
    bool is_model;            /* by its kind: package, adapter, base, draft, ... */
    /* [{"stage","golden":{"from","id"},"metrics":{..}|null,"gates":[..]}]: stages of the run that
     * answered a golden set with it; metrics are null when the store does not have them any more */
    struct json *results;
    char *signature; /* of the base that it is for, 40 hex digits, or NULL: not in the store */
};

/*
 * target: a path, a SHA-256, or a run (digits of its id, last, last~N) that delivered one thing.
 * ERR_CONFIG when it names nothing of this ledger or no whole output; ERR_FORMAT when the audit
 * finds a mismatch, which is named. Release afterwards, also after an error.
 */
int origin_find(const struct ledger *l, const char *home, const char *target, struct origin *out,
                struct err *e) MUST_USE;
void origin_release(struct origin *o); /* safe on zeroed */

/* The first input of the chain that is of a kind ("base"), NULL when there is none. Borrowed. */
const struct json *origin_input(const struct origin *o, const char *kind);
/* Its name: `name` of the config of the stage that made it, else the pipeline's. Borrowed. */
const char *origin_name(const struct origin *o);
/* A text of that config that is not empty ("license", "description"), or NULL. Borrowed. */
const char *origin_config(const struct origin *o, const char *key);
/* Are rows or text of this kind data that something was made or judged with? */
bool origin_is_data(const char *kind);

#endif
