#ifndef FMFORGE_STORE_OWED_H
#define FMFORGE_STORE_OWED_H

/*
 * What no commit has yet: an empty file owed/<name>.<id> for each thing that a run of pipeline
 * <name> has made. id is an action key, or what deliver_id says of a delivery. It is there from
 * before the thing is published until a commit that contains it: what a killed run, or one that
 * could not write the ledger, has made is recorded by the next one that has it too, and gc keeps
 * it. A store of an earlier build may have owed/<name> instead: then all is owed.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/store/id_set.h"

/* id_hex NULL: the mark of an earlier build. Adding one that is there changes nothing. `sync`: it
 * is on the disk before what follows can be, also on another file system. */
int owed_add(const char *home, const char *name, const char *id_hex, bool sync,
             struct err *e) MUST_USE;
bool owed_has(const char *home, const char *name, const char *id_hex);
/* Has any run of this pipeline a mark? */
bool owed_any(const char *home, const char *name);
int owed_settle(const char *home, const char *name, const char *id_hex, struct err *e) MUST_USE;

/* Adds the ids of all pipelines to keys. *since becomes the time of the oldest mark of an earlier
 * build, when that is less. Marks from before `from` (Unix seconds) do not count. */
int owed_read(const char *home, int64_t from, struct id_set *keys, int64_t *since,
              struct err *e) MUST_USE;

#endif
