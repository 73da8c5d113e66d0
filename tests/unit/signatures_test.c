#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/signatures.h"

#define RUNS                                                                                 \
    "[{\"commit\":\"1111111111112222222222223333333333334444\",\"name\":\"tickets\","        \
    "\"ref\":\"refs/prov/tickets\",\"time\":1700000000,\"state\":\"good\",\"by\":\"ann@x\"," \
    "\"key\":\"ED25519 key SHA256:abc\"},"                                                   \
    "{\"commit\":\"2222222222223333333333334444444444445555\",\"name\":\"tickets\","         \
    "\"ref\":\"refs/prov/tickets\",\"time\":1700000001,\"state\":\"unsigned\"},"             \
    "{\"commit\":\"3333333333334444444444445555555555556666\",\"name\":\"mails\","           \
    "\"ref\":\"refs/prov/mails\",\"time\":1700000002,\"state\":\"bad\",\"reason\":\"why\"}]"

static struct json *parse(const char *text)
{
    struct json *v = NULL;
    struct err e = {0};
    assert_int_equal(json_parse(text, strlen(text), &v, &e), 0);
    return v;
}

static void each_run_has_its_line(void **state)
{
    (void)state;
    struct json *runs = parse(RUNS);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    signatures_to_text(runs, &b);
    assert_string_equal(
        buf_text(&b),
        "signatures\n"
        "  111111111111  2023-11-14 22:13:20  tickets: signed by ann@x (ED25519 key SHA256:abc)\n"
        "  222222222222  2023-11-14 22:13:21  tickets: unsigned\n"
        "  333333333333  2023-11-14 22:13:22  mails: BAD: why\n"
        "  3 runs: 1 signed, 1 unsigned, 1 bad\n");
    buf_release(&b);
    json_free(runs);
}

static void only_a_bad_one_is_damage(void **state)
{
    (void)state;
    struct json *runs = parse(RUNS);
    const struct json *run = json_first(runs);
    assert_null(signature_damage(run));
    run = json_next(run);
    assert_null(signature_damage(run));
    char *text = signature_damage(json_next(run));
    assert_string_equal(text, "run 333333333333 of mails: its signature is bad: why");
    xfree(text);
    json_free(runs);
}

/* A state that is not known is no good one. */
static void what_is_not_understood_is_bad(void **state)
{
    (void)state;
    static const char *const texts[] = {"[{}]", "[{\"state\":\"excellent\"}]", "[{\"state\":1}]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json *runs = parse(texts[i]);
        struct buf b;
        buf_init(&b, BUF_MAX_DEFAULT);
        signatures_to_text(runs, &b);
        assert_non_null(strstr(buf_text(&b), "0 signed, 0 unsigned, 1 bad"));
        char *damage = signature_damage(json_first(runs));
        assert_non_null(damage);
        xfree(damage);
        buf_release(&b);
        json_free(runs);
    }
}

static void no_run_is_no_table(void **state)
{
    (void)state;
    struct json *runs = parse("[]");
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    signatures_to_text(runs, &b);
    assert_string_equal(buf_text(&b), "");
    buf_release(&b);
    json_free(runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_run_has_its_line),
        cmocka_unit_test(only_a_bad_one_is_damage),
        cmocka_unit_test(what_is_not_understood_is_bad),
        cmocka_unit_test(no_run_is_no_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
