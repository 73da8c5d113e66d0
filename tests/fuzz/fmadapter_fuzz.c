/* stages/model/fmadapter.h: a package for the base of tiny_shape. The bytes are metadata.json up to
 * the first NUL, which JSON cannot hold, and adapter_weights.bin behind it. */

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "stages/model/fmadapter.h"
#include "tests/fuzz/fuzz.h"

static const struct shape tiny_shape = {
    .vocab = 16,
    .hidden = 16,
    .layers_0 = 1,
    .layers_1 = 1,
    .heads = 2,
    .kv_heads = 2,
    .head_dim = 8,
    .ffn = 16,
    .context = 16,
    .rope_theta = 10000,
    .norm_eps = 1e-5,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint8_t *end = n_bytes == 0 ? NULL : memchr(data, 0, n_bytes);
    size_t n_metadata = end == NULL ? n_bytes : (size_t)(end - data);
    size_t n_weights = end == NULL ? 0 : n_bytes - n_metadata - 1;
    fuzz_folder_put("metadata.json", data, n_metadata);
    fuzz_folder_put("adapter_weights.bin", end == NULL ? NULL : end + 1, n_weights);

    struct fmadapter_info info, only;
    struct adapter a = {0};
    struct err e = {0}, ignored = {0};
    CHECK(shape_check(&tiny_shape, &e) == 0);
    int described = fmadapter_read_info(fuzz_folder(), &only, &ignored);
    int rc = fmadapter_open(fuzz_folder(), &tiny_shape, &a, &info, &e);
    fuzz_taken = rc == 0;
    if (rc == 0) {
        struct err wrong = {0};
        CHECK(described == 0);
        CHECK(fmadapter_check_info(&info, &wrong) == 0);
        CHECK(a.rank == info.rank);
        for (size_t i = 0; i < a.n_values; i++)
            CHECK(isfinite(a.values[i]));
        adapter_release(&a);
    }
    return 0;
}
