#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/provenance/recipe.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct json *config(const char *text)
{
    struct json *v = NULL;
    struct err e = {0};
    assert_int_equal(json_parse(text, strlen(text), &v, &e), 0);
    return v;
}

static struct recipe sample(const struct json *c)
{
    struct recipe r = {.stage = "train", .binary = ID_A, .config = c};
    r.inputs[r.n_inputs++] = (struct recipe_item){"valid", ID_B};
    r.inputs[r.n_inputs++] = (struct recipe_item){"train", ID_A};
    r.outputs[r.n_outputs++] = "curve";
    r.outputs[r.n_outputs++] = "checkpoint";
    return r;
}

static void the_bytes_are_canonical(void **state)
{
    (void)state;
    struct json *c = config("{\"rank\": 8, \"learning_rate\": 1e-4}");
    struct recipe r = sample(c);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    recipe_write(&r, &b);
    const char *want = "{\"binary\":\"" ID_A "\",\"config\":{\"learning_rate\":0.0001,\"rank\":8},"
                       "\"inputs\":{\"train\":\"" ID_A "\",\"valid\":\"" ID_B "\"},"
                       "\"libraries\":{},\"outputs\":[\"checkpoint\",\"curve\"],"
                       "\"profile\":{\"portable\":true},\"schema\":1,\"stage\":\"train\"}";
    assert_string_equal(buf_text(&b), want);
    struct content_id key = recipe_key(&b), sum = sha256_of(want, strlen(want));
    assert_string_equal(key.hex, sum.hex);
    buf_release(&b);
    json_free(c);
}

static void a_recipe_comes_back(void **state)
{
    (void)state;
    struct json *c = config("{\"text\":\"\\u00e9\",\"deep\":{\"list\":[1,2.5]}}");
    struct recipe r = sample(c), got;
    r.libraries[r.n_libraries++] = (struct recipe_item){"libx.so.0", ID_B};
    struct buf b, again;
    struct err e = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_init(&again, BUF_MAX_DEFAULT);
    recipe_write(&r, &b);
    assert_int_equal(recipe_parse(b.bytes, b.n_bytes, &got, &e), 0);
    recipe_write(&got, &again);
    assert_string_equal(buf_text(&again), buf_text(&b));
    recipe_release(&got);
    recipe_release(&got);
    buf_release(&b);
    buf_release(&again);
    json_free(c);
}

static void wrong_recipes_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "1",
        "{}",
        "{\"schema\":2}",
        "{\"binary\":\"x\",\"config\":{},\"inputs\":{},\"libraries\":{},\"outputs\":[],"
        "\"profile\":{},\"schema\":1,\"stage\":\"a\"}",
        "{\"binary\":\"" ID_A "\",\"config\":[],\"inputs\":{},\"libraries\":{},\"outputs\":[],"
        "\"profile\":{},\"schema\":1,\"stage\":\"a\"}",
        "{\"binary\":\"" ID_A "\",\"config\":{},\"inputs\":{\"a\":1},\"libraries\":{},"
        "\"outputs\":[],\"profile\":{},\"schema\":1,\"stage\":\"a\"}",
        "{\"binary\":\"" ID_A "\",\"config\":{},\"inputs\":{},\"libraries\":{},\"outputs\":[],"
        "\"profile\":{},\"schema\":1,\"stage\":\"a\",\"host\":\"b\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct recipe r;
        struct err e = {0};
        assert_int_equal(recipe_parse(texts[i], strlen(texts[i]), &r, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, "recipe"));
    }
}

static void the_difference_is_the_explanation(void **state)
{
    (void)state;
    struct json *old_config = config("{\"rank\":8,\"gone\":true,\"list\":[1,2,3]}");
    struct json *new_config = config("{\"rank\":16,\"extra\":{\"a\":null},\"list\":[1,5]}");
    struct recipe old_recipe = sample(old_config), new_recipe = sample(new_config);
    new_recipe.inputs[1].id = ID_B;
    new_recipe.binary = ID_B;
    struct buf a, b;
    struct err e = {0};
    buf_init(&a, BUF_MAX_DEFAULT);
    buf_init(&b, BUF_MAX_DEFAULT);
    recipe_write(&old_recipe, &a);
    recipe_write(&new_recipe, &b);
    struct recipe_diff d;
    assert_int_equal(recipe_diff(a.bytes, a.n_bytes, b.bytes, b.n_bytes, &d, &e), 0);
    static const char *const want[][3] = {
        {"binary", "\"" ID_A "\"", "\"" ID_B "\""},
        {"config.extra", NULL, "{\"a\":null}"},
        {"config.gone", "true", NULL},
        {"config.list[1]", "2", "5"},
        {"config.list[2]", "3", NULL},
        {"config.rank", "8", "16"},
        {"inputs.train", "\"" ID_A "\"", "\"" ID_B "\""},
    };
    assert_int_equal(d.n_changes, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < d.n_changes; i++) {
        const char *found[3] = {d.changes[i].path, d.changes[i].old_value, d.changes[i].new_value};
        for (int k = 0; k < 3; k++) {
            if (want[i][k] == NULL)
                assert_null(found[k]);
            else
                assert_string_equal(found[k], want[i][k]);
        }
    }
    recipe_diff_release(&d);
    assert_int_equal(recipe_diff(a.bytes, a.n_bytes, a.bytes, a.n_bytes, &d, &e), 0);
    assert_int_equal(d.n_changes, 0);
    assert_int_equal(recipe_diff(a.bytes, 10, a.bytes, a.n_bytes, &d, &e), ERR_FORMAT);
    recipe_diff_release(&d);
    buf_release(&a);
    buf_release(&b);
    json_free(old_config);
    json_free(new_config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_canonical),
        cmocka_unit_test(a_recipe_comes_back),
        cmocka_unit_test(wrong_recipes_are_refused),
        cmocka_unit_test(the_difference_is_the_explanation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
