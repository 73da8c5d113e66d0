#ifndef FMFORGE_ENGINE_FACET_MADE_H
#define FMFORGE_ENGINE_FACET_MADE_H

/*
 * What a stage has made of a toolkit's facet, for tools, which are outside of any manifest. The
 * facet's recipe is built as a run builds it and looked up in the store; nothing is run.
 */

#include "pipeline/base/err.h"
#include "pipeline/engine/describe.h"
#include "pipeline/manifest/toolkit_dir.h"

struct facet_made_options {
    const char *home; /* of the store */
    const char *program_folder;
};

/* *path (caller xfrees): a read-only copy of what the stage of facet `port->name` made of the files
 * as they are now. ERR_CONFIG when a file of it is absent, or when no run has made it yet: the
 * message says what to do. */
int facet_made(const struct toolkit_dir *t, const struct desc_port *port,
               const struct facet_made_options *o, char **path, struct err *e) MUST_USE;

#endif
