#include "tests/unit/tiny_pt.h"

#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/crc32.h"

void tiny_zip_init(struct tiny_zip *z)
{
    *z = (struct tiny_zip){0};
    buf_init(&z->bytes, (size_t)1 << 28);
}

void tiny_zip_release(struct tiny_zip *z)
{
    for (size_t i = 0; i < z->n_entries; i++)
        xfree(z->entries[i].name);
    xfree(z->entries);
    buf_release(&z->bytes);
}

void tiny_zip_add(struct tiny_zip *z, const char *name, const void *data, size_t n_bytes)
{
    unsigned char h[30] = {0};
    if (z->n_entries == z->capacity) {
        z->capacity = z->capacity == 0 ? 16 : 2 * z->capacity;
        z->entries = xrealloc_array(z->entries, z->capacity, sizeof *z->entries);
    }
    struct tiny_entry *entry = &z->entries[z->n_entries++];
    *entry = (struct tiny_entry){.name = xstrdup(name),
                                 .name_bytes = strlen(name),
                                 .n_bytes = n_bytes,
                                 .crc = crc32_add(0, data, n_bytes),
                                 .local_at = z->bytes.n_bytes};
    bytes_put_u32(h, 0x04034b50);
    bytes_put_u32(h + 14, entry->crc);
    bytes_put_u32(h + 18, (uint32_t)n_bytes);
    bytes_put_u32(h + 22, (uint32_t)n_bytes);
    bytes_put_u16(h + 26, (uint16_t)entry->name_bytes);
    buf_add(&z->bytes, h, sizeof h);
    buf_add(&z->bytes, name, entry->name_bytes);
    entry->data_at = z->bytes.n_bytes;
    buf_add(&z->bytes, data, n_bytes);
}

static void add_central(struct tiny_zip *z, struct tiny_entry *entry, bool zip64)
{
    unsigned char h[46] = {0}, extra[4 + 28] = {1, 0, 28, 0};
    entry->central_at = z->bytes.n_bytes;
    bytes_put_u32(h, 0x02014b50);
    bytes_put_u32(h + 16, entry->crc);
    bytes_put_u32(h + 20, zip64 ? UINT32_MAX : (uint32_t)entry->n_bytes);
    bytes_put_u32(h + 24, zip64 ? UINT32_MAX : (uint32_t)entry->n_bytes);
    bytes_put_u16(h + 28, (uint16_t)entry->name_bytes);
    bytes_put_u16(h + 30, zip64 ? sizeof extra : 0);
    bytes_put_u16(h + 34, zip64 ? UINT16_MAX : 0);
    bytes_put_u32(h + 42, zip64 ? UINT32_MAX : (uint32_t)entry->local_at);
    bytes_put_u64(extra + 4, entry->n_bytes);
    bytes_put_u64(extra + 12, entry->n_bytes);
    bytes_put_u64(extra + 20, entry->local_at);
    buf_add(&z->bytes, h, sizeof h);
    buf_add(&z->bytes, entry->name, entry->name_bytes);
    if (zip64)
        buf_add(&z->bytes, extra, sizeof extra);
}

void tiny_zip_end(struct tiny_zip *z, bool zip64)
{
    unsigned char b[56] = {0}, locator[20] = {0}, end[22] = {0};
    z->central_at = z->bytes.n_bytes;
    for (size_t i = 0; i < z->n_entries; i++)
        add_central(z, &z->entries[i], zip64);
    size_t central_bytes = z->bytes.n_bytes - z->central_at;
    if (zip64) {
        z->end64_at = z->bytes.n_bytes;
        bytes_put_u32(b, 0x06064b50);
        bytes_put_u64(b + 4, 44);
        bytes_put_u64(b + 24, z->n_entries);
        bytes_put_u64(b + 32, z->n_entries);
        bytes_put_u64(b + 40, central_bytes);
        bytes_put_u64(b + 48, z->central_at);
        bytes_put_u32(locator, 0x07064b50);
        bytes_put_u64(locator + 8, z->end64_at);
        bytes_put_u32(locator + 16, 1);
        buf_add(&z->bytes, b, sizeof b);
        z->locator_at = z->bytes.n_bytes;
        buf_add(&z->bytes, locator, sizeof locator);
    }
    z->end_at = z->bytes.n_bytes;
    bytes_put_u32(end, 0x06054b50);
    bytes_put_u16(end + 8, zip64 ? UINT16_MAX : (uint16_t)z->n_entries);
    bytes_put_u16(end + 10, zip64 ? UINT16_MAX : (uint16_t)z->n_entries);
    bytes_put_u32(end + 12, zip64 ? UINT32_MAX : (uint32_t)central_bytes);
    bytes_put_u32(end + 16, zip64 ? UINT32_MAX : (uint32_t)z->central_at);
    buf_add(&z->bytes, end, sizeof end);
}

void tiny_zip_patch(struct tiny_zip *z, size_t at, size_t n_bytes, uint64_t v)
{
    CHECK(at + n_bytes <= z->bytes.n_bytes);
    for (size_t i = 0; i < n_bytes; i++)
        z->bytes.bytes[at + i] = (char)(v >> (8 * i));
}
