#include "stages/model/tensorfile.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"

struct tensor_source {
    char *name;
    enum tensor_dtype dtype;
    int n_dims;
    uint64_t dims[TENSOR_DIMS_MAX];
    const void *data;
    bool convert; /* data are fp32 values */
    uint64_t n_bytes;
    uint64_t offset;
};

void tensor_writer_init(struct tensor_writer *w)
{
    memset(w, 0, sizeof *w);
    w->meta = json_new_object();
}

void tensor_writer_release(struct tensor_writer *w)
{
    for (size_t i = 0; i < w->n_sources; i++)
        xfree(w->sources[i].name);
    xfree(w->sources);
    json_free(w->meta);
    memset(w, 0, sizeof *w);
}

void tensor_writer_meta(struct tensor_writer *w, const char *key, const char *value)
{
    json_put_string(w->meta, key, value);
}

static void add(struct tensor_writer *w, const char *name, enum tensor_dtype dtype, int n_dims,
                const uint64_t *dims, const void *data, bool convert)
{
    CHECK(n_dims >= 0 && n_dims <= TENSOR_DIMS_MAX);
    CHECK(w->n_sources < LIMIT_TENSORS);
    if (w->n_sources == w->capacity) {
        w->capacity = w->capacity == 0 ? 64 : 2 * w->capacity;
        w->sources = xrealloc_array(w->sources, w->capacity, sizeof *w->sources);
    }
    struct tensor_source *s = &w->sources[w->n_sources++];
    memset(s, 0, sizeof *s);
    s->name = xstrdup(name);
    s->dtype = dtype;
    s->n_dims = n_dims;
    s->data = data;
    s->convert = convert;
    size_t bytes = tensor_dtype_bytes(dtype);
    for (int i = 0; i < n_dims; i++) {
        s->dims[i] = dims[i];
        bytes = size_mul(bytes, (size_t)dims[i]);
    }
    s->n_bytes = bytes;
}

void tensor_writer_add(struct tensor_writer *w, const char *name, enum tensor_dtype dtype,
                       int n_dims, const uint64_t *dims, const void *data)
{
    add(w, name, dtype, n_dims, dims, data, false);
}

void tensor_writer_add_f32(struct tensor_writer *w, const char *name, enum tensor_dtype dtype,
                           int n_dims, const uint64_t *dims, const float *data)
{
    CHECK(dtype != DTYPE_U8);
    add(w, name, dtype, n_dims, dims, data, true);
}

static int compare_sources(const void *a, const void *b)
{
    const struct tensor_source *x = a, *y = b;
    bool x_odd = x->n_bytes % 64 != 0, y_odd = y->n_bytes % 64 != 0;
    if (x_odd != y_odd)
        return x_odd ? 1 : -1;
    return strcmp(x->name, y->name);
}

static struct json *numbers(const uint64_t *values, int n)
{
    struct json *list = json_new_array();
    for (int i = 0; i < n; i++)
        json_append(list, json_new_i64((int64_t)values[i]));
    return list;
}

static void write_header(struct tensor_writer *w, struct buf *out)
{
    struct json *header = json_new_object();
    for (size_t i = 0; i < w->n_sources; i++) {
        const struct tensor_source *s = &w->sources[i];
        const uint64_t offsets[2] = {s->offset, s->offset + s->n_bytes};
        struct json *v = json_new_object();
        json_put_string(v, "dtype", tensor_dtype_name(s->dtype));
        json_put(v, "shape", numbers(s->dims, s->n_dims));
        json_put(v, "data_offsets", numbers(offsets, 2));
        CHECK(json_get(header, s->name) == NULL);
        json_put(header, s->name, v);
    }
    if (json_count(w->meta) != 0)
        json_put(header, "__metadata__", json_clone(w->meta));
    json_write_canonical(header, out);
    json_free(header);
    while ((8 + out->n_bytes) % 64 != 0)
        buf_add_char(out, ' ');
}

#define SLICE 4096

bool tensor_encode(enum tensor_dtype dtype, const float *values, size_t n, unsigned char *out)
{
    CHECK(dtype != DTYPE_U8);
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        float stored = values[i];
        if (dtype == DTYPE_F32) {
            bytes_put_f32(out + 4 * i, values[i]);
        } else if (dtype == DTYPE_F16) {
            uint16_t h = tensor_f16_from_f32(values[i]);
            bytes_put_u16(out + 2 * i, h);
            stored = tensor_f16_to_f32(h);
        } else {
            uint16_t h = tensor_bf16_from_f32(values[i]);
            bytes_put_u16(out + 2 * i, h);
            stored = tensor_bf16_to_f32(h);
        }
        finite = finite && isfinite(stored);
    }
    return finite;
}

static bool write_slice(struct file_out *f, enum tensor_dtype dtype, const float *values, size_t n)
{
    unsigned char bytes[SLICE * 4];
    bool finite = tensor_encode(dtype, values, n, bytes);
    file_out_add(f, bytes, n * tensor_dtype_bytes(dtype));
    return finite;
}

static int write_source(struct file_out *f, const struct tensor_source *s, struct err *e)
{
    if (!s->convert) {
        file_out_add(f, s->data, (size_t)s->n_bytes);
        return 0;
    }
    size_t n = (size_t)s->n_bytes / tensor_dtype_bytes(s->dtype);
    const float *values = s->data;
    for (size_t at = 0; at < n; at += SLICE) {
        size_t count = n - at < SLICE ? n - at : SLICE;
        if (!write_slice(f, s->dtype, values + at, count))
            return err_set(e, ERR_NUMERIC, "%s: a value is not finite in %s", s->name,
                           tensor_dtype_name(s->dtype));
    }
    return 0;
}

int tensor_writer_write(struct tensor_writer *w, const char *path, struct err *e)
{
    struct buf header;
    struct file_out f = {0};
    uint64_t offset = 0;
    if (w->n_sources > 0)
        qsort(w->sources, w->n_sources, sizeof *w->sources, compare_sources);
    for (size_t i = 0; i < w->n_sources; i++) {
        w->sources[i].offset = offset;
        offset += w->sources[i].n_bytes;
    }
    buf_init(&header, LIMIT_TENSOR_HEADER_BYTES + 64);
    write_header(w, &header);
    int rc = file_out_open(&f, path, e);
    if (rc != 0)
        goto out;
    unsigned char length[8];
    bytes_put_u64(length, header.n_bytes);
    file_out_add(&f, length, sizeof length);
    file_out_add(&f, header.bytes, header.n_bytes);
    for (size_t i = 0; i < w->n_sources && rc == 0; i++)
        rc = write_source(&f, &w->sources[i], e);
    if (rc == 0) {
        rc = file_out_close(&f, e);
    } else {
        file_out_abandon(&f);
        err_wrap(e, "%s", path);
    }
out:
    buf_release(&header);
    return rc;
}
