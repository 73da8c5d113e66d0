#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/jsonl.h"
#include "tests/unit/scratch.h"

static char path[64];

static void write_text(const char *text, size_t n_bytes)
{
    struct err e = {0};
    assert_int_equal(file_write(path, text, n_bytes, &e), 0);
}

static int setup(void **state)
{
    static const char form[] = "/tmp/jsonl_test_XXXXXX";
    (void)state;
    memcpy(path, form, sizeof form);
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void lines_and_ends(void **state)
{
    static const char text[] = "1\n\n \t\n2\r\n\r\n3";
    static const uint64_t numbers[] = {1, 4, 6};
    struct jsonl j;
    struct err e = {0};
    (void)state;
    write_text(text, sizeof text - 1);
    assert_int_equal(jsonl_open(&j, path, &e), 0);
    for (int i = 0; i < 3; i++) {
        struct json *v = NULL;
        assert_true(jsonl_next(&j));
        assert_int_equal(j.line, numbers[i]);
        assert_int_equal(j.n_text, 1);
        assert_int_equal(jsonl_value(&j, &v, &e), 0);
        assert_true(json_number(v) == i + 1);
        json_free(v);
    }
    assert_false(jsonl_next(&j));
    assert_int_equal(j.blank_lines, 3);
    jsonl_close(&j);
    jsonl_close(&j);
}

static void a_bad_line_ends_nothing(void **state)
{
    static const char text[] = "{\"a\":1,\"a\":2}\n\xEF\xBB\xBF{}\n{}\n";
    struct jsonl j;
    struct json *v = NULL;
    struct err e = {0};
    (void)state;
    write_text(text, sizeof text - 1);
    assert_int_equal(jsonl_open(&j, path, &e), 0);
    assert_true(jsonl_next(&j));
    assert_int_equal(jsonl_value(&j, &v, &e), ERR_FORMAT);
    assert_null(v);
    assert_non_null(strstr(e.text, "column "));
    e = (struct err){0};
    assert_true(jsonl_next(&j));
    assert_int_equal(jsonl_value(&j, &v, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "byte order mark"));
    e = (struct err){0};
    assert_true(jsonl_next(&j));
    assert_int_equal(jsonl_value(&j, &v, &e), 0);
    json_free(v);
    jsonl_close(&j);
}

static void line_limit(void **state)
{
    size_t n = (size_t)LIMIT_JSONL_LINE_BYTES;
    char *text = xalloc(n + 2);
    struct jsonl j;
    struct json *v = NULL;
    struct err e = {0};
    (void)state;
    memset(text, 'x', n + 1);
    text[0] = '"';
    text[n - 1] = '"';
    write_text(text, n);
    assert_int_equal(jsonl_open(&j, path, &e), 0);
    assert_true(jsonl_next(&j));
    assert_int_equal(jsonl_value(&j, &v, &e), 0);
    json_free(v);
    jsonl_close(&j);
    text[n - 1] = 'x';
    text[n] = '"';
    write_text(text, n + 1);
    assert_int_equal(jsonl_open(&j, path, &e), 0);
    assert_true(jsonl_next(&j));
    assert_int_equal(jsonl_value(&j, &v, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "LIMIT_JSONL_LINE_BYTES"));
    jsonl_close(&j);
    xfree(text);
}

static void packed_and_absent(void **state)
{
    static const char text[] = "1\n2\n";
    struct jsonl j;
    struct err e = {0};
    char packed[80];
    (void)state;
    memcpy(packed, path, strlen(path) + 1);
    memcpy(packed + strlen(path), ".zst", 5);
    scratch_put_zstd(packed, text, sizeof text - 1);
    assert_int_equal(jsonl_open(&j, packed, &e), 0);
    assert_true(jsonl_next(&j) && jsonl_next(&j) && !jsonl_next(&j));
    jsonl_close(&j);
    unlink(packed);
    assert_true(jsonl_open(&j, packed, &e) < 0);
    jsonl_close(&j);
    write_text("", 0);
    e = (struct err){0};
    assert_int_equal(jsonl_open(&j, path, &e), 0);
    assert_false(jsonl_next(&j));
    jsonl_close(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_ends),
        cmocka_unit_test(a_bad_line_ends_nothing),
        cmocka_unit_test(line_limit),
        cmocka_unit_test(packed_and_absent),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
