#ifndef FMFORGE_PROVENANCE_AUDIT_H
#define FMFORGE_PROVENANCE_AUDIT_H

/*
 * The audit: where did these bytes come from, and does everything that says so hold? It finds the
 * newest run that lists them, walks from stage to stage back to the sources, and checks on the way
 * the run's SHA256SUMS, recipes against keys, statements against recipes and outputs, stored
 * objects against their ids. The report:
 *
 *   {"status":"proven"|"mismatch"|"unknown","target":{"path"?,"id","folder"},
 *    "run":{"commit","name","time"}?,"as"?,"chain":[..],"sources":[..],"used_by":[..],
 *    "mismatches":["..."],"unknowns":["..."],"checked":{"recipes","statements","objects","files"},
 *    "signatures":[..]?}
 *
 * A mismatch is something that is there and wrong; an unknown is something that is not there.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"

struct audit_question {
    const char *target;  /* a file, a folder, or 64 hex digits */
    const char *run;     /* commit of the run to begin at; NULL: the newest that made it */
    const char *signers; /* a file (signatures.h) or NULL; with it a run of the ledger that is
                          * unsigned is an unknown, one with a bad signature a mismatch */
};

/* home: the store; it may lack objects or be absent. Caller frees the report. */
int audit_make(const struct ledger *l, const char *home, const struct audit_question *q,
               struct json **report, struct err *e) MUST_USE;

/* The report for people. */
void audit_to_text(const struct json *report, struct buf *out);

#endif
