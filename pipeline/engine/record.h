#ifndef FMFORGE_ENGINE_RECORD_H
#define FMFORGE_ENGINE_RECORD_H

/*
 * The record of a run. What executed or delivered something becomes one commit in the ledger
 * (pipeline/README.md draws its tree); a run that did neither becomes a line of runs.log.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/session.h"

/*
 * owed/<name> is there from before a run publishes its first action or delivery until its commit:
 * what a killed run, or one that could not write the ledger, has made is recorded by the next one.
 */
int record_owe(const struct store *s, const char *name, struct err *e) MUST_USE;
bool record_is_owed(const struct store *s, const char *name);
int record_settle(const struct store *s, const char *name, struct err *e) MUST_USE;

struct record {
    struct session *session;
    const struct json *run; /* run.json, complete */
    const bool *done;       /* per instance: it has a result */
    const char *out_root;
    const bool *delivered; /* per delivery: it is in place */
    const char *helper;    /* fmforge-ledger */
    long long started_unix_ms;
    const char *sign_key; /* or NULL */
};

/* commit: 40 hex digits and a NUL. With a key that cannot sign there is no commit. */
int record_commit(const struct record *r, char commit[41], struct err *e) MUST_USE;
/* One line of runs.log. */
int record_line(const struct record *r, struct err *e) MUST_USE;
/* last/<name>.json: instance -> key, what `why` compares with. Written when it changed. */
int record_last(const struct record *r, struct err *e) MUST_USE;

#endif
