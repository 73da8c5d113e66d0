/* pipeline/store/state_file.h and seen.h: the bytes as a state of a question, as they come and with
 * length and sum put right; and the packed set in it, and the bytes themselves as one. */

#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/seen.h"
#include "pipeline/store/state_file.h"
#include "tests/fuzz/fuzz.h"

#define QUESTION "q"
#define HEADER_BYTES 16
#define SUM_BYTES 8

/* The name of a state is the sum of its question, so the sum of any bytes can be had from it. */
static uint64_t sum_of(const void *bytes, size_t n_bytes)
{
    char *path = state_file_path("", bytes, n_bytes);
    uint64_t sum = 0;
    for (const char *c = strrchr(path, '/') + 1; *c != '\0'; c++)
        sum = sum << 4 | str_hex_digit(*c);
    xfree(path);
    return sum;
}

static const char *state_name(void)
{
    static char *name;
    if (name == NULL) {
        char *folder = file_join(fuzz_folder(), "state");
        CHECK(mkdir(folder, 0700) == 0);
        name = state_file_path("", QUESTION, strlen(QUESTION));
        CHECK(str_starts(name, "state/"));
        xfree(folder);
    }
    return name;
}

static bool try_state(const void *bytes, size_t n_bytes)
{
    struct file_map map = {0};
    struct state_file s = {.question = QUESTION, .question_bytes = strlen(QUESTION)};
    fuzz_folder_put(state_name(), bytes, n_bytes);
    bool taken = state_file_read(fuzz_folder(), &map, &s);
    if (taken) {
        CHECK(strlen(s.text) + strlen(s.name) + strlen(s.manifest) < n_bytes);
        CHECK(s.seen_bytes < n_bytes);
        (void)seen_same(s.seen, s.seen_bytes);
    }
    file_map_close(&map);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct buf b;
    fuzz_taken = try_state(data, n_bytes);
    (void)seen_same(data, n_bytes);
    if (n_bytes < HEADER_BYTES)
        return 0;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add(&b, data, n_bytes);
    bytes_put_u64(b.bytes + 8, n_bytes - HEADER_BYTES);
    unsigned char sum[SUM_BYTES];
    bytes_put_u64(sum, sum_of(b.bytes, b.n_bytes));
    buf_add(&b, sum, sizeof sum);
    fuzz_taken = try_state(b.bytes, b.n_bytes) || fuzz_taken;
    buf_release(&b);
    return 0;
}
