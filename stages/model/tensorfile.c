#include "stages/model/tensorfile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [DTYPE_U8] = {"U8", 1},
    [DTYPE_F16] = {"F16", 2},
    [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_F32] = {"F32", 4},
};

#define N_DTYPES ((int)(sizeof dtypes / sizeof dtypes[0]))

const char *tensor_dtype_name(enum tensor_dtype d)
{
    return dtypes[d].name;
}

size_t tensor_dtype_bytes(enum tensor_dtype d)
{
    return dtypes[d].bytes;
}

uint64_t tensor_elements(const struct tensor *t)
{
    uint64_t n = 1;
    for (int i = 0; i < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

const char *tensor_format_dims(const struct tensor *t, char out[96])
{
    size_t at = 0;
    at += (size_t)snprintf(out, 96, "[");
    for (int i = 0; i < t->n_dims; i++)
        at += (size_t)snprintf(out + at, 96 - at, "%s%" PRIu64, i == 0 ? "" : ", ", t->dims[i]);
    snprintf(out + at, 96 - at, "]");
    return out;
}

/* ---- reading ---- */

static int read_dtype(const struct json *v, enum tensor_dtype *out, struct err *e)
{
    const char *text = NULL;
    int rc = json_need_string(v, "dtype", &text, e);
    if (rc != 0)
        return rc;
    for (int i = 0; i < N_DTYPES; i++) {
        if (str_eq(text, dtypes[i].name)) {
            *out = (enum tensor_dtype)i;
            return 0;
        }
    }
    return err_set(e, ERR_FORMAT, "dtype is \"%.20s\", expected U8, F16, BF16 or F32%s", text,
                   str_eq(text, "U32") ? ": MLX stores weights so that it has quantised; take the "
                                         "model as it was before (mlx_lm.convert without -q)"
                                       : "");
}

/* A list of non-negative integers; *n of them, at most max. */
static int read_numbers(const struct json *v, const char *key, uint64_t *out, int max, int *n,
                        struct err *e)
{
    const struct json *list = NULL;
    int rc = json_need_array(v, key, &list, e);
    if (rc != 0)
        return rc;
    if (json_count(list) > (size_t)max)
        return err_set(e, ERR_FORMAT, "%s has %zu entries, expected at most %d", key,
                       json_count(list), max);
    *n = 0;
    for (const struct json *i = json_first(list); i != NULL; i = json_next(i)) {
        if (json_type(i) != JSON_NUMBER || !json_is_integer(i) || json_number(i) < 0)
            return err_set(e, ERR_FORMAT, "%s: expected integers from 0", key);
        out[(*n)++] = (uint64_t)json_number(i);
    }
    return 0;
}

/* One header entry; data = the data part of the file. */
static int read_entry(const struct json *v, const unsigned char *data, uint64_t data_bytes,
                      struct tensor *t, struct err *e)
{
    static const char *const known[] = {"dtype", "shape", "data_offsets"};
    uint64_t offsets[2] = {0, 0};
    int n = 0;
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "expected an object");
    int rc = json_only_keys(v, known, sizeof known / sizeof known[0], e);
    if (rc == 0)
        rc = read_dtype(v, &t->dtype, e);
    if (rc == 0)
        rc = read_numbers(v, "shape", t->dims, TENSOR_DIMS_MAX, &t->n_dims, e);
    if (rc == 0)
        rc = read_numbers(v, "data_offsets", offsets, 2, &n, e);
    if (rc != 0)
        return rc;
    if (n != 2 || offsets[0] > offsets[1] || offsets[1] > data_bytes)
        return err_set(e, ERR_FORMAT,
                       "data_offsets %" PRIu64 " to %" PRIu64 " outside the data of %" PRIu64
                       " bytes",
                       offsets[0], offsets[1], data_bytes);
    size_t bytes = dtypes[t->dtype].bytes;
    for (int i = 0; i < t->n_dims; i++)
        if (!size_try_mul(bytes, (size_t)t->dims[i], &bytes))
            return err_set(e, ERR_FORMAT, "dimensions overflow");
    t->n_bytes = offsets[1] - offsets[0];
    t->data = data + offsets[0];
    if (t->n_bytes != bytes)
        return err_set(e, ERR_FORMAT, "%" PRIu64 " bytes, expected %zu from its shape and dtype",
                       t->n_bytes, bytes);
    return 0;
}

static int compare_data(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes < y->n_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The tensors must cover the data without hole or overlap. */
static int check_cover(const struct tensorfile *f, const unsigned char *data, uint64_t data_bytes,
                       struct err *e)
{
    const struct tensor **order = xalloc_array(f->n_tensors + 1, sizeof *order);
    for (size_t i = 0; i < f->n_tensors; i++)
        order[i] = &f->tensors[i];
    qsort(order, f->n_tensors, sizeof *order, compare_data);
    const unsigned char *at = data;
    int rc = 0;
    for (size_t i = 0; i < f->n_tensors && rc == 0; i++) {
        if (order[i]->data != at)
            rc = err_set(e, ERR_FORMAT, "%s: data %s", order[i]->name,
                         order[i]->data < at ? "overlap another tensor's" : "leave a hole before");
        at = order[i]->data + order[i]->n_bytes;
    }
    if (rc == 0 && (uint64_t)(at - data) != data_bytes)
        rc = err_set(e, ERR_FORMAT, "%" PRIu64 " bytes behind the last tensor",
                     data_bytes - (uint64_t)(at - data));
    xfree(order);
    return rc;
}

/* MLX writes null where it has none to write. */
static int read_meta(const struct json *v, struct err *e)
{
    if (json_type(v) == JSON_NULL)
        return 0;
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "__metadata__: expected an object");
    for (const struct json *i = json_first(v); i != NULL; i = json_next(i))
        if (json_type(i) != JSON_STRING)
            return err_set(e, ERR_FORMAT, "__metadata__: %s: expected text", json_key(i));
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int read_header(struct tensorfile *f, const unsigned char *data, uint64_t data_bytes,
                       struct err *e)
{
    size_t count = json_count(f->header);
    if (json_type(f->header) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "header: expected an object");
    if (count > LIMIT_TENSORS)
        return err_set(e, ERR_LIMIT, "%zu tensors, LIMIT_TENSORS is %d", count, LIMIT_TENSORS);
    f->tensors = xalloc_array(count + 1, sizeof *f->tensors);
    for (const struct json *i = json_first(f->header); i != NULL; i = json_next(i)) {
        int rc = 0;
        if (str_eq(json_key(i), "__metadata__")) {
            rc = read_meta(i, e);
            if (rc != 0)
                return rc;
            continue;
        }
        struct tensor *t = &f->tensors[f->n_tensors];
        t->name = json_key(i);
        rc = read_entry(i, data, data_bytes, t, e);
        if (rc != 0)
            return err_wrap(e, "%s", t->name);
        f->n_tensors++;
    }
    qsort(f->tensors, f->n_tensors, sizeof *f->tensors, compare_names);
    return check_cover(f, data, data_bytes, e);
}

int tensorfile_parse(struct tensorfile *f, const unsigned char *bytes, size_t n_bytes,
                     struct err *e)
{
    if (n_bytes < 8)
        return err_set(e, ERR_FORMAT, "not a safetensors file: %zu bytes", n_bytes);
    uint64_t header_bytes = bytes_get_u64(bytes);
    if (header_bytes > n_bytes - 8)
        return err_set(e, ERR_FORMAT,
                       "not a safetensors file: header of %" PRIu64 " bytes in a file of %zu",
                       header_bytes, n_bytes);
    if (header_bytes > LIMIT_TENSOR_HEADER_BYTES)
        return err_set(e, ERR_LIMIT,
                       "header of %" PRIu64 " bytes, LIMIT_TENSOR_HEADER_BYTES is %" PRIu64,
                       header_bytes, LIMIT_TENSOR_HEADER_BYTES);
    int rc = json_parse((const char *)bytes + 8, (size_t)header_bytes, &f->header, e);
    if (rc != 0)
        return err_wrap(e, "header");
    rc = read_header(f, bytes + 8 + header_bytes, n_bytes - 8 - header_bytes, e);
    if (rc != 0)
        tensorfile_close(f);
    return rc;
}

int tensorfile_open(struct tensorfile *f, const char *path, struct err *e)
{
    memset(f, 0, sizeof *f);
    struct file_map map = {0};
    int rc = file_map_open(&map, path, e);
    if (rc != 0)
        return rc;
    f->map = map;
    rc = tensorfile_parse(f, map.bytes, map.n_bytes, e);
    if (rc != 0) {
        tensorfile_close(f);
        return err_wrap(e, "%s", path);
    }
    return 0;
}

void tensorfile_close(struct tensorfile *f)
{
    xfree(f->tensors);
    json_free(f->header);
    file_map_close(&f->map);
    memset(f, 0, sizeof *f);
}

static int compare_name(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct tensor *)tensor)->name);
}

const struct tensor *tensorfile_find(const struct tensorfile *f, const char *name)
{
    if (f->n_tensors == 0)
        return NULL;
    return bsearch(name, f->tensors, f->n_tensors, sizeof *f->tensors, compare_name);
}

const char *tensorfile_meta(const struct tensorfile *f, const char *key)
{
    const struct json *meta = json_get(f->header, "__metadata__");
    const struct json *v = meta == NULL ? NULL : json_get(meta, key);
    return v == NULL ? NULL : json_string(v);
}

/* ---- conversions ---- */

static uint32_t bits_of(float v)
{
    uint32_t b = 0;
    memcpy(&b, &v, sizeof b);
    return b;
}

static float float_of(uint32_t b)
{
    float v = 0;
    memcpy(&v, &b, sizeof v);
    return v;
}

/* v / 2^shift, round half to even. */
static uint32_t shift_even(uint32_t v, int shift)
{
    if (shift > 31)
        return 0;
    uint32_t kept = v >> shift;
    uint32_t rest = v & ((1u << shift) - 1);
    uint32_t half = 1u << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1) != 0));
}

uint16_t tensor_bf16_from_f32(float v)
{
    uint32_t b = bits_of(v);
    if ((b & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(b >> 16 | 0x40);
    return (uint16_t)shift_even(b, 16);
}

float tensor_bf16_to_f32(uint16_t v)
{
    return float_of((uint32_t)v << 16);
}

uint16_t tensor_f16_from_f32(float v)
{
    uint32_t b = bits_of(v);
    uint32_t sign = b >> 16 & 0x8000;
    uint32_t rest = b & 0x7fffffff;
    if (rest > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (rest >= 0x47800000) /* 2^16 */
        return (uint16_t)(sign | 0x7c00);
    if (rest >= 0x38800000) /* 2^-14: normal; a carry runs into the exponent, as it should */
        return (uint16_t)(sign | shift_even(rest - 0x38000000, 13));
    int exponent = (int)(rest >> 23);
    if (exponent < 102) /* below half of the smallest subnormal */
        return (uint16_t)sign;
    return (uint16_t)(sign | shift_even((rest & 0x7fffff) | 0x800000, 126 - exponent));
}

float tensor_f16_to_f32(uint16_t v)
{
    uint32_t sign = (uint32_t)(v & 0x8000) << 16;
    uint32_t exponent = v >> 10 & 31, fraction = v & 0x3ff;
    if (exponent == 31)
        return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent != 0)
        return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f;
    return sign != 0 ? -small : small;
}

void tensor_to_f32(const struct tensor *t, float *out)
{
    CHECK(t->dtype != DTYPE_U8);
    size_t n = (size_t)tensor_elements(t);
    for (size_t i = 0; i < n; i++) {
        if (t->dtype == DTYPE_F32)
            out[i] = bytes_get_f32(t->data + 4 * i);
        else if (t->dtype == DTYPE_F16)
            out[i] = tensor_f16_to_f32(bytes_get_u16(t->data + 2 * i));
        else
            out[i] = tensor_bf16_to_f32(bytes_get_u16(t->data + 2 * i));
    }
}

bool tensor_all_finite(const struct tensor *t)
{
    size_t n = (size_t)tensor_elements(t);
    uint32_t bad = 0;
    if (t->dtype == DTYPE_U8)
        return true;
    if (t->dtype == DTYPE_F32) {
        for (size_t i = 0; i < n; i++)
            bad |= (bytes_get_u32(t->data + 4 * i) & 0x7f800000) == 0x7f800000;
    } else {
        uint32_t exponent = t->dtype == DTYPE_F16 ? 0x7c00 : 0x7f80;
        for (size_t i = 0; i < n; i++)
            bad |= (bytes_get_u16(t->data + 2 * i) & exponent) == exponent;
    }
    return bad == 0;
}
