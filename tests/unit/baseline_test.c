#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <math.h>

#include "pipeline/base/xalloc.h"
#include "pipeline/engine/baseline.h"
#include "tests/unit/scratch.h"

#define FILE_OF BASELINE_ROOT "/task/quality.json"

static char folder[SCRATCH_BYTES];

static int setup(void **state)
{
    (void)state;
    return scratch_open(folder) == 0 ? chdir(folder) : -1;
}

static int teardown(void **state)
{
    (void)state;
    return chdir("/") == 0 ? scratch_remove(folder) : -1;
}

static void put(const char *text)
{
    scratch_put(".", FILE_OF, text);
}

static void read_only_for_its_golden_set(void **state)
{
    struct baseline b;
    struct err e = {0};
    (void)state;
    assert_int_equal(baseline_read(&b, "task", "absent", "aa", &e), 0);
    assert_null(b.metrics);
    assert_false(b.is_of_another_set);
    put("{\"schema\":1,\"golden\":\"aa\",\"runs\":[\"c\"],\"rows\":100,\"metrics\":{\"m\":0.9}}");
    assert_int_equal(baseline_read(&b, "task", "quality", "aa", &e), 0);
    assert_true(json_number(json_get(b.metrics, "m")) == 0.9);
    baseline_release(&b);
    assert_int_equal(baseline_read(&b, "task", "quality", "bb", &e), 0);
    assert_null(b.metrics);
    assert_true(b.is_of_another_set);
    baseline_release(&b);
    assert_int_equal(baseline_read(&b, "task", "quality", NULL, &e), 0);
    assert_true(b.is_of_another_set);
    baseline_release(&b);
}

#define BASE(schema, rows, metrics, more)                                      \
    ("{\"schema\":" schema ",\"golden\":\"a\",\"runs\":[\"c\"],\"rows\":" rows \
     ",\"metrics\":" metrics more "}")

static void damaged_files_are_named(void **state)
{
    static const char *const texts[] = {
        "{",
        "[]",
        "{\"schema\":1}",
        BASE("2", "5", "{}", ""),
        BASE("1", "0", "{}", ""),
        BASE("1", "-10", "{}", ""),
        BASE("1", "0.5", "{}", ""),
        BASE("1", "5", "[]", ""),
        BASE("1", "5", "{\"m\":\"x\"}", ""),
        BASE("1", "5", "{}", ",\"more\":1"),
        BASE("1", "5", "{\"m\":1}", ",\"spread\":{\"m\":-1}"),
        BASE("1", "5", "{\"m\":1}", ",\"spread\":{\"m\":[]}"),
        "{\"schema\":1,\"golden\":\"a\",\"rows\":5,\"metrics\":{}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct baseline b;
        struct err e = {0};
        put(texts[i]);
        assert_true(baseline_read(&b, "task", "quality", "a", &e) < 0);
        assert_non_null(strstr(e.text, FILE_OF));
        assert_non_null(strstr(e.text, "put it back with git"));
        assert_null(b.root);
    }
}

static void another_owner_is_named(void **state)
{
    struct baseline b;
    struct err e = {0};
    (void)state;
    put(BASE("1", "5", "{\"m\":1}", ",\"manifest\":\"task\""));
    assert_int_equal(baseline_read(&b, "task", "quality", "a", &e), 0);
    assert_non_null(b.metrics);
    baseline_release(&b);
    put(BASE("1", "5", "{\"m\":1}", ",\"manifest\":\"other\""));
    assert_int_equal(baseline_read(&b, "task", "quality", "a", &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, FILE_OF ": a baseline of the manifest other, not of task"));
    assert_null(b.metrics);
    e = (struct err){0};
    put(BASE("1", "5", "{\"m\":1}", ",\"manifest\":5"));
    assert_int_equal(baseline_read(&b, "task", "quality", "a", &e), ERR_FORMAT);
    e = (struct err){0};
    put(BASE("1", "5", "{\"m\":1}", ",\"instance\":\"quality\""));
    assert_int_equal(baseline_read(&b, "task", "quality", "a", &e), 0);
    baseline_release(&b);
    put(BASE("1", "5", "{\"m\":1}", ",\"instance\":\"bare\""));
    assert_int_equal(baseline_read(&b, "task", "quality", "a", &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, FILE_OF ": a baseline of the instance bare, not of quality"));
}

static void a_share_in_percent_is_named(void **state)
{
    struct baseline b;
    struct err e = {0};
    (void)state;
    put(BASE("1", "5", "{\"m\":55,\"n\":-0.5,\"one\":1,\"zero\":0}", ""));
    assert_int_equal(baseline_read(&b, "task", "quality", "a", &e), 0);
    assert_int_equal(baseline_check_share(&b, "one", 0.5, &e), 0);
    assert_int_equal(baseline_check_share(&b, "zero", 0.5, &e), 0);
    assert_int_equal(baseline_check_share(&b, "absent", 0.5, &e), 0);
    /* Counts are shown. */
    assert_int_equal(baseline_check_share(&b, "m", 0, &e), 0);
    assert_int_equal(baseline_check_share(&b, "m", 1, &e), 0);
    assert_int_equal(baseline_check_share(&b, "m", 40.5, &e), 0);
    assert_int_equal(baseline_check_share(&b, "m", 0.55, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, FILE_OF ": metrics: \"m\" is 55, and 0.55 in this run: "
                                           "expected a share from 0 to 1"));
    e = (struct err){0};
    assert_int_equal(baseline_check_share(&b, "n", 0.55, &e), ERR_FORMAT);
    baseline_release(&b);
    baseline_release(&b);
    /* None, and one of another set, say nothing. */
    e = (struct err){0};
    assert_int_equal(baseline_read(&b, "task", "quality", "b", &e), 0);
    assert_int_equal(baseline_check_share(&b, "m", 0.55, &e), 0);
    baseline_release(&b);
    assert_int_equal(baseline_read(&b, "task", "absent", "a", &e), 0);
    assert_int_equal(baseline_check_share(&b, "m", 0.55, &e), 0);
    baseline_release(&b);
}

static double allowed(const char *text)
{
    struct baseline b;
    struct err e = {0};
    put(text);
    assert_int_equal(baseline_read(&b, "task", "quality", "a", &e), 0);
    double v = baseline_allowed(&b, "m");
    baseline_release(&b);
    return v;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-15;
}

static void what_is_allowed(void **state)
{
    (void)state;
    /* One run: two standard errors of a difference, also of a share that was 1. */
    double p = (0.8 * 200 + 1) / 202;
    assert_true(
        near(allowed(BASE("1", "200", "{\"m\":0.8}", "")), 2 * sqrt(2 * p * (1 - p) / 200)));
    p = 201.0 / 202;
    assert_true(near(allowed(BASE("1", "200", "{\"m\":1}", "")), 2 * sqrt(2 * p * (1 - p) / 200)));
    assert_true(allowed(BASE("1", "1", "{\"m\":0.5}", "")) == 1);
    /* Five runs: their spread, though never less than a row; four say too little about it. */
    static const char *const five =
        "{\"schema\":1,\"golden\":\"a\",\"runs\":[\"c\",\"d\",\"e\",\"f\",\"g\"],\"rows\":200,"
        "\"metrics\":{\"m\":0.8},\"spread\":{\"m\":0.01}}";
    assert_true(near(allowed(five), 4 * 0.01 * sqrt(6.0 / 5)));
    assert_true(allowed("{\"schema\":1,\"golden\":\"a\",\"runs\":[\"c\",\"d\",\"e\",\"f\",\"g\"],"
                        "\"rows\":200,\"metrics\":{\"m\":0.8},\"spread\":{\"m\":1e-9}}") ==
                1.0 / 200);
    assert_true(allowed("{\"schema\":1,\"golden\":\"a\",\"runs\":[\"c\",\"d\",\"e\",\"f\"],"
                        "\"rows\":200,\"metrics\":{\"m\":0.8},\"spread\":{\"m\":1e-9}}") > 0.07);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_only_for_its_golden_set),
        cmocka_unit_test(damaged_files_are_named),
        cmocka_unit_test(another_owner_is_named),
        cmocka_unit_test(a_share_in_percent_is_named),
        cmocka_unit_test(what_is_allowed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
