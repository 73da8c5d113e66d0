#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/memo.h"
#include "tests/unit/scratch.h"

struct fixture {
    char folder[SCRATCH_BYTES];
    char *memo_path;
    char *file;
};

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    assert_int_equal(scratch_open(f->folder), 0);
    f->memo_path = file_join(f->folder, "memo");
    f->file = file_join(f->folder, "rows.jsonl");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int rc = scratch_remove(f->folder);
    xfree(f->memo_path);
    xfree(f->file);
    xfree(f);
    return rc;
}

static void write_file(const struct fixture *f, const char *text)
{
    struct err e = {0};
    assert_int_equal(file_write(f->file, text, strlen(text), &e), 0);
}

/* Hashes the file with a fresh memo; says whether the file had to be read. */
static bool was_read(const struct fixture *f, const char *text)
{
    struct err e = {0};
    struct memo *m = memo_open(f->memo_path);
    struct content_id id, want = sha256_of(text, strlen(text));
    uint64_t n_bytes = 0;
    assert_int_equal(memo_hash(m, f->file, &id, &n_bytes, &e), 0);
    assert_string_equal(id.hex, want.hex);
    assert_int_equal(n_bytes, strlen(text));
    bool read_it = memo_misses(m) == 1;
    assert_int_equal(memo_flush(m, &e), 0);
    memo_close(m);
    return read_it;
}

#define LET_IT_AGE() usleep(40000)

static void known_files_are_not_read(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    LET_IT_AGE();
    assert_true(was_read(f, "one"));
    assert_false(was_read(f, "one"));
    write_file(f, "two");
    LET_IT_AGE();
    assert_true(was_read(f, "two"));
    assert_false(was_read(f, "two"));
}

static void fresh_files_are_racy(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        /* Same size, possibly the same clock tick: the second text must be seen. */
        write_file(f, "one");
        was_read(f, "one");
        write_file(f, "two");
        was_read(f, "two");
    }
}

static void restored_times_are_noticed(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    LET_IT_AGE();
    was_read(f, "one");
    struct stat st;
    assert_int_equal(stat(f->file, &st), 0);
    write_file(f, "two");
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, f->file, times, 0), 0); /* ctime betrays it */
    assert_true(was_read(f, "two"));
    struct timespec future[2] = {{.tv_sec = st.st_mtim.tv_sec + 1000000},
                                 {.tv_sec = st.st_mtim.tv_sec + 1000000}};
    assert_int_equal(utimensat(AT_FDCWD, f->file, future, 0), 0);
    LET_IT_AGE();
    assert_true(was_read(f, "two"));
    assert_false(was_read(f, "two")); /* who sets a time in the future changes the ctime, too */
    write_file(f, "one");
    assert_int_equal(utimensat(AT_FDCWD, f->file, future, 0), 0);
    assert_true(was_read(f, "one"));
}

static void damaged_memo_is_ignored(void **state)
{
    struct fixture *f = *state;
    write_file(f, "one");
    LET_IT_AGE();
    was_read(f, "one");
    struct buf b;
    struct err e = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    assert_int_equal(file_read(f->memo_path, 100000, &b, &e), 0);
    for (size_t i = 0; i < b.n_bytes; i++) {
        b.bytes[i] ^= 4;
        assert_int_equal(file_write(f->memo_path, b.bytes, b.n_bytes, &e), 0);
        struct memo *m = memo_open(f->memo_path);
        struct content_id id;
        assert_int_equal(memo_hash(m, f->file, &id, NULL, &e), 0);
        assert_int_equal(memo_misses(m), 1);
        memo_close(m);
        b.bytes[i] ^= 4;
    }
    for (size_t n = 0; n < b.n_bytes; n++) {
        assert_int_equal(file_write(f->memo_path, b.bytes, n, &e), 0);
        struct memo *m = memo_open(f->memo_path);
        memo_close(m);
    }
    assert_true(was_read(f, "one")); /* a truncated memo lies there: read, and written anew */
    assert_false(was_read(f, "one"));
    buf_release(&b);
}

static void many_files_are_kept(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    for (int i = 0; i < 600; i++) {
        char *path = xasprintf("%s/%d", f->folder, i);
        int fd = open(path, O_CREAT | O_WRONLY, 0644);
        assert_true(fd >= 0);
        close(fd);
        xfree(path);
    }
    LET_IT_AGE();
    for (int round = 0; round < 2; round++) {
        struct memo *m = memo_open(f->memo_path);
        for (int i = 0; i < 600; i++) {
            char *path = xasprintf("%s/%d", f->folder, i);
            struct content_id id;
            assert_int_equal(memo_hash(m, path, &id, NULL, &e), 0);
            xfree(path);
        }
        assert_int_equal(memo_misses(m), round == 0 ? 600 : 0);
        assert_int_equal(memo_flush(m, &e), 0);
        memo_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(known_files_are_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(fresh_files_are_racy, setup, teardown),
        cmocka_unit_test_setup_teardown(restored_times_are_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_memo_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(many_files_are_kept, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
