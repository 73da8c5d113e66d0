#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];

static int make_folder(void **state)
{
    (void)state;
    return scratch_open(folder);
}

static int drop_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

static char *in(const char *name)
{
    return file_join(folder, name);
}

static void test_publish_and_read(void **state)
{
    (void)state;
    struct err e = {0};
    char *path = in("a");
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(file_publish(path, "hello", 5, 0444, &e), 0);
    assert_int_equal(file_publish(path, "hello!", 6, 0444, &e), 0);
    assert_int_equal(file_read(path, 6, &b, &e), 0);
    assert_string_equal(buf_text(&b), "hello!");
    assert_int_equal(file_read(path, 5, &b, &e), ERR_LIMIT);
    e = (struct err){0};
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(file_read(folder, 100, &b, &e), ERR_FORMAT);
    e = (struct err){0};
    char *absent = in("absent");
    assert_int_equal(file_read(absent, 100, &b, &e), ERR_MISSING);
    e = (struct err){0};
    char *nowhere = in("absent/b");
    assert_int_equal(file_publish(nowhere, "x", 1, 0644, &e), ERR_IO);
    xfree(nowhere);
    xfree(absent);
    buf_release(&b);
    xfree(path);
}

static void test_raw_ids(void **state)
{
    struct content_id id = sha256_of("abc", 3); /* ba7816bf... */
    unsigned char raw[SHA256_BYTES];
    (void)state;
    sha256_to_raw(id.hex, raw);
    assert_int_equal(raw[0], 0xba);
    assert_int_equal(raw[1], 0x78);
    assert_string_equal(sha256_from_raw(raw).hex, id.hex);
}

/* The id in front of a file's name, and the rest of it. */
static void test_id_of_name(void **state)
{
    struct content_id want = sha256_of("abc", 3);
    char id[SHA256_HEX + 1], name[SHA256_HEX + 8];
    (void)state;
    static const char *const suffixes[] = {"", ".zst", "0"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", want.hex, suffixes[i]);
        assert_string_equal(sha256_id_of_name(name, id), suffixes[i]);
        assert_string_equal(id, want.hex);
    }
    name[SHA256_HEX - 1] = '\0';
    assert_null(sha256_id_of_name(name, id));
    assert_null(sha256_id_of_name("", id));
    snprintf(name, sizeof name, "%s.zst", want.hex);
    name[3] = 'A';
    assert_null(sha256_id_of_name(name, id));
}

/* NIST's vectors for SHA-256, and a folder id that sha256sum gives too. */
static void test_sha256(void **state)
{
    (void)state;
    struct content_id id = sha256_of("abc", 3);
    assert_string_equal(id.hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    id = sha256_of("", 0);
    assert_string_equal(id.hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    scratch_put(folder, "tree/b/c", "abc");
    scratch_put(folder, "tree/a", "");
    char *path = in("tree");
    struct err e = {0};
    struct buf listing;
    buf_init(&listing, 10000);
    assert_int_equal(sha256_folder(path, &listing, &id, &e), 0);
    assert_string_equal(buf_text(&listing),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n"
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b/c\n");
    struct content_id again = {{0}};
    assert_int_equal(sha256_path(path, &again, NULL, &e), 0);
    assert_string_equal(again.hex, id.hex);
    assert_string_equal(again.hex, sha256_of(listing.bytes, listing.n_bytes).hex);
    char *link = in("tree/link");
    assert_int_equal(symlink("a", link), 0);
    assert_int_equal(sha256_path(path, &again, NULL, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "symbolic link"));
    assert_int_equal(unlink(link), 0);
    xfree(link);
    buf_release(&listing);
    xfree(path);
}

static void test_trees(void **state)
{
    (void)state;
    struct err e = {0};
    scratch_put(folder, "from/x/y", "1");
    scratch_put(folder, "from/z", "2");
    char *from = in("from");
    char *to = in("to");
    assert_int_equal(file_copy_tree(from, to, &e), 0);
    struct content_id a = {{0}};
    struct content_id b = {{0}};
    assert_int_equal(sha256_path(from, &a, NULL, &e), 0);
    assert_int_equal(sha256_path(to, &b, NULL, &e), 0);
    assert_string_equal(a.hex, b.hex);
    assert_int_equal(file_sync_tree(to, &e), 0);
    char *one = in("to/z");
    assert_int_equal(file_sync_tree(one, &e), 0);
    assert_int_equal(file_replace(one, "3", 1, 0444, &e), 0);
    assert_int_equal(sha256_path(to, &b, NULL, &e), 0);
    assert_string_not_equal(a.hex, b.hex);
    char *absent = in("to/nothing");
    struct err missing = {0};
    assert_int_equal(file_sync_tree(absent, &missing), ERR_MISSING);
    assert_non_null(strstr(missing.text, "to/nothing"));
    xfree(absent);
    xfree(one);
    assert_int_equal(chmod(to, 0555), 0);
    assert_int_equal(file_remove_tree(to, &e), 0);
    assert_false(file_exists(to));
    assert_int_equal(file_remove_tree(to, &e), 0);
    char *below_file = in("from/z/deep");
    assert_int_equal(file_make_folder(below_file, &e), ERR_IO);
    xfree(below_file);
    xfree(from);
    xfree(to);
}

static void test_zstd(void **state)
{
    (void)state;
    struct err e = {0};
    size_t n = 300000;
    char *bytes = xalloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * i >> 7);
    char *raw = in("raw");
    char *packed = in("packed.zst");
    assert_int_equal(file_write(raw, bytes, n, &e), 0);
    scratch_put_zstd(packed, bytes, n);
    struct buf b, back;
    buf_init(&b, 1 << 20);
    buf_init(&back, 1 << 20);
    assert_int_equal(zfile_read(packed, n, &back, &e), 0);
    assert_int_equal(back.n_bytes, n);
    assert_memory_equal(back.bytes, bytes, n);
    assert_int_equal(zfile_read(packed, n - 1, &back, &e), ERR_LIMIT);
    e = (struct err){0};
    /* cut off and flipped: both are errors, never other bytes */
    assert_int_equal(file_read(packed, 1 << 20, &b, &e), 0);
    assert_int_equal(file_write(packed, b.bytes, b.n_bytes - 5, &e), 0);
    assert_int_equal(zfile_read(packed, n, &back, &e), ERR_FORMAT);
    e = (struct err){0};
    b.bytes[b.n_bytes / 2] ^= 1;
    assert_int_equal(file_write(packed, b.bytes, b.n_bytes, &e), 0);
    assert_int_equal(zfile_read(packed, n, &back, &e), ERR_FORMAT);
    e = (struct err){0};
    assert_int_equal(zfile_read(raw, n, &back, &e), ERR_FORMAT);
    buf_release(&back);
    buf_release(&b);
    xfree(packed);
    xfree(raw);
    xfree(bytes);
}

static void test_bytes(void **state)
{
    (void)state;
    unsigned char b[8];
    bytes_put_u64(b, 0x0123456789abcdefULL);
    assert_int_equal(b[0], 0xef);
    assert_int_equal(bytes_get_u64(b), 0x0123456789abcdefULL);
    bytes_put_u16(b, 0xbeef);
    assert_int_equal(bytes_get_u16(b), 0xbeef);
    bytes_put_f32(b, -1.5f);
    assert_true(bytes_get_f32(b) == -1.5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish_and_read),
        cmocka_unit_test(test_raw_ids),
        cmocka_unit_test(test_id_of_name),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_zstd),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
