#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/report_findings.h"

/* The texts of the notices that a report's findings become, each behind a "|". JSON has ' for ".
 * The caller xfrees them. */
static char *notices_of(const char *text)
{
    char *real = xstrdup(text);
    for (char *p = real; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    struct json *report = NULL, *page = json_new_object();
    struct err e = {0};
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    assert_int_equal(json_parse(real, strlen(real), &report, &e), 0);
    findings_add_notices(page, "data", "stage-1", report);
    for (const struct json *n = json_items(page, "notices"); n; n = json_next(n)) {
        assert_string_equal(json_text(n, "section"), "stage-1");
        buf_printf(&out, "|%s", json_text(n, "text"));
    }
    json_free(report);
    json_free(page);
    xfree(real);
    return buf_steal(&out);
}

static void expect(const char *rows, const char *wanted)
{
    char *text =
        xasprintf("{'blocks': [{'type': 'table', 'title': 'Findings', 'rows': %s}]}", rows);
    char *found = notices_of(text);
    assert_string_equal(found, wanted);
    xfree(found);
    xfree(text);
}

static void findings_become_notices(void **state)
{
    (void)state;
    expect("[['a: b', 2, '1, 2'], ['c', 0, 'd'], ['e', 7, '']]", "|a: b (2): 1, 2|c: d|e (7)");
    expect("[]", "");
}

/* Reports are other programs' words: one of another form is no mistake of the engine. */
static void odd_reports(void **state)
{
    (void)state;
    static const char *const none[] = {
        "{}", "{'blocks': 3}", "{'blocks': [1, null, [], {'title': 'Findings'}]}",
        "{'blocks': [{'type': 'text', 'title': 'Findings', 'rows': [['a', 1, 'b']]}]}",
        "{'blocks': [{'type': 'table', 'title': 'Findings', 'rows': 'a'}]}"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        char *found = notices_of(none[i]);
        assert_string_equal(found, "");
        xfree(found);
    }
    expect("[3, [], {}, ['a'], [1, 'b', 2], ['a', 'b', 'c', 4], [null]]", "|?|?|?|a|?|a: c|?");
}

static void many_are_counted(void **state)
{
    (void)state;
    struct buf rows;
    buf_init(&rows, BUF_MAX_DEFAULT);
    for (int i = 0; i < 14; i++)
        buf_add_text(&rows, i ? ", ['a', 1, '']" : "['a', 1, '']");
    char *text = xasprintf("{'blocks': [{'type': 'table', 'title': 'Findings', 'rows': [%s]}]}",
                           buf_text(&rows));
    char *found = notices_of(text);
    assert_true(str_ends(found, "|a (1)|and 2 findings more"));
    xfree(found);
    xfree(text);
    buf_release(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings_become_notices),
        cmocka_unit_test(odd_reports),
        cmocka_unit_test(many_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
