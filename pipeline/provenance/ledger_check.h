#ifndef FMFORGE_PROVENANCE_LEDGER_CHECK_H
#define FMFORGE_PROVENANCE_LEDGER_CHECK_H

/* Reads and verifies every object and ref of a ledger. */

#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

struct ledger_check {
    uint64_t n_objects;
    uint64_t n_commits;
    uint64_t n_refs;
};

/* Each damage is one line of `damage` (initialised by the caller). */
int ledger_check_all(const char *repo, struct ledger_check *out, struct buf *damage,
                     struct err *e) MUST_USE;

#endif
