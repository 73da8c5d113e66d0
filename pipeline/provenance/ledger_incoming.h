#ifndef FMFORGE_PROVENANCE_LEDGER_INCOMING_H
#define FMFORGE_PROVENANCE_LEDGER_INCOMING_H

/*
 * New objects of a ledger are written to repo/incoming/ first, brought to the disk by one syncfs,
 * then moved to repo/objects/: neither a kill nor a power cut leaves half an object there, and a
 * run of a thousand stages does not wait for the disk a thousand times. Under the lock of the
 * ledger's one writer: what a killed one left there is nobody's.
 */

#include <stdbool.h>

#include "pipeline/base/err.h"

/* The empty folder; caller xfrees. */
int incoming_open(const char *repo, char **folder, struct err *e) MUST_USE;
/* All that was written in the file system of sync_fd since it was opened is on the disk. */
int incoming_sync(const char *repo, int sync_fd, struct err *e) MUST_USE;
/* Is this object in the folder? */
bool incoming_has(const char *folder, const char *hex);
/* Moves one object, when it is there, or what is left. After those that it names: an object that is
 * there without them counts as damage. */
int incoming_move(const char *repo, const char *folder, const char *hex, struct err *e) MUST_USE;
int incoming_move_rest(const char *repo, const char *folder, struct err *e) MUST_USE;

#endif
