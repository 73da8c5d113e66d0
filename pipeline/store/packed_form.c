#include "pipeline/store/packed_form.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"
#include "pipeline/store/planes.h"

#define HEADER_MAGIC 0x184D2A5Cu
#define SEAL_MAGIC 0x184D2A5Bu
/* zstd's contrib/seekable_format/zstd_seekable_compression_format.md, version 0.1.0. */
#define TABLE_MAGIC 0x184D2A5Eu
#define TABLE_FOOTER_MAGIC 0x8F92EAB1u
#define TABLE_FOOTER_BYTES 9        /* u32 frames, u8 descriptor (0: no checksums), u32 magic */
#define SKIPPABLE_MAGIC 0x184D2A50u /* and 15 more */
#define SKIPPABLE_BYTES 8           /* u32 magic, u32 bytes behind it */
#define HEADER_START "fmforge planes 1: width "

size_t packed_put_header(size_t width, size_t chunk_bytes, uint64_t n_bytes,
                         unsigned char out[PACKED_HEADER_BYTES_MAX])
{
    char text[PACKED_HEADER_BYTES_MAX];
    int n = snprintf(text, sizeof text - SKIPPABLE_BYTES,
                     HEADER_START "%zu chunk %zu bytes %llu; zstd -dc prints planes\n", width,
                     chunk_bytes, (unsigned long long)n_bytes);
    CHECK(n > 0 && (size_t)n < sizeof text - SKIPPABLE_BYTES);
    bytes_put_u32(out, HEADER_MAGIC);
    bytes_put_u32(out + 4, (uint32_t)n);
    memcpy(out + SKIPPABLE_BYTES, text, (size_t)n);
    return SKIPPABLE_BYTES + (size_t)n;
}

void packed_put_seal(const char hex[SHA256_HEX + 1], unsigned char out[PACKED_SEAL_BYTES])
{
    bytes_put_u32(out, SEAL_MAGIC);
    bytes_put_u32(out + 4, SHA256_HEX);
    memcpy(out + SKIPPABLE_BYTES, hex, SHA256_HEX);
}

bool packed_seal_is(const unsigned char seal[PACKED_SEAL_BYTES], const char hex[SHA256_HEX + 1])
{
    unsigned char want[PACKED_SEAL_BYTES];
    packed_put_seal(hex, want);
    return memcmp(seal, want, PACKED_SEAL_BYTES) == 0;
}

void packed_table_start(struct buf *table)
{
    unsigned char head[SKIPPABLE_BYTES] = {0};
    buf_clear(table);
    buf_add(table, head, sizeof head);
}

void packed_table_add(struct buf *table, size_t packed_bytes, size_t raw_bytes)
{
    unsigned char entry[PACKED_ENTRY_BYTES];
    CHECK(packed_bytes <= UINT32_MAX && raw_bytes <= UINT32_MAX);
    bytes_put_u32(entry, (uint32_t)packed_bytes);
    bytes_put_u32(entry + 4, (uint32_t)raw_bytes);
    buf_add(table, entry, sizeof entry);
}

void packed_table_end(struct buf *table)
{
    unsigned char footer[TABLE_FOOTER_BYTES] = {0};
    size_t n_frames = (table->n_bytes - SKIPPABLE_BYTES) / PACKED_ENTRY_BYTES;
    bytes_put_u32(footer, (uint32_t)n_frames);
    bytes_put_u32(footer + 5, TABLE_FOOTER_MAGIC);
    buf_add(table, footer, sizeof footer);
    bytes_put_u32(table->bytes, TABLE_MAGIC);
    bytes_put_u32(table->bytes + 4, (uint32_t)(table->n_bytes - SKIPPABLE_BYTES));
}

/* Of a frame that holds something. */
static size_t raw_bytes_of(const struct packed_form *f, size_t i)
{
    return bytes_get_u32(f->entries + i * PACKED_ENTRY_BYTES + 4);
}

size_t packed_frame_bytes(const struct packed_form *f, size_t i)
{
    return bytes_get_u32(f->entries + i * PACKED_ENTRY_BYTES);
}

bool packed_has_header(const unsigned char *file, size_t n_bytes)
{
    return n_bytes >= SKIPPABLE_BYTES && bytes_get_u32(file) == HEADER_MAGIC;
}

/* The number behind `before` in text. */
static bool take_number(const char *text, const char *before, uint64_t *out)
{
    char digits[24];
    const char *at = strstr(text, before);
    if (at == NULL)
        return false;
    at += strlen(before);
    size_t n = strspn(at, "0123456789");
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, at, n);
    digits[n] = '\0';
    return str_to_u64(digits, out);
}

/* Bytes of the header; 0 when it is not as packed_put_header writes it. */
static size_t read_header(const unsigned char *file, size_t n_bytes, struct packed_form *out)
{
    char text[PACKED_HEADER_BYTES_MAX + 1];
    unsigned char same[PACKED_HEADER_BYTES_MAX];
    size_t n = bytes_get_u32(file + 4);
    uint64_t width = 0, chunk = 0;
    if (n > n_bytes - SKIPPABLE_BYTES || n > PACKED_HEADER_BYTES_MAX - SKIPPABLE_BYTES)
        return 0;
    memcpy(text, file + SKIPPABLE_BYTES, n);
    text[n] = '\0';
    if (!take_number(text, " width ", &width) || !take_number(text, " chunk ", &chunk) ||
        !take_number(text, " bytes ", &out->n_bytes))
        return 0;
    if ((width != 2 && width != 4) || chunk == 0 || chunk % width != 0 ||
        chunk > PACKED_CHUNK_BYTES_MAX)
        return 0;
    out->width = (size_t)width;
    out->chunk_bytes = (size_t)chunk;
    size_t n_same = packed_put_header(out->width, out->chunk_bytes, out->n_bytes, same);
    return n_same == SKIPPABLE_BYTES + n && memcmp(same, file, n_same) == 0 ? n_same : 0;
}

/* Finds the table from the file's end; the number of its entries, 0 when there is none. */
static size_t find_table(struct packed_form *f)
{
    if (f->file_bytes < SKIPPABLE_BYTES + TABLE_FOOTER_BYTES)
        return 0;
    const unsigned char *footer = f->file + f->file_bytes - TABLE_FOOTER_BYTES;
    if (bytes_get_u32(footer + 5) != TABLE_FOOTER_MAGIC || footer[4] != 0)
        return 0;
    size_t n = bytes_get_u32(footer);
    size_t bytes = n * PACKED_ENTRY_BYTES + TABLE_FOOTER_BYTES;
    if (n == 0 || bytes > f->file_bytes - SKIPPABLE_BYTES)
        return 0;
    f->table = f->file + f->file_bytes - bytes - SKIPPABLE_BYTES;
    bool whole = bytes_get_u32(f->table) == TABLE_MAGIC && bytes_get_u32(f->table + 4) == bytes;
    return whole ? n : 0;
}

/* Not split: all chunks but the last are as long as the first. */
static bool sizes_of_chunks(struct packed_form *f)
{
    f->chunk_bytes = f->n_frames > 0 ? raw_bytes_of(f, 0) : 0;
    if (f->chunk_bytes == 0 || f->chunk_bytes > PACKED_CHUNK_BYTES_MAX)
        return false;
    for (size_t i = 0; i < f->n_frames; i++) {
        size_t raw = raw_bytes_of(f, i);
        if (raw == 0 || raw > f->chunk_bytes || (raw < f->chunk_bytes && i + 1 < f->n_frames))
            return false;
        f->n_bytes += raw;
    }
    return true;
}

/* Split: the header says how long everything is. */
static bool sizes_of_planes(const struct packed_form *f)
{
    uint64_t n_whole = f->n_bytes / f->chunk_bytes;
    size_t rest = (size_t)(f->n_bytes % f->chunk_bytes);
    if (n_whole > f->n_frames || n_whole * f->width + (rest > 0) != f->n_frames)
        return false;
    for (size_t i = 0; i < f->n_frames; i++)
        if (raw_bytes_of(f, i) != (i < n_whole * f->width ? f->chunk_bytes / f->width : rest))
            return false;
    return true;
}

/* The seal lies before the table and has its last entry; the header, if any, has the first. */
static bool find_frames(struct packed_form *f)
{
    size_t header = 0;
    f->entries = f->table + SKIPPABLE_BYTES;
    if (packed_has_header(f->file, f->file_bytes)) {
        header = read_header(f->file, f->file_bytes, f);
        if (header == 0 || packed_frame_bytes(f, 0) != header || raw_bytes_of(f, 0) != 0)
            return false;
        f->entries += PACKED_ENTRY_BYTES;
        f->n_frames--;
    }
    if (f->n_frames-- == 0 || packed_frame_bytes(f, f->n_frames) != PACKED_SEAL_BYTES ||
        raw_bytes_of(f, f->n_frames) != 0)
        return false;
    uint64_t total = header + PACKED_SEAL_BYTES;
    for (size_t i = 0; i < f->n_frames; i++)
        total += packed_frame_bytes(f, i);
    if (total != (uint64_t)(f->table - f->file))
        return false;
    f->frames = f->file + header;
    f->seal = f->table - PACKED_SEAL_BYTES;
    return bytes_get_u32(f->seal) == SEAL_MAGIC;
}

bool packed_form_read(const unsigned char *file, size_t n_bytes, struct packed_form *out)
{
    *out = (struct packed_form){.file = file, .file_bytes = n_bytes, .width = 1};
    out->n_frames = find_table(out);
    if (out->n_frames == 0 || !find_frames(out))
        return false;
    return out->width > 1 ? sizes_of_planes(out) : sizes_of_chunks(out);
}

bool packed_next_chunk(const struct packed_form *f, struct packed_chunk *c)
{
    struct packed_chunk next = {.frames = f->frames};
    if (c->frames != NULL) {
        next.frames = c->frames + c->packed_bytes;
        next.i_frame = c->i_frame + c->n_frames;
        next.at = c->at + c->raw_bytes;
    }
    if (next.i_frame < f->n_frames) {
        bool whole = f->n_bytes - next.at >= f->chunk_bytes;
        next.n_frames = whole ? f->width : 1;
        next.raw_bytes = whole ? f->chunk_bytes : (size_t)(f->n_bytes - next.at);
        for (size_t i = 0; i < next.n_frames; i++)
            next.packed_bytes += packed_frame_bytes(f, next.i_frame + i);
    }
    *c = next;
    return c->n_frames > 0;
}

int packed_check_seal(const char *path, const unsigned char *file, size_t n_bytes, struct err *e)
{
    struct sha256 *sum = sha256_open();
    const unsigned char *seal = NULL;
    size_t n_frames = 0;
    bool is_bare = true, is_whole = true;
    for (size_t at = 0, n = 0; at < n_bytes; at += n) {
        n = zframe_size(file + at, n_bytes - at);
        if (n == 0) {
            is_whole = false;
            break;
        }
        bool skippable =
            n >= SKIPPABLE_BYTES && (bytes_get_u32(file + at) & ~15u) == SKIPPABLE_MAGIC;
        is_bare &= !skippable && n_frames++ == 0;
        if (skippable && n == PACKED_SEAL_BYTES && bytes_get_u32(file + at) == SEAL_MAGIC &&
            seal == NULL)
            seal = file + at;
        else
            sha256_add(sum, file + at, n);
    }
    struct content_id id = sha256_close(sum);
    if (is_whole && (seal != NULL ? packed_seal_is(seal, id.hex) : is_bare))
        return 0;
    return err_set(e, ERR_FORMAT, "%s: its bytes are not those that were written", path);
}
