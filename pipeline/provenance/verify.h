#ifndef FMFORGE_PROVENANCE_VERIFY_H
#define FMFORGE_PROVENANCE_VERIFY_H

/*
 * The check of everything that is kept: every stored object is unpacked and hashed, every raw copy
 * is hashed, every action record is read and its recipe, statement and outputs looked for, every
 * object and ref of the ledger is read, and the newest run of each ref is compared with its
 * SHA256SUMS. Nothing is changed. The report:
 *
 *   {"status":"ok"|"damaged","objects","object_bytes","raw","actions","ledger":{"objects",
 *    "commits","refs"}?,"damage":["store: ...","ledger: ..."]}
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"

/* ERR_MISSING when there is no store. Caller frees the report. */
int verify_make(const struct ledger *l, const char *home, struct json **report,
                struct err *e) MUST_USE;
void verify_to_text(const struct json *report, struct buf *out);

#endif
