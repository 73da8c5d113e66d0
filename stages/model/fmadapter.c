#include "stages/model/fmadapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

enum {
    BLOB_ALIGN = 64,
    BLOB_VERSION = 2,
    BLOB_FP16 = 1,
    IDENTIFIER_HEX = 7, /* of the signature, at the end of the identifier */
};
#define BLOB_SENTINEL 0xDEADBEEFu

static const char weights_name[] = "adapter_weights.bin";
static const char metadata_name[] = "metadata.json";

/* A rule that is added to or taken from the checks below is one here too. */
const char *const fmadapter_info_rules[] = {
    "metadata.json is strict JSON with the eight known fields and no other",
    "the adapter's name has letters, digits and _ only",
    "the base signature is 40 lower-case hex digits",
    "the identifier is fmadapter-NAME-DIGITS with the first 7 digits of the signature",
    "rank and draft token count are in range",
    "draft.mil and draft_weights.bin are both there or both absent",
    NULL,
};

const char *const fmadapter_weights_rules[] = {
    "adapter_weights.bin is a blob file of version 2 with one record per tensor of the base's "
    "shape",
    "every record has its mark, is fp16 and has the size of its tensor and rank, in order",
    "records and data begin at multiples of 64, padding is zero, nothing is cut or left over",
    "every value is finite",
    NULL,
};

/* --- one tensor of the package: module, A or B --- */

struct record {
    char name[SHAPE_NAME_BYTES + 16];
    struct shape_module module;
    bool is_b;
    int rows, columns; /* as stored */
    int heads;         /* > 0: rows are permuted inside each of so many heads */
    uint64_t n_bytes;
};

static void record_at(const struct shape *shape, int rank, int i_record, struct record *out)
{
    memset(out, 0, sizeof *out);
    shape_module(shape, i_record / 2, rank, &out->module);
    const struct shape_module *m = &out->module;
    out->is_b = i_record % 2 == 1;
    out->rows = out->is_b ? m->out : rank;
    out->columns = out->is_b ? rank : m->in;
    if (out->is_b && m->slot == LINEAR_QKV && m->lora == 0)
        out->heads = shape->heads;
    else if (out->is_b && m->slot == LINEAR_QKV && m->lora == 1)
        out->heads = shape->kv_heads;
    CHECK(out->heads == 0 || out->rows % (2 * out->heads) == 0);
    out->n_bytes = (uint64_t)size_mul(size_mul((size_t)out->rows, (size_t)out->columns), 2);
    (void)snprintf(out->name, sizeof out->name, "%s.%c_transpose", m->name, out->is_b ? 'b' : 'a');
}

/* Row of the checkpoint's order (interleaved pairs) that lies at `row` of the package. */
static int record_source_row(const struct record *r, int row)
{
    if (r->heads == 0)
        return row;
    int d = r->rows / r->heads;
    int within = row % d;
    int half = within / (d / 2);
    int pair = within % (d / 2);
    return row - within + 2 * pair + half;
}

/* Where element (row, column) of the package lies in the adapter's array: A is [in][R] there, B
 * [R][out], so the package holds the transpose of both. */
static size_t record_index(const struct record *r, int row, int column)
{
    size_t first = r->is_b ? r->module.b_offset : r->module.a_offset;
    return first + (size_t)column * (size_t)r->rows + (size_t)record_source_row(r, row);
}

/* --- metadata --- */

int fmadapter_check_info(const struct fmadapter_info *info, struct err *e)
{
    if (!str_is_word(info->name))
        return err_set(e, ERR_CONFIG,
                       "adapter name \"%s\": expected letters, digits and _ only (a hyphen makes "
                       "the package impossible to load)",
                       info->name);
    if (!str_is_hex(info->signature, FMADAPTER_SIGNATURE_HEX))
        return err_set(e, ERR_CONFIG, "base signature \"%s\": expected %d lower-case hex digits",
                       info->signature, FMADAPTER_SIGNATURE_HEX);
    if (info->rank < 1 || info->rank > LORA_RANK_MAX)
        return err_set(e, ERR_CONFIG, "lora rank %d: expected 1 to %d", info->rank, LORA_RANK_MAX);
    if (info->draft_token_count < 1 || info->draft_token_count > FMADAPTER_DRAFT_TOKENS_MAX)
        return err_set(e, ERR_CONFIG, "draft token count %d: expected 1 to %d",
                       info->draft_token_count, FMADAPTER_DRAFT_TOKENS_MAX);
    return 0;
}

static int write_metadata(const char *folder, const struct fmadapter_info *info, struct err *e)
{
    /* Members are put in sorted order: json_write_pretty keeps the order of the tree. */
    struct json *root = json_new_object();
    char *identifier = xasprintf("fmadapter-%s-%.*s", info->name, IDENTIFIER_HEX, info->signature);
    json_put_string(root, "adapterIdentifier", identifier);
    xfree(identifier);
    json_put_string(root, "author", info->author);
    json_put_string(root, "baseModelSignature", info->signature);
    struct json *made_from = json_new_object();
    json_put_string(made_from, "adapter", info->adapter.hex);
    json_put_string(made_from, "base", info->base.hex);
    json_put_i64(made_from, "schema", 1);
    struct json *creator = json_new_object();
    json_put(creator, "fmforge", made_from);
    json_put(root, "creatorDefined", creator);
    json_put_string(root, "description", info->description);
    json_put_string(root, "license", info->license);
    json_put_i64(root, "loraRank", info->rank);
    json_put_i64(root, "speculativeDecodingDraftTokenCount", info->draft_token_count);

    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    json_write_pretty(root, 4, &text);
    json_free(root);
    char *path = file_join(folder, metadata_name);
    int rc = file_write(path, text.bytes, text.n_bytes, e);
    xfree(path);
    buf_release(&text);
    return rc;
}

static int read_text(const struct json *v, const char *key, char *out, size_t out_bytes,
                     struct err *e)
{
    const char *text = NULL;
    int rc = json_need_string(v, key, &text, e);
    if (rc != 0)
        return rc;
    size_t n = strlen(text);
    if (n >= out_bytes)
        return err_set(e, ERR_LIMIT, "%s: %zu bytes, at most %zu", key, n, out_bytes - 1);
    memcpy(out, text, n + 1);
    return 0;
}

static int read_count(const struct json *v, const char *key, int *out, struct err *e)
{
    int64_t n = 0;
    int rc = json_need_i64(v, key, &n, e);
    if (rc != 0)
        return rc;
    if (n < 1 || n > LORA_RANK_MAX)
        return err_set(e, ERR_FORMAT, "%s is %lld: expected 1 to %d", key, (long long)n,
                       LORA_RANK_MAX);
    *out = (int)n;
    return 0;
}

/* adapterIdentifier = fmadapter-<name>-<first digits of the signature>. */
static int read_identifier(const struct json *root, struct fmadapter_info *info, struct err *e)
{
    static const char prefix[] = "fmadapter-";
    const char *identifier = NULL;
    int rc = json_need_string(root, "adapterIdentifier", &identifier, e);
    if (rc != 0)
        return rc;
    size_t n_prefix = strlen(prefix);
    const char *name = str_starts(identifier, prefix) ? identifier + n_prefix : NULL;
    const char *tail = name != NULL ? strrchr(name, '-') : NULL;
    if (tail == NULL || tail - name >= LIMIT_NAME_BYTES)
        return err_set(e, ERR_FORMAT, "adapterIdentifier \"%s\": expected fmadapter-NAME-SIGNATURE",
                       identifier);
    memcpy(info->name, name, (size_t)(tail - name));
    info->name[tail - name] = '\0';
    if (strncmp(tail + 1, info->signature, IDENTIFIER_HEX) != 0 ||
        strlen(tail + 1) != IDENTIFIER_HEX)
        return err_set(e, ERR_FORMAT,
                       "adapterIdentifier ends in \"%s\", baseModelSignature begins with \"%.*s\"",
                       tail + 1, IDENTIFIER_HEX, info->signature);
    return 0;
}

/* Packages of other makers have no such entry; ours must be whole. */
static int read_made_from(const struct json *creator, struct fmadapter_info *info, struct err *e)
{
    const struct json *made_from = json_get(creator, "fmforge");
    if (made_from == NULL)
        return 0;
    int rc = read_text(made_from, "adapter", info->adapter.hex, sizeof info->adapter.hex, e);
    if (rc == 0)
        rc = read_text(made_from, "base", info->base.hex, sizeof info->base.hex, e);
    if (rc != 0)
        return err_wrap(e, "creatorDefined.fmforge");
    return 0;
}

static int read_metadata(const struct json *root, struct fmadapter_info *info, struct err *e)
{
    static const char *const known[] = {
        "adapterIdentifier", "author",  "baseModelSignature", "creatorDefined",
        "description",       "license", "loraRank",           "speculativeDecodingDraftTokenCount",
    };
    int rc = json_only_keys(root, known, sizeof known / sizeof known[0], e);
    if (rc == 0)
        rc = read_text(root, "author", info->author, sizeof info->author, e);
    if (rc == 0)
        rc = read_text(root, "description", info->description, sizeof info->description, e);
    if (rc == 0)
        rc = read_text(root, "license", info->license, sizeof info->license, e);
    if (rc == 0)
        rc = read_text(root, "baseModelSignature", info->signature, sizeof info->signature, e);
    if (rc == 0)
        rc = read_count(root, "loraRank", &info->rank, e);
    if (rc == 0)
        rc = read_count(root, "speculativeDecodingDraftTokenCount", &info->draft_token_count, e);
    if (rc == 0)
        rc = read_identifier(root, info, e);
    const struct json *creator = NULL;
    if (rc == 0)
        rc = json_need_object(root, "creatorDefined", &creator, e);
    if (rc == 0)
        rc = read_made_from(creator, info, e);
    if (rc != 0)
        return rc;

    struct err bad = {0};
    if (fmadapter_check_info(info, &bad) != 0)
        return err_set(e, ERR_FORMAT, "%s", bad.text);
    return 0;
}

int fmadapter_read_info(const char *folder, struct fmadapter_info *info, struct err *e)
{
    memset(info, 0, sizeof *info);
    char *draft_model = file_join(folder, "draft.mil");
    char *draft_weights = file_join(folder, "draft_weights.bin");
    bool has_model = file_exists(draft_model), has_weights = file_exists(draft_weights);
    xfree(draft_model);
    xfree(draft_weights);
    if (has_model != has_weights)
        return err_set(e, ERR_FORMAT, "%s: %s without %s", folder,
                       has_model ? "draft.mil" : "draft_weights.bin",
                       has_model ? "draft_weights.bin" : "draft.mil");

    char *path = file_join(folder, metadata_name);
    struct json *root = NULL;
    int rc = json_read(path, &root, e);
    if (rc == 0) {
        rc = read_metadata(root, info, e);
        if (rc != 0)
            (void)err_wrap(e, "%s", path);
    }
    json_free(root);
    xfree(path);
    return rc;
}

/* --- writing the weights --- */

/* Fills `out` (n_bytes) with the record as stored. */
static int record_encode(const struct record *r, const struct adapter *a, unsigned char *out,
                         struct fmadapter_rounding *rounding, struct err *e)
{
    float factor = 1.0f;
    if (r->is_b)
        factor = (float)(a->alpha / (double)a->rank / FMADAPTER_SCALE);
    for (int row = 0; row < r->rows; row++) {
        for (int column = 0; column < r->columns; column++) {
            float value = a->values[record_index(r, row, column)] * factor;
            uint16_t half = tensor_f16_from_f32(value);
            float stored = tensor_f16_to_f32(half);
            if (!isfinite(value))
                return err_set(e, ERR_NUMERIC, "%s[%d][%d] is not finite", r->name, column,
                               record_source_row(r, row));
            if (!isfinite(stored))
                return err_set(e, ERR_NUMERIC, "%s[%d][%d] = %g does not fit fp16 (at most 65504)",
                               r->name, column, record_source_row(r, row), (double)value);
            bytes_put_u16(out, half);
            out += 2;
            double error = fabs((double)value - (double)stored);
            if (error > rounding->max_error)
                rounding->max_error = error;
            if (fabs((double)value) > rounding->max_value)
                rounding->max_value = fabs((double)value);
            rounding->n_flushed += value != 0.0f && stored == 0.0f;
            rounding->n_values++;
        }
    }
    return 0;
}

uint64_t fmadapter_weights_bytes(const struct shape *shape, int rank)
{
    uint64_t sum = BLOB_ALIGN;
    for (int i = 0; i < 2 * shape_n_modules(shape); i++) {
        struct record r;
        record_at(shape, rank, i, &r);
        sum += BLOB_ALIGN + size_align((size_t)r.n_bytes, BLOB_ALIGN);
    }
    return sum;
}

static int write_weights(const char *folder, const struct adapter *a,
                         struct fmadapter_rounding *rounding, struct err *e)
{
    static const unsigned char zeros[BLOB_ALIGN] = {0};
    int n_records = 2 * shape_n_modules(&a->shape);
    char *path = file_join(folder, weights_name);
    unsigned char *data = NULL;
    struct file_out out = {0};
    int rc = file_out_open(&out, path, e);
    if (rc != 0)
        goto out;

    unsigned char header[BLOB_ALIGN] = {0};
    bytes_put_u32(header, (uint32_t)n_records);
    bytes_put_u32(header + 4, BLOB_VERSION);
    file_out_add(&out, header, sizeof header);
    for (int i = 0; i < n_records; i++) {
        struct record r;
        record_at(&a->shape, a->rank, i, &r);
        data = xrealloc_array(data, (size_t)r.n_bytes, 1);
        rc = record_encode(&r, a, data, rounding, e);
        if (rc != 0) {
            file_out_abandon(&out);
            goto out;
        }
        memset(header, 0, sizeof header);
        bytes_put_u32(header, BLOB_SENTINEL);
        bytes_put_u32(header + 4, BLOB_FP16);
        bytes_put_u64(header + 8, r.n_bytes);
        bytes_put_u64(header + 16, out.n_bytes + BLOB_ALIGN);
        file_out_add(&out, header, sizeof header);
        file_out_add(&out, data, (size_t)r.n_bytes);
        file_out_add(&out, zeros, size_align((size_t)r.n_bytes, BLOB_ALIGN) - (size_t)r.n_bytes);
    }
    rounding->n_bytes = out.n_bytes;
    rounding->n_records = n_records;
    rc = file_out_close(&out, e);
out:
    xfree(data);
    xfree(path);
    return rc;
}

int fmadapter_write(const char *folder, const struct adapter *a, const struct fmadapter_info *info,
                    struct fmadapter_rounding *rounding, struct err *e)
{
    CHECK(info->rank == a->rank);
    memset(rounding, 0, sizeof *rounding);
    int rc = fmadapter_check_info(info, e);
    if (rc == 0)
        rc = file_make_folder(folder, e);
    if (rc == 0)
        rc = write_weights(folder, a, rounding, e);
    if (rc == 0)
        rc = write_metadata(folder, info, e);
    if (rc == 0)
        rc = file_sync_folder(folder, e);
    return rc;
}

/* --- reading the weights --- */

static bool all_zero(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Checks the record's header at `at` and returns the offset of the next in *next. */
static int record_check(const struct record *r, const struct file_map *map, uint64_t at,
                        uint64_t *next, struct err *e)
{
    if (map->n_bytes < BLOB_ALIGN || at > map->n_bytes - BLOB_ALIGN)
        return err_set(e, ERR_FORMAT, "its header is outside the file of %zu bytes", map->n_bytes);
    const unsigned char *h = map->bytes + at;
    if (bytes_get_u32(h) != BLOB_SENTINEL)
        return err_set(e, ERR_FORMAT, "mark is 0x%08x, expected 0x%08x", bytes_get_u32(h),
                       BLOB_SENTINEL);
    if (bytes_get_u32(h + 4) != BLOB_FP16)
        return err_set(e, ERR_FORMAT, "data type is %u, expected 1 (fp16)", bytes_get_u32(h + 4));
    uint64_t n_bytes = bytes_get_u64(h + 8), offset = bytes_get_u64(h + 16);
    if (n_bytes != r->n_bytes)
        return err_set(e, ERR_FORMAT, "%llu bytes, expected %llu for [%d, %d]",
                       (unsigned long long)n_bytes, (unsigned long long)r->n_bytes, r->rows,
                       r->columns);
    if (offset != at + BLOB_ALIGN)
        return err_set(e, ERR_FORMAT, "data offset is %llu, expected %llu",
                       (unsigned long long)offset, (unsigned long long)(at + BLOB_ALIGN));
    if (!all_zero(h + 24, BLOB_ALIGN - 24))
        return err_set(e, ERR_FORMAT, "padding of the header is not zero");
    uint64_t left = map->n_bytes - offset;
    uint64_t padded = size_align((size_t)n_bytes, BLOB_ALIGN);
    if (padded > left)
        return err_set(e, ERR_FORMAT, "data of %llu bytes are cut off after %llu",
                       (unsigned long long)n_bytes, (unsigned long long)left);
    if (!all_zero(map->bytes + offset + n_bytes, (size_t)(padded - n_bytes)))
        return err_set(e, ERR_FORMAT, "padding behind the data is not zero");
    *next = offset + padded;
    return 0;
}

static int record_decode(const struct record *r, const unsigned char *data, struct adapter *a,
                         struct err *e)
{
    for (int row = 0; row < r->rows; row++) {
        for (int column = 0; column < r->columns; column++) {
            float value = tensor_f16_to_f32(bytes_get_u16(data));
            data += 2;
            if (!isfinite(value))
                return err_set(e, ERR_NUMERIC, "value [%d][%d] is not finite", row, column);
            a->values[record_index(r, row, column)] = value;
        }
    }
    return 0;
}

static int read_weights(const struct file_map *map, struct adapter *a, struct err *e)
{
    int n_records = 2 * shape_n_modules(&a->shape);
    if (map->n_bytes < BLOB_ALIGN)
        return err_set(e, ERR_FORMAT, "%zu bytes are too few for a header", map->n_bytes);
    if (bytes_get_u32(map->bytes + 4) != BLOB_VERSION)
        return err_set(e, ERR_FORMAT, "version is %u, expected 2 (not a blob file?)",
                       bytes_get_u32(map->bytes + 4));
    if (bytes_get_u32(map->bytes) != (uint32_t)n_records)
        return err_set(e, ERR_FORMAT, "%u records, expected %d for this base",
                       bytes_get_u32(map->bytes), n_records);
    if (!all_zero(map->bytes + 8, BLOB_ALIGN - 8))
        return err_set(e, ERR_FORMAT, "padding of the header is not zero");
    uint64_t at = BLOB_ALIGN;
    for (int i = 0; i < n_records; i++) {
        struct record r;
        record_at(&a->shape, a->rank, i, &r);
        uint64_t next = 0;
        int rc = record_check(&r, map, at, &next, e);
        if (rc == 0)
            rc = record_decode(&r, map->bytes + at + BLOB_ALIGN, a, e);
        if (rc != 0)
            return err_wrap(e, "record %d (%s)", i, r.name);
        at = next;
    }
    if (at != map->n_bytes)
        return err_set(e, ERR_FORMAT, "%llu bytes behind the last record",
                       (unsigned long long)(map->n_bytes - at));
    return 0;
}

int fmadapter_open(const char *folder, const struct shape *shape, struct adapter *a,
                   struct fmadapter_info *info, struct err *e)
{
    memset(a, 0, sizeof *a);
    struct fmadapter_info own;
    if (info == NULL)
        info = &own;
    int rc = fmadapter_read_info(folder, info, e);
    if (rc != 0)
        return rc;
    struct file_map map = {0};
    char *path = file_join(folder, weights_name);
    a->shape = *shape;
    a->rank = info->rank;
    a->alpha = FMADAPTER_SCALE * (double)info->rank;
    a->scale = (float)FMADAPTER_SCALE;
    a->base = info->base;
    a->n_values = shape_lora_floats(shape, info->rank);
    size_t bytes = size_mul(a->n_values, sizeof *a->values);
    rc = arena_reserve(&a->arena, "adapter", adapter_bytes(shape, info->rank), e);
    if (rc != 0)
        goto out;
    a->values = arena_take(&a->arena, bytes);
    rc = file_map_open(&map, path, e);
    if (rc != 0)
        goto out;
    rc = read_weights(&map, a, e);
    if (rc != 0)
        (void)err_wrap(e, "%s", path);
out:
    file_map_close(&map);
    xfree(path);
    if (rc != 0)
        adapter_release(a);
    return rc;
}
