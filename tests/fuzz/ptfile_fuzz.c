/* stages/model/ptfile.h: a zip file as it comes and with its checksums put right; anything else
 * also as the pickle of a good zip file. What was read is written, read again, and the same. */

#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/crc32.h"
#include "stages/model/ptfile.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/tiny_pt.h"

#define TENSORS_MAX 64 /* more are not written again: it would only take time */

static void check_tensor(const struct ptfile *f, const struct pt_tensor *t, const uint8_t *data,
                         size_t n_bytes)
{
    struct tensor view;
    struct err e = {0};
    size_t bytes = pt_dtype_bytes(t->dtype);
    CHECK(ptfile_find(f, t->name) == t);
    CHECK(t->n_dims >= 0 && t->n_dims <= PT_DIMS_MAX);
    CHECK(t->data >= data && t->n_bytes <= n_bytes - (size_t)(t->data - data));
    for (int i = 0; i < t->n_dims; i++)
        bytes = t->n_bytes == 0 ? 0 : bytes * (size_t)t->dims[i];
    CHECK(bytes == t->n_bytes);
    CHECK(pt_tensor_tied(t, t));
    if (pt_tensor_view(t, &view, &e) == 0)
        (void)tensor_all_finite(&view);
}

static void check_again(const struct ptfile *f)
{
    const char *path = fuzz_file("", 0);
    struct pt_writer w;
    struct ptfile again;
    struct err e = {0};
    pt_writer_init(&w);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct pt_tensor *t = &f->tensors[i];
        uint64_t dims[PT_DIMS_MAX];
        for (int k = 0; k < t->n_dims; k++) /* whose product may overflow */
            dims[k] = t->n_bytes == 0 ? 0 : t->dims[k];
        pt_writer_add(&w, t->name, t->dtype, t->n_dims, dims, t->data);
    }
    CHECK(pt_writer_write(&w, path, &e) == 0);
    pt_writer_release(&w);
    CHECK(ptfile_open(&again, path, &e) == 0);
    CHECK(ptfile_check_crc(&again, &e) == 0);
    CHECK(again.n_tensors == f->n_tensors && again.n_skipped == 0);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct pt_tensor *a = &f->tensors[i], *b = &again.tensors[i];
        CHECK(str_eq(a->name, b->name) && a->dtype == b->dtype && a->n_dims == b->n_dims);
        CHECK(a->n_bytes == b->n_bytes && memcmp(a->data, b->data, (size_t)a->n_bytes) == 0);
    }
    ptfile_close(&again);
}

/* summed: checksums are right where the file is. */
static bool try_file(const void *bytes, size_t n_bytes, bool summed)
{
    struct ptfile f = {0};
    struct err e = {0};
    bool taken = ptfile_parse(&f, bytes, n_bytes, &e) == 0;
    CHECK(taken || (e.code != 0 && f.tensors == NULL && f.zip.entries == NULL));
    for (size_t i = 0; taken && i < f.n_tensors; i++)
        check_tensor(&f, &f.tensors[i], bytes, n_bytes);
    if (taken) {
        CHECK(ptfile_check_crc(&f, &e) == 0 || !summed);
        CHECK(ptfile_find(&f, "no such tensor") == NULL);
        if (f.n_tensors <= TENSORS_MAX)
            check_again(&f);
    }
    ptfile_close(&f);
    return taken;
}

/* A copy with the checksum of each entry as its bytes want it. */
static bool try_summed(const uint8_t *data, size_t n_bytes)
{
    struct zipdir d;
    struct err e = {0};
    if (zipdir_parse(&d, data, n_bytes, &e) != 0)
        return false;
    unsigned char *copy = xalloc(n_bytes);
    memcpy(copy, data, n_bytes);
    for (size_t i = 0; i < d.n_entries; i++) {
        uint32_t sum = crc32_add(0, data + d.entries[i].data_at, (size_t)d.entries[i].n_bytes);
        bytes_put_u32(copy + d.entries[i].central_at + 16, sum);
        bytes_put_u32(copy + d.entries[i].header_at + 14, sum);
    }
    zipdir_release(&d);
    bool taken = try_file(copy, n_bytes, true);
    xfree(copy);
    return taken;
}

static bool try_pickle(const uint8_t *data, size_t n_bytes)
{
    static const unsigned char zeros[64];
    struct tiny_zip z;
    tiny_zip_init(&z);
    tiny_zip_add(&z, "x/data.pkl", data, n_bytes);
    tiny_zip_add(&z, "x/data/0", zeros, 64);
    tiny_zip_add(&z, "x/data/1", zeros, 12);
    tiny_zip_add(&z, "x/version", "3\n", 2);
    tiny_zip_end(&z, false);
    bool taken = try_file(z.bytes.bytes, z.bytes.n_bytes, true);
    tiny_zip_release(&z);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    bool as_it_is = try_file(data, n_bytes, false);
    bool is_zip = n_bytes > 1 && data[0] == 'P' && data[1] == 'K';
    bool other = is_zip ? try_summed(data, n_bytes) : try_pickle(data, n_bytes);
    CHECK(other || !as_it_is || !is_zip);
    fuzz_taken = other || as_it_is;
    return 0;
}
