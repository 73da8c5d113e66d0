#ifndef FMFORGE_ENGINE_SESSION_H
#define FMFORGE_ENGINE_SESSION_H

/* What run, plan and why share: manifest, store, descriptions, graph and plan, opened in order. */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/engine/describe.h"
#include "pipeline/engine/graph.h"
#include "pipeline/engine/plan.h"
#include "pipeline/engine/term.h"
#include "pipeline/manifest/manifest.h"
#include "pipeline/store/store.h"

struct session {
    struct manifest manifest;
    const char *absent;  /* a path of skip_without that is not there: nothing else is opened */
    struct store *store; /* NULL: none yet, and nothing may be written */
    struct describe describe;
    struct graph graph;
    struct plan plan;
};

struct session_options {
    const char *manifest_path;
    const char *home;
    const char *program_folder;
    const char *const *sets; /* "vars.seed=8" */
    size_t n_sets;
    bool may_write;          /* make the store when absent, keep descriptions */
    const struct term *term; /* told of large files (store_on_large); NULL: nobody is */
};

/* The manifest is checked before a store is made. Release also after an error. */
int session_open(struct session *s, const struct session_options *o, struct err *e) MUST_USE;
/* What the graph remarks (graph.h), for people. */
void session_say_remarks(const struct session *s, const struct term *term);
void session_release(struct session *s);
/* Why a session with an absent path does nothing: "X is not there", and of what lies where runs
 * deliver, which manifest's run would. Caller xfrees. */
char *session_absent_text(const struct session *s);

#endif
