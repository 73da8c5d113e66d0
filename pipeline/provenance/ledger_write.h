#ifndef FMFORGE_PROVENANCE_LEDGER_WRITE_H
#define FMFORGE_PROVENANCE_LEDGER_WRITE_H

#include "pipeline/provenance/ledger_git.h"

/* Writes the files below a folder into the ledger; tree is the id of their tree. Notes as of
 * git_repo_put_blob. */
int ledger_write_tree(struct git_repo *r, const char *dir, char tree[GIT_HEX + 1],
                      struct buf *notes, struct err *e) MUST_USE;

#endif
