#ifndef FMFORGE_PROVENANCE_LEDGER_VERBS_H
#define FMFORGE_PROVENANCE_LEDGER_VERBS_H

/* What fmforge-ledger can do: each verb answers with one JSON object. */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

/* argv[0] is the verb. The answer (canonical JSON) goes into out. */
int ledger_verb(int argc, char **argv, struct buf *out, struct err *e) MUST_USE;

/* Text that may hold any bytes, such as the name of a damaged ref, as JSON text: "p\xf2obes".
 * Owned by the caller. */
struct json *ledger_text(const char *s);

/* The help page. */
void ledger_help(struct buf *out);

#endif
