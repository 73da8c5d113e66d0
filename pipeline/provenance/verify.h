#ifndef FMFORGE_PROVENANCE_VERIFY_H
#define FMFORGE_PROVENANCE_VERIFY_H

/*
 * The check of everything that is kept: every stored object is unpacked and hashed, every raw copy
 * is hashed, every action record is read and its recipe, statement and outputs looked for, every
 * object and ref of the ledger is read, and the newest run of each ref is compared with its
 * SHA256SUMS; with a list of signers the signature of every run is checked, and a bad one is damage
 * (a run without one is not). Nothing is changed. The report:
 *
 *   {"status":"ok"|"damaged","objects","object_bytes","raw","actions","ledger":{"objects",
 *    "commits","refs","without_ref"?}?,"signatures":[..]?,"damage":["store: ...","ledger: ..."]}
 * signatures: see signatures.h
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"

/* signers: a file (signatures.h), or NULL: signatures are not looked at. ERR_MISSING when there is
 * no store. Caller frees the report. */
int verify_make(const struct ledger *l, const char *home, const char *signers, struct json **report,
                struct err *e) MUST_USE;
void verify_to_text(const struct json *report, struct buf *out);

#endif
