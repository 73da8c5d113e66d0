#ifndef FMFORGE_ENGINE_RUN_H
#define FMFORGE_ENGINE_RUN_H

/*
 * A run: what is not there is made, gates are judged, what passed is delivered, and all of it is
 * recorded. A failed stage blocks what needs it; independent stages go on. SIGINT and SIGTERM are
 * passed to the children; what is done stays done.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/engine/event_stream.h"
#include "pipeline/engine/instant.h"
#include "pipeline/engine/session.h"
#include "pipeline/engine/term.h"

struct run_options {
    const char *program_folder;
    const char *out_root;     /* "out" */
    const char *reports_root; /* "reports" */
    int jobs;                 /* stages at a time */
    int threads;              /* all of them together; 0 = one per CPU */
    const char *kernels;      /* "auto" */
    bool record;              /* commit also when nothing was executed or delivered */
    const char *sign_key;     /* SSH key that signs the commit; NULL: unsigned */
    bool json;                /* print run.json at the end */
    bool alone;               /* the manifest's remote is not asked and gets nothing */
    const char *const *sets;
    size_t n_sets;
    /* Who watches, or NULL. */
    struct event_stream *events;
    /* What is asked, to be kept when there is nothing to do; NULL: it is not. */
    const struct instant *instant;
    /* NULL, or room for COMMIT_HEX + 1 bytes: the ledger commit that was made, "" without one. */
    char *commit;
    /* NULL, or where it says whether this run drew a page. */
    bool *has_page;
};

/* Returns the exit status (0, 1, 3 or 130) or a negative error. started_ms: clock_ms when the
 * program began, for "nothing to do (4 ms)". */
int run_session(struct session *s, const struct run_options *o, const struct term *term,
                double started_ms, struct err *e) MUST_USE;

#endif
