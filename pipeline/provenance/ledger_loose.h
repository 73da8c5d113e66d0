#ifndef FMFORGE_PROVENANCE_LEDGER_LOOSE_H
#define FMFORGE_PROVENANCE_LEDGER_LOOSE_H

/*
 * A look at a loose git object before libgit2 reads it: libgit2 1.5 copies past the end of its
 * buffer or loops for ever when the length field or the compressed data of one is damaged, and it
 * never looks at the zlib checksum at the end. What passes here is well formed; whether its SHA-1
 * is right libgit2 says.
 */

#include "pipeline/base/err.h"

/* repo/objects/xx/...: 0 when it is well formed or not there (packed, or missing). */
int loose_check(const char *repo, const char *hex, struct err *e) MUST_USE;

#endif
