#ifndef FMFORGE_PROVENANCE_SIGNATURES_H
#define FMFORGE_PROVENANCE_SIGNATURES_H

/*
 * Who has signed which recorded run: git's SSH signatures, checked by fmforge-ledger (ledger_ssh.h)
 * against a list of signers. An array of runs, newest first:
 *
 *   [{"commit","name"?,"ref","time","state":"good"|"unsigned"|"bad","by"?,"key"?,"reason"?}]
 *
 * good: by somebody whom the list names, over what the commit holds. bad: a signature that is not.
 */

#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"

/* signers: a file of ssh-keygen(1)'s ALLOWED SIGNERS. commit: one run, or NULL: all. Caller frees
 * the array. ERR_MISSING without ssh-keygen. */
int signatures_read(const struct ledger *l, const char *signers, const char *commit,
                    struct json **runs, struct err *e) MUST_USE;
/* Of one run of the array: what is wrong with it; NULL when nothing is. Caller xfrees. */
char *signature_damage(const struct json *run);
/* One line a run, and how many are signed; "" for an empty array. */
void signatures_to_text(const struct json *runs, struct buf *out);

#endif
