#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/file_time.h"
#include "pipeline/store/seen.h"
#include "tests/unit/scratch.h"

#define OLD_ENOUGH_NS 60000000

/* A folder with rows.txt, in/a.txt and in/below/b.txt; link is a symbolic link to rows.txt. */
static char folder[SCRATCH_BYTES];

static char *at(const char *name)
{
    static char path[4][192];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", folder, name);
    return path[i];
}

static void put(const char *name, const char *text)
{
    scratch_put(folder, name, text);
}

static void wait_until_old(void)
{
    struct timespec t = {0, OLD_ENOUGH_NS};
    nanosleep(&t, NULL);
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(scratch_open(folder), 0);
    put("rows.txt", "one row\n");
    put("in/a.txt", "a\n");
    put("in/below/b.txt", "b\n");
    assert_int_equal(symlink("rows.txt", at("link")), 0);
    wait_until_old();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

static void add_all(struct seen *s)
{
    seen_add_tree(s, at("in"));
    seen_add_tree(s, at("rows.txt"));
    seen_add(s, SEEN_TARGET, at("link"));
    seen_add(s, SEEN_PRESENT, folder);
    seen_add(s, SEEN_ABSENT, at("absent"));
    seen_add(s, SEEN_ABSENT, at("in/below/no/such"));
}

static bool pack(struct buf *b)
{
    struct seen s;
    buf_init(b, BUF_MAX_DEFAULT);
    seen_init(&s, seen_clock_ns());
    add_all(&s);
    bool sound = seen_pack(&s, b);
    seen_release(&s);
    return sound;
}

static bool is_same(const struct buf *b)
{
    return seen_same(b->bytes, b->n_bytes);
}

#define S_NS ((int64_t)1000000000)

/* Times of whole seconds may be those of a file system that keeps no others, FAT every other one.
 */
static void test_old_enough(void **state)
{
    (void)state;
    int64_t now = 1800000000 * S_NS + 500000000;
    assert_false(file_time_is_old(now, now));
    assert_false(file_time_is_old(now + S_NS, now));
    assert_false(file_time_is_old(now - 10000000, now));
    assert_true(file_time_is_old(now - 10000001, now));
    assert_false(file_time_is_old(1800000000 * S_NS, now));
    assert_false(file_time_is_old(1799999999 * S_NS, now));
    assert_true(file_time_is_old(1799999999 * S_NS + 1, now));
    assert_true(file_time_is_old(1799999998 * S_NS, now));
    assert_false(file_time_is_old(1799999998 * S_NS, 1800000000 * S_NS));
}

static void test_unchanged(void **state)
{
    (void)state;
    struct buf b;
    assert_true(pack(&b));
    assert_true(is_same(&b));
    put("other.txt", "not in the set\n");
    assert_true(is_same(&b));
    buf_release(&b);
}

static void a_time_in_the_future_is_old_enough(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    struct timespec times[2] = {{.tv_sec = 4000000000}, {.tv_sec = 4000000000}};
    assert_int_equal(utimensat(AT_FDCWD, at("rows.txt"), times, 0), 0);
    wait_until_old();
    struct seen s;
    seen_init(&s, seen_clock_ns());
    add_all(&s);
    assert_true(seen_pack(&s, &b));
    assert_true(is_same(&b));
    put("rows.txt", "One row\n");
    assert_int_equal(utimensat(AT_FDCWD, at("rows.txt"), times, 0), 0);
    assert_false(is_same(&b));
    seen_release(&s);
    buf_release(&b);
}

/* The same size and mtime: the ctime tells. */
static void edit_in_place(void)
{
    struct stat st;
    assert_int_equal(stat(at("rows.txt"), &st), 0);
    FILE *f = fopen(at("rows.txt"), "r+");
    assert_non_null(f);
    assert_int_equal(fputc('O', f), 'O');
    assert_int_equal(fclose(f), 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, at("rows.txt"), times, 0), 0);
}

static void edit_below(void)
{
    put("in/below/b.txt", "c\n");
}

static void add_file(void)
{
    put("in/below/new.txt", "n\n");
}

static void remove_file(void)
{
    assert_int_equal(unlink(at("in/a.txt")), 0);
}

static void rename_file(void)
{
    assert_int_equal(rename(at("in/a.txt"), at("in/A.txt")), 0);
}

static void replace_by_a_link(void)
{
    assert_int_equal(rename(at("rows.txt"), at("moved")), 0);
    assert_int_equal(symlink("moved", at("rows.txt")), 0);
}

static void lead_elsewhere(void)
{
    assert_int_equal(unlink(at("link")), 0);
    assert_int_equal(symlink("in/a.txt", at("link")), 0);
}

static void appear(void)
{
    put("absent", "");
}

static void appear_below(void)
{
    put("in/below/no/such", "");
}

static void change_mode(void)
{
    assert_int_equal(chmod(at("rows.txt"), 0600), 0);
}

static void test_changes(void **state)
{
    static void (*const changes[])(void) = {
        edit_in_place, edit_below,        add_file,       remove_file, rename_file,
        change_mode,   replace_by_a_link, lead_elsewhere, appear,      appear_below,
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct buf b;
        assert_int_equal(setup(state), 0);
        assert_true(pack(&b));
        assert_true(is_same(&b));
        changes[i]();
        assert_false(is_same(&b));
        buf_release(&b);
        assert_int_equal(teardown(state), 0);
    }
}

/* Another inode in the place of a file, with all times as before. */
/* Packed: kind, two lengths, then device, inode, size, mtime, ctime, mode and links. */
enum { DEVICE = 0, INODE = 8, SIZE = 16, MTIME = 24, CTIME = 32, MODE = 40, LINKS = 42, NONE = -1 };

static bool is_same_by(enum seen_rule rule, const struct buf *b, int offset, int also)
{
    char changed[LIMIT_PATH_BYTES];
    b->bytes[5 + offset] ^= 1;
    if (also != NONE)
        b->bytes[5 + also] ^= 1;
    bool same = seen_same_by(rule, b->bytes, b->n_bytes, changed);
    b->bytes[5 + offset] ^= 1;
    if (also != NONE)
        b->bytes[5 + also] ^= 1;
    if (!same)
        assert_string_equal(changed, at("rows.txt"));
    return same;
}

static void test_rules(void **state)
{
    (void)state;
    struct seen s;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    seen_init(&s, SEEN_ANY_AGE);
    put("rows.txt", "just now\n");
    seen_add(&s, SEEN_SELF, at("rows.txt"));
    assert_true(seen_pack(&s, &b));
    seen_release(&s);
    assert_true(is_same(&b));
    /* chmod and ln move the ctime; writing moves the mtime, and who sets that back the ctime. */
    static const struct {
        int at, also;
        bool unwritten, in_place, copied;
    } rows[] = {
        {DEVICE, NONE, false, true, true},   {INODE, NONE, false, true, true},
        {SIZE, NONE, false, false, false},   {MTIME, NONE, false, false, false},
        {CTIME, NONE, false, false, true},   {CTIME, MODE, true, true, true},
        {CTIME, LINKS, true, true, true},    {SIZE, LINKS, false, false, false},
        {MTIME, LINKS, false, false, false}, {INODE, LINKS, false, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int at = rows[i].at, also = rows[i].also;
        assert_false(is_same_by(SEEN_EXACT, &b, at, also));
        assert_int_equal(is_same_by(SEEN_UNWRITTEN, &b, at, also), rows[i].unwritten);
        assert_int_equal(is_same_by(SEEN_IN_PLACE, &b, at, also), rows[i].in_place);
        assert_int_equal(is_same_by(SEEN_COPIED, &b, at, also), rows[i].copied);
    }
    buf_release(&b);
}

static void test_another_file(void **state)
{
    (void)state;
    struct buf b;
    assert_true(pack(&b));
    put("in2/a.txt", "a\n");
    assert_int_equal(rename(at("in2/a.txt"), at("in/a.txt")), 0);
    assert_false(is_same(&b));
    buf_release(&b);
}

static void test_young(void **state)
{
    (void)state;
    struct buf b;
    put("in/below/b.txt", "b\n");
    assert_false(pack(&b)); /* written within a tick of the beginning */
    buf_release(&b);
    wait_until_old();
    assert_true(pack(&b));
    buf_release(&b);
    put("absent", "");
    assert_int_equal(unlink(at("absent")), 0);
    assert_false(pack(&b)); /* it was there a moment ago */
    buf_release(&b);
}

static void test_changed_meanwhile(void **state)
{
    (void)state;
    struct seen s;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    seen_init(&s, seen_clock_ns());
    wait_until_old();
    add_all(&s);
    put("rows.txt", "another\n");
    wait_until_old();
    assert_false(seen_pack(&s, &b));
    seen_release(&s);
    buf_release(&b);
}

static void test_missing(void **state)
{
    (void)state;
    struct seen s;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    seen_init(&s, seen_clock_ns());
    seen_add(&s, SEEN_SELF, at("absent"));
    assert_false(seen_pack(&s, &b));
    seen_release(&s);
    seen_init(&s, seen_clock_ns());
    seen_add(&s, SEEN_ABSENT, at("rows.txt"));
    assert_false(seen_pack(&s, &b));
    seen_release(&s);
    buf_release(&b);
}

/* No byte of a packed set may lead outside it. */
static void test_no_set(void **state)
{
    (void)state;
    struct buf b;
    assert_true(pack(&b));
    for (size_t n = 1; n < b.n_bytes; n++) {
        char *cut = xalloc(n);
        memcpy(cut, b.bytes, n);
        (void)seen_same(cut, n);
        xfree(cut);
    }
    for (size_t i = 0; i < b.n_bytes; i++)
        for (int v = 1; v < 256; v += 127) {
            b.bytes[i] ^= (char)v;
            (void)seen_same(b.bytes, b.n_bytes);
            b.bytes[i] ^= (char)v;
        }
    assert_true(is_same(&b));
    assert_false(seen_same("?", 1));
    buf_release(&b);
}

/* Long names that share little: a set for several threads. */
enum { N_MANY = 2000 };

static const char *many(int i)
{
    static char name[96];
    snprintf(name, sizeof name, "many/%04d_%080d", i, 0);
    return name;
}

static void pack_many(struct buf *b)
{
    struct seen s;
    buf_init(b, BUF_MAX_DEFAULT);
    seen_init(&s, SEEN_ANY_AGE);
    for (int i = 0; i < N_MANY; i++)
        seen_add(&s, SEEN_SELF, at(many(i)));
    assert_true(seen_pack(&s, b));
    seen_release(&s);
}

/* Whichever thread meets a change, the first by name is told. */
static void test_many(void **state)
{
    (void)state;
    static const int changed[] = {N_MANY - 1, N_MANY / 2 + 1, N_MANY / 2, 700, 31, 1, 0};
    struct buf b;
    char first[LIMIT_PATH_BYTES];
    for (int i = 0; i < N_MANY; i++)
        put(many(i), "");
    pack_many(&b);
    assert_in_range(b.n_bytes, 131072 + 1, BUF_MAX_DEFAULT);
    assert_true(is_same(&b));
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        put(many(changed[i]), "another\n"); /* those before stay as they are */
        for (int turn = 0; turn < 20; turn++) {
            assert_false(seen_same_by(SEEN_EXACT, b.bytes, b.n_bytes, first));
            assert_string_equal(first, at(many(changed[i])));
        }
    }
    buf_release(&b);
    pack_many(&b);
    assert_true(is_same(&b));
    assert_false(seen_same(b.bytes, b.n_bytes - 1)); /* the last one is cut */
    b.bytes[b.n_bytes / 2] ^= 1;
    assert_false(is_same(&b));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_enough),
        cmocka_unit_test_setup_teardown(a_time_in_the_future_is_old_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unchanged, setup, teardown),
        cmocka_unit_test(test_changes),
        cmocka_unit_test_setup_teardown(test_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_young, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
