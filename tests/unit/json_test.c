#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static void takes(const char *text)
{
    struct err e = {0};
    struct json *v = NULL;
    if (json_parse(text, strlen(text), &v, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    json_free(v);
}

static void refuses(const char *text, const char *reason)
{
    struct err e = {0};
    struct json *v = NULL;
    if (json_parse(text, strlen(text), &v, &e) == 0)
        fail_msg("%s was taken", text);
    assert_int_equal(e.code, ERR_FORMAT);
    if (strstr(e.text, reason) == NULL)
        fail_msg("%s: expected the reason \"%s\", found \"%s\"", text, reason, e.text);
}

static void test_takes(void **state)
{
    (void)state;
    takes("{}");
    takes(" [1, -0, 2.5e-3, true, false, null, \"a\\u00e9\\ud83d\\ude00\"] ");
    takes("{\"a\": {\"a\": 1}, \"b\": [{\"a\": 2}]}");
    takes("9007199254740992");
    takes("0.00000000000000000000000000000000000000000000000000000000000000000000001");
}

static void test_refuses(void **state)
{
    (void)state;
    refuses("", "1:1: expected a JSON value, found the end");
    refuses("[1,]", "1:4: expected a JSON value, found ']'");
    refuses("{\"a\": 1,\n \"a\": 2}", "2:2: the key \"a\" stands twice");
    refuses("{\"a\": 1, \"\\u0061\": 2}", "stands twice");
    refuses("[01]", "leading zero");
    refuses("{\"\":1,\"\":2}", "the key \"\" stands twice");
    refuses("[1] 2", "more text behind");
    refuses("\"\\u0000\"", "NUL");
    refuses("\"\\ud800\"", "surrogate");
    refuses("\"\\udc00\"", "surrogate");
    refuses("\"a\nb\"", "control character");
    refuses("\"\xff\"", "UTF-8");
    refuses("\xef\xbb\xbf{}", "byte order mark");
    refuses("9007199254740993", "2^53");
    refuses("[-100000000000000000001]", "2^53");
    refuses("1000000000000000000000", "2^53");
    refuses("1e999", "too large");
    refuses("NaN", "expected a JSON value");
    refuses("'a'", "expected a JSON value");
    char deep[200];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    refuses(deep, "64");
}

static void test_depth_limit(void **state)
{
    (void)state;
    char text[129];
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    text[128] = 0;
    takes(text);
}

static void check_number(double v, const char *expected)
{
    struct buf b;
    buf_init(&b, 100);
    json_add_number(&b, v);
    assert_string_equal(buf_text(&b), expected);
    buf_release(&b);
}

/* An array of n ones has n + 1 values; a scan builds nothing. */
static int scan_ones(size_t n, struct err *e)
{
    char *text = xalloc(2 * n + 2);
    for (size_t i = 0; i < n; i++) {
        text[1 + 2 * i] = '1';
        text[2 + 2 * i] = ',';
    }
    text[0] = '[';
    text[2 * n] = ']';
    int rc = json_scan(text, 2 * n + 1, NULL, e);
    xfree(text);
    return rc;
}

static void test_value_limit(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(scan_ones(LIMIT_JSON_VALUES - 1, &e), 0);
    assert_int_equal(scan_ones(LIMIT_JSON_VALUES, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "LIMIT_JSON_VALUES"));
}

/* Values and texts of RFC 8785 appendix B and ECMA-262. */
static void test_numbers(void **state)
{
    (void)state;
    check_number(0.0, "0");
    check_number(-0.0, "0");
    check_number(5e-324, "5e-324");
    check_number(-5e-324, "-5e-324");
    check_number(1.7976931348623157e308, "1.7976931348623157e+308");
    check_number(9007199254740992, "9007199254740992");
    check_number(295147905179352830000.0, "295147905179352830000");
    check_number(9.999999999999997e22, "9.999999999999997e+22");
    check_number(1e23, "1e+23");
    check_number(1e21, "1e+21");
    check_number(1e20, "100000000000000000000");
    check_number(0.000001, "0.000001");
    check_number(1e-7, "1e-7");
    check_number(333333333.33333329, "333333333.3333333");
    check_number(-0.0000033333333333333333, "-0.0000033333333333333333");
    check_number(1424953923781206.2, "1424953923781206.2");
    check_number(0.1, "0.1");
    check_number(100, "100");
    takes("[295147905179352830000,-100000000000000000000]");
}

static void test_seconds(void **state)
{
    struct json *v = json_new_object();
    struct buf b;
    (void)state;
    json_put_seconds(v, "a", 0.010163079999387264);
    json_put_seconds(v, "b", 1e-7);
    json_put_seconds(v, "c", 86400.1234565);
    buf_init(&b, 1000);
    json_write_canonical(v, &b);
    assert_string_equal(buf_text(&b), "{\"a\":0.010163,\"b\":0,\"c\":86400.123457}");
    buf_release(&b);
    json_free(v);
}

/* The sorting example of RFC 8785 3.2.3 and its strings. */
static void test_canonical(void **state)
{
    (void)state;
    const char *text =
        "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew\","
        "\"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji\",\"\\u0080\":\"Control\","
        "\"\\u00f6\":\"Latin\"}";
    struct err e = {0};
    struct json *v = NULL;
    assert_int_equal(json_parse(text, strlen(text), &v, &e), 0);
    struct buf b;
    buf_init(&b, 4096);
    json_write_canonical(v, &b);
    assert_string_equal(buf_text(&b),
                        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xc2\x80\":\"Control\","
                        "\"\xc3\xb6\":\"Latin\",\"\xe2\x82\xac\":\"Euro Sign\","
                        "\"\xf0\x9f\x98\x80\":\"Emoji\",\"\xef\xac\xb3\":\"Hebrew\"}");
    json_free(v);
    buf_clear(&b);
    v = json_new_object();
    json_put_string(v, "text", "a\"\\\n\x01/");
    json_put_i64(v, "n", -3);
    json_put(v, "list", json_new_array());
    json_put_bool(v, "yes", true);
    json_write_canonical(v, &b);
    assert_string_equal(buf_text(&b),
                        "{\"list\":[],\"n\":-3,\"text\":\"a\\\"\\\\\\n\\u0001/\",\"yes\":true}");
    json_free(v);
    buf_release(&b);
}

/* Members that may be absent or of another type, of an object that may be none. */
static void test_members(void **state)
{
    const char *text = "{\"t\":\"x\",\"n\":1.5,\"yes\":true,\"no\":false,\"list\":[7],\"none\":[],"
                       "\"null\":null}";
    struct json *v = NULL;
    struct err e = {0};
    (void)state;
    assert_int_equal(json_parse(text, strlen(text), &v, &e), 0);
    assert_string_equal(json_text(v, "t"), "x");
    assert_string_equal(json_text_or(v, "t", "?"), "x");
    assert_string_equal(json_find_text(v, "t"), "x");
    assert_true(json_number_or(v, "n", 7) == 1.5);
    assert_true(json_is_true(v, "yes"));
    assert_false(json_is_true(v, "no"));
    assert_true(json_number(json_items(v, "list")) == 7);
    assert_null(json_items(v, "none"));
    const struct json *others[] = {v, json_get(v, "list"), json_get(v, "null"), NULL};
    const char *keys[] = {"absent", "null", "T"};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++) {
            assert_string_equal(json_text(others[i], keys[k]), "");
            assert_string_equal(json_text_or(others[i], keys[k], "?"), "?");
            assert_null(json_find_text(others[i], keys[k]));
            assert_true(json_number_or(others[i], keys[k], 7) == 7);
            assert_false(json_is_true(others[i], keys[k]));
            assert_null(json_items(others[i], keys[k]));
        }
    assert_string_equal(json_text(v, "n"), "");
    assert_true(json_number_or(v, "t", -1) == -1);
    assert_false(json_is_true(v, "n"));
    assert_null(json_items(v, "t"));
    assert_null(json_items(json_get(v, "list"), "t"));
    json_free(v);
}

static void test_need(void **state)
{
    (void)state;
    const char *text = "{\"a\": 1.5, \"b\": \"x\", \"c\": 7}";
    struct json *v = NULL;
    struct err e = {0};
    assert_int_equal(json_parse(text, strlen(text), &v, &e), 0);
    int64_t n = 0;
    assert_int_equal(json_need_i64(v, "c", &n, &e), 0);
    assert_int_equal(n, 7);
    assert_int_equal(json_need_i64(v, "a", &n, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "whole number"));
    e = (struct err){0};
    const char *s = NULL;
    assert_int_equal(json_need_string(v, "d", &s, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "\"d\" is missing"));
    e = (struct err){0};
    const char *known[] = {"a", "b", "cc"};
    assert_int_equal(json_only_keys(v, known, 3, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "unknown key \"c\""));
    json_free(v);
}

/* JSONTestSuite: n_ is refused; y_ is taken but for what this reader refuses by design (repeated
 * keys, an escaped NUL). */
static void test_suite(void **state)
{
    (void)state;
    const char *folder = "../shared/data/json_parsing";
    struct file_list files = {0};
    struct err e = {0};
    if (file_list_folder(folder, &files, &e) != 0) {
        printf("skipped: %s is not here\n", folder);
        skip();
    }
    static const char *const by_design[] = {
        "y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json",
        "y_string_null_escape.json", "y_object_escaped_null_in_key.json"};
    int n_checked = 0;
    for (size_t i = 0; i < files.n_paths; i++) {
        const char *name = files.paths[i];
        if (!str_ends(name, ".json"))
            continue;
        char *path = file_join(folder, name);
        struct json *v = NULL;
        struct err found = {0};
        int rc = json_read(path, &v, &found);
        bool designed = false;
        for (size_t k = 0; k < 4; k++)
            designed = designed || str_eq(name, by_design[k]);
        if (str_starts(name, "n_") && rc == 0)
            fail_msg("%s was taken", name);
        if (str_starts(name, "y_") && !designed && rc != 0)
            fail_msg("%s was refused: %s", name, found.text);
        n_checked++;
        json_free(v);
        xfree(path);
    }
    file_list_release(&files);
    assert_true(n_checked > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes),       cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_depth_limit), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_canonical),   cmocka_unit_test(test_members),
        cmocka_unit_test(test_need),        cmocka_unit_test(test_suite),
        cmocka_unit_test(test_value_limit), cmocka_unit_test(test_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
