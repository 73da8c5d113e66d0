/* pipeline/base/zfile.h: all readers agree, and the limit holds. */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"
#include "tests/fuzz/fuzz.h"

#define RAW_BYTES_MAX ((uint64_t)1 << 16)

struct seen {
    const struct buf *want; /* what the other reader found; NULL: not compared */
    size_t n_bytes;
};

static void add_seen(void *context, const void *bytes, size_t n_bytes)
{
    struct seen *s = context;
    if (s->want != NULL) {
        CHECK(n_bytes <= s->want->n_bytes - s->n_bytes);
        CHECK(n_bytes == 0 || memcmp(s->want->bytes + s->n_bytes, bytes, n_bytes) == 0);
    }
    s->n_bytes += n_bytes;
}

/* What is one good frame for the readers of files is one for the reader of single frames, too. */
static void check_frame(const uint8_t *data, size_t n_bytes, const struct buf *raw)
{
    size_t n_frame = zframe_size(data, n_bytes);
    CHECK(n_frame > 0 && n_frame <= n_bytes);
    if (n_frame < n_bytes)
        return;
    struct zcoder *z = zcoder_open();
    char *again = xalloc(raw->n_bytes + 1);
    CHECK(zframe_unpack(z, data, n_bytes, true, again, raw->n_bytes));
    CHECK(raw->n_bytes == 0 || memcmp(again, raw->bytes, raw->n_bytes) == 0);
    xfree(again);
    zcoder_close(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct err e = {0}, same = {0};
    struct buf raw;
    buf_init(&raw, (size_t)RAW_BYTES_MAX + 1);
    int rc = zfile_read(fuzz_file(data, n_bytes), RAW_BYTES_MAX, &raw, &e);
    fuzz_taken = rc == 0;
    struct seen seen = {rc == 0 ? &raw : NULL, 0};
    struct zfile_sink s = {add_seen, &seen};
    uint64_t raw_bytes = 0;
    CHECK(zfile_stream("memory", data, n_bytes, RAW_BYTES_MAX, &s, &raw_bytes, &same) == rc);
    CHECK(seen.n_bytes <= RAW_BYTES_MAX);
    if (rc == 0) {
        CHECK(raw.n_bytes == raw_bytes && seen.n_bytes == raw_bytes);
        check_frame(data, n_bytes, &raw);
    }
    buf_release(&raw);
    return 0;
}
