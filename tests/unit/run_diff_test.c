#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/run_diff.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct json *parse(const char *text)
{
    struct json *v = NULL;
    struct err e = {0};
    assert_int_equal(json_parse(text, strlen(text), &v, &e), 0);
    return v;
}

static void add_file(struct json *files, const char *path, const char *text)
{
    struct json *o = json_new_object();
    json_put_string(o, "path", path);
    json_put_string(o, "text", text);
    json_append(files, o);
}

/* A run of one stage with one parameter, input, output and gate. */
static struct run_record make_run(int epochs, const char *input, const char *output, double value)
{
    struct run_record r = {0};
    struct json *files = json_new_array();
    char *recipe = xasprintf("{\"binary\":\"%s\",\"config\":{\"epochs\":%d},\"inputs\":{\"train\":"
                             "\"%s\"},\"libraries\":{},\"outputs\":[\"checkpoint\"],\"profile\":{"
                             "\"portable\":true},\"schema\":1,\"stage\":\"train\"}",
                             ID_A, epochs, input);
    char *run = xasprintf(
        "{\"schema\":1,\"name\":\"tickets\",\"status\":\"ok\",\"started\":\"2026-01-01T00:00:00."
        "000Z\",\"manifest\":\"%s\",\"set\":[],\"stages\":[{\"stage\":\"adapter\",\"status\":"
        "\"executed\",\"inputs\":[{\"name\":\"train\",\"from\":\"data.train\",\"id\":\"%s\"}],"
        "\"outputs\":[{\"name\":\"checkpoint\",\"kind\":\"adapter\",\"id\":\"%s\"}]}],\"gates\":[{"
        "\"stage\":\"adapter\",\"gate\":\"rows >= 4\",\"value\":%g,\"verdict\":\"%s\"}]}",
        ID_A, input, output, value, value >= 4 ? "holds" : "fails");
    add_file(files, "stages/adapter/recipe.json", recipe);
    add_file(files, "toolkits/nano-0.1/toolkit.yaml", "name: nano\n");
    r.shown = json_new_object();
    json_put(r.shown, "files", files);
    r.root = parse(run);
    r.commit = "0123456789abcdef0123456789abcdef01234567";
    r.name = json_find_text(r.root, "name");
    xfree(run);
    xfree(recipe);
    return r;
}

static struct json *compare(struct run_record *a, struct run_record *b, struct buf *text)
{
    struct json *diff = run_diff(a, b, NULL);
    buf_init(text, BUF_MAX_DEFAULT);
    run_diff_to_text(diff, text);
    return diff;
}

static void equal_runs_have_no_difference(void **state)
{
    (void)state;
    struct run_record a = make_run(2, ID_A, ID_A, 4), b = make_run(2, ID_A, ID_A, 4);
    struct buf text;
    struct json *diff = compare(&a, &b, &text);
    assert_true(json_bool(json_get(diff, "same")));
    assert_null(json_items(diff, "run"));
    assert_null(json_items(diff, "gates"));
    assert_string_equal(json_find_text(json_items(diff, "stages"), "status"), "same");
    assert_non_null(strstr(buf_text(&text), "the same in 1 stages"));
    buf_release(&text);
    json_free(diff);
    run_record_release(&a);
    run_record_release(&b);
}

static void each_field_is_named_with_both_values(void **state)
{
    (void)state;
    struct run_record a = make_run(2, ID_A, ID_A, 4), b = make_run(3, ID_B, ID_B, 3);
    struct buf text;
    struct json *diff = compare(&a, &b, &text);
    assert_false(json_bool(json_get(diff, "same")));
    const struct json *stage = json_items(diff, "stages");
    assert_string_equal(json_find_text(stage, "status"), "changed");
    const struct json *change = json_items(stage, "changes");
    assert_string_equal(json_find_text(change, "field"), "config.epochs");
    assert_true(json_number(json_get(change, "old")) == 2);
    assert_true(json_number(json_get(change, "new")) == 3);
    change = json_next(change);
    assert_string_equal(json_find_text(change, "field"), "inputs.train");
    assert_string_equal(json_find_text(change, "from"), "data.train");
    assert_string_equal(json_find_text(change, "old"), ID_A);
    assert_null(json_next(change));
    assert_string_equal(json_find_text(json_items(stage, "outputs"), "new"), ID_B);
    const struct json *gate = json_items(diff, "gates");
    assert_string_equal(json_find_text(json_get(gate, "new"), "verdict"), "fails");
    assert_non_null(strstr(buf_text(&text), "rows >= 4  4 holds -> 3 fails"));
    assert_non_null(strstr(buf_text(&text), "bbbbbbbbbbbb  (data.train)"));
    buf_release(&text);
    json_free(diff);
    run_record_release(&a);
    run_record_release(&b);
}

/* A stage, a toolkit and a gate that only one of the runs has. */
static void what_one_run_has_alone_is_said(void **state)
{
    (void)state;
    struct run_record a = make_run(2, ID_A, ID_A, 4), b = make_run(2, ID_A, ID_A, 4);
    json_free(b.root);
    json_free(b.shown);
    b.root = parse("{\"name\":\"tickets\",\"status\":\"failed\",\"stages\":[],\"gates\":[]}");
    b.shown = parse("{\"files\":[]}");
    b.name = json_find_text(b.root, "name");
    struct buf text;
    struct json *diff = compare(&a, &b, &text);
    assert_string_equal(json_find_text(json_items(diff, "stages"), "status"), "only_old");
    assert_int_equal(json_type(json_get(json_items(diff, "gates"), "new")), JSON_NULL);
    assert_non_null(strstr(buf_text(&text), "adapter: in the old run only"));
    assert_non_null(strstr(buf_text(&text), "toolkit nano-0.1"));
    assert_non_null(strstr(buf_text(&text), "\"ok\" -> \"failed\""));
    buf_release(&text);
    json_free(diff);
    diff = compare(&b, &a, &text);
    assert_string_equal(json_find_text(json_items(diff, "stages"), "status"), "only_new");
    buf_release(&text);
    json_free(diff);
    run_record_release(&a);
    run_record_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_runs_have_no_difference),
        cmocka_unit_test(each_field_is_named_with_both_values),
        cmocka_unit_test(what_one_run_has_alone_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
