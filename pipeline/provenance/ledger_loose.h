#ifndef FMFORGE_PROVENANCE_LEDGER_LOOSE_H
#define FMFORGE_PROVENANCE_LEDGER_LOOSE_H

/*
 * A look at loose files of a ledger before libgit2 reads them. Objects: libgit2 1.5 copies past the
 * end of its buffer or loops for ever when the length field or the compressed data of one is
 * damaged, and it never looks at the zlib checksum at the end. What passes here is well formed;
 * whether its SHA-1 is right libgit2 says.
 */

#include <stdbool.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* repo/objects/xx/...: 0 when it is well formed or not there (packed, or missing). */
int loose_check(const char *repo, const char *hex, struct err *e) MUST_USE;
/* Before an object is written: a damaged one in its place, which libgit2 would leave there, is
 * moved to repo/damaged-<hex>; notes gets a line. True when there was one that is gone now. */
bool loose_make_way(const char *repo, const char *hex, struct buf *notes);
/* Every file below repo/refs holds 40 hex digits and a newline; each fault is a line of damage. */
int loose_check_refs(const char *repo, struct buf *damage, struct err *e) MUST_USE;
/* Nothing rests on HEAD, but it is ours and says what was written. */
void loose_check_head(const char *repo, struct buf *damage);
/* A damaged or missing one is written again: without it git takes the folder for no repository. By
 * the only writer. */
int loose_mend_head(const char *repo, struct err *e) MUST_USE;

#endif
