#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/xalloc.h"
#include "pipeline/store/state_file.h"
#include "tests/unit/scratch.h"

static char home[SCRATCH_BYTES];
static const char QUESTION[] = "folder\0manifest.yaml";
static const char SEEN[] = "the packed set, of an odd length";

static int setup(void **state)
{
    (void)state;
    assert_int_equal(scratch_open(home), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return scratch_remove(home);
}

static void write_one(const char *question, size_t question_bytes)
{
    struct err e = {0};
    struct state_file s = {.question = question,
                           .question_bytes = question_bytes,
                           .text = "one: out/one\none: nothing to do",
                           .name = "one",
                           .manifest = "0123",
                           .n_stages = 3,
                           .seen = SEEN,
                           .seen_bytes = sizeof SEEN};
    assert_int_equal(state_file_write(home, &s, &e), 0);
}

static bool read_one(const char *question, size_t question_bytes)
{
    struct file_map map = {0};
    struct state_file s = {.question = question, .question_bytes = question_bytes};
    bool sound = state_file_read(home, &map, &s);
    if (sound) {
        assert_string_equal(s.text, "one: out/one\none: nothing to do");
        assert_string_equal(s.name, "one");
        assert_string_equal(s.manifest, "0123");
        assert_int_equal(s.n_stages, 3);
        assert_int_equal(s.seen_bytes, sizeof SEEN);
        assert_memory_equal(s.seen, SEEN, sizeof SEEN);
    }
    file_map_close(&map);
    return sound;
}

static void test_round_trip(void **state)
{
    (void)state;
    assert_false(read_one(QUESTION, sizeof QUESTION));
    write_one(QUESTION, sizeof QUESTION);
    assert_true(read_one(QUESTION, sizeof QUESTION));
    assert_false(read_one(QUESTION, sizeof QUESTION - 1));
    assert_false(read_one("folder\0other.yaml...", sizeof QUESTION));
}

/* The name is a hash: a file of another question in its place is no answer. */
static void test_other_question(void **state)
{
    (void)state;
    struct err e = {0};
    write_one("other", 6);
    char *from = state_file_path(home, "other", 6);
    char *to = state_file_path(home, QUESTION, sizeof QUESTION);
    assert_int_equal(file_copy_tree(from, to, &e), 0);
    assert_true(read_one("other", 6));
    assert_false(read_one(QUESTION, sizeof QUESTION));
    xfree(from);
    xfree(to);
}

/* Without waiting for the disk, a thousand times. */
static void put(const char *path, const struct buf *b, size_t n_bytes)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(b->bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

static void test_damage(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    write_one(QUESTION, sizeof QUESTION);
    char *path = state_file_path(home, QUESTION, sizeof QUESTION);
    assert_int_equal(file_read(path, 4096, &b, &e), 0);
    for (size_t n = 0; n < b.n_bytes; n++) {
        put(path, &b, n);
        assert_false(read_one(QUESTION, sizeof QUESTION));
    }
    for (size_t i = 0; i < b.n_bytes; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.bytes[i] ^= (char)(1 << bit);
            put(path, &b, b.n_bytes);
            assert_false(read_one(QUESTION, sizeof QUESTION));
            b.bytes[i] ^= (char)(1 << bit);
        }
    buf_add_char(&b, 'x');
    put(path, &b, b.n_bytes);
    assert_false(read_one(QUESTION, sizeof QUESTION));
    put(path, &b, b.n_bytes - 1);
    assert_true(read_one(QUESTION, sizeof QUESTION));
    xfree(path);
    buf_release(&b);
}

static size_t n_files(void)
{
    struct err e = {0};
    struct file_list names = {0};
    char *folder = file_join(home, "state");
    assert_int_equal(file_list_names(folder, &names, &e), 0);
    size_t n = names.n_paths;
    file_list_release(&names);
    xfree(folder);
    return n;
}

static void test_room(void **state)
{
    (void)state;
    char question[32] = "";
    for (int i = 0; i < STATE_FILES_MAX; i++) {
        snprintf(question, sizeof question, "question %d", i);
        write_one(question, strlen(question) + 1);
    }
    assert_int_equal(n_files(), STATE_FILES_MAX);
    write_one(QUESTION, sizeof QUESTION);
    assert_int_equal(n_files(), 1);
    assert_true(read_one(QUESTION, sizeof QUESTION));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_question, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
