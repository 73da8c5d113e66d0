#ifndef FMFORGE_PROVENANCE_LEDGER_INCOMING_H
#define FMFORGE_PROVENANCE_LEDGER_INCOMING_H

/*
 * New objects of a ledger are written to repo/incoming/ first, brought to the disk by one syncfs,
 * then moved to repo/objects/: neither a kill nor a power cut leaves half an object there, and a
 * run of a thousand stages does not wait for the disk a thousand times. Under the lock of the
 * ledger's one writer: what a killed one left there is nobody's.
 */

#include "pipeline/base/err.h"

/* The empty folder; caller xfrees. */
int incoming_open(const char *repo, char **folder, struct err *e) MUST_USE;
/* Moves what is in it, on the disk before and afterwards; sync_fd is of the same file system and
 * older than what was written. */
int incoming_take(const char *repo, const char *folder, int sync_fd, struct err *e) MUST_USE;

#endif
