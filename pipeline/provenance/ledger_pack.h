#ifndef FMFORGE_PROVENANCE_LEDGER_PACK_H
#define FMFORGE_PROVENANCE_LEDGER_PACK_H

/*
 * A look at the pack files of a ledger before libgit2 reads them (it believes what an index says
 * and crashes on a damaged one). Packs, indexes, bitmaps and the commit graph all end with the
 * SHA-1 of the bytes before.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* Each fault is a line of damage. */
int pack_check(const char *repo, struct buf *damage, struct err *e) MUST_USE;
/* The first fault as ERR_FORMAT. */
int pack_need_whole(const char *repo, struct err *e) MUST_USE;

#endif
