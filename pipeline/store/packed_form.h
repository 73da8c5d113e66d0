#ifndef FMFORGE_STORE_PACKED_FORM_H
#define FMFORGE_STORE_PACKED_FORM_H

/* The parts around the frames of an object's file: header, seal, seek table (packed.h). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"

/* Raw bytes of a frame of a large file that is not split; a smaller file is one frame. */
#define PACKED_CHUNK_BYTES ((size_t)2 << 20)
/* No chunk of a file is larger, whoever made it. */
#define PACKED_CHUNK_BYTES_MAX ((size_t)16 << 20)
#define PACKED_SEAL_BYTES 72 /* u32 magic, u32 64, 64 hex digits */
#define PACKED_HEADER_BYTES_MAX 160

/* Returns the bytes of a header of planes. */
size_t packed_put_header(size_t width, size_t chunk_bytes, uint64_t n_bytes,
                         unsigned char out[PACKED_HEADER_BYTES_MAX]);
void packed_put_seal(const char hex[SHA256_HEX + 1], unsigned char out[PACKED_SEAL_BYTES]);

/* A seek table under construction. */
void packed_table_start(struct buf *table);
void packed_table_add(struct buf *table, size_t packed_bytes, size_t raw_bytes);
void packed_table_end(struct buf *table);

/* A mapped file with a seek table. Everything points into it. */
struct packed_form {
    size_t width; /* 1: not split */
    size_t chunk_bytes;
    uint64_t n_bytes; /* raw, as header and table have it */
    const unsigned char *file, *frames, *seal, *table;
    size_t file_bytes;
    const unsigned char *entries; /* of the table: those of frames that hold something */
    size_t n_frames;
};
#define PACKED_ENTRY_BYTES 8 /* u32 bytes of the frame, u32 raw bytes */

/* Does the file begin as one of planes? */
bool packed_has_header(const unsigned char *file, size_t n_bytes);
/* False when there is no seek table, or one that does not fit the file. All sizes are checked: the
 * frames end where the seal begins, and the raw sizes are those of the chunks. */
bool packed_form_read(const unsigned char *file, size_t n_bytes, struct packed_form *out);
size_t packed_frame_bytes(const struct packed_form *f, size_t i_frame);

/* A chunk: its frames follow each other. */
struct packed_chunk {
    const unsigned char *frames;
    size_t i_frame, n_frames; /* width frames, or one: not split */
    size_t packed_bytes, raw_bytes;
    uint64_t at; /* its place in the raw bytes */
};
/* Starts with c zeroed; false behind the last one. */
bool packed_next_chunk(const struct packed_form *f, struct packed_chunk *c);

/* Compares the seal of a file of any form. A bare frame may have none. */
int packed_check_seal(const char *path, const unsigned char *file, size_t n_bytes,
                      struct err *e) MUST_USE;
/* Is it the seal over bytes with this SHA-256? */
bool packed_seal_is(const unsigned char seal[PACKED_SEAL_BYTES], const char hex[SHA256_HEX + 1]);

#endif
