#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/engine/gates.h"

static const struct yaml_doc doc = {.path = (char *)"m.yaml"};
static const struct doc_node node = {.mark = {3, 5}};

static enum gate_verdict judge(const char *text, double own, double other, double baseline)
{
    struct gate g;
    struct err e = {0};
    int rc = gate_parse(&doc, &node, text, &g, &e);
    if (rc < 0)
        fail_msg("%s", e.text);
    struct json *a = json_new_object(), *b = json_new_object(), *c = json_new_object();
    json_put_f64(a, "m", own);
    json_put_f64(b, "m", other);
    json_put_f64(c, "m", baseline);
    struct gate_result r = gate_judge(&g, a, b, baseline < 0 ? NULL : c);
    json_free(a);
    json_free(b);
    json_free(c);
    gate_release(&g);
    return r.verdict;
}

static void numbers(void **state)
{
    (void)state;
    assert_int_equal(judge("m >= 0.9", 0.9, 0, 0), GATE_HOLDS);
    assert_int_equal(judge("m > 0.9", 0.9, 0, 0), GATE_FAILS);
    assert_int_equal(judge("m <= 0.9", 0.9, 0, 0), GATE_HOLDS);
    assert_int_equal(judge("m < 0.9", 0.89, 0, 0), GATE_HOLDS);
    assert_int_equal(judge("m == 5", 5, 0, 0), GATE_HOLDS);
    assert_int_equal(judge("  m   >=  5 ", 4, 0, 0), GATE_FAILS);
}

static void another_stage(void **state)
{
    (void)state;
    assert_int_equal(judge("m > lookup.m", 0.9, 0.8, 0), GATE_HOLDS);
    assert_int_equal(judge("m > lookup.m", 0.8, 0.8, 0), GATE_FAILS);
    assert_int_equal(judge("m > lookup.nothing", 0.8, 0.1, 0), GATE_FAILS);
}

static void drop_against_a_baseline(void **state)
{
    (void)state;
    assert_int_equal(judge("m drop <= 0.01", 0.90, 0, 0.905), GATE_HOLDS);
    assert_int_equal(judge("m drop <= 0.01", 0.88, 0, 0.905), GATE_FAILS);
    assert_int_equal(judge("m drop <= 0.01", 0.95, 0, 0.905), GATE_HOLDS);
    assert_int_equal(judge("m drop <= 0.01", 0.88, 0, -1), GATE_NO_BASELINE);
}

static void a_missing_metric_fails(void **state)
{
    (void)state;
    struct gate g;
    struct err e = {0};
    assert_int_equal(gate_parse(&doc, &node, "x >= 1", &g, &e), 0);
    struct json *empty = json_new_object();
    struct gate_result r = gate_judge(&g, empty, NULL, NULL);
    assert_int_equal(r.verdict, GATE_FAILS);
    assert_non_null(strstr(r.note, "no metric `x`"));
    assert_int_equal(gate_judge(&g, NULL, NULL, NULL).verdict, GATE_FAILS);
    json_free(empty);
    gate_release(&g);
}

static const char *note_of(const char *text, const struct json *own, const struct json *other,
                           const struct json *baseline, struct gate_result *r)
{
    struct gate g;
    struct err e = {0};
    assert_int_equal(gate_parse(&doc, &node, text, &g, &e), 0);
    *r = gate_judge(&g, own, other, baseline);
    assert_int_equal(r->verdict, GATE_FAILS);
    gate_release(&g);
    return r->note;
}

static void a_missing_metric_has_the_nearest_named(void **state)
{
    struct gate_result r;
    struct json *own = json_new_object(), *other = json_new_object(), *many = json_new_object();
    (void)state;
    json_put_f64(own, "team_match", 0.9);
    json_put_f64(own, "exact_match", 0.5);
    json_put_string(own, "tem_match", "no number");
    json_put_f64(other, "tam_match", 0.9);
    assert_string_equal(
        note_of("tem_match >= 1", own, NULL, NULL, &r),
        "there is no metric `tem_match`; there are team_match, exact_match; did you "
        "mean `team_match`?");
    assert_string_equal(note_of("zzz >= 1", own, NULL, NULL, &r),
                        "there is no metric `zzz`; there are team_match, exact_match");
    assert_string_equal(note_of("team_match > lookup.team_match", own, other, NULL, &r),
                        "lookup has no metric `team_match`; there is tam_match; did you mean "
                        "`tam_match`?");
    assert_string_equal(note_of("team_match drop <= 0.1", own, NULL, other, &r),
                        "the baseline has no metric `team_match`: name another, or remove the "
                        "baseline and accept a run; there is tam_match; did you mean `tam_match`?");
    /* More names than a note holds. */
    for (int i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "a_metric_of_number_%d", i);
        json_put_f64(many, name, i);
    }
    assert_non_null(strstr(note_of("a_metric >= 1", many, NULL, NULL, &r), "a_metric_of_number_9"));
    assert_non_null(strstr(note_of("a_metric_of_nunber_77 >= 1", many, NULL, NULL, &r),
                           "; did you mean `a_metric_of_number_77`?"));
    json_free(own);
    json_free(other);
    json_free(many);
}

static void bad_texts_have_a_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "m",           "m >=",          "m => 1",
                                      "m >= x",   "m drop >= 1", "m drop <= a.b", "m >= 1 2",
                                      "a b >= 1", "m >= nan",    "m >= .m",       "m-x >= 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct gate g;
        struct err e = {0};
        assert_int_equal(gate_parse(&doc, &node, bad[i], &g, &e), ERR_CONFIG);
        assert_non_null(strstr(e.text, "m.yaml:3:5: gate `"));
        gate_release(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(another_stage),
        cmocka_unit_test(drop_against_a_baseline),
        cmocka_unit_test(a_missing_metric_fails),
        cmocka_unit_test(a_missing_metric_has_the_nearest_named),
        cmocka_unit_test(bad_texts_have_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
