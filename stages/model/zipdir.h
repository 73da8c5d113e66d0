#ifndef FMFORGE_MODEL_ZIPDIR_H
#define FMFORGE_MODEL_ZIPDIR_H

/*
 * The directory of a zip file whose entries are stored, not compressed, as torch.save writes them.
 * Source of the format: PKWARE APPNOTE 6.3.10; the sections are named where they are used.
 *
 * Nothing is believed before it is checked: the end record reaches the end of the file (4.3.16),
 * the zip64 records agree with it (4.3.14, 4.3.15), the central directory (4.3.12) ends where they
 * begin, each local header (4.3.7) says the same as the central one, no entry overlaps another or
 * the directory, no name is there twice, absolute, or leads out of its folder. Refused by name:
 * compression, encryption, patches, several disks.
 *
 * Only headers are read, and memory is 56 bytes an entry. An entry's data are borrowed from the
 * bytes; zipdir_check_crc is the only function that reads them.
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/thread.h"

struct zipdir_entry {
    const char *name; /* borrowed from the bytes; UTF-8 without control characters, no NUL behind */
    size_t name_bytes;
    uint64_t central_at; /* byte offsets in the file: central header, */
    uint64_t header_at;  /* local header, */
    uint64_t data_at;    /* data */
    uint64_t n_bytes;
    uint32_t crc; /* of the data, as the central directory says */
};

struct zipdir {
    const unsigned char *bytes; /* borrowed */
    size_t n_bytes;
    struct zipdir_entry *entries; /* sorted by name */
    size_t n_entries;
};

/* The bytes of a whole zip file stay valid while d is in use. ERR_FORMAT, ERR_LIMIT; the message
 * names the entry, what was found and what was expected. On error d owns nothing. */
int zipdir_parse(struct zipdir *d, const unsigned char *bytes, size_t n_bytes,
                 struct err *e) MUST_USE;
void zipdir_release(struct zipdir *d); /* safe on zeroed, safe twice */

/* Or NULL. */
const struct zipdir_entry *zipdir_find(const struct zipdir *d, const char *name, size_t name_bytes);
/* Reads all data of the entry, with the threads of the pool or, NULL, with this one: ERR_FORMAT
 * with its name when they are not what was written. */
int zipdir_check_crc(const struct zipdir *d, const struct zipdir_entry *entry,
                     struct thread_pool *pool, struct err *e) MUST_USE;

#endif
