#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/xalloc.h"
#include "stages/text/tokfile.h"
#include "tests/unit/scratch.h"

#define EOS 1

struct fixture {
    char folder[SCRATCH_BYTES];
    char *path;
};

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    assert_int_equal(scratch_open(f->folder), 0);
    f->path = file_join(f->folder, "train.tok");
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

/* Row 1: two packed samples; row 2: plain text; row 3: cut, without labels. */
static void write_three_rows(const char *path)
{
    struct err e = {0};
    struct tokfile_writer w;
    tokfile_writer_init(&w, EOS);
    tokfile_writer_row(&w);
    tokfile_writer_sample(&w, (int32_t[]){EOS, 10, 11, 12}, (unsigned char[]){0, 0, 1, 1}, 4,
                          false);
    tokfile_writer_sample(&w, (int32_t[]){EOS, 20}, (unsigned char[]){0, 1}, 2, false);
    tokfile_writer_row(&w);
    tokfile_writer_sample(&w, (int32_t[]){EOS, 4095, 31}, NULL, 3, false);
    tokfile_writer_row(&w);
    tokfile_writer_sample(&w, (int32_t[]){EOS}, NULL, 1, true);
    assert_int_equal(tokfile_writer_save(&w, path, &e), 0);
    tokfile_writer_release(&w);
    tokfile_writer_release(&w);
}

static void test_reads_what_was_written(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct tokfile t;
    write_three_rows(f->path);
    assert_int_equal(tokfile_open(&t, f->path, &e), 0);
    assert_int_equal(t.eos, EOS);
    assert_int_equal(t.counts.rows, 3);
    assert_int_equal(t.counts.samples, 4);
    assert_int_equal(t.counts.tokens, 10);
    assert_int_equal(t.counts.labels, 5);
    assert_int_equal(t.counts.cut_samples, 1);
    assert_int_equal(t.counts.row_tokens_max, 6);
    assert_int_equal(t.counts.id_max, 4095);
    assert_int_equal(tokfile_row_tokens(&t, 0), 6);
    assert_int_equal(tokfile_row_labels(&t, 0), 3);
    assert_int_equal(tokfile_row_labels(&t, 2), 0);
    assert_int_equal(tokfile_id(&t, 0, 3), 12);
    assert_true(tokfile_label(&t, 0, 3));
    assert_false(tokfile_label(&t, 0, 4));
    assert_int_equal(tokfile_id(&t, 1, 1), 4095);
    assert_true(tokfile_label(&t, 1, 1));
    tokfile_close(&t);
    tokfile_close(&t);
}

static void test_model_is_large_enough(void **state)
{
    struct fixture *f = *state;
    struct err e = {0}, id = {0}, sample = {0}, label = {0};
    struct tokfile t;
    write_three_rows(f->path);
    assert_int_equal(tokfile_open(&t, f->path, &e), 0);
    assert_int_equal(tokfile_check_model(&t, "train", 4096, 4, &e), 0);
    assert_int_equal(tokfile_check_model(&t, "train", 4095, 4, &id), ERR_CONFIG);
    assert_string_equal(id.text, "train: token id 4095, the model has a vocabulary of 4095");
    assert_int_equal(tokfile_check_model(&t, "train", 4096, 3, &sample), ERR_CONFIG);
    assert_string_equal(sample.text, "train: row 1 has a sample of 4 tokens, the context is 3");
    t.counts.labels = 0;
    assert_int_equal(tokfile_check_model(&t, "train", 4096, 4, &label), ERR_CONFIG);
    assert_string_equal(label.text, "train: no labelled token in 3 rows");
    tokfile_close(&t);
}

static void test_empty_file_is_fine(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct tokfile_writer w;
    struct tokfile t;
    tokfile_writer_init(&w, EOS);
    assert_int_equal(tokfile_writer_save(&w, f->path, &e), 0);
    tokfile_writer_release(&w);
    assert_int_equal(tokfile_open(&t, f->path, &e), 0);
    assert_int_equal(t.counts.rows, 0);
    tokfile_close(&t);
}

static void read_bytes(const char *path, struct buf *out)
{
    struct err e = {0};
    buf_init(out, 1 << 20);
    assert_int_equal(file_read(path, 1 << 20, out, &e), 0);
}

static void assert_refused(const char *path, const void *bytes, size_t n_bytes)
{
    struct err e = {0};
    struct tokfile t;
    assert_int_equal(file_write(path, bytes, n_bytes, &e), 0);
    assert_int_equal(tokfile_open(&t, path, &e), ERR_FORMAT);
    assert_memory_equal(e.text, path, strlen(path));
}

static void test_every_truncation_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    write_three_rows(f->path);
    read_bytes(f->path, &b);
    for (size_t n = 0; n < b.n_bytes; n++)
        assert_refused(f->path, b.bytes, n);
    buf_add_char(&b, 0);
    assert_refused(f->path, b.bytes, b.n_bytes);
    buf_release(&b);
}

static void test_every_flipped_bit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    write_three_rows(f->path);
    read_bytes(f->path, &b);
    for (size_t i = 0; i < b.n_bytes; i++) {
        char flip = (char)(1 << (i % 8));
        b.bytes[i] = (char)(b.bytes[i] ^ flip);
        assert_refused(f->path, b.bytes, b.n_bytes);
        b.bytes[i] = (char)(b.bytes[i] ^ flip);
    }
    buf_release(&b);
}

static void test_absent_file(void **state)
{
    (void)state;
    struct err e = {0};
    struct tokfile t;
    assert_int_equal(tokfile_open(&t, "/nonexistent.tok", &e), ERR_MISSING);
    tokfile_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_model_is_large_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_file_is_fine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_truncation_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_flipped_bit_is_refused, setup, teardown),
        cmocka_unit_test(test_absent_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
