/* stages/model/checkpoint.h: as it comes, and with its checksum put right. What is refused leaves
 * the blocks alone. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/checkpoint.h"
#include "tests/fuzz/fuzz.h"

static bool try_load(const void *bytes, size_t n_bytes)
{
    unsigned char weights[16], step[8], untouched[16];
    memset(weights, 0x55, sizeof weights);
    memset(step, 0x55, sizeof step);
    memset(untouched, 0x55, sizeof untouched);
    const struct checkpoint_block blocks[] = {
        {"weights", weights, sizeof weights}, {"none", NULL, 0}, {"step", step, sizeof step}};
    struct content_id digest = sha256_of("run", 3);
    struct err why = {0};
    bool taken = checkpoint_load(fuzz_file(bytes, n_bytes), &digest, blocks, 3, &why);
    CHECK(taken || memcmp(weights, untouched, sizeof weights) == 0);
    CHECK(taken || memcmp(step, untouched, sizeof step) == 0);
    CHECK(taken || why.code != 0);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    fuzz_taken = try_load(data, n_bytes);
    if (n_bytes < SHA256_HEX)
        return 0;
    unsigned char *sealed = xalloc(n_bytes);
    memcpy(sealed, data, n_bytes);
    struct content_id id = sha256_of(sealed, n_bytes - SHA256_HEX);
    memcpy(sealed + n_bytes - SHA256_HEX, id.hex, SHA256_HEX);
    bool taken = try_load(sealed, n_bytes);
    CHECK(taken || !fuzz_taken);
    fuzz_taken = taken;
    xfree(sealed);
    return 0;
}
