#ifndef FMFORGE_STORE_PACKED_H
#define FMFORGE_STORE_PACKED_H

/*
 * The file of an object. Three forms, all made of zstd frames:
 *
 *   up to 2 MiB   one frame, seal                           zstd -dc prints the raw bytes
 *   larger        a frame for each 2 MiB, seal, seek table  zstd -dc prints the raw bytes
 *   planes        header, frames, seal, seek table          zstd -dc prints planes (planes.h)
 *
 * header      skippable frame 0x184D2A5C, one line of text: "fmforge planes 1: width W chunk C
 *             bytes N; ...". Of each C raw bytes every W-th is a plane; the planes follow each
 *             other, a frame each. What is left behind the last whole chunk is one frame, not
 *             split.
 *
 * seal        skippable frame 0x184D2A5B with the SHA-256, in hex, of all other bytes of the file:
 *             some bits of a frame mean nothing to a decoder, and a flipped one is found all the
 *             same
 *
 * seek table  skippable frame 0x184D2A5E, the last one, as in zstd's contrib/seekable_format
 *             (Zstandard Seekable Format 0.1.0), without checksums: those are in the frames. It
 *             has each frame before it, so that offsets add up; those that hold nothing, the
 *             header and the seal, with 0 raw bytes.
 *
 * Readers of zstd pass over skippable frames. Frames do not depend on each other, so that some are
 * packed and unpacked at the same time, and a range is read without the rest. Bytes do not depend
 * on the number of threads. Memory does not depend on the size: 48 MiB at most.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/zfile.h"

struct packed {
    struct content_id id; /* SHA-256 of the raw bytes */
    uint64_t n_bytes;     /* raw */
    bool is_planes;
};

struct packed_order {
    const char *from, *to;
    const char *raw_to; /* NULL: no copy */
    uint64_t max_bytes;
    bool (*on_work)(void *context); /* now and then, unless NULL; false: it is given up */
    void *context;
};

/* Reads the file `from` once: hashes, packs into `to` (a new file, read-only, not synced:
 * unsynced.h) and, unless raw_to is NULL, copies to raw_to (likewise). ERR_IO when `from` changes
 * meanwhile or it is given up, ERR_LIMIT above max_bytes. After an error neither file is there. */
int packed_write(const struct packed_order *o, struct packed *out, struct err *e) MUST_USE;
/* One frame and a seal, by a coder that may have been used before. */
int packed_write_bytes(struct zcoder *coder, const void *bytes, size_t n_bytes, const char *to,
                       struct err *e) MUST_USE;

/* Unpacks a file of any form into s (NULL: nowhere; called by one thread at a time) and hashes the
 * raw bytes. check_seal: a seal that is not that of the file is ERR_FORMAT; a file of a bare frame
 * may have none. ERR_MISSING, ERR_FORMAT for a broken file, ERR_LIMIT above max_bytes. What went
 * into s is to be thrown away after an error, or when out->id is not the one that was wanted. */
int packed_read(const char *from, uint64_t max_bytes, bool check_seal, const struct zfile_sink *s,
                struct packed *out, struct err *e) MUST_USE;
/* n_bytes from `offset` on, without the rest where the form allows it; the frames' own checksums
 * are compared, the SHA-256 is not. A range that ends behind the file is ERR_LIMIT. */
int packed_read_range(const char *from, uint64_t offset, uint64_t n_bytes,
                      const struct zfile_sink *s, struct err *e) MUST_USE;

#endif
