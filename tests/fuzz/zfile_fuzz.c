/* pipeline/base/zfile.h: both readers agree, and the limit holds. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/zfile.h"
#include "tests/fuzz/fuzz.h"

#define RAW_BYTES_MAX ((uint64_t)1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char *path = fuzz_file(data, n_bytes);
    struct content_id id = {{0}};
    uint64_t raw_bytes = 0;
    struct err e = {0}, same = {0};
    struct buf raw;
    buf_init(&raw, (size_t)RAW_BYTES_MAX + 1);
    int rc = zfile_unpack(path, NULL, RAW_BYTES_MAX, &id, &raw_bytes, &e);
    CHECK((zfile_read(path, RAW_BYTES_MAX, &raw, &same) == 0) == (rc == 0));
    fuzz_taken = rc == 0;
    if (rc == 0) {
        struct content_id want = sha256_of(raw.bytes, raw.n_bytes);
        CHECK(raw.n_bytes == raw_bytes && raw_bytes <= RAW_BYTES_MAX);
        CHECK(strcmp(want.hex, id.hex) == 0);
    }
    buf_release(&raw);
    return 0;
}
