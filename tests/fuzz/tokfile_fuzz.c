/* stages/text/tokfile.h: as it comes, and with its checksum put right, so that what lies behind the
 * checksum is reached. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/tokfile.h"
#include "tests/fuzz/fuzz.h"

enum { SUM_AT = 64 };

static void seal(unsigned char *bytes, size_t n_bytes)
{
    memset(bytes + SUM_AT, 0, SHA256_BYTES);
    struct content_id id = sha256_of(bytes, n_bytes);
    sha256_to_raw(id.hex, bytes + SUM_AT);
}

static void walk(const struct tokfile *t)
{
    uint64_t labels = 0;
    struct err e = {0};
    bool fits = tokfile_check_model(t, "t", INT32_MAX, (int)t->counts.row_tokens_max, &e) == 0;
    CHECK(fits || t->counts.labels == 0 || t->counts.id_max == INT32_MAX);
    for (uint64_t row = 0; row < t->counts.rows; row++) {
        uint32_t n = tokfile_row_tokens(t, row);
        CHECK(n >= 1 && n <= t->counts.row_tokens_max);
        for (uint32_t i = 0; i < n; i++)
            CHECK(tokfile_id(t, row, i) >= 0 &&
                  (uint32_t)tokfile_id(t, row, i) <= t->counts.id_max);
        labels += tokfile_row_labels(t, row);
    }
    CHECK(labels == t->counts.labels);
}

static bool read_and_walk(const void *bytes, size_t n_bytes)
{
    struct tokfile t = {0};
    struct err e = {0};
    bool taken = tokfile_open(&t, fuzz_file(bytes, n_bytes), &e) == 0;
    if (taken)
        walk(&t);
    tokfile_close(&t);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    fuzz_taken = read_and_walk(data, n_bytes);
    if (n_bytes < SUM_AT + SHA256_BYTES)
        return 0;
    unsigned char *sealed = xalloc(n_bytes);
    memcpy(sealed, data, n_bytes);
    seal(sealed, n_bytes);
    bool taken = read_and_walk(sealed, n_bytes);
    CHECK(taken || !fuzz_taken);
    fuzz_taken = taken;
    xfree(sealed);
    return 0;
}
