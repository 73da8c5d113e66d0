#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <math.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/baseline.h"

#define FILE_OF BASELINE_ROOT "/task/quality.json"

static char folder[] = "/tmp/baseline_test_XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? chdir(folder) : -1;
}

static int teardown(void **state)
{
    struct err e = {0};
    (void)state;
    return chdir("/") == 0 ? file_remove_tree(folder, &e) : -1;
}

static void put(const char *text)
{
    struct err e = {0};
    assert_int_equal(file_make_parents(FILE_OF, &e), 0);
    assert_int_equal(file_write(FILE_OF, text, strlen(text), &e), 0);
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

static void damaged_files_are_named(void **state)
{
    static const char *const texts[] = {
        "{",
        "[]",
        "{\"schema\":1}",
        "{\"schema\":2,\"golden\":\"a\",\"metrics\":{}}",
        "{\"schema\":1,\"golden\":\"a\",\"metrics\":[]}",
        "{\"schema\":1,\"golden\":\"a\",\"metrics\":{},\"more\":1}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct baseline b;
        struct err e = {0};
        put(texts[i]);
        assert_true(baseline_read(&b, "task", "quality", "a", &e) < 0);
        assert_non_null(strstr(e.text, FILE_OF));
        assert_null(b.root);
    }
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

static void what_is_allowed(void **state)
{
    (void)state;
    /* One run: two standard errors of a difference; at the ends one row. */
    assert_true(fabs(allowed("{\"schema\":1,\"golden\":\"a\",\"runs\":[\"c\"],\"rows\":200,"
                             "\"metrics\":{\"m\":0.8}}") -
                     2 * sqrt(2 * 0.8 * 0.2 / 200)) < 1e-15);
    assert_true(allowed("{\"schema\":1,\"golden\":\"a\",\"runs\":[\"c\"],\"rows\":200,"
                        "\"metrics\":{\"m\":1}}") == 1.0 / 200);
    /* Three runs: their spread; two say too little about it. */
    assert_true(fabs(allowed("{\"schema\":1,\"golden\":\"a\",\"runs\":[\"c\",\"d\",\"e\"],"
                             "\"rows\":200,\"metrics\":{\"m\":0.8},\"spread\":{\"m\":0.01}}") -
                     3 * 0.01 * sqrt(4.0 / 3)) < 1e-15);
    assert_true(allowed("{\"schema\":1,\"golden\":\"a\",\"runs\":[\"c\",\"d\"],"
                        "\"rows\":200,\"metrics\":{\"m\":0.8},\"spread\":{\"m\":0.0001}}") > 0.07);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_only_for_its_golden_set),
        cmocka_unit_test(damaged_files_are_named),
        cmocka_unit_test(what_is_allowed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
