#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/checkpoint.h"
#include "tests/unit/scratch.h"

struct state {
    float params[100];
    double moments[7];
    int64_t step;
};

struct fixture {
    char folder[SCRATCH_BYTES];
    char *path;
    struct content_id digest;
    struct state s;
    struct checkpoint_block blocks[3];
};

static void fill(struct state *s, int seed)
{
    for (int i = 0; i < 100; i++)
        s->params[i] = (float)(seed * 1000 + i) / 7;
    for (int i = 0; i < 7; i++)
        s->moments[i] = seed + i / 3.0;
    s->step = seed;
}

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    assert_int_equal(scratch_open(f->folder), 0);
    f->path = file_join(f->folder, "resume.ckpt");
    f->digest = sha256_of("config", 6);
    f->blocks[0] = (struct checkpoint_block){"params", f->s.params, sizeof f->s.params};
    f->blocks[1] = (struct checkpoint_block){"moments", f->s.moments, sizeof f->s.moments};
    f->blocks[2] = (struct checkpoint_block){"step", &f->s.step, sizeof f->s.step};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int rc = scratch_remove(f->folder);
    xfree(f->path);
    xfree(f);
    return rc;
}

static void save(struct fixture *f)
{
    struct err e = {0};
    assert_int_equal(checkpoint_save(f->path, &f->digest, f->blocks, 3, &e), 0);
}

static bool load(struct fixture *f, struct err *why)
{
    return checkpoint_load(f->path, &f->digest, f->blocks, 3, why);
}

static void test_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    struct err why = {0};
    fill(&f->s, 3);
    struct state before = f->s;
    save(f);
    fill(&f->s, 4);
    save(f); /* replaces */
    fill(&f->s, 3);
    save(f);
    memset(&f->s, 0, sizeof f->s);
    assert_true(load(f, &why));
    assert_memory_equal(&f->s, &before, sizeof before);
    char *temporary = xasprintf("%s.new", f->path);
    assert_false(file_exists(temporary));
    xfree(temporary);
}

static void test_absent_is_quiet(void **state)
{
    struct fixture *f = *state;
    struct err why = {0};
    assert_false(load(f, &why));
    assert_string_equal(why.text, "");
}

static void test_other_run_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct err why = {0};
    fill(&f->s, 3);
    save(f);
    f->digest = sha256_of("other", 5);
    fill(&f->s, 9);
    struct state before = f->s;
    assert_false(load(f, &why));
    assert_non_null(strstr(why.text, "another run"));
    assert_memory_equal(&f->s, &before, sizeof before);
}

static void test_other_parts_are_ignored(void **state)
{
    struct fixture *f = *state;
    struct err why = {0};
    fill(&f->s, 3);
    save(f);
    f->blocks[1].n_bytes -= 8;
    assert_false(load(f, &why));
    assert_non_null(strstr(why.text, "moments"));
}

static void test_every_cut_and_flip_is_found(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    fill(&f->s, 3);
    save(f);
    assert_int_equal(file_read(f->path, 1 << 20, &bytes, &e), 0);
    fill(&f->s, 8);
    struct state before = f->s;
    for (size_t n = 0; n < bytes.n_bytes; n += 13) {
        struct err why = {0};
        assert_int_equal(file_write(f->path, bytes.bytes, n, &e), 0);
        assert_false(load(f, &why));
        assert_int_not_equal(why.code, 0);
    }
    for (size_t i = 0; i < bytes.n_bytes; i += 11) {
        struct err why = {0};
        bytes.bytes[i] = (char)(bytes.bytes[i] ^ (1 << (i % 8)));
        assert_int_equal(file_write(f->path, bytes.bytes, bytes.n_bytes, &e), 0);
        assert_false(load(f, &why));
        bytes.bytes[i] = (char)(bytes.bytes[i] ^ (1 << (i % 8)));
    }
    assert_memory_equal(&f->s, &before, sizeof before);
    buf_release(&bytes);
}

static void test_unwritable_folder_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    assert_int_not_equal(
        checkpoint_save("/nonexistent/folder/x.ckpt", &f->digest, f->blocks, 3, &e), 0);
    assert_non_null(strstr(e.text, "/nonexistent/folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_back_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent_is_quiet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_run_is_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_parts_are_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_cut_and_flip_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unwritable_folder_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
