#ifndef FMFORGE_PROVENANCE_LEDGER_WRITE_H
#define FMFORGE_PROVENANCE_LEDGER_WRITE_H

#include "pipeline/provenance/ledger_git.h"
#include "pipeline/provenance/run_files.h"

/* Writes sorted files into the ledger; tree is the id of their tree. Notes as of
 * git_repo_put_blob. */
int ledger_write_tree(struct git_repo *r, const struct run_files *files, char tree[GIT_HEX + 1],
                      struct buf *notes, struct err *e) MUST_USE;

#endif
