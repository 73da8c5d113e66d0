#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/str.h"

static void test_integers(void **state)
{
    (void)state;
    int64_t i = 0;
    uint64_t u = 0;
    assert_true(str_to_i64("0", &i) && i == 0);
    assert_true(str_to_i64("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(str_to_i64("9223372036854775807", &i) && i == INT64_MAX);
    assert_true(str_to_u64("18446744073709551615", &u) && u == UINT64_MAX);
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "9223372036854775808",
                                      "-9223372036854775809"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        assert_false(str_to_i64(bad[k], &i));
    assert_false(str_to_u64("18446744073709551616", &u));
}

static void test_floats(void **state)
{
    (void)state;
    double v = 0;
    assert_true(str_to_f64("1e-4", &v) && v == 1e-4);
    assert_true(str_to_f64("-2.50", &v) && v == -2.5);
    static const char *const bad[] = {"", "nan", "inf", "1.", ".5", "0x1p3", "1e", "1e999", "1,5"};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
        assert_false(str_to_f64(bad[k], &v));
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t n = 0;
    assert_true(str_to_bytes("512", &n) && n == 512);
    assert_true(str_to_bytes("20M", &n) && n == (uint64_t)20 << 20);
    assert_true(str_to_bytes("8G", &n) && n == (uint64_t)8 << 30);
    assert_false(str_to_bytes("8g", &n));
    assert_false(str_to_bytes("M", &n));
    assert_false(str_to_bytes("99999999999T", &n));
}

static void test_words(void **state)
{
    (void)state;
    assert_true(str_is_word("support_desk"));
    assert_false(str_is_word("support-desk"));
    assert_false(str_is_word(""));
    assert_true(str_is_hex("00ff", 4));
    assert_false(str_is_hex("00FF", 4));
    assert_false(str_is_hex("00ff0", 4));
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"epochs", "learning_rate", "rank"};
    assert_string_equal(str_nearest("epoch", names, 3), "epochs");
    assert_string_equal(str_nearest("lerning_rate", names, 3), "learning_rate");
    assert_string_equal(str_nearest("rnak", names, 3), "rank");
    assert_null(str_nearest("temperature", names, 3));
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    assert_int_equal(str_distance("", "abc"), 3);
}

static void test_utf8(void **state)
{
    (void)state;
    static const char good[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
    assert_int_equal(str_utf8_prefix(good, sizeof good - 1), sizeof good - 1);
    assert_int_equal(str_utf8_prefix("a\xc0\x80", 3), 1);        /* overlong NUL */
    assert_int_equal(str_utf8_prefix("ab\xed\xa0\x80", 5), 2);   /* surrogate */
    assert_int_equal(str_utf8_prefix("\xf4\x90\x80\x80", 4), 0); /* past U+10FFFF */
    assert_int_equal(str_utf8_prefix("abc\xe2\x82", 5), 3);      /* cut off */
}

static void test_format(void **state)
{
    (void)state;
    char text[24];
    assert_string_equal(str_format_bytes(1536, text), "1.5 KiB");
    assert_string_equal(str_format_bytes(0, text), "0 B");
    assert_string_equal(str_format_bytes(UINT64_MAX, text), "16.0 EiB");
    assert_string_equal(str_format_seconds(75.2, text), "1 min 15 s");
    assert_string_equal(str_format_seconds(0.0123, text), "12.3 ms");
}

static void test_err(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_FORMAT, "truncated at byte %d", 8), ERR_FORMAT);
    assert_int_equal(err_set(&e, ERR_IO, "a later cause"), ERR_FORMAT);
    assert_int_equal(err_wrap(&e, "step %d", 12), ERR_FORMAT);
    assert_string_equal(e.text, "step 12: truncated at byte 8");
    char longest[ERR_TEXT_BYTES * 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(err_wrap(&e, "%s", longest), ERR_FORMAT);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
}

static void test_buf(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 16);
    assert_string_equal(buf_text(&b), "");
    buf_printf(&b, "%s-%d", "abc", 42);
    assert_string_equal(buf_text(&b), "abc-42");
    assert_true(buf_fits(&b, 10));
    assert_false(buf_fits(&b, 11));
    buf_release(&b);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers), cmocka_unit_test(test_floats),
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_words),
        cmocka_unit_test(test_nearest),  cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_format),   cmocka_unit_test(test_err),
        cmocka_unit_test(test_buf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
