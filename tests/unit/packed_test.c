#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/thread.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/packed.h"
#include "pipeline/store/packed_form.h"
#include "pipeline/store/planes.h"
#include "tests/unit/scratch.h"

#define ALL_BYTES_MAX ((uint64_t)64 << 20)

static char folder[64];

static char *in(const char *name)
{
    return file_join(folder, name);
}

/* ---- contents ---- */

enum content { TEXT, NOISE, BF16, FP32, ZEROS, CODES, N_CONTENTS };

static uint64_t random_state;

static uint32_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* The sum of some uniform numbers is near to normal. */
static float weight(void)
{
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)next_random() / 4294967296.0f - 0.5f;
    return 0.02f * sum;
}

static unsigned char *make(enum content kind, size_t n)
{
    unsigned char *bytes = xalloc(n + 4);
    random_state = (uint64_t)kind + 1;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t bits[2] = {0, 0};
        float v[2] = {weight(), weight()};
        memcpy(bits, v, sizeof bits);
        if (kind == TEXT)
            snprintf((char *)bytes + i, 5, "%04u", (unsigned)(i / 8 % 977 + i % 8));
        else if (kind == NOISE)
            bytes_put_u32(bytes + i, next_random());
        else if (kind == BF16)
            bytes_put_u32(bytes + i, bits[0] >> 16 | (bits[1] & 0xffff0000u));
        else if (kind == FP32)
            bytes_put_u32(bytes + i, bits[0]);
        else if (kind == CODES)
            bytes_put_u32(bytes + i, next_random() & 0x03030303u);
    }
    return bytes;
}

/* ---- what is compared ---- */

static void add_to_buf(void *context, const void *bytes, size_t n_bytes)
{
    buf_add(context, bytes, n_bytes);
}

static void expect_same(const char *path, const unsigned char *bytes, size_t n)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, (size_t)ALL_BYTES_MAX);
    assert_int_equal(file_read(path, ALL_BYTES_MAX - 1, &b, &e), 0);
    assert_int_equal(b.n_bytes, n);
    if (n > 0)
        assert_memory_equal(b.bytes, bytes, n);
    buf_release(&b);
}

static int write_packed(const char *from, uint64_t max_bytes, const char *to, const char *raw_to,
                        struct packed *out, struct err *e)
{
    const struct packed_order o = {
        .from = from, .to = to, .raw_to = raw_to, .max_bytes = max_bytes};
    return packed_write(&o, out, e);
}

/* Writes, reads back in full and in ranges; whether it became planes. */
static bool comes_back(const unsigned char *bytes, size_t n)
{
    char *from = in("raw"), *to = in("packed"), *copy = in("copy");
    struct err e = {0};
    struct packed written, found;
    assert_int_equal(file_write(from, bytes, n, &e), 0);
    assert_int_equal(write_packed(from, n, to, copy, &written, &e), 0);
    assert_string_equal(written.id.hex, sha256_of(bytes, n).hex);
    assert_int_equal(written.n_bytes, n);
    expect_same(copy, bytes, n);

    struct buf b;
    buf_init(&b, (size_t)ALL_BYTES_MAX);
    const struct zfile_sink sink = {add_to_buf, &b};
    assert_int_equal(packed_read(to, n, true, &sink, &found, &e), 0);
    assert_string_equal(found.id.hex, written.id.hex);
    assert_int_equal(found.n_bytes, n);
    assert_int_equal(found.is_planes, written.is_planes);
    assert_int_equal(b.n_bytes, n);
    if (n > 0)
        assert_memory_equal(b.bytes, bytes, n);
    for (int i = 0; i < 6; i++) {
        size_t start = n == 0 ? 0 : next_random() % n;
        size_t length = n == start ? 0 : next_random() % (n - start) + 1;
        buf_clear(&b);
        assert_int_equal(packed_read_range(to, start, length, &sink, &e), 0);
        assert_int_equal(b.n_bytes, length);
        if (length > 0)
            assert_memory_equal(b.bytes, bytes + start, length);
    }
    struct err limit = {0}, behind = {0};
    assert_int_equal(packed_read_range(to, 1, n, &sink, &limit), ERR_LIMIT);
    assert_int_equal(packed_read_range(to, UINT64_MAX, 2, &sink, &behind), ERR_LIMIT);
    if (n > 0) {
        struct err over = {0}, small = {0};
        assert_int_equal(packed_read(to, n - 1, false, NULL, &found, &over), ERR_LIMIT);
        assert_int_equal(write_packed(from, n - 1, to, NULL, &found, &small), ERR_LIMIT);
    }
    buf_release(&b);
    xfree(copy);
    xfree(to);
    xfree(from);
    return written.is_planes;
}

static void every_size_comes_back(void **state)
{
    (void)state;
    const size_t edges[] = {PLANES_CHUNK_BYTES, PACKED_CHUNK_BYTES};
    for (int kind = 0; kind < N_CONTENTS; kind++) {
        unsigned char *bytes = make((enum content)kind, edges[1] + 8);
        for (size_t n = 0; n < 10; n += 3)
            assert_false(comes_back(bytes, n));
        for (size_t i = 0; i < 2; i++)
            for (size_t n = edges[i] - 1; n <= edges[i] + 1; n++) {
                bool planes = (kind == BF16 || kind == FP32) && n >= PLANES_CHUNK_BYTES;
                assert_int_equal(comes_back(bytes, n), planes);
            }
        xfree(bytes);
    }
}

/* More batches than are kept at a time. */
static void large_ones_come_back(void **state)
{
    (void)state;
    size_t n = ((size_t)18 << 20) + 5;
    const enum content kinds[] = {BF16, CODES};
    for (size_t i = 0; i < 2; i++) {
        unsigned char *bytes = make(kinds[i], n);
        assert_int_equal(comes_back(bytes, n), kinds[i] == BF16);
        xfree(bytes);
    }
}

static size_t packed_size(enum content kind, size_t n)
{
    unsigned char *bytes = make(kind, n);
    char *from = in("raw"), *to = in("packed");
    struct err e = {0};
    struct packed written;
    uint64_t size = 0;
    assert_int_equal(file_write(from, bytes, n, &e), 0);
    assert_int_equal(write_packed(from, n, to, NULL, &written, &e), 0);
    assert_int_equal(file_size(to, &size, &e), 0);
    xfree(to);
    xfree(from);
    xfree(bytes);
    return (size_t)size;
}

/* The least that each kind is good for, and no more than a thousandth more than nothing. */
static void it_is_worth_it(void **state)
{
    (void)state;
    size_t n = (size_t)3 << 20;
    assert_true(packed_size(BF16, n) < n * 100 / 145);
    assert_true(packed_size(FP32, n) < n * 100 / 117);
    assert_true(packed_size(CODES, n) < n / 3);
    assert_true(packed_size(ZEROS, n) < 1000);
    assert_true(packed_size(TEXT, n) < n / 20);
    assert_true(packed_size(NOISE, n) < n + n / 1000);
}

/* `zstd -dc`: the raw bytes; of planes, what the header says. */
static void zstd_reads_it(void **state)
{
    (void)state;
    size_t n = 3 * PLANES_CHUNK_BYTES + 1000;
    char *from = in("raw"), *to = in("packed");
    struct err e = {0};
    struct packed written;
    struct buf b;
    buf_init(&b, (size_t)ALL_BYTES_MAX);
    for (int kind = NOISE; kind <= BF16; kind++) {
        size_t size = kind == NOISE ? PACKED_CHUNK_BYTES + 1000 : n;
        unsigned char *bytes = make((enum content)kind, size);
        assert_int_equal(file_write(from, bytes, size, &e), 0);
        assert_int_equal(write_packed(from, size, to, NULL, &written, &e), 0);
        assert_int_equal(zfile_read(to, size, &b, &e), 0);
        assert_int_equal(b.n_bytes, size);
        if (kind == BF16) {
            unsigned char *split = xalloc(size);
            for (size_t at = 0; at < size; at++) {
                size_t in_chunk = at % PLANES_CHUNK_BYTES, chunk = at - in_chunk;
                size_t place = in_chunk / 2 + in_chunk % 2 * (PLANES_CHUNK_BYTES / 2);
                split[at < 3 * PLANES_CHUNK_BYTES ? chunk + place : at] = bytes[at];
            }
            assert_memory_equal(b.bytes, split, size);
            xfree(split);
        } else {
            assert_memory_equal(b.bytes, bytes, size);
        }
        xfree(bytes);
    }
    char want[200];
    size_t n_want =
        (size_t)snprintf(want, sizeof want,
                         "fmforge planes 1: width 2 chunk %zu bytes %zu; zstd -dc prints planes\n",
                         PLANES_CHUNK_BYTES, n);
    assert_int_equal(file_read(to, ALL_BYTES_MAX - 1, &b, &e), 0);
    assert_memory_equal(b.bytes + 8, want, n_want);
    buf_release(&b);
    xfree(to);
    xfree(from);
}

/* The last frame is the seek table of zstd's contrib/seekable_format: read as its text says. */
static void the_seek_table_is_zstds(void **state)
{
    (void)state;
    size_t n = 2 * PACKED_CHUNK_BYTES + 77;
    unsigned char *bytes = make(CODES, n);
    char *from = in("raw"), *to = in("packed");
    struct err e = {0};
    struct packed written;
    struct buf b;
    buf_init(&b, (size_t)ALL_BYTES_MAX);
    assert_int_equal(file_write(from, bytes, n, &e), 0);
    assert_int_equal(write_packed(from, n, to, NULL, &written, &e), 0);
    assert_int_equal(file_read(to, ALL_BYTES_MAX - 1, &b, &e), 0);
    const char *end = b.bytes + b.n_bytes;
    assert_int_equal(bytes_get_u32(end - 4), 0x8F92EAB1u);
    assert_int_equal(end[-5], 0);
    size_t n_frames = bytes_get_u32(end - 9);
    assert_int_equal(n_frames, 4); /* three of bytes, the seal */
    const char *table = end - 9 - 8 * n_frames;
    assert_int_equal(bytes_get_u32(table - 8), 0x184D2A5Eu);
    assert_int_equal(bytes_get_u32(table - 4), end - table);
    struct zcoder *z = zcoder_open();
    size_t packed = 0, raw = 0;
    for (size_t i = 0; i < n_frames; i++) {
        size_t frame = bytes_get_u32(table + 8 * i), size = bytes_get_u32(table + 8 * i + 4);
        unsigned char *back = xalloc(size);
        assert_int_equal(zframe_size(b.bytes + packed, b.n_bytes - packed), frame);
        assert_true(zframe_unpack(z, b.bytes + packed, frame, true, back, size));
        assert_memory_equal(back, bytes + raw, size);
        packed += frame;
        raw += size;
        xfree(back);
    }
    assert_int_equal(raw, n);
    assert_int_equal(packed, table - 8 - b.bytes);
    zcoder_close(z);
    buf_release(&b);
    xfree(to);
    xfree(from);
    xfree(bytes);
}

/* The same file whatever the number of threads: another process has one CPU. */
static void threads_change_nothing(void **state)
{
    (void)state;
    size_t n = ((size_t)5 << 20) + 11;
    struct err e = {0};
    char *from = in("raw"), *many = in("many"), *one = in("one");
    for (int kind = TEXT; kind <= FP32; kind++) {
        unsigned char *bytes = make((enum content)kind, n);
        struct packed written;
        assert_int_equal(file_write(from, bytes, n, &e), 0);
        assert_int_equal(write_packed(from, n, many, NULL, &written, &e), 0);
        pid_t child = fork();
        if (child == 0) {
            cpu_set_t set;
            CPU_ZERO(&set);
            int cpu = sched_getcpu();
            CPU_SET(cpu < 0 ? 0 : cpu, &set);
            bool alone = sched_setaffinity(0, sizeof set, &set) == 0 && thread_cpus() == 1;
            _exit(alone && write_packed(from, n, one, NULL, &written, &e) == 0 &&
                          packed_read(one, n, true, NULL, &written, &e) == 0
                      ? 0
                      : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        struct content_id a, b;
        assert_int_equal(sha256_file(many, &a, NULL, &e), 0);
        assert_int_equal(sha256_file(one, &b, NULL, &e), 0);
        assert_string_equal(a.hex, b.hex);
        xfree(bytes);
    }
    xfree(one);
    xfree(many);
    xfree(from);
}

/* Is damage found, by the check with the seal or by other bytes? Without it, what comes is right,
 * or it is seen. */
static void expect_found(const char *path, const struct buf *b, const struct packed *want,
                         const char *where)
{
    struct err e = {0}, sealed = {0}, bare = {0};
    struct packed found;
    assert_int_equal(file_write(path, b->bytes, b->n_bytes, &e), 0);
    int rc = packed_read(path, ALL_BYTES_MAX, true, NULL, &found, &sealed);
    if (rc == 0 && strcmp(found.id.hex, want->id.hex) == 0)
        fail_msg("not found: %zu bytes, %s", b->n_bytes, where);
    assert_true(rc == 0 || (rc == ERR_FORMAT && strstr(sealed.text, path) != NULL));
    rc = packed_read(path, ALL_BYTES_MAX, false, NULL, &found, &bare);
    assert_true(rc == 0 || rc == ERR_FORMAT);
    if (rc == 0 && strcmp(found.id.hex, want->id.hex) == 0)
        assert_int_equal(found.n_bytes, want->n_bytes);
}

static void damage_is_found(const unsigned char *bytes, size_t n, bool is_planes)
{
    char *from = in("raw"), *to = in("packed");
    struct err e = {0};
    struct packed want;
    struct buf b;
    buf_init(&b, (size_t)ALL_BYTES_MAX);
    assert_int_equal(file_write(from, bytes, n, &e), 0);
    assert_int_equal(write_packed(from, n, to, NULL, &want, &e), 0);
    assert_int_equal(want.is_planes, is_planes);
    assert_int_equal(file_read(to, ALL_BYTES_MAX - 1, &b, &e), 0);
    size_t size = b.n_bytes;
    char where[64];
    for (size_t i = 0; i < size; i += i < 200 || i + 200 > size ? 1 : 1 + size / 20) {
        for (int bit = n > 1000 ? (int)(i % 8) : 0; bit<8; bit += n> 1000 ? 8 : 1) {
            b.bytes[i] ^= (char)(1 << bit);
            snprintf(where, sizeof where, "bit %d of byte %zu", bit, i);
            expect_found(to, &b, &want, where);
            b.bytes[i] ^= (char)(1 << bit);
        }
    }
    for (size_t cut = 1; cut <= size; cut += cut < 300 ? 1 : 1 + size / 20) {
        b.n_bytes = size - cut;
        if (cut != PACKED_SEAL_BYTES || n > 1000)
            expect_found(to, &b, &want, "cut off"); /* a bare frame is whole */
    }
    b.n_bytes = size;
    buf_add(&b, "x", 1);
    expect_found(to, &b, &want, "something behind it");
    buf_release(&b);
    xfree(to);
    xfree(from);
}

static void every_damage_is_found(void **state)
{
    (void)state;
    unsigned char *bytes = xalloc(PACKED_CHUNK_BYTES + 4000);
    for (size_t i = 0; i < PACKED_CHUNK_BYTES + 4000; i++)
        bytes[i] = (unsigned char)(i % 2 == 0 ? i * i >> 3 : 0x3c);
    damage_is_found(bytes, 1000, false);
    damage_is_found(bytes, PLANES_CHUNK_BYTES + 300, true);
    memset(bytes, 7, PACKED_CHUNK_BYTES + 4000);
    damage_is_found(bytes, PACKED_CHUNK_BYTES + 300, false);
    xfree(bytes);
}

/* What zstd itself writes, and objects of version 1, are read; a table that lies is not believed.
 */
static void strange_files(void **state)
{
    (void)state;
    char *path = in("strange");
    struct err e = {0};
    struct packed found;
    struct buf b;
    buf_init(&b, (size_t)ALL_BYTES_MAX);
    scratch_put_zstd(path, "some text", 9);
    assert_int_equal(packed_read(path, 9, true, NULL, &found, &e), 0);
    assert_string_equal(found.id.hex, sha256_of("some text", 9).hex);
    assert_int_equal(file_read(path, 1000, &b, &e), 0);
    unsigned char seal[PACKED_SEAL_BYTES];
    packed_put_seal(sha256_of(b.bytes, b.n_bytes).hex, seal);
    buf_add(&b, seal, sizeof seal);
    assert_int_equal(file_write(path, b.bytes, b.n_bytes, &e), 0);
    assert_int_equal(packed_read(path, 9, true, NULL, &found, &e), 0);

    struct err none = {0}, cut = {0}, absent = {0}, special = {0};
    assert_int_equal(file_write(path, "", 0, &e), 0);
    assert_int_equal(packed_read(path, 9, true, NULL, &found, &none), ERR_FORMAT);
    unsigned char header[PACKED_HEADER_BYTES_MAX];
    size_t n = packed_put_header(2, PLANES_CHUNK_BYTES, (uint64_t)64 << 30, header);
    assert_int_equal(file_write(path, header, n, &e), 0);
    assert_int_equal(packed_read(path, UINT64_MAX, true, NULL, &found, &cut), ERR_FORMAT);
    assert_non_null(strstr(cut.text, "expected planes"));
    xfree(path);
    path = in("none");
    assert_int_equal(packed_read(path, 9, true, NULL, &found, &absent), ERR_MISSING);
    assert_int_equal(write_packed(folder, 9, path, NULL, &found, &special), ERR_FORMAT);
    assert_false(file_exists(path));
    buf_release(&b);
    xfree(path);
}

/* A write that fails leaves no file, whichever file it was. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    size_t n = (size_t)6 << 20;
    unsigned char *bytes = make(BF16, n);
    char *from = in("raw"), *to = in("full"), *copy = in("full_copy");
    struct err e = {0};
    assert_int_equal(file_write(from, bytes, n, &e), 0);
    for (size_t limit = 1 << 16; limit < n; limit *= 8) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit r = {limit, limit};
            struct packed written;
            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &r);
            int rc = write_packed(from, n, to, copy, &written, &e);
            _exit(rc == ERR_IO && strstr(e.text, "File too large") != NULL ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_false(file_exists(to));
        assert_false(file_exists(copy));
    }
    struct err bad = {0};
    struct packed written;
    char *nowhere = in("no/such/folder");
    assert_int_equal(write_packed(from, n, to, nowhere, &written, &bad), ERR_IO);
    assert_false(file_exists(to));
    xfree(nowhere);
    xfree(copy);
    xfree(to);
    xfree(from);
    xfree(bytes);
}

static bool count_down(void *context)
{
    return --*(int *)context > 0;
}

/* It is asked now and then: a file of any size need not be waited for. */
static void what_takes_long_can_be_given_up(void **state)
{
    (void)state;
    size_t n = ((size_t)40 << 20) + 1;
    unsigned char *bytes = xalloc(n);
    char *from = in("raw"), *to = in("packed"), *copy = in("copy");
    struct err e = {0}, given_up = {0};
    struct packed written;
    assert_int_equal(file_write(from, bytes, n, &e), 0);
    int left = 3;
    struct packed_order o = {from, to, copy, n, count_down, &left};
    assert_int_equal(packed_write(&o, &written, &given_up), ERR_IO);
    assert_int_equal(left, 0);
    assert_non_null(strstr(given_up.text, from));
    assert_false(file_exists(to));
    assert_false(file_exists(copy));
    left = 1000;
    assert_int_equal(packed_write(&o, &written, &e), 0);
    assert_true(left < 996);
    assert_string_equal(written.id.hex, sha256_of(bytes, n).hex);
    xfree(copy);
    xfree(to);
    xfree(from);
    xfree(bytes);
}

static int setup(void **state)
{
    (void)state;
    /* Most of the time would go into fsync on a disk. */
    snprintf(folder, sizeof folder, "/dev/shm/packed_test_XXXXXX");
    if (mkdtemp(folder) != NULL)
        return 0;
    snprintf(folder, sizeof folder, "/tmp/packed_test_XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_comes_back),
        cmocka_unit_test(large_ones_come_back),
        cmocka_unit_test(it_is_worth_it),
        cmocka_unit_test(zstd_reads_it),
        cmocka_unit_test(the_seek_table_is_zstds),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(every_damage_is_found),
        cmocka_unit_test(strange_files),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(what_takes_long_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
