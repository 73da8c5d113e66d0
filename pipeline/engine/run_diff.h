#ifndef FMFORGE_ENGINE_RUN_DIFF_H
#define FMFORGE_ENGINE_RUN_DIFF_H

/*
 * The difference of two recorded runs, field by field: what they were made from (recipes), what
 * came of it (outputs), how good it is (metrics, gates). The document:
 *
 *   {"schema":"fmforge.diff/1","same":bool,"old":{"commit","name","status","started"},"new":{..},
 *    "run":[{"field","old"|null,"new"|null}],
 *    "stages":[{"stage","status":"same"|"changed"|"only_old"|"only_new",
 *               "changes":[{"field","old"|null,"new"|null,"from"?}],
 *               "outputs":[{"name","old"|null,"new"|null}],
 *               "metrics":[{"name","old"|null,"new"|null}],"metrics_gone"?:true}],
 *    "gates":[{"stage","gate","old"|null,"new"|null}]}      each {"value","verdict"}
 *
 * run: status, manifest (its SHA-256), set, toolkits. changes: as in `why`; from: where a changed
 * input came from in the new run. Only what differs is listed; a metric that is no number is left
 * out. metrics_gone: the store does not have those of one of the runs any more.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/store/store.h"

/* s: where metrics are; NULL when there is no store. Caller frees. */
struct json *run_diff(const struct run_record *old_run, const struct run_record *new_run,
                      struct store *s);
void run_diff_to_text(const struct json *diff, struct buf *out);

#endif
