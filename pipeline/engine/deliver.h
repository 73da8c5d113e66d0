#ifndef FMFORGE_ENGINE_DELIVER_H
#define FMFORGE_ENGINE_DELIVER_H

/* Finished packages are written out of the store, and only when they are not there already. */

#include <stdbool.h>

#include "pipeline/base/err.h"
#include "pipeline/engine/plan.h"

/* Path of a delivery below the output root; caller xfrees. */
char *deliver_path(const struct delivery *d, const char *out_root);

/* What store/owed.h names a delivery by: its bytes and where they go. */
struct content_id deliver_id(const struct plan *p, const struct delivery *d, const char *out_root);

struct delivered {
    bool written; /* false: the file or folder was there with these bytes */
    char *moved;  /* where that is now which was there and is not in the store, or NULL; xfree */
};

/* What lies in its place is removed when the store has these bytes, else it gets another name. */
int deliver_one(const struct plan *p, const struct delivery *d, const char *out_root,
                struct delivered *out, struct err *e) MUST_USE;

#endif
