/* pipeline/store/packed.h: as it comes, and with its seal put right. What is read with the seal is
 * read without it; a range has the bytes that the whole has; zstd's reader agrees where it should.
 */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/packed.h"
#include "pipeline/store/packed_form.h"
#include "tests/fuzz/fuzz.h"

#define RAW_BYTES_MAX ((uint64_t)1 << 16)

static void add(void *context, const void *bytes, size_t n_bytes)
{
    buf_add(context, bytes, n_bytes);
}

static void try_ranges(const char *path, const struct buf *raw)
{
    struct buf part;
    buf_init(&part, (size_t)RAW_BYTES_MAX + 1);
    const struct zfile_sink sink = {add, &part};
    for (size_t at = 0; at <= raw->n_bytes; at += 1 + raw->n_bytes / 3) {
        struct err damaged = {0}; /* by the frames' checksums */
        size_t n = raw->n_bytes - at;
        buf_clear(&part);
        if (packed_read_range(path, at, n, &sink, &damaged) != 0)
            continue;
        CHECK(part.n_bytes == n);
        CHECK(n == 0 || memcmp(part.bytes, raw->bytes + at, n) == 0);
    }
    buf_release(&part);
}

static bool try_read(const void *bytes, size_t n_bytes)
{
    const char *path = fuzz_file(bytes, n_bytes);
    struct buf raw, same;
    struct packed p, sealed;
    struct err e = {0}, why = {0}, other = {0};
    buf_init(&raw, (size_t)RAW_BYTES_MAX + 1);
    buf_init(&same, (size_t)RAW_BYTES_MAX + 1);
    const struct zfile_sink sink = {add, &raw};
    bool taken = packed_read(path, RAW_BYTES_MAX, false, &sink, &p, &e) == 0;
    bool is_sealed = packed_read(path, RAW_BYTES_MAX, true, NULL, &sealed, &why) == 0;
    CHECK(taken || !is_sealed);
    CHECK(is_sealed || why.code != 0);
    if (taken) {
        struct content_id id = sha256_of(raw.bytes, raw.n_bytes);
        CHECK(raw.n_bytes == p.n_bytes);
        CHECK(strcmp(id.hex, p.id.hex) == 0);
        try_ranges(path, &raw);
        if (!p.is_planes && zfile_read(path, RAW_BYTES_MAX, &same, &other) == 0)
            CHECK(same.n_bytes == raw.n_bytes &&
                  (raw.n_bytes == 0 || memcmp(same.bytes, raw.bytes, raw.n_bytes) == 0));
    }
    buf_release(&same);
    buf_release(&raw);
    return is_sealed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct packed_form f;
    fuzz_taken = try_read(data, n_bytes);
    if (n_bytes == 0 || !packed_form_read(data, n_bytes, &f))
        return 0;
    unsigned char *sealed = xalloc(n_bytes);
    memcpy(sealed, data, n_bytes);
    struct sha256 *sum = sha256_open();
    sha256_add(sum, f.file, (size_t)(f.seal - f.file));
    sha256_add(sum, f.table, n_bytes - (size_t)(f.table - f.file));
    packed_put_seal(sha256_close(sum).hex, sealed + (f.seal - f.file));
    bool taken = try_read(sealed, n_bytes);
    CHECK(taken || !fuzz_taken);
    xfree(sealed);
    return 0;
}
