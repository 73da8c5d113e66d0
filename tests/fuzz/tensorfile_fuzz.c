/* stages/model/tensorfile.h: safetensors. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/tensorfile.h"
#include "tests/fuzz/fuzz.h"

static void check_tensor(const struct tensorfile *f, const struct tensor *t, const uint8_t *data,
                         size_t n_bytes)
{
    char dims[96];
    CHECK(tensorfile_find(f, t->name) != NULL);
    CHECK(t->data >= data && t->n_bytes <= n_bytes - (size_t)(t->data - data));
    CHECK(tensor_elements(t) * tensor_dtype_bytes(t->dtype) == t->n_bytes);
    CHECK(strlen(tensor_format_dims(t, dims)) < sizeof dims);
    (void)tensor_all_finite(t);
    if (t->dtype == DTYPE_U8)
        return;
    float *values = xalloc_array((size_t)tensor_elements(t), sizeof *values);
    tensor_to_f32(t, values);
    xfree(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct tensorfile f = {0};
    struct err e = {0}, same = {0};
    int rc = tensorfile_parse(&f, data, n_bytes, &e);
    fuzz_taken = rc == 0;
    if (rc == 0) {
        for (size_t i = 0; i < f.n_tensors; i++)
            check_tensor(&f, &f.tensors[i], data, n_bytes);
        (void)tensorfile_meta(&f, "fmforge.kind");
        CHECK(tensorfile_find(&f, "no such tensor") == NULL);
    }
    tensorfile_close(&f);
    CHECK((tensorfile_open(&f, fuzz_file(data, n_bytes), &same) == 0) == fuzz_taken);
    tensorfile_close(&f);
    return 0;
}
