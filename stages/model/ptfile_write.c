#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/crc32.h"
#include "stages/model/ptfile.h"

/*
 * Written front to back: sizes are known beforehand, checksums are not, so they follow the data in
 * descriptors (APPNOTE 4.3.9, flag bit 3), as torch.save does it. The end is written as zip64
 * always, as torch.save does too; an entry's own zip64 field is written where a number needs it.
 */

struct pt_source {
    char *name;
    enum pt_dtype dtype;
    int n_dims;
    uint64_t dims[PT_DIMS_MAX];
    uint64_t n_elements;
    const void *data;
    bool convert; /* data are fp32 values */
};

void pt_writer_init(struct pt_writer *w)
{
    *w = (struct pt_writer){0};
}

void pt_writer_release(struct pt_writer *w)
{
    for (size_t i = 0; i < w->n_sources; i++)
        xfree(w->sources[i].name);
    xfree(w->sources);
    *w = (struct pt_writer){0};
}

static void add(struct pt_writer *w, const struct pt_source *source, const uint64_t *dims)
{
    size_t name_bytes = strlen(source->name);
    CHECK(name_bytes > 0 && name_bytes <= LIMIT_TENSOR_NAME_BYTES);
    CHECK(str_utf8_prefix(source->name, name_bytes) == name_bytes);
    CHECK(source->n_dims >= 0 && source->n_dims <= PT_DIMS_MAX);
    CHECK(w->n_sources < LIMIT_TENSORS);
    if (w->n_sources == w->capacity) {
        w->capacity = w->capacity == 0 ? 64 : 2 * w->capacity;
        w->sources = xrealloc_array(w->sources, w->capacity, sizeof *w->sources);
    }
    struct pt_source *s = &w->sources[w->n_sources++];
    *s = *source;
    s->name = xstrdup(source->name);
    size_t n = 1;
    for (int i = 0; i < s->n_dims; i++) {
        s->dims[i] = dims[i];
        n = size_mul(n, (size_t)dims[i]);
    }
    s->n_elements = n;
    (void)size_mul(n, pt_dtype_bytes(s->dtype)); /* fits */
}

void pt_writer_add(struct pt_writer *w, const char *name, enum pt_dtype dtype, int n_dims,
                   const uint64_t *dims, const void *data)
{
    const struct pt_source s = {
        .name = (char *)name, .dtype = dtype, .n_dims = n_dims, .data = data};
    add(w, &s, dims);
}

void pt_writer_add_f32(struct pt_writer *w, const char *name, enum pt_dtype dtype, int n_dims,
                       const uint64_t *dims, const float *data)
{
    CHECK(dtype == PT_F32 || dtype == PT_F16 || dtype == PT_BF16);
    const struct pt_source s = {
        .name = (char *)name, .dtype = dtype, .n_dims = n_dims, .data = data, .convert = true};
    add(w, &s, dims);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_names(const struct pt_writer *w)
{
    const char **names = xalloc_array(w->n_sources, sizeof *names);
    for (size_t i = 0; i < w->n_sources; i++)
        names[i] = w->sources[i].name;
    if (w->n_sources > 0)
        qsort(names, w->n_sources, sizeof *names, compare_names);
    for (size_t i = 1; i < w->n_sources; i++)
        CHECK(!str_eq(names[i - 1], names[i]));
    xfree(names);
}

/* ---- the pickle ---- */

static void add_text(struct buf *b, const char *text)
{
    unsigned char head[5] = {'X'};
    bytes_put_u32(head + 1, (uint32_t)strlen(text));
    buf_add(b, head, sizeof head);
    buf_add_text(b, text);
}

/* As short as Python writes it: BININT1, BININT2, BININT, LONG1. */
static void add_int(struct buf *b, uint64_t v)
{
    unsigned char bytes[12];
    size_t n = 0;
    if (v <= UINT8_MAX) {
        bytes[n++] = 'K';
        bytes[n++] = (unsigned char)v;
    } else if (v <= UINT16_MAX) {
        bytes[n++] = 'M';
        bytes_put_u16(bytes + n, (uint16_t)v);
        n += 2;
    } else if (v <= INT32_MAX) {
        bytes[n++] = 'J';
        bytes_put_u32(bytes + n, (uint32_t)v);
        n += 4;
    } else {
        bytes[n++] = 0x8a;
        n++; /* length */
        for (; v != 0; v >>= 8)
            bytes[n++] = (unsigned char)v;
        if ((bytes[n - 1] & 0x80) != 0) /* else it would be negative */
            bytes[n++] = 0;
        bytes[1] = (unsigned char)(n - 2);
    }
    buf_add(b, bytes, n);
}

static void add_tuple(struct buf *b, const uint64_t *values, int n)
{
    buf_add_char(b, '(');
    for (int i = 0; i < n; i++)
        add_int(b, values[i]);
    buf_add_char(b, 't');
}

#define EMPTY_ORDERED_DICT "ccollections\nOrderedDict\n)R"

static void add_tensor(struct buf *b, const struct pt_source *s, size_t key)
{
    const struct torch_global *class = torch_global_storage(s->dtype);
    uint64_t strides[PT_DIMS_MAX], behind = 1;
    for (int i = s->n_dims; i-- > 0;) {
        strides[i] = behind;
        behind *= s->dims[i] == 0 ? 1 : s->dims[i];
    }
    char digits[24];
    snprintf(digits, sizeof digits, "%zu", key);
    add_text(b, s->name);
    buf_add_text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    add_text(b, "storage");
    buf_printf(b, "c%s\n%s\n", class->module, class->name);
    add_text(b, digits);
    add_text(b, "cpu");
    add_int(b, s->n_elements);
    buf_add_text(b, "tQ");
    add_int(b, 0);
    add_tuple(b, s->dims, s->n_dims);
    add_tuple(b, strides, s->n_dims);
    buf_add_text(b, "\x89" EMPTY_ORDERED_DICT "tR");
}

/* What a tensor takes besides its name: dimensions of 10 bytes each way and 200. */
#define TENSOR_PICKLE_BYTES (20 * PT_DIMS_MAX + 200)

static int make_pickle(const struct pt_writer *w, struct buf *b, struct err *e)
{
    buf_add_text(b, "\x80\x02" EMPTY_ORDERED_DICT);
    if (w->n_sources > 0)
        buf_add_char(b, '(');
    for (size_t i = 0; i < w->n_sources; i++) {
        const struct pt_source *s = &w->sources[i];
        if (!buf_fits(b, strlen(s->name) + TENSOR_PICKLE_BYTES))
            return err_set(e, ERR_LIMIT, "%s: its pickle passes LIMIT_PICKLE_BYTES, %" PRIu64,
                           s->name, LIMIT_PICKLE_BYTES);
        add_tensor(b, s, i);
    }
    buf_add_text(b, w->n_sources > 0 ? "u." : ".");
    return 0;
}

/* ---- the zip file ---- */

#define FOLDER "archive/"
#define NAME_BYTES_MAX 48
#define ALIGNMENT 64
#define PIECE_BYTES ((size_t)1 << 18)
#define DATE 0x0021       /* 1980-01-01; time 0 */
#define FLAGS 0x0808      /* descriptor behind the data, name in UTF-8 */
#define ZIP64_VERSION 45  /* needed to extract */
#define ONES UINT32_MAX   /* "see zip64" */
#define PADDING_ID 0x4246 /* what torch.save calls the extra field that aligns */

struct entry {
    char name[NAME_BYTES_MAX];
    uint64_t header_at;
    uint64_t n_bytes;
    uint32_t crc;
};

struct zip_out {
    struct file_out file;
    uint32_t crc; /* of the entry at hand */
    struct entry *entries;
    size_t n_entries;
};

/* In pieces, so that what was just summed is still in the cache when it is written. */
static void put_data(struct zip_out *z, const void *bytes, size_t n_bytes)
{
    const unsigned char *b = bytes;
    for (size_t n = 0; n_bytes > 0; n_bytes -= n, b += n) {
        n = n_bytes < PIECE_BYTES ? n_bytes : PIECE_BYTES;
        z->crc = crc32_add(z->crc, b, n);
        file_out_add(&z->file, b, n);
    }
}

static uint32_t low32(uint64_t v)
{
    return v < ONES ? (uint32_t)v : ONES;
}

/* Local header (4.3.7), its extra fields so long that the data are aligned. */
static void begin_entry(struct zip_out *z, const char *name, uint64_t n_bytes)
{
    struct entry *entry = &z->entries[z->n_entries++];
    snprintf(entry->name, sizeof entry->name, "%s%s", FOLDER, name);
    entry->header_at = z->file.n_bytes;
    entry->n_bytes = n_bytes;
    size_t name_bytes = strlen(entry->name);
    bool large = n_bytes >= ONES;
    unsigned char h[30] = {0}, extra[20 + 4 + ALIGNMENT] = {0};
    size_t n_extra = large ? 20 : 0;
    bytes_put_u16(extra, 1);
    bytes_put_u16(extra + 2, 16);
    size_t padding =
        (size_t)((0 - (entry->header_at + sizeof h + name_bytes + n_extra + 4)) & (ALIGNMENT - 1));
    bytes_put_u16(extra + n_extra, PADDING_ID);
    bytes_put_u16(extra + n_extra + 2, (uint16_t)padding);
    memset(extra + n_extra + 4, 'Z', padding);
    n_extra += 4 + padding;
    bytes_put_u32(h, 0x04034b50);
    bytes_put_u16(h + 4, ZIP64_VERSION);
    bytes_put_u16(h + 6, FLAGS);
    bytes_put_u16(h + 12, DATE);
    bytes_put_u32(h + 18, large ? ONES : 0);
    bytes_put_u32(h + 22, large ? ONES : 0);
    bytes_put_u16(h + 26, (uint16_t)name_bytes);
    bytes_put_u16(h + 28, (uint16_t)n_extra);
    file_out_add(&z->file, h, sizeof h);
    file_out_add(&z->file, entry->name, name_bytes);
    file_out_add(&z->file, extra, n_extra);
    CHECK(z->file.n_bytes % ALIGNMENT == 0 || z->file.problem != 0);
    z->crc = 0;
}

/* Descriptor (4.3.9); sizes of 8 bytes when the local header has a zip64 field. */
static void end_entry(struct zip_out *z)
{
    struct entry *entry = &z->entries[z->n_entries - 1];
    bool large = entry->n_bytes >= ONES;
    unsigned char d[24];
    entry->crc = z->crc;
    bytes_put_u32(d, 0x08074b50);
    bytes_put_u32(d + 4, entry->crc);
    if (large) {
        bytes_put_u64(d + 8, entry->n_bytes);
        bytes_put_u64(d + 16, entry->n_bytes);
    } else {
        bytes_put_u32(d + 8, (uint32_t)entry->n_bytes);
        bytes_put_u32(d + 12, (uint32_t)entry->n_bytes);
    }
    file_out_add(&z->file, d, large ? 24 : 16);
}

static void put_small(struct zip_out *z, const char *name, const void *bytes, size_t n_bytes)
{
    begin_entry(z, name, n_bytes);
    put_data(z, bytes, n_bytes);
    end_entry(z);
}

/* Central header (4.3.12). */
static void put_central(struct zip_out *z, const struct entry *entry)
{
    size_t name_bytes = strlen(entry->name), n_extra = 4;
    unsigned char h[46] = {0}, extra[28] = {0};
    if (entry->n_bytes >= ONES) {
        bytes_put_u64(extra + n_extra, entry->n_bytes);
        bytes_put_u64(extra + n_extra + 8, entry->n_bytes);
        n_extra += 16;
    }
    if (entry->header_at >= ONES) {
        bytes_put_u64(extra + n_extra, entry->header_at);
        n_extra += 8;
    }
    bytes_put_u16(extra, 1);
    bytes_put_u16(extra + 2, (uint16_t)(n_extra - 4));
    if (n_extra == 4)
        n_extra = 0;
    bytes_put_u32(h, 0x02014b50);
    bytes_put_u16(h + 4, ZIP64_VERSION);
    bytes_put_u16(h + 6, ZIP64_VERSION);
    bytes_put_u16(h + 8, FLAGS);
    bytes_put_u16(h + 14, DATE);
    bytes_put_u32(h + 16, entry->crc);
    bytes_put_u32(h + 20, low32(entry->n_bytes));
    bytes_put_u32(h + 24, low32(entry->n_bytes));
    bytes_put_u16(h + 28, (uint16_t)name_bytes);
    bytes_put_u16(h + 30, (uint16_t)n_extra);
    bytes_put_u32(h + 42, low32(entry->header_at));
    file_out_add(&z->file, h, sizeof h);
    file_out_add(&z->file, entry->name, name_bytes);
    file_out_add(&z->file, extra, n_extra);
}

/* The directory, zip64 end record (4.3.14), locator (4.3.15), end record (4.3.16). */
static void put_end(struct zip_out *z)
{
    uint64_t central_at = z->file.n_bytes, n = z->n_entries;
    for (size_t i = 0; i < z->n_entries; i++)
        put_central(z, &z->entries[i]);
    uint64_t end_at = z->file.n_bytes, central_bytes = end_at - central_at;
    unsigned char b[56 + 20 + 22] = {0}, *locator = b + 56, *end = locator + 20;
    uint16_t n_low = n < UINT16_MAX ? (uint16_t)n : UINT16_MAX;
    bytes_put_u32(b, 0x06064b50);
    bytes_put_u64(b + 4, 56 - 12);
    bytes_put_u16(b + 12, ZIP64_VERSION);
    bytes_put_u16(b + 14, ZIP64_VERSION);
    bytes_put_u64(b + 24, n);
    bytes_put_u64(b + 32, n);
    bytes_put_u64(b + 40, central_bytes);
    bytes_put_u64(b + 48, central_at);
    bytes_put_u32(locator, 0x07064b50);
    bytes_put_u64(locator + 8, end_at);
    bytes_put_u32(locator + 16, 1);
    bytes_put_u32(end, 0x06054b50);
    bytes_put_u16(end + 8, n_low);
    bytes_put_u16(end + 10, n_low);
    bytes_put_u32(end + 12, low32(central_bytes));
    bytes_put_u32(end + 16, low32(central_at));
    file_out_add(&z->file, b, sizeof b);
}

/* ---- the data ---- */

#define SLICE 4096

static bool put_slice(struct zip_out *z, enum pt_dtype dtype, const float *values, size_t n)
{
    unsigned char bytes[SLICE * 4];
    enum tensor_dtype as = dtype == PT_F32 ? DTYPE_F32 : dtype == PT_F16 ? DTYPE_F16 : DTYPE_BF16;
    bool finite = tensor_encode(as, values, n, bytes);
    put_data(z, bytes, n * pt_dtype_bytes(dtype));
    return finite;
}

static int put_source(struct zip_out *z, const struct pt_source *s, size_t key, struct err *e)
{
    char name[32];
    size_t n = (size_t)s->n_elements;
    snprintf(name, sizeof name, "data/%zu", key);
    begin_entry(z, name, s->n_elements * pt_dtype_bytes(s->dtype));
    if (!s->convert)
        put_data(z, s->data, n * pt_dtype_bytes(s->dtype));
    for (size_t at = 0; s->convert && at < n; at += SLICE) {
        size_t count = n - at < SLICE ? n - at : SLICE;
        if (!put_slice(z, s->dtype, (const float *)s->data + at, count))
            return err_set(e, ERR_NUMERIC, "%s: a value is not finite in %s", s->name,
                           pt_dtype_name(s->dtype));
    }
    end_entry(z);
    return 0;
}

int pt_writer_write(struct pt_writer *w, const char *path, struct err *e)
{
    struct zip_out z = {0};
    struct buf pickle;
    check_names(w);
    buf_init(&pickle, (size_t)LIMIT_PICKLE_BYTES);
    int rc = make_pickle(w, &pickle, e);
    if (rc == 0)
        rc = file_out_open(&z.file, path, e);
    if (rc != 0)
        goto out;
    z.entries = xalloc_array(w->n_sources + 3, sizeof *z.entries);
    put_small(&z, "data.pkl", pickle.bytes, pickle.n_bytes);
    put_small(&z, "byteorder", "little", 6);
    for (size_t i = 0; i < w->n_sources && rc == 0; i++)
        rc = put_source(&z, &w->sources[i], i, e);
    if (rc == 0) {
        put_small(&z, "version", "3\n", 2);
        put_end(&z);
        rc = file_out_close(&z.file, e);
    } else {
        file_out_abandon(&z.file);
        (void)err_wrap(e, "%s", path);
    }
out:
    xfree(z.entries);
    buf_release(&pickle);
    return rc;
}
