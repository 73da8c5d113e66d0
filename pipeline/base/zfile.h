#ifndef FMFORGE_BASE_ZFILE_H
#define FMFORGE_BASE_ZFILE_H

/*
 * Zstandard files. The only module that knows zstd. Compressed bytes are never an identity: they
 * change with version, level and workers. Frames carry content size and checksum.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* Takes raw bytes in order. */
struct zfile_sink {
    void (*add)(void *context, const void *bytes, size_t n_bytes);
    void *context;
};

/* Unpacks frames in memory, piece by piece; `name` is for messages. More than max_bytes raw is
 * ERR_LIMIT, a broken frame ERR_FORMAT. add has no error to return, it remembers. raw_bytes may be
 * NULL. */
int zfile_stream(const char *name, const void *packed, size_t n_packed, uint64_t max_bytes,
                 const struct zfile_sink *s, uint64_t *raw_bytes, struct err *e) MUST_USE;
/* Unpacks into out (initialised by the caller, cleared first). Plain (not zstd) files are refused.
 */
int zfile_read(const char *from, uint64_t max_bytes, struct buf *out, struct err *e) MUST_USE;

/* Single frames, for formats that are made of many. A coder belongs to one thread. */
struct zcoder; /* opaque: zstd's contexts, made when first needed */

enum zframe_kind {
    ZFRAME_STORED,  /* as it is: nothing is gained */
    ZFRAME_ENTROPY, /* Huffman codes alone, no search for repetitions: planes of weights */
    ZFRAME_FAST,    /* level 1 */
    ZFRAME_TEXT,    /* level 3 */
};

struct zcoder *zcoder_open(void);
void zcoder_close(struct zcoder *z); /* NULL is fine */
/* The most bytes that a frame of n_bytes takes. */
size_t zframe_bound(size_t n_bytes);
/* Returns the bytes of the frame; room is zframe_bound(n_bytes) at least. */
size_t zframe_pack(struct zcoder *z, enum zframe_kind kind, const void *bytes, size_t n_bytes,
                   void *to, size_t room);
/* False when the frame is broken or holds another number of bytes than n_bytes. `checksum`: the
 * frame's own is compared; needless for who compares a SHA-256 of everything. */
bool zframe_unpack(struct zcoder *z, const void *frame, size_t frame_bytes, bool checksum, void *to,
                   size_t n_bytes);
/* Bytes of the first frame, also of a skippable one; 0 when there is none. */
size_t zframe_size(const void *frames, size_t n_bytes);

#endif
