#ifndef FMFORGE_ENGINE_RECORD_H
#define FMFORGE_ENGINE_RECORD_H

/*
 * The record of a run. What executed or delivered something, or was judged otherwise than the run
 * before, becomes one commit in the ledger (pipeline/README.md draws its tree); a run that did
 * neither becomes a line of runs.log.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/session.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/run_files.h"

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

/* Has this run something, of its own or found, that no commit has (store/owed.h)? */
bool record_is_owed(const struct record *r);
/* After the commit of r: what it contains is owed no more. What an earlier build's mark stands for
 * is contained when `all_written`: no delivery failed. */
int record_settle(const struct record *r, bool all_written, struct err *e) MUST_USE;
/* Is its status or a gate another than what the last run told (record_told)? Where nothing says
 * what that was: has it not gone well? */
bool record_is_news(const struct record *r);
/* The files of its commit, without one: for the page of a run that is not recorded. */
int record_collect(const struct record *r, struct run_files *files, struct err *e) MUST_USE;
/* commit: 40 hex digits and a NUL; files (empty before; the caller releases) is what it holds. With
 * a key that cannot sign there is no commit. */
int record_commit(const struct record *r, struct run_files *files, char commit[COMMIT_HEX + 1],
                  struct err *e) MUST_USE;
/* One line of runs.log. */
int record_line(const struct record *r, struct err *e) MUST_USE;
/* last/<name>.json: instance -> key, what `why` compares with. Written when it changed. */
int record_last(const struct record *r, struct err *e) MUST_USE;
/* After that and the commit: status and gates of r are in it as what was told last. */
int record_told(const struct record *r, struct err *e) MUST_USE;

#endif
