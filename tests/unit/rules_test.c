#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/xalloc.h"
#include "stages/text/rules.h"
#include "stages/text/split.h"
#include "stages/text/textindex.h"
#include "tests/unit/tiny_rows.h"
#include "tests/unit/tiny_spm.h"

static int check(const struct tiny_row *rows, size_t n, struct json **findings, struct err *e)
{
    struct chat_list list;
    struct template t;
    tiny_template(&t);
    tiny_rows(rows, n, "raw", &list);
    *findings = json_new_array();
    int status = rules_check(&list, "raw", &t, *findings, e);
    chat_list_release(&list);
    template_release(&t);
    return status;
}

static void clean(void **state)
{
    static const struct tiny_row rows[] = {{"S", "one thing", "a"}, {"S", "two things", "b"}};
    struct json *findings;
    struct err e = {0};
    (void)state;
    assert_int_equal(check(rows, 2, &findings, &e), 0);
    assert_int_equal(json_count(findings), 0);
    json_free(findings);
}

static void findings_of_rows(void **state)
{
    static const struct tiny_row rows[] = {
        {"S", "one thing", "a"},  {"S", "one thing", "a"}, {NULL, "Other", ""},
        {"S", "One thing!", "c"}, {"S", "", "d "},
    };
    struct json *findings;
    struct err e = {0};
    (void)state;
    assert_int_equal(check(rows, 5, &findings, &e), 0);
    tiny_rows_expect(findings, "occur twice", 1, "1 = 2");
    tiny_rows_expect(findings, "different answers", 1, "2 and 4");
    tiny_rows_expect(findings, "no system message", 1, "3");
    tiny_rows_expect(findings, "empty answer", 1, "3");
    tiny_rows_expect(findings, "empty system or user", 1, "5");
    tiny_rows_expect(findings, "space at an end", 1, "5");
    json_free(findings);
}

/* Rows that are measured are asked as those that were taught, or it is said. */
static void systems(void **state)
{
    static const struct tiny_row with[] = {{"S", "a", "1"}, {"S", "b", "2"}};
    static const struct tiny_row without[] = {{NULL, "a", "1"}, {NULL, "b", "2"}};
    static const struct tiny_row mixed[] = {{"S", "a", "1"}, {NULL, "b", "2"}};
    static const struct tiny_row *const sets[] = {with, without, mixed};
    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++) {
            struct chat_list train, golden;
            struct json *findings = json_new_array();
            tiny_rows(sets[i], 2, "raw", &train);
            tiny_rows(sets[k], 2, "golden", &golden);
            rules_check_systems(&train, &golden, "golden", findings);
            if (i == 0 && k == 1)
                tiny_rows_expect(findings, "golden: no system message, while every", 2,
                                 "all of them: they ask otherwise than was taught");
            else if (i == 1 && k == 0)
                tiny_rows_expect(findings, "golden: system message, while no", 2,
                                 "all of them: they ask otherwise than was taught");
            else
                assert_int_equal(json_count(findings), 0);
            json_free(findings);
            chat_list_release(&train);
            chat_list_release(&golden);
        }
}

static void special_pieces(void **state)
{
    static const char *const texts[] = {"a<turn_end>b", "x <n> y", "<executable_start>",
                                        "low \xE2\x96\x81 line"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct tiny_row rows[] = {
            {"S", "fine", "a"}, {"S", texts[i], "b"}, {"S", "z", texts[i]}};
        struct json *findings;
        struct err e = {0};
        assert_int_equal(check(rows, 3, &findings, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, "lines 2, 3"));
        json_free(findings);
        struct template t;
        tiny_template(&t);
        assert_non_null(rules_find_special(&t, texts[i]));
        assert_null(rules_find_special(&t, "a < turn_end > b"));
        template_release(&t);
    }
}

static struct textindex_match nearest(struct textindex *x, const char *text)
{
    return textindex_nearest(x, text, strlen(text));
}

static void nearest_text(void **state)
{
    static const char *const texts[] = {
        "the cat sat on the mat",
        "the dog sat on the log",
        "a parcel for the dog",
        "the the the",
    };
    struct textindex x = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        textindex_add(&x, texts[i], strlen(texts[i]));
    textindex_finish(&x);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(nearest(&x, texts[i]).text, i);
        assert_true(nearest(&x, texts[i]).value > 0.999999);
        assert_true(textindex_alike(&x, texts[i], strlen(texts[i])).value == 1);
    }
    /* Rare words weigh more than common ones; a tie goes to the first. */
    assert_int_equal(nearest(&x, "the PARCEL").text, 2);
    assert_int_equal(nearest(&x, "sat on").text, nearest(&x, "on sat").text);
    assert_int_equal(nearest(&x, "").text, 0);
    assert_true(nearest(&x, "unknown words").value == 0);
    /* {the, cat} against {the}: 1 of 2 is more than 2 of {the, cat, sat, on, mat}. */
    assert_true(textindex_alike(&x, "the cat", 7).value == 0.5);
    assert_int_equal(textindex_alike(&x, "the cat", 7).text, 3);
    textindex_release(&x);
    textindex_release(&x);
}

/* Every row's side depends on that row and the seed alone. */
static void split(void **state)
{
    enum { N = 400 };
    struct tiny_row rows[N];
    char texts[N][16];
    bool held[N];
    struct chat_list list;
    size_t n_held = 0;
    size_t n_moved = 0;
    (void)state;
    for (int i = 0; i < N; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "row %d", i);
        rows[i] = (struct tiny_row){"S", texts[i], "a"};
    }
    tiny_rows(rows, N, "raw", &list);
    for (size_t i = 0; i < N; i++) {
        held[i] = split_is_held_out(&list.rows[i], 0.25, 1);
        n_held += held[i];
        n_moved += held[i] != split_is_held_out(&list.rows[i], 0.25, 2);
        assert_false(split_is_held_out(&list.rows[i], 0, 1));
        /* A larger share keeps what a smaller one had. */
        assert_true(!held[i] || split_is_held_out(&list.rows[i], 0.5, 1));
    }
    assert_true(n_held > N / 5 && n_held < N / 3);
    assert_true(n_moved > N / 5);
    chat_list_release(&list);
    /* One row less in front: nobody moves. */
    tiny_rows(rows + 1, N - 1, "raw", &list);
    for (size_t i = 0; i < N - 1; i++)
        assert_int_equal(split_is_held_out(&list.rows[i], 0.25, 1), held[i + 1]);
    chat_list_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean),          cmocka_unit_test(findings_of_rows),
        cmocka_unit_test(special_pieces), cmocka_unit_test(nearest_text),
        cmocka_unit_test(systems),        cmocka_unit_test(split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
