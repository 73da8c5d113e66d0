#ifndef FMFORGE_PROVENANCE_LEDGER_INCOMING_H
#define FMFORGE_PROVENANCE_LEDGER_INCOMING_H

/*
 * New objects of a ledger are written to repo/incoming/ first, brought to the disk by one syncfs,
 * then moved to repo/objects/: neither a kill nor a power cut leaves half an object there, and a
 * run of a thousand stages does not wait for the disk a thousand times. Under the lock of the
 * ledger's one writer: what a killed one left there is nobody's.
 */

#include "pipeline/base/err.h"
#include "pipeline/provenance/ledger_git.h"

/* The empty folder (caller xfrees), and a descriptor of the repository (caller closes; -1 after an
 * error), opened before anything is written there: syncfs of it tells of errors since then. */
int incoming_open(const char *repo, char **folder, int *sync_fd, struct err *e) MUST_USE;
/* All of it takes its place: first `order`, each after those that it names, as an object that is
 * there without them counts as damage; then what is left. On the disk before, and afterwards. Done
 * once, it does nothing. */
int incoming_take(const char *repo, const char *folder, int sync_fd, const struct git_ids *order,
                  struct err *e) MUST_USE;

#endif
