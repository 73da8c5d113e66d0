/* pipeline/store/memo.h: the bytes as a memo file, as they come and with length and sum put right.
 * A memo that is not sound is as good as none. */

#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/memo.h"
#include "tests/fuzz/fuzz.h"

#define HEADER_BYTES 24

/* A file that is hashed through every memo. */
static const char *hashed_file(void)
{
    static char *path;
    if (path == NULL) {
        struct err e = {0};
        path = file_join(fuzz_folder(), "hashed");
        CHECK(file_write(path, "text\n", 5, &e) == 0);
    }
    return path;
}

/* Does the memo say anything of that file? */
static bool try_memo(const void *bytes, size_t n_bytes)
{
    struct content_id id;
    struct err e = {0};
    uint64_t size = 0;
    fuzz_folder_put("memo", bytes, n_bytes);
    char *path = file_join(fuzz_folder(), "memo");
    struct memo *m = memo_open(path);
    CHECK(memo_hash(m, hashed_file(), &id, &size, &e) == 0);
    CHECK(str_is_hex(id.hex, SHA256_HEX) && size == 5);
    bool asked = memo_misses(m) > 0;
    CHECK(!asked || str_eq(id.hex, sha256_of("text\n", 5).hex));
    memo_close(m);
    xfree(path);
    return asked;
}

static void put_sum(struct buf *b)
{
    struct content_id id = sha256_of(b->bytes, b->n_bytes);
    unsigned char sum[SHA256_BYTES];
    sha256_to_raw(id.hex, sum);
    buf_add(b, sum, sizeof sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct buf b;
    CHECK(try_memo(data, n_bytes));
    fuzz_taken = false;
    if (n_bytes < HEADER_BYTES)
        return 0;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add(&b, data, n_bytes);
    bytes_put_u64(b.bytes + 8, n_bytes - HEADER_BYTES);
    put_sum(&b);
    (void)try_memo(b.bytes, b.n_bytes);
    fuzz_taken = memcmp(b.bytes, "FMMEMO01", 8) == 0;
    buf_release(&b);
    return 0;
}
