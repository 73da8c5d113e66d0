#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/row_source.h"
#include "tests/unit/scratch.h"

#define WINDOW 16

struct fixture {
    char folder[SCRATCH_BYTES];
    struct spm *spm;
};

static const char *const LINES[] = {"the cat sat on the mat", "a dog ran over the hill",
                                    "rain fell on the old town all day long"};

static bool next_line(void *context, const char **line, size_t *n_bytes)
{
    int *i = context;
    if (*i == 300)
        return false;
    *line = LINES[*i % 3];
    *n_bytes = strlen(*line);
    (*i)++;
    return true;
}

static void put(const struct fixture *f, const char *name, const char *text)
{
    char *path = file_join(f->folder, name);
    if (str_ends(name, ".zst"))
        scratch_put_zstd(path, text, strlen(text));
    else
        scratch_put(f->folder, name, text);
    xfree(path);
}

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    struct err e = {0};
    assert_int_equal(scratch_open(f->folder), 0);
    static const char *const symbols[] = {"<n>"};
    int i = 0;
    struct spm_training t = {.vocab = 370,
                             .character_coverage = 1,
                             .symbols = symbols,
                             .n_symbols = 1,
                             .line_bytes_max = 1000,
                             .next = next_line,
                             .context = &i};
    struct buf model;
    buf_init(&model, BUF_MAX_DEFAULT);
    if (spm_train(&t, &model, &e))
        fail_msg("%s", e.text);
    assert_int_equal(spm_open_bytes(model.bytes, model.n_bytes, &f->spm, &e), 0);
    buf_release(&model);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    spm_close(f->spm);
    int rc = scratch_remove(f->folder);
    xfree(f);
    return rc;
}

/* n documents of one sentence. */
static void put_documents(const struct fixture *f, const char *name, int n)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < n; i++)
        buf_printf(&text, "%s\n<|endoftext|>\n", LINES[i % 3]);
    put(f, name, buf_text(&text));
    buf_release(&text);
}

static int open_all(const struct fixture *f, const struct windows_plan *plan, struct windows *w,
                    struct err *e)
{
    return windows_open(w, f->folder, plan, f->spm, e);
}

static void test_reads_documents_of_all_files(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct windows w;
    put_documents(f, "a.txt", 30);
    put_documents(f, "b.txt.zst", 60);
    put(f, "README.md", "not text");
    struct windows_plan plan = {.window = WINDOW, .seed = 1};
    assert_int_equal(open_all(f, &plan, &w, &e), 0);
    assert_int_equal(w.n_files, 2);
    assert_int_equal(w.n_documents, 90);
    assert_string_equal(w.files[1].name, "b");
    uint64_t ends = 0;
    for (uint64_t i = 0; i < w.files[0].n_ids; i++)
        ends += w.files[0].ids[i] == SPM_EOS;
    assert_int_equal(ends, 30);
    assert_int_equal(w.files[0].ids[0], SPM_EOS);
    windows_close(&w);
    windows_close(&w);
}

/* The ends of lines of the one system and of the other give the same ids. */
static void test_crlf(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct windows w;
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 30; i++)
        buf_printf(&text, "%s\r\n%s\r\n<|endoftext|>\r\n", LINES[i % 3], LINES[0]);
    put(f, "a.txt", buf_text(&text));
    buf_clear(&text);
    for (int i = 0; i < 30; i++)
        buf_printf(&text, "%s\n%s\n<|endoftext|>\n", LINES[i % 3], LINES[0]);
    put(f, "b.txt", buf_text(&text));
    buf_release(&text);
    struct windows_plan plan = {.window = WINDOW, .seed = 1};
    assert_int_equal(open_all(f, &plan, &w, &e), 0);
    assert_int_equal(w.n_documents, 60);
    assert_int_equal(w.files[0].n_ids, w.files[1].n_ids);
    assert_memory_equal(w.files[0].ids, w.files[1].ids, w.files[0].n_ids * sizeof *w.files[0].ids);
    windows_close(&w);
}

static void test_window_fits_the_context(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(windows_check_length("window", 64, 64, &e), 0);
    assert_int_equal(windows_check_length("window", 65, 64, &e), ERR_CONFIG);
    assert_string_equal(e.text, "window: 65 tokens, the context is 64");
}

static void test_rows_begin_with_eos_and_predict_the_next(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct windows w;
    struct arena a = {0};
    struct row_source s;
    put_documents(f, "a.txt", 40);
    struct windows_plan plan = {.window = WINDOW, .repeat_fraction = 0.3, .seed = 1};
    assert_int_equal(open_all(f, &plan, &w, &e), 0);
    row_source_of_windows(&s, &w);
    assert_int_equal(arena_reserve(&a, "test", token_batch_bytes(4 * WINDOW), &e), 0);
    row_source_reserve(&s, &a, 4 * WINDOW);
    struct rows rows = row_source_rows(&s);
    for (int64_t epoch = 0; epoch < 20; epoch++)
        for (uint32_t r = 0; r < rows.n_rows; r++) {
            struct rows_batch b;
            rows.fill(rows.context, epoch, &r, 1, &b);
            assert_int_equal(b.n_tokens, rows.tokens(rows.context, epoch, r));
            assert_int_equal(b.n_tokens, rows.labels(rows.context, epoch, r));
            assert_true(b.n_tokens == WINDOW || b.n_tokens == WINDOW - 1);
            for (int i = 0; i < b.n_tokens; i++) {
                assert_int_equal(b.pos[i] == 0, b.ids[i] == SPM_EOS);
                assert_true(i + 1 == b.n_tokens || b.target[i] == b.ids[i + 1]);
            }
        }
    windows_close(&w);
    arena_release(&a);
}

static void test_weights(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct windows w;
    put_documents(f, "a.txt", 60);
    put_documents(f, "b.txt", 60);
    struct windows_plan plan = {.window = WINDOW, .seed = 1, .mix = "a=2,b=0.5"};
    assert_int_equal(open_all(f, &plan, &w, &e), 0);
    assert_int_equal(w.files[0].n_rows, 2 * w.files[0].n_windows);
    assert_int_equal(w.files[1].n_rows, (w.files[1].n_windows + 1) / 2);
    windows_close(&w);
    plan.mix = "a=2,c=1";
    assert_int_equal(open_all(f, &plan, &w, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "'c'"));
    e = (struct err){0};
    plan.mix = "a=-1";
    assert_int_equal(open_all(f, &plan, &w, &e), ERR_CONFIG);
    e = (struct err){0};
    plan.mix = "a";
    assert_int_equal(open_all(f, &plan, &w, &e), ERR_CONFIG);
}

static void test_held_out_text_is_the_same_in_every_epoch(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct windows w;
    struct arena a = {0};
    struct token_batch b[2];
    put_documents(f, "a.txt", 40);
    struct windows_plan plan = {.window = WINDOW, .seed = 1, .in_order = true};
    assert_int_equal(open_all(f, &plan, &w, &e), 0);
    assert_int_equal(arena_reserve(&a, "test", 2 * token_batch_bytes(WINDOW), &e), 0);
    for (int i = 0; i < 2; i++) {
        token_batch_reserve(&b[i], &a, WINDOW);
        windows_add_row(&w, 3 * i, 2, &b[i]);
    }
    assert_memory_equal(b[0].ids, b[1].ids, WINDOW * sizeof(int32_t));
    windows_close(&w);
    arena_release(&a);
}

static void test_bad_text_is_named(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct windows w;
    struct windows_plan plan = {.window = WINDOW, .seed = 1};
    put(f, "bad.txt", "fine\n<|endoftext|>\nbad \xff here\n<|endoftext|>\n");
    assert_int_equal(open_all(f, &plan, &w, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "bad.txt:3: "));
    e = (struct err){0};
    put(f, "bad.txt", "short\n");
    assert_int_equal(open_all(f, &plan, &w, &e), ERR_CONFIG);
}

static void test_what_is_odd_is_reported(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct windows w, none = {0};
    struct buf text;
    struct json *report = json_new_object();
    struct windows_plan plan = {.window = WINDOW, .seed = 1};
    put_documents(f, "a.txt", 40);
    put(f, "empty.txt", "\n");
    put(f, "short.txt", "the cat");
    put(f, "books.txt.gz", "not read");
    assert_int_equal(open_all(f, &plan, &w, &e), 0);
    json_put(report, "blocks", json_new_array());
    windows_report(&w, &none, report);
    buf_init(&text, BUF_MAX_DEFAULT);
    json_write_canonical(report, &text);
    assert_non_null(strstr(buf_text(&text),
                           "\"text: file left out, it is no *.txt or *.txt.zst\",1,"
                           "\"books.txt.gz\""));
    assert_non_null(strstr(buf_text(&text), "\"text: file without text\",1,\"empty.txt\""));
    assert_non_null(strstr(buf_text(&text), "not used\",1,\"short ("));
    buf_release(&text);
    json_free(report);
    windows_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_documents_of_all_files, setup, teardown),
        cmocka_unit_test(test_window_fits_the_context),
        cmocka_unit_test_setup_teardown(test_rows_begin_with_eos_and_predict_the_next, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_crlf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_out_text_is_the_same_in_every_epoch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_bad_text_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_odd_is_reported, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
