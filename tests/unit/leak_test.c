#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "stages/text/leak.h"
#include "tests/unit/tiny_rows.h"

static int check_leak(const struct chat_list *train, const struct chat_list *held, const char *name,
                      bool refused, struct json *findings, struct err *e)
{
    const struct leak leak = {train, "training", "raw", held, name, name, refused};
    return leak_check(&leak, findings, e);
}

static size_t drop(struct chat_list *train, const struct chat_list *held, struct json *findings)
{
    const struct leak leak = {train, "training", "raw", held, "golden", "golden", true};
    return leak_drop(&leak, train, findings);
}

/* Only what refuse would name is left out, and the rest keeps its order and lines. */
static void leaks_are_dropped(void **state)
{
    static const struct tiny_row train[] = {{NULL, "A question?", "1"},
                                            {NULL, "Another  one", "2"},
                                            {NULL, "a QUESTION", "3"},
                                            {NULL, "Left", "4"}};
    static const struct tiny_row measured[] = {{NULL, "another one", "x"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    tiny_rows(train, 4, "train", &t);
    tiny_rows(measured, 1, "set", &held);
    assert_int_equal(drop(&t, &held, findings), 1);
    assert_int_equal(t.n_rows, 3);
    assert_string_equal(chat_answer(&t.rows[1]), "3");
    assert_int_equal(t.rows[2].line, 4);
    tiny_rows_expect(findings, "left out", 1, "raw:2 = golden:1");
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    assert_int_equal(drop(&t, &held, findings), 0);
    chat_list_release(&t);
    chat_list_release(&held);
    json_free(findings);
}

static void leaks(void **state)
{
    static const struct tiny_row train[] = {
        {"S", "My parcel with the green lamp has not come yet", "a"},
        {"S", "Where is my refund?", "b"},
    };
    static const struct tiny_row near[] = {{"S", "my parcel with the green lamp has not come", "a"},
                                           {"S", "Something else entirely", "c"}};
    static const struct tiny_row exact[] = {{"S", "where is my REFUND", "x"}};
    struct chat_list t;
    struct chat_list held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    tiny_rows(train, 2, "train", &t);
    tiny_rows(near, 2, "set", &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    assert_int_equal(json_count(findings), 1);
    tiny_rows_expect(findings, "near repeat", 1, "golden:1 near raw:1");
    chat_list_release(&held);
    json_free(findings);

    findings = json_new_array();
    tiny_rows(exact, 1, "set", &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(
        e.text, "golden: 1 prompt is also a training prompt (set.jsonl:1 = train.jsonl:2): "));
    e = (struct err){0};
    assert_int_equal(check_leak(&t, &held, "valid", false, findings, &e), 0);
    /* Said once: an exact repeat is not a near one too. */
    assert_int_equal(json_count(findings), 1);
    tiny_rows_expect(findings, "also a training prompt, kept", 1, "valid:1 = raw:2");
    chat_list_release(&held);
    chat_list_release(&t);
    json_free(findings);
}

/* Marks are no part of a prompt, whatever alphabet they are of; a prompt of marks alone is itself.
 */
static void marks_hide_no_leak(void **state)
{
    static const struct tiny_row train[] = {{NULL, "Don't you \"know\" it - or do you...", "1"},
                                            {NULL, "???", "2"},
                                            {NULL, "x\xC2\xA0y", "3"}};
    static const struct tiny_row measured[] = {
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
    tiny_rows(train, 3, "train", &t);
    tiny_rows(measured, 4, "set", &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "3 prompts"));
    assert_non_null(strstr(
        e.text,
        "set.jsonl:1 = train.jsonl:1, set.jsonl:3 = train.jsonl:3, set.jsonl:4 = train.jsonl:2"));
    assert_non_null(strstr(e.text, "leaks: drop"));
    e = (struct err){0};
    held.n_rows = 2; /* not the same marks */
    assert_int_equal(drop(&t, &held, findings), 1);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    held.n_rows = 4;
    chat_list_release(&t);
    chat_list_release(&held);
    json_free(findings);
}

/* Sums and code differ by their operators and by where a number ends. */
static void operators_are_no_marks(void **state)
{
    static const struct tiny_row train[] = {{NULL, "What is 1 + 23?", "24"},
                                            {NULL, "How to sort in C?", "1"},
                                            {NULL, "x *= 2", "2"},
                                            {NULL, "1,200 e-mails", "3"}};
    static const struct tiny_row other[] = {{NULL, "What is 12 - 3?", "9"},
                                            {NULL, "What is 12 + 3?", "15"},
                                            {NULL, "How to sort in C++?", "1"},
                                            {NULL, "How to sort in C#?", "1"},
                                            {NULL, "x /= 2", "2"}};
    static const struct tiny_row same[] = {{NULL, "what is 1+23", "24"},
                                           {NULL, "*How* to - sort / in C", "1"},
                                           {NULL, "1200 emails!", "3"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    tiny_rows(train, 4, "train", &t);
    tiny_rows(other, 5, "set", &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    chat_list_release(&held);
    tiny_rows(same, 3, "set", &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "3 prompts"));
    chat_list_release(&t);
    chat_list_release(&held);
    json_free(findings);
}

/* What a model learns is every answer of a row. */
static void every_turn_counts(void **state)
{
    static const struct tiny_row train[] = {{"S", "First thing?", "one"},
                                            {"S", "Hello", "Hi"},
                                            {"S", "Book it", "Now?"},
                                            {"S", "Two things?", "A"}};
    static const struct tiny_row measured[] = {{"S", "first thing", "another answer"},
                                               {"S", "Where is it?", "There."},
                                               {"S", "Two things?", "B"},
                                               {"S", "Yes", "Sent"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    tiny_rows(train, 4, "train", &t);
    tiny_rows(measured, 4, "set", &held);
    tiny_rows_add_turn(&t.rows[0], "And then?", "two");
    tiny_rows_add_turn(&t.rows[1], "Where is it", "there");
    tiny_rows_add_turn(&t.rows[1], "Thanks", "Welcome");
    tiny_rows_add_turn(&t.rows[2], "Yes", "Booked");
    tiny_rows_add_turn(&held.rows[2], "And the third?", "C");
    tiny_rows_add_turn(&t.rows[3], "And the third?", "C");
    /* An answer behind another context, and "Yes" behind none, are no leak. */
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "golden: 2 prompts are also training prompts "
                                   "(set.jsonl:1 = train.jsonl:1 (turn 1 of 2), "
                                   "set.jsonl:2 = train.jsonl:2 (turn 2 of 3)): "));
    assert_int_equal(drop(&t, &held, findings), 2);
    tiny_rows_expect(findings, "left out", 2, "raw:1 = golden:1, raw:2 = golden:2");
    json_free(findings);
    chat_list_release(&t);
    chat_list_release(&held);
}

/* Of several turns: all of them, in order, wherever they begin. */
static void turns_in_order(void **state)
{
    static const struct tiny_row train[] = {
        {NULL, "Hello", "Hi"}, {NULL, "a", "1"}, {NULL, "b", "2"}, {NULL, "a", "1"}};
    static const struct tiny_row measured[] = {{"S", "a", "1"}, {"S", "b", "2"}};
    struct chat_list t, held;
    struct json *findings = json_new_array();
    (void)state;
    tiny_rows(train, 4, "train", &t);
    tiny_rows(measured, 1, "set", &held);
    tiny_rows_add_turn(&held.rows[0], "b", "2");
    tiny_rows_add_turn(&t.rows[0], "a", "1");
    tiny_rows_add_turn(&t.rows[0], "b", "2");
    tiny_rows_add_turn(&t.rows[0], "c", "3");
    tiny_rows_add_turn(&t.rows[2], "a", "1");
    tiny_rows_add_turn(&t.rows[3], "b", "3");
    assert_int_equal(drop(&t, &held, findings), 1);
    assert_int_equal(t.rows[0].line, 2);
    json_free(findings);
    chat_list_release(&t);
    chat_list_release(&held);
}

/* One question with one answer is the same one under another system message; with another answer
 * it is another task. */
static void another_system_message(void **state)
{
    static const struct tiny_row train[] = {{"Route it.", "Where is my refund?", "billing"},
                                            {NULL, "Stop it now", "support"}};
    static const struct tiny_row measured[] = {{"Be kind.", "where is my refund", "Billing"},
                                               {"Be kind.", "Stop it now", "angry"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    tiny_rows(train, 2, "train", &t);
    tiny_rows(measured, 2, "set", &held);
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "golden: 1 prompt is also a training prompt (set.jsonl:1 = "
                                   "train.jsonl:1 (another system message)): "));
    assert_int_equal(drop(&t, &held, findings), 1);
    e = (struct err){0};
    assert_int_equal(check_leak(&t, &held, "golden", true, findings, &e), 0);
    tiny_rows_expect(findings, "near repeat", 1, "golden:2 near raw:2");
    json_free(findings);
    chat_list_release(&t);
    chat_list_release(&held);
}

/* A golden row that stands there twice is named twice. */
static void equal_rows(void **state)
{
    static const struct tiny_row train[] = {{NULL, "x y", "1"}, {NULL, "a b", "2"}};
    static const struct tiny_row measured[] = {
        {NULL, "a b", "2"}, {NULL, "c d", "2"}, {NULL, "A B", "3"}};
    struct chat_list t, held;
    struct err e = {0};
    struct json *findings = json_new_array();
    (void)state;
    tiny_rows(train, 2, "train", &t);
    tiny_rows(measured, 3, "set", &held);
    assert_int_equal(check_leak(&t, &held, "valid", false, findings, &e), 0);
    tiny_rows_expect(findings, "also a training prompt, kept", 2,
                     "valid:1 = raw:2, valid:3 = raw:2");
    json_free(findings);
    chat_list_release(&t);
    chat_list_release(&held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaks),
        cmocka_unit_test(leaks_are_dropped),
        cmocka_unit_test(marks_hide_no_leak),
        cmocka_unit_test(operators_are_no_marks),
        cmocka_unit_test(every_turn_counts),
        cmocka_unit_test(turns_in_order),
        cmocka_unit_test(another_system_message),
        cmocka_unit_test(equal_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
