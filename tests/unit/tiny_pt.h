#ifndef FMFORGE_TESTS_TINY_PT_H
#define FMFORGE_TESTS_TINY_PT_H

/* Zip files and pickles made by hand, for tests that then damage them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"

struct tiny_entry {
    char *name;
    size_t name_bytes;
    size_t n_bytes;
    uint32_t crc;
    size_t local_at; /* byte offsets in the file */
    size_t data_at;
    size_t central_at;
};

struct tiny_zip {
    struct buf bytes;
    struct tiny_entry *entries;
    size_t n_entries;
    size_t capacity;
    size_t central_at;
    size_t end64_at; /* zip64 only: 56 bytes, then the locator */
    size_t locator_at;
    size_t end_at;
};

void tiny_zip_init(struct tiny_zip *z);
void tiny_zip_release(struct tiny_zip *z);
/* A stored entry; its name is any bytes. */
void tiny_zip_add(struct tiny_zip *z, const char *name, const void *data, size_t n_bytes);
/* Directory and end records. zip64: all ones wherever the format allows it. */
void tiny_zip_end(struct tiny_zip *z, bool zip64);
/* Little endian, over what is there. */
void tiny_zip_patch(struct tiny_zip *z, size_t at, size_t n_bytes, uint64_t v);

/* Pieces of pickles. KEY takes a text of one byte, STORAGE a key of one and a count as "\3". */
#define PROTO "\x80\2"
#define KEY(c) "X\1\0\0\0" c
#define ORDERED "ccollections\nOrderedDict\n)R"
#define STORAGE_ID(class, key, count)          \
    "(X\7\0\0\0"                               \
    "storage"                                  \
    "ctorch\n" class "\n" KEY(key) "X\3\0\0\0" \
                                   "cpu"       \
                                   "K" count "t"
#define STORAGE(class, key, count) STORAGE_ID(class, key, count) "Q"
/* size and stride are pickles of tuples: DIMS1("\3"). */
#define DIMS1(n) "K" n "\x85"
#define DIMS2(n, k) "K" n "K" k "\x86"
#define REBUILD(arguments) "ctorch._utils\n_rebuild_tensor_v2\n(" arguments "tR"
#define TENSOR(storage, offset, size, stride) REBUILD(storage "K" offset size stride "\x89" ORDERED)
/* Three fp32 of storage 0. */
#define THREE TENSOR(STORAGE("FloatStorage", "0", "\3"), "\0", DIMS1("\3"), DIMS1("\1"))

#endif
