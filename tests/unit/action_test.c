#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/str.h"
#include "pipeline/store/action.h"

static struct action sample(void)
{
    struct action a = {.key = sha256_of("key", 3), .statement = sha256_of("statement", 9)};
    snprintf(a.stage, sizeof a.stage, "prep");
    snprintf(a.outputs[0].name, sizeof a.outputs[0].name, "train");
    snprintf(a.outputs[0].kind, sizeof a.outputs[0].kind, "tokens");
    a.outputs[0].id = sha256_of("one", 3);
    a.outputs[0].n_bytes = 123456789012;
    snprintf(a.outputs[1].name, sizeof a.outputs[1].name, "report");
    snprintf(a.outputs[1].kind, sizeof a.outputs[1].kind, "report");
    a.outputs[1].id = sha256_of("two", 3);
    a.outputs[1].is_folder = true;
    a.n_outputs = 2;
    return a;
}

static void a_record_comes_back(void **state)
{
    (void)state;
    struct action a = sample(), got;
    struct buf b, again;
    struct err e = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_init(&again, BUF_MAX_DEFAULT);
    action_write(&a, &b);
    assert_int_equal(action_parse(b.bytes, b.n_bytes, a.key.hex, &got, &e), 0);
    assert_int_equal(got.n_outputs, 2);
    assert_string_equal(got.outputs[0].name, "train");
    assert_true(got.outputs[0].n_bytes == 123456789012);
    assert_true(got.outputs[1].is_folder);
    assert_string_equal(got.statement.hex, a.statement.hex);
    action_write(&got, &again);
    assert_string_equal(buf_text(&again), buf_text(&b));
    /* Under another name it is not the record. */
    assert_int_equal(action_parse(b.bytes, b.n_bytes, a.statement.hex, &got, &e), ERR_FORMAT);
    buf_release(&b);
    buf_release(&again);
}

static void every_flip_and_cut_is_noticed(void **state)
{
    (void)state;
    struct action a = sample(), got;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    action_write(&a, &b);
    for (size_t i = 0; i < b.n_bytes; i++) {
        struct err e = {0}, cut = {0};
        b.bytes[i] ^= 1;
        assert_int_equal(action_parse(b.bytes, b.n_bytes, a.key.hex, &got, &e), ERR_FORMAT);
        b.bytes[i] ^= 1;
        assert_int_equal(action_parse(b.bytes, i, a.key.hex, &got, &cut), ERR_FORMAT);
    }
    buf_release(&b);
}

/* A sound second line does not make a wrong first line right. */
static void wrong_records_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "[]",
        "{}",
        "{\"schema\":2}",
        "{\"schema\":1,\"key\":\"KEY\",\"stage\":\"x\",\"outputs\":[],\"more\":1}",
        "{\"schema\":1,\"key\":\"KEY\",\"stage\":\"x\",\"outputs\":{}}",
        "{\"schema\":1,\"key\":\"KEY\",\"stage\":\"x\",\"outputs\":[1]}",
        "{\"schema\":1,\"key\":\"KEY\",\"stage\":\"x\",\"outputs\":[{\"name\":\"a\",\"kind\":\"b\","
        "\"id\":\"12\",\"folder\":false,\"bytes\":1}]}",
        "{\"schema\":1,\"key\":\"KEY\",\"stage\":\"x\",\"outputs\":[{\"name\":\"a\",\"kind\":\"b\","
        "\"id\":\"KEY\",\"folder\":false,\"bytes\":-1}]}",
    };
    struct content_id key = sha256_of("key", 3);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct buf b;
        struct err e = {0};
        struct action got;
        buf_init(&b, BUF_MAX_DEFAULT);
        const char *p = lines[i];
        for (const char *at = NULL; (at = strstr(p, "KEY")) != NULL; p = at + 3) {
            buf_add(&b, p, (size_t)(at - p));
            buf_add_text(&b, key.hex);
        }
        buf_add_text(&b, p);
        struct content_id sum = sha256_of(b.bytes, b.n_bytes);
        buf_printf(&b, "\n%s\n", sum.hex);
        assert_int_equal(action_parse(b.bytes, b.n_bytes, key.hex, &got, &e), ERR_FORMAT);
        buf_release(&b);
    }
}

/* Where it came from: of any length that the manifest allows, and no longer. */
static void an_origin_comes_back(void **state)
{
    (void)state;
    struct action a = sample(), got;
    struct buf b;
    struct err e = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    memset(a.origin, 'u', sizeof a.origin - 1);
    action_write(&a, &b);
    assert_int_equal(action_parse(b.bytes, b.n_bytes, a.key.hex, &got, &e), 0);
    assert_string_equal(got.origin, a.origin);
    /* One byte more, in a record that is whole else. */
    struct buf longer;
    buf_init(&longer, BUF_MAX_DEFAULT);
    const char *text = buf_text(&b), *at = strstr(text, "uuu");
    buf_add(&longer, text, (size_t)(at - text));
    buf_add_char(&longer, 'u');
    buf_add(&longer, at, strcspn(at, "\n"));
    struct content_id sum = sha256_of(longer.bytes, longer.n_bytes);
    buf_printf(&longer, "\n%s\n", sum.hex);
    assert_int_equal(action_parse(longer.bytes, longer.n_bytes, a.key.hex, &got, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "origin: longer than 255 bytes"));
    buf_release(&longer);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back),
        cmocka_unit_test(every_flip_and_cut_is_noticed),
        cmocka_unit_test(wrong_records_are_refused),
        cmocka_unit_test(an_origin_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
