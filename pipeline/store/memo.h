#ifndef FMFORGE_STORE_MEMO_H
#define FMFORGE_STORE_MEMO_H

/*
 * The stat memo: content ids of files that were hashed before. An entry counts only while device,
 * inode, size, mtime and ctime are what they were, and only if both times were clearly older than
 * the moment the hashing began (file_time_is_old: a file changed within one clock tick keeps its
 * times). One file:
 *
 *   "FMMEMO01" | u64 bytes of entries | u64 count | entries | 32 bytes SHA-256 of all before
 *   entry: u64 dev, ino, size; i64 mtime_ns, ctime_ns; 32 bytes id; u32 path bytes; path
 *
 * A memo file that is damaged or of another form is ignored: everything is hashed again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"

/* A memo is a cache: above this only what the current run used is written. */
#define MEMO_ENTRIES_MAX 200000
#define MEMO_LARGE_BYTES ((uint64_t)1 << 30)

struct memo; /* opaque: holds a table */

/* Reads the file when it is there and sound; never fails. */
struct memo *memo_open(const char *path);
void memo_close(struct memo *m); /* writes nothing; NULL is fine */
/* Called before a file of MEMO_LARGE_BYTES or more is read, which takes a while. NULL: nobody is.
 */
void memo_on_large(struct memo *m,
                   void (*on_large)(const void *context, const char *path, uint64_t n_bytes),
                   const void *context);

/* Content id of a regular file. ERR_IO when it changes while it is read. n_bytes may be NULL. */
int memo_hash(struct memo *m, const char *path, struct content_id *id, uint64_t *n_bytes,
              struct err *e) MUST_USE;
/* Writes the file when there is anything new. */
int memo_flush(struct memo *m, struct err *e) MUST_USE;

/* For tests: how many files memo_hash has really read. */
uint64_t memo_misses(const struct memo *m);

#endif
