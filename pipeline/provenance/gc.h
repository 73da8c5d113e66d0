#ifndef FMFORGE_PROVENANCE_GC_H
#define FMFORGE_PROVENANCE_GC_H

/*
 * What may go from a store, and its removal. Needed is:
 *
 *   - every stage of the newest `keep` runs of each ledger ref and of the pinned runs: record,
 *     recipe, statement, log, outputs, and what the store has of their inputs;
 *   - the keys of last/<name>.json: a run that found everything there leaves no commit;
 *   - what was made since the newest recorded run began;
 *   - what a killed run has made and no commit has yet (store/owed.h);
 *   - checkpoints of what was not finished: no commit names an interrupted or failed run;
 *   - what living processes hold (store/hold.h).
 *
 * What a killed run has made, and checkpoints, for `work_days` only. The rest goes, see
 * store/sweep.h. The ledger is only read. A pin is a file pins/<commit> with the name of the
 * pipeline. The report:
 *
 *   {"schema":"fmforge.gc/1","removed":bool,"keep":N,"work_days":N,"budget":N|null,
 *    "budget_holds":bool,"bytes":{"before","after","freed"},
 *    "kinds":[{"kind","gone","gone_bytes","kept","kept_bytes"}],
 *    "runs":[{"commit","name","why":"newest"|"pinned"}]}
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"

struct gc_options {
    int64_t keep;                   /* newest runs of each ref; at least 1 */
    int64_t work_days;              /* how long what is unfinished or unrecorded stays */
    uint64_t budget_bytes;          /* of the whole store; UINT64_MAX: none */
    bool remove;                    /* false: only say what would go */
    void (*on_wait)(void *context); /* called before waiting for readers; may be NULL */
    void *context;
};

/* ERR_MISSING without a store, a ledger or a recorded run: nothing would say what is needed. Caller
 * frees the report. */
int gc_make(const struct ledger *l, const char *home, const struct gc_options *o,
            struct json **report, struct err *e) MUST_USE;
void gc_to_text(const struct json *report, struct buf *out);

/* Pins a run (6 to 40 digits, last, last~N), or takes the pin off. *out, freed by the caller:
 * {"schema":"fmforge.pin/1","commit","name","pinned":bool,"missing":N}; missing: outputs of the run
 * that the store does not have any more. */
int gc_pin(const struct ledger *l, const char *home, const char *id, struct json **out,
           struct err *e) MUST_USE;
int gc_unpin(const struct ledger *l, const char *home, const char *id, struct json **out,
             struct err *e) MUST_USE;

#endif
