#include "stages/model/zipdir.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/crc32.h"
#include "stages/model/printable.h"

/*
 *   local header, name, extra, data [, descriptor]     4.3.7, 4.3.9; for each entry
 *   central header, name, extra, comment               4.3.12; for each entry
 *   zip64 end record, zip64 locator                    4.3.14, 4.3.15; not in every file
 *   end record, comment                                4.3.16
 */

_Static_assert(sizeof(struct zipdir_entry) <= 56, "stated in the header");

#define LOCAL_SIGNATURE 0x04034b50u
#define CENTRAL_SIGNATURE 0x02014b50u
#define END64_SIGNATURE 0x06064b50u
#define LOCATOR_SIGNATURE 0x07064b50u
#define END_SIGNATURE 0x06054b50u

#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46
#define END64_BYTES 56
#define LOCATOR_BYTES 20
#define END_BYTES 22

/* General purpose flags (4.4.4). Bits 1 and 2 mean nothing for stored data. */
#define FLAG_ENCRYPTED (1u << 0)
#define FLAG_DESCRIPTOR (1u << 3) /* CRC and sizes follow the data; zeros in the local header */
#define FLAG_STRONG_ENCRYPTION (1u << 6)
#define FLAG_MASKED (1u << 13)
#define FLAGS_TAKEN (1u << 1 | 1u << 2 | FLAG_DESCRIPTOR | 1u << 11)

#define EXTRA_ZIP64 0x0001 /* 4.5.3 */

/* What the end records say. */
struct end {
    uint64_t n_entries;
    uint64_t central_at;
    uint64_t central_bytes;
    uint64_t end_at; /* of the first end record */
};

/* ---- the end records ---- */

static int find_end(const struct zipdir *d, size_t *at, struct err *e)
{
    if (d->n_bytes < END_BYTES)
        return err_set(e, ERR_FORMAT, "not a zip file: %zu bytes", d->n_bytes);
    size_t last = d->n_bytes - END_BYTES;
    size_t first = last > UINT16_MAX ? last - UINT16_MAX : 0;
    for (size_t i = last + 1; i-- > first;) {
        const unsigned char *b = d->bytes + i;
        if (bytes_get_u32(b) == END_SIGNATURE && bytes_get_u16(b + 20) == last - i) {
            *at = i;
            return 0;
        }
    }
    return err_set(e, ERR_FORMAT,
                   "not a zip file, or cut off: no end record in the last %zu of %zu bytes",
                   d->n_bytes - first, d->n_bytes);
}

/* An all-ones field stands for "see zip64"; any other has to agree. */
static bool agrees(uint64_t small, uint64_t ones, uint64_t large)
{
    return small == ones || small == large;
}

static int read_end64(const struct zipdir *d, size_t locator_at, struct end *end, struct err *e)
{
    const unsigned char *l = d->bytes + locator_at;
    uint64_t at = bytes_get_u64(l + 8);
    if (bytes_get_u32(l + 4) != 0 || bytes_get_u32(l + 16) > 1)
        return err_set(e, ERR_FORMAT, "a zip file of %" PRIu32 " disks, expected one",
                       bytes_get_u32(l + 16));
    if (locator_at < END64_BYTES || at > locator_at - END64_BYTES)
        return err_set(e, ERR_FORMAT,
                       "zip64 end record at byte %" PRIu64 ", expected before its locator at %zu",
                       at, locator_at);
    const unsigned char *b = d->bytes + at;
    if (bytes_get_u32(b) != END64_SIGNATURE)
        return err_set(e, ERR_FORMAT, "no zip64 end record at byte %" PRIu64, at);
    if (bytes_get_u64(b + 4) != locator_at - at - 12)
        return err_set(e, ERR_FORMAT,
                       "zip64 end record of %" PRIu64 " bytes at byte %" PRIu64
                       ", expected %" PRIu64,
                       bytes_get_u64(b + 4), at, locator_at - at - 12);
    if (bytes_get_u32(b + 16) != 0 || bytes_get_u32(b + 20) != 0 ||
        bytes_get_u64(b + 24) != bytes_get_u64(b + 32))
        return err_set(e, ERR_FORMAT, "a zip file of several disks, expected one");
    const struct end large = {bytes_get_u64(b + 32), bytes_get_u64(b + 48), bytes_get_u64(b + 40),
                              at};
    if (!agrees(end->n_entries, UINT16_MAX, large.n_entries) ||
        !agrees(end->central_at, UINT32_MAX, large.central_at) ||
        !agrees(end->central_bytes, UINT32_MAX, large.central_bytes))
        return err_set(e, ERR_FORMAT, "the end record and the zip64 end record disagree");
    *end = large;
    return 0;
}

static int read_end(const struct zipdir *d, struct end *end, struct err *e)
{
    size_t at = 0;
    int rc = find_end(d, &at, e);
    if (rc != 0)
        return rc;
    const unsigned char *b = d->bytes + at;
    if (bytes_get_u16(b + 4) != 0 || bytes_get_u16(b + 6) != 0 ||
        bytes_get_u16(b + 8) != bytes_get_u16(b + 10))
        return err_set(e, ERR_FORMAT, "a zip file of several disks, expected one");
    *end = (struct end){bytes_get_u16(b + 10), bytes_get_u32(b + 16), bytes_get_u32(b + 12), at};
    if (at >= LOCATOR_BYTES && bytes_get_u32(b - LOCATOR_BYTES) == LOCATOR_SIGNATURE)
        rc = read_end64(d, at - LOCATOR_BYTES, end, e);
    if (rc != 0)
        return rc;
    if (end->central_at > end->end_at || end->central_bytes != end->end_at - end->central_at)
        return err_set(e, ERR_FORMAT,
                       "central directory of %" PRIu64 " bytes at byte %" PRIu64
                       ", expected to end at the end record at byte %" PRIu64,
                       end->central_bytes, end->central_at, end->end_at);
    if (end->n_entries > LIMIT_ZIP_ENTRIES)
        return err_set(e, ERR_LIMIT, "%" PRIu64 " entries, LIMIT_ZIP_ENTRIES is %d", end->n_entries,
                       LIMIT_ZIP_ENTRIES);
    if (end->n_entries > end->central_bytes / CENTRAL_BYTES)
        return err_set(e, ERR_FORMAT,
                       "%" PRIu64 " entries in a central directory of %" PRIu64 " bytes",
                       end->n_entries, end->central_bytes);
    return 0;
}

/* ---- one entry ---- */

/* What a central or a local header says, before and after its zip64 field. */
struct header {
    unsigned flags;
    unsigned method;
    uint32_t crc;
    uint64_t packed_bytes;
    uint64_t n_bytes;
    uint64_t header_at; /* central only; 0 */
    uint32_t disk;      /* central only; 0 */
};

static int take_u64(const unsigned char **p, size_t *left, uint64_t *v, struct err *e)
{
    if (*left < 8)
        return err_set(e, ERR_FORMAT, "its zip64 field is too short");
    *v = bytes_get_u64(*p);
    *p += 8;
    *left -= 8;
    return 0;
}

/* Puts the numbers of a zip64 field where the header has all ones, in the field's fixed order. */
static int apply_zip64(struct header *h, const unsigned char *p, size_t left, struct err *e)
{
    int rc = 0;
    if (h->n_bytes == UINT32_MAX)
        rc = take_u64(&p, &left, &h->n_bytes, e);
    if (rc == 0 && h->packed_bytes == UINT32_MAX)
        rc = take_u64(&p, &left, &h->packed_bytes, e);
    if (rc == 0 && h->header_at == UINT32_MAX)
        rc = take_u64(&p, &left, &h->header_at, e);
    if (rc == 0 && h->disk == UINT16_MAX) {
        if (left < 4)
            return err_set(e, ERR_FORMAT, "its zip64 field is too short");
        h->disk = bytes_get_u32(p);
    }
    return rc;
}

/* Extra fields (4.5.1): u16 kind, u16 length, that many bytes. torch.save pads with one. */
static int read_extra(struct header *h, const unsigned char *p, size_t left, struct err *e)
{
    bool seen = false;
    while (left > 0) {
        size_t n = left < 4 ? 0 : bytes_get_u16(p + 2);
        if (left < 4 || n > left - 4)
            return err_set(e, ERR_FORMAT, "an extra field that reaches past its header");
        if (bytes_get_u16(p) == EXTRA_ZIP64) {
            if (seen)
                return err_set(e, ERR_FORMAT, "two zip64 fields");
            seen = true;
            int rc = apply_zip64(h, p + 4, n, e);
            if (rc != 0)
                return rc;
        }
        p += 4 + n;
        left -= 4 + n;
    }
    return 0;
}

static int check_name(const struct zipdir_entry *entry, struct err *e)
{
    const char *name = entry->name, *end = name + entry->name_bytes;
    if (str_utf8_prefix(name, entry->name_bytes) != entry->name_bytes)
        return err_set(e, ERR_FORMAT, "its name is not valid UTF-8");
    for (const char *p = name; p < end; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\\')
            return err_set(e, ERR_FORMAT, "its name holds byte 0x%02x", (unsigned char)*p);
    if (name < end && *name == '/')
        return err_set(e, ERR_FORMAT, "its name is absolute");
    for (const char *part = name; part <= end;) {
        const char *slash = memchr(part, '/', (size_t)(end - part));
        size_t n = (size_t)((slash == NULL ? end : slash) - part);
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && memcmp(part, "..", 2) == 0))
            return err_set(e, ERR_FORMAT, "its name has the part \"%.*s\"", (int)n, part);
        part += n + 1;
    }
    return 0;
}

static int check_kind(const struct header *h, struct err *e)
{
    if ((h->flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED)) != 0)
        return err_set(e, ERR_FORMAT, "encrypted (flags 0x%04x)", h->flags);
    if ((h->flags & ~FLAGS_TAKEN) != 0)
        return err_set(e, ERR_FORMAT, "flags 0x%04x, expected none but 0x%04x", h->flags,
                       FLAGS_TAKEN);
    if (h->method != 0)
        return err_set(e, ERR_FORMAT,
                       "compressed (method %u), expected stored: load the file with PyTorch and "
                       "save it again with torch.save, which does not compress",
                       h->method);
    if (h->disk != 0)
        return err_set(e, ERR_FORMAT, "on disk %" PRIu32 ", expected one disk", h->disk);
    if (h->packed_bytes != h->n_bytes)
        return err_set(e, ERR_FORMAT, "stored in %" PRIu64 " bytes, but %" PRIu64 " long",
                       h->packed_bytes, h->n_bytes);
    return 0;
}

/* A number of the local header; the descriptor's stand for zeros. */
static int check_same(const char *what, uint64_t local, uint64_t central, bool may_be_zero,
                      struct err *e)
{
    if (local == central || (may_be_zero && local == 0))
        return 0;
    return err_set(e, ERR_FORMAT,
                   "%s is %" PRIu64 " in the local header, %" PRIu64 " in the central", what, local,
                   central);
}

/* Finds the data behind the local header and compares it with the central one. */
static int read_local(const struct zipdir *d, const struct end *end, const struct header *central,
                      struct zipdir_entry *entry, struct err *e)
{
    uint64_t at = entry->header_at;
    if (at > end->central_at || end->central_at - at < LOCAL_BYTES)
        return err_set(e, ERR_FORMAT,
                       "local header at byte %" PRIu64
                       ", expected before the central directory at byte %" PRIu64,
                       at, end->central_at);
    const unsigned char *b = d->bytes + at;
    if (bytes_get_u32(b) != LOCAL_SIGNATURE)
        return err_set(e, ERR_FORMAT, "no local header at byte %" PRIu64, at);
    struct header local = {.flags = bytes_get_u16(b + 6),
                           .method = bytes_get_u16(b + 8),
                           .crc = bytes_get_u32(b + 14),
                           .packed_bytes = bytes_get_u32(b + 18),
                           .n_bytes = bytes_get_u32(b + 22)};
    size_t name_bytes = bytes_get_u16(b + 26), extra_bytes = bytes_get_u16(b + 28);
    uint64_t room = end->central_at - at - LOCAL_BYTES;
    if (name_bytes + extra_bytes > room || entry->n_bytes > room - name_bytes - extra_bytes)
        return err_set(e, ERR_FORMAT,
                       "%" PRIu64 " bytes behind the local header at byte %" PRIu64
                       " reach past byte %" PRIu64,
                       entry->n_bytes, at, end->central_at);
    const unsigned char *name = b + LOCAL_BYTES;
    char text[PRINTABLE_BYTES];
    if (name_bytes != entry->name_bytes || memcmp(name, entry->name, name_bytes) != 0)
        return err_set(e, ERR_FORMAT, "its local header is named %s",
                       printable(name, name_bytes, text));
    entry->data_at = at + LOCAL_BYTES + name_bytes + extra_bytes;
    int rc = read_extra(&local, name + name_bytes, extra_bytes, e);
    bool later = (local.flags & FLAG_DESCRIPTOR) != 0;
    if (rc == 0)
        rc = check_same("flags", local.flags, central->flags, false, e);
    if (rc == 0)
        rc = check_same("method", local.method, central->method, false, e);
    if (rc == 0)
        rc = check_same("CRC-32", local.crc, central->crc, later, e);
    if (rc == 0)
        rc = check_same("packed size", local.packed_bytes, central->packed_bytes, later, e);
    if (rc == 0)
        rc = check_same("size", local.n_bytes, central->n_bytes, later, e);
    return rc;
}

/* The entry whose central header is at byte *at; *at moves behind it. */
static int read_entry(const struct zipdir *d, const struct end *end, uint64_t *at,
                      struct zipdir_entry *entry, struct err *e)
{
    uint64_t left = end->end_at - *at;
    const unsigned char *b = d->bytes + *at;
    if (left < CENTRAL_BYTES || bytes_get_u32(b) != CENTRAL_SIGNATURE)
        return err_set(e, ERR_FORMAT, "no central header at byte %" PRIu64, *at);
    size_t name_bytes = bytes_get_u16(b + 28), extra_bytes = bytes_get_u16(b + 30);
    size_t whole_bytes = CENTRAL_BYTES + name_bytes + extra_bytes + bytes_get_u16(b + 32);
    if (whole_bytes > left)
        return err_set(e, ERR_FORMAT,
                       "central header at byte %" PRIu64 " reaches past its directory", *at);
    struct header h = {.flags = bytes_get_u16(b + 8),
                       .method = bytes_get_u16(b + 10),
                       .crc = bytes_get_u32(b + 16),
                       .packed_bytes = bytes_get_u32(b + 20),
                       .n_bytes = bytes_get_u32(b + 24),
                       .header_at = bytes_get_u32(b + 42),
                       .disk = bytes_get_u16(b + 34)};
    entry->name = (const char *)b + CENTRAL_BYTES;
    entry->name_bytes = name_bytes;
    entry->central_at = *at;
    int rc = check_name(entry, e);
    if (rc == 0)
        rc = read_extra(&h, b + CENTRAL_BYTES + name_bytes, extra_bytes, e);
    if (rc == 0)
        rc = check_kind(&h, e);
    entry->crc = h.crc;
    entry->n_bytes = h.n_bytes;
    entry->header_at = h.header_at;
    if (rc == 0)
        rc = read_local(d, end, &h, entry, e);
    *at += whole_bytes;
    return rc;
}

/* ---- all entries ---- */

static int wrap_entry(const struct zipdir_entry *entry, struct err *e)
{
    char text[PRINTABLE_BYTES];
    return err_wrap(e, "entry %s", printable(entry->name, entry->name_bytes, text));
}

static int compare_places(const void *a, const void *b)
{
    const struct zipdir_entry *x = a, *y = b;
    if (x->header_at != y->header_at)
        return x->header_at < y->header_at ? -1 : 1;
    return x->central_at < y->central_at ? -1 : 1;
}

static int compare_bytes(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    if (order != 0 || a_bytes == b_bytes)
        return order;
    return a_bytes < b_bytes ? -1 : 1;
}

static int compare_names(const void *a, const void *b)
{
    const struct zipdir_entry *x = a, *y = b;
    return compare_bytes(x->name, x->name_bytes, y->name, y->name_bytes);
}

static int check_places(struct zipdir *d, struct err *e)
{
    char text[PRINTABLE_BYTES];
    qsort(d->entries, d->n_entries, sizeof *d->entries, compare_places);
    for (size_t i = 1; i < d->n_entries; i++) {
        const struct zipdir_entry *before = &d->entries[i - 1], *entry = &d->entries[i];
        if (entry->header_at < before->data_at + before->n_bytes) {
            (void)err_set(e, ERR_FORMAT,
                          "at byte %" PRIu64 ", overlaps %s, which ends at byte %" PRIu64,
                          entry->header_at, printable(before->name, before->name_bytes, text),
                          before->data_at + before->n_bytes);
            return wrap_entry(entry, e);
        }
    }
    return 0;
}

static int read_entries(struct zipdir *d, const struct end *end, struct err *e)
{
    uint64_t at = end->central_at;
    for (size_t i = 0; i < end->n_entries; i++) {
        struct zipdir_entry *entry = &d->entries[i];
        int rc = read_entry(d, end, &at, entry, e);
        if (rc != 0)
            return entry->name == NULL ? rc : wrap_entry(entry, e);
        d->n_entries++;
    }
    if (at != end->end_at)
        return err_set(e, ERR_FORMAT, "%" PRIu64 " bytes behind the last central header",
                       end->end_at - at);
    int rc = check_places(d, e);
    if (rc != 0)
        return rc;
    qsort(d->entries, d->n_entries, sizeof *d->entries, compare_names);
    for (size_t i = 1; i < d->n_entries; i++) {
        if (compare_names(&d->entries[i - 1], &d->entries[i]) == 0) {
            (void)err_set(e, ERR_FORMAT, "this name is there twice");
            return wrap_entry(&d->entries[i], e);
        }
    }
    return 0;
}

int zipdir_parse(struct zipdir *d, const unsigned char *bytes, size_t n_bytes, struct err *e)
{
    struct end end = {0};
    *d = (struct zipdir){.bytes = bytes, .n_bytes = n_bytes};
    int rc = read_end(d, &end, e);
    if (rc == 0) {
        d->entries = xalloc_array((size_t)end.n_entries, sizeof *d->entries);
        rc = read_entries(d, &end, e);
    }
    if (rc != 0)
        zipdir_release(d);
    return rc;
}

void zipdir_release(struct zipdir *d)
{
    xfree(d->entries);
    *d = (struct zipdir){0};
}

const struct zipdir_entry *zipdir_find(const struct zipdir *d, const char *name, size_t name_bytes)
{
    size_t low = 0, high = d->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct zipdir_entry *entry = &d->entries[middle];
        int order = compare_bytes(entry->name, entry->name_bytes, name, name_bytes);
        if (order == 0)
            return entry;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int zipdir_check_crc(const struct zipdir *d, const struct zipdir_entry *entry,
                     struct thread_pool *pool, struct err *e)
{
    uint32_t sum = crc32_of(pool, d->bytes + entry->data_at, (size_t)entry->n_bytes);
    if (sum == entry->crc)
        return 0;
    (void)err_set(e, ERR_FORMAT,
                  "its bytes have the CRC-32 %08" PRIx32 ", expected %08" PRIx32
                  ": the file is damaged",
                  sum, entry->crc);
    return wrap_entry(entry, e);
}
