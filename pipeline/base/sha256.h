#ifndef FMFORGE_BASE_SHA256_H
#define FMFORGE_BASE_SHA256_H

/*
 * Content ids: SHA-256 of raw bytes as 64 lower-case hex digits. The content id of a folder is the
 * SHA-256 of its listing: one `sha256sum` line per regular file ("<hex>  <relative path>\n"),
 * sorted by path bytes. Symlinks and other special files are refused.
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

#define SHA256_HEX 64
#define SHA256_BYTES 32

/* A content id as text; zero-initialised = none. */
struct content_id {
    char hex[SHA256_HEX + 1];
};

/* The id that a name starts with. Returns what stands behind it (".zst", "", any other text), which
 * the caller judges; NULL when the name starts with none. */
const char *sha256_id_of_name(const char *name, char id[SHA256_HEX + 1]);

/* An id as raw bytes and back. id_hex: 64 digits (CHECK). */
void sha256_to_raw(const char *id_hex, unsigned char raw[SHA256_BYTES]);
struct content_id sha256_from_raw(const unsigned char raw[SHA256_BYTES]);

struct sha256; /* streaming state: wraps libcrypto */

struct sha256 *sha256_open(void);
void sha256_add(struct sha256 *s, const void *bytes, size_t n_bytes);
/* Ends the sum and frees the state. */
struct content_id sha256_close(struct sha256 *s);

struct content_id sha256_of(const void *bytes, size_t n_bytes);
/* First 16 raw bytes of the SHA-256: keys of random streams. */
void sha256_key128(const void *bytes, size_t n_bytes, uint32_t key[4]);

int sha256_file(const char *path, struct content_id *out, uint64_t *n_bytes,
                struct err *e) MUST_USE;
/* Appends the folder's listing to `listing` (initialised by the caller); *out is its id. */
int sha256_folder(const char *path, struct buf *listing, struct content_id *out,
                  struct err *e) MUST_USE;
/* Either: a regular file or a folder. is_folder may be NULL. */
int sha256_path(const char *path, struct content_id *out, int *is_folder, struct err *e) MUST_USE;

#endif
