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
#include "tests/unit/tiny_spm.h"

/* Rows by hand: system (NULL = none), user, answer. */
struct row {
    const char *system, *user, *answer;
};

static void list_of(const struct row *rows, size_t n, struct chat_list *l)
{
    *l = (struct chat_list){.rows = xalloc_array(n, sizeof *l->rows), .n_rows = n, .capacity = n};
    for (size_t i = 0; i < n; i++) {
        struct chat *c = &l->rows[i];
        c->messages = xalloc_array(3, sizeof *c->messages);
        c->line = i + 1;
        if (rows[i].system)
            c->messages[c->n_messages++] =
                (struct chat_message){CHAT_SYSTEM, xstrdup(rows[i].system), NULL};
        c->messages[c->n_messages++] =
            (struct chat_message){CHAT_USER, xstrdup(rows[i].user), NULL};
        c->messages[c->n_messages++] =
            (struct chat_message){CHAT_ASSISTANT, xstrdup(rows[i].answer), NULL};
    }
}

static int check(const struct row *rows, size_t n, struct json **findings, struct err *e)
{
    struct chat_list list;
    struct template t;
    tiny_template(&t);
    list_of(rows, n, &list);
    *findings = json_new_array();
    int status = rules_check(&list, "raw", &t, *findings, e);
    chat_list_release(&list);
    template_release(&t);
    return status;
}

static int check_leak(const struct chat_list *train, const struct chat_list *held, const char *name,
                      bool refused, struct json *findings, struct err *e)
{
    const struct rules_leak leak = {train, "training", held, name, refused};
    return rules_check_leak(&leak, findings, e);
}

static void expect_finding(const struct json *findings, const char *what, int n, const char *where)
{
    for (const struct json *row = json_first(findings); row; row = json_next(row)) {
        const struct json *name = json_first(row);
        const struct json *count = json_next(name);
        if (!strstr(json_string(name), what))
            continue;
        assert_int_equal((int)json_number(count), n);
        assert_string_equal(json_string(json_next(count)), where);
        return;
    }
    print_message("no finding \"%s\"\n", what);
    fail();
}

static void clean(void **state)
{
    static const struct row rows[] = {{"S", "one thing", "a"}, {"S", "two things", "b"}};
    struct json *findings;
    struct err e = {0};
    (void)state;
    assert_int_equal(check(rows, 2, &findings, &e), 0);
    assert_int_equal(json_count(findings), 0);
    json_free(findings);
}

static void findings_of_rows(void **state)
{
    static const struct row rows[] = {
        {"S", "one thing", "a"},  {"S", "one thing", "a"}, {NULL, "Other", ""},
        {"S", "One thing!", "c"}, {"S", "", "d "},
    };
    struct json *findings;
    struct err e = {0};
    (void)state;
    assert_int_equal(check(rows, 5, &findings, &e), 0);
    expect_finding(findings, "occur twice", 1, "1 = 2");
    expect_finding(findings, "different answers", 1, "2 and 4");
    expect_finding(findings, "no system message", 1, "3");
    expect_finding(findings, "empty answer", 1, "3");
    expect_finding(findings, "empty system or user", 1, "5");
    expect_finding(findings, "space at an end", 1, "5");
    json_free(findings);
}

static void special_pieces(void **state)
{
    static const char *const texts[] = {"a<turn_end>b", "x <n> y", "<executable_start>",
                                        "low \xE2\x96\x81 line"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct row rows[] = {{"S", "fine", "a"}, {"S", texts[i], "b"}, {"S", "z", texts[i]}};
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

/* Only what refuse would name is left out, and the rest keeps its order and lines. */
static void leaks_are_dropped(void **state)
{
    static const struct row train[] = {{NULL, "A question?", "1"},
                                       {NULL, "Another  one", "2"},
                                       {NULL, "a QUESTION", "3"},
                                       {NULL, "Left", "4"}};
    static const struct row measured[] = {{NULL, "another one", "x"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    list_of(train, 4, &t);
    list_of(measured, 1, &held);
    assert_int_equal(rules_drop_leaks(&t, &held, "golden", findings), 1);
    assert_int_equal(t.n_rows, 3);
    assert_string_equal(chat_answer(&t.rows[1]), "3");
    assert_int_equal(t.rows[2].line, 4);
    expect_finding(findings, "left out", 1, "training 2 = 1");
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    assert_int_equal(rules_drop_leaks(&t, &held, "golden", findings), 0);
    chat_list_release(&t);
    chat_list_release(&held);
    json_free(findings);
}

static void leaks(void **state)
{
    static const struct row train[] = {
        {"S", "My parcel with the green lamp has not come yet", "a"},
        {"S", "Where is my refund?", "b"},
    };
    static const struct row near[] = {{"S", "my parcel with the green lamp has not come", "a"},
                                      {"S", "Something else entirely", "c"}};
    static const struct row exact[] = {{"S", "where is my REFUND", "x"}};
    struct chat_list t;
    struct chat_list held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    list_of(train, 2, &t);
    list_of(near, 2, &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    assert_int_equal(json_count(findings), 1);
    expect_finding(findings, "near repeat", 1, "1 near training 1");
    chat_list_release(&held);
    json_free(findings);

    findings = json_new_array();
    list_of(exact, 1, &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "1 = training 2"));
    e = (struct err){0};
    assert_int_equal(check_leak(&t, &held, "valid", false, findings, &e), 0);
    /* Said once: an exact repeat is not a near one too. */
    assert_int_equal(json_count(findings), 1);
    expect_finding(findings, "also a training prompt, kept", 1, "1 = training 2");
    chat_list_release(&held);
    chat_list_release(&t);
    json_free(findings);
}

/* Marks are no part of a prompt, whatever alphabet they are of; a prompt of marks alone is itself.
 */
static void marks_hide_no_leak(void **state)
{
    static const struct row train[] = {{NULL, "Don't you \"know\" it - or do you...", "1"},
                                       {NULL, "???", "2"},
                                       {NULL, "x\xC2\xA0y", "3"}};
    static const struct row measured[] = {
        {NULL,
         "don\xE2\x80\x99t you \xE2\x80\x9Cknow\xE2\x80\x9D it \xE2\x80\x94 or do you\xE2\x80\xA6",
         "a"},
        {NULL, "!!!", "b"},
        {NULL, "X, Y", "c"},
        {NULL, "???", "d"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    list_of(train, 3, &t);
    list_of(measured, 4, &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "3 prompts"));
    assert_non_null(strstr(e.text, "1 = training 1, 3 = training 3, 4 = training 2"));
    assert_non_null(strstr(e.text, "leaks: drop"));
    e = (struct err){0};
    held.n_rows = 2; /* not the same marks */
    assert_int_equal(rules_drop_leaks(&t, &held, "golden", findings), 1);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    held.n_rows = 4;
    chat_list_release(&t);
    chat_list_release(&held);
    json_free(findings);
}

/* Sums and code differ by their operators and by where a number ends. */
static void operators_are_no_marks(void **state)
{
    static const struct row train[] = {{NULL, "What is 1 + 23?", "24"},
                                       {NULL, "How to sort in C?", "1"},
                                       {NULL, "x *= 2", "2"},
                                       {NULL, "1,200 e-mails", "3"}};
    static const struct row other[] = {{NULL, "What is 12 - 3?", "9"},
                                       {NULL, "What is 12 + 3?", "15"},
                                       {NULL, "How to sort in C++?", "1"},
                                       {NULL, "How to sort in C#?", "1"},
                                       {NULL, "x /= 2", "2"}};
    static const struct row same[] = {{NULL, "what is 1+23", "24"},
                                      {NULL, "*How* to - sort / in C", "1"},
                                      {NULL, "1200 emails!", "3"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    list_of(train, 4, &t);
    list_of(other, 5, &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    chat_list_release(&held);
    list_of(same, 3, &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "3 prompts"));
    chat_list_release(&t);
    chat_list_release(&held);
    json_free(findings);
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
    struct row rows[N];
    char texts[N][16];
    bool held[N];
    struct chat_list list;
    size_t n_held = 0;
    size_t n_moved = 0;
    (void)state;
    for (int i = 0; i < N; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "row %d", i);
        rows[i] = (struct row){"S", texts[i], "a"};
    }
    list_of(rows, N, &list);
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
    list_of(rows + 1, N - 1, &list);
    for (size_t i = 0; i < N - 1; i++)
        assert_int_equal(split_is_held_out(&list.rows[i], 0.25, 1), held[i + 1]);
    chat_list_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean),
        cmocka_unit_test(findings_of_rows),
        cmocka_unit_test(special_pieces),
        cmocka_unit_test(leaks),
        cmocka_unit_test(leaks_are_dropped),
        cmocka_unit_test(marks_hide_no_leak),
        cmocka_unit_test(operators_are_no_marks),
        cmocka_unit_test(nearest_text),
        cmocka_unit_test(split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
