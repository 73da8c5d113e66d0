#ifndef FMFORGE_PROVENANCE_LEDGER_GATE_H
#define FMFORGE_PROVENANCE_LEDGER_GATE_H

/* One writer of a ledger at a time: a lock of the kernel on the folder that holds the repository.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* The folder that a repository is in; caller xfrees. */
char *ledger_parent(const char *repo);
/* Waits for it; *fd is the caller's also after an error. */
int ledger_gate(const char *repo, int *fd, struct err *e) MUST_USE;
/* Git's own lock file of a ref. Whoever is the only writer and has waited for it knows that it is
 * left over from a killed program; notes gets a line. */
void ledger_remove_lock(const char *repo, const char *ref, struct buf *notes);

#endif
