#ifndef FMFORGE_PROVENANCE_LEDGER_CHECK_H
#define FMFORGE_PROVENANCE_LEDGER_CHECK_H

/*
 * Reads and verifies every object and ref of a ledger. libgit2 1.5 may crash on a loose object
 * whose length field is damaged (it copies more than the length it allocated), so the reading is
 * done in a child process; when that dies, the object it was reading is the damaged one and
 * another child goes on behind it.
 */

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
