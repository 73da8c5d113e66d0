#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/provenance/run_files.h"

#define PATH "run_files_test.tmp"

static int read_text(const char *text, size_t n_bytes, struct run_files *out)
{
    struct err e = {0};
    assert_int_equal(file_write(PATH, text, n_bytes, &e), 0);
    int rc = run_files_read(PATH, 4096, out, &e);
    unlink(PATH);
    return rc;
}

static void files_come_back(void **state)
{
    (void)state;
    struct run_files f = {NULL, 0}, g;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    run_files_add(&f, "run.json", "{}\n", 3);
    run_files_add(&f, "stages/a b[x=1]/statement.json", "3 run.json\n", 11);
    run_files_add(&f, "artifacts.sha256", "", 0);
    run_files_add(&f, "manifest.yaml", "a\0b", 3);
    run_files_sort(&f);
    run_files_sums(&f, &b);
    assert_non_null(strstr(buf_text(&b),
                           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  "
                           "artifacts.sha256\n"));
    buf_clear(&b);
    run_files_pack(&f, &b);
    assert_int_equal(read_text((const char *)b.bytes, b.n_bytes, &g), 0);
    assert_int_equal(g.n_items, f.n_items);
    for (size_t i = 0; i < f.n_items; i++) {
        assert_string_equal(f.items[i].path, g.items[i].path);
        assert_int_equal(f.items[i].n_bytes, g.items[i].n_bytes);
        assert_memory_equal(f.items[i].bytes, g.items[i].bytes, f.items[i].n_bytes + 1);
    }
    run_files_release(&g);

    /* Cut short anywhere but between two files. */
    size_t n_whole = 0;
    for (size_t n = 0; n < b.n_bytes; n++) {
        n_whole += read_text((const char *)b.bytes, n, &g) == 0;
        run_files_release(&g);
    }
    assert_int_equal(n_whole, f.n_items);
    run_files_release(&f);
    buf_release(&b);
}

static void strange_files_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "1 /a\nx\n",        "1 a/../b\nx\n",    "1 .\nx\n", "1 a//b\nx\n",
        "1 \nx\n",          "1 a/\nx\n",        "-1 a\n\n", "99999999999999999999 a\nx\n",
        "1 b\nx\n1 a\nx\n", "1 a\nx\n1 a\nx\n", "2 a\nx\n", "1 a\nxy",
        "a\nx\n",           "1  a\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct run_files f;
        assert_int_equal(read_text(texts[i], strlen(texts[i]), &f), ERR_FORMAT);
        run_files_release(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_back),
        cmocka_unit_test(strange_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
