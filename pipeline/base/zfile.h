#ifndef FMFORGE_BASE_ZFILE_H
#define FMFORGE_BASE_ZFILE_H

/*
 * Zstandard files. The only module that knows zstd. Compressed bytes are never an identity: they
 * change with version, level and workers. Frames carry content size and checksum.
 */

#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"

/* Reads `from`, hashes the raw bytes, writes one frame to `to` (a new file, fsynced). level 1..19.
 * id and raw_bytes may be NULL. */
int zfile_pack(const char *from, const char *to, int level, struct content_id *id,
               uint64_t *raw_bytes, struct err *e) MUST_USE;
int zfile_pack_bytes(const void *bytes, size_t n_bytes, const char *to, int level,
                     struct err *e) MUST_USE;
/* Unpacks `from` into `to` (a new file, fsynced); *id is the hash of the raw bytes.
 * More than max_bytes raw is ERR_LIMIT. A broken frame is ERR_FORMAT. `to` NULL: only hash. */
int zfile_unpack(const char *from, const char *to, uint64_t max_bytes, struct content_id *id,
                 uint64_t *raw_bytes, struct err *e) MUST_USE;
/* Unpacks into out (initialised by the caller, cleared first). Plain (not zstd) files are refused.
 */
int zfile_read(const char *from, uint64_t max_bytes, struct buf *out, struct err *e) MUST_USE;

#endif
