#ifndef FMFORGE_PROVENANCE_LEDGER_SIGNED_H
#define FMFORGE_PROVENANCE_LEDGER_SIGNED_H

/* The verb `signatures`: who has signed which run. */

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/ledger_git.h"

/*
 * Checks one run (commit, 6 to 40 digits) or, with NULL, all of them, newest first, against a list
 * of signers. Puts into `answer`:
 *   "signatures":[{"commit","ref","time","state":"good"|"unsigned"|"bad","by"?,"key"?,"reason"?}]
 * ref is "" for one run. ERR_MISSING without ssh-keygen.
 */
int ledger_check_signatures(struct git_repo *repo, const char *signers, const char *commit,
                            struct json *answer, struct err *e) MUST_USE;

#endif
