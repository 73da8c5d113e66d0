#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/xalloc.h"
#include "stages/text/labels.h"

static void list_of(const char *const *answers, size_t n, struct chat_list *l)
{
    *l = (struct chat_list){.rows = xalloc_array(n, sizeof *l->rows), .n_rows = n, .capacity = n};
    for (size_t i = 0; i < n; i++) {
        struct chat *c = &l->rows[i];
        c->messages = xalloc_array(2, sizeof *c->messages);
        c->messages[0] = (struct chat_message){CHAT_USER, xstrdup("question"), NULL};
        c->messages[1] = (struct chat_message){CHAT_ASSISTANT, xstrdup(answers[i]), NULL};
        c->n_messages = 2;
        c->line = i + 1;
    }
}

/* The findings as canonical JSON. */
static void expect(const char *const *train, size_t n_train, const char *const *asked,
                   size_t n_asked, const struct goldenset *set, const char *wanted)
{
    struct chat_list t, a;
    struct json *findings = json_new_array();
    struct buf text;
    list_of(train, n_train, &t);
    list_of(asked, n_asked, &a);
    labels_check(&t, &a, set, "golden", findings);
    buf_init(&text, BUF_MAX_DEFAULT);
    json_write_canonical(findings, &text);
    assert_string_equal(buf_text(&text), wanted);
    buf_release(&text);
    json_free(findings);
    chat_list_release(&t);
    chat_list_release(&a);
}

#define N(a) (sizeof(a) / sizeof(a)[0])

static const char *const OBJECTS[] = {
    "{\"team\":\"billing\",\"subject\":\"one\"}",
    "{\"team\":\"billing\",\"subject\":\"two\"}",
    "{\"team\":\"repair\",\"subject\":\"three\"}",
    "{\"team\":\"repair\",\"subject\":\"four\"}",
};

static void fields(void **state)
{
    static const char *const asked[] = {
        "{\"team\":\"biling\",\"subject\":\"five\"}",
        "{\"team\":\"warehouse\",\"subject\":\"six\"}",
        "{\"team\":\"warehouse\",\"subject\":\"seven\"}",
        "{\"team\":\"repair\",\"subject\":\"eight\"}",
    };
    (void)state;
    /* The subjects are different in every row: free text. */
    expect(OBJECTS, N(OBJECTS), asked, N(asked), NULL,
           "[[\"golden: label of \\\"team\\\" that no training row has\",3,"
           "\"\\\"biling\\\" (1 row; known is \\\"billing\\\"), \\\"warehouse\\\" (2 rows)\"]]");
    expect(OBJECTS, N(OBJECTS), OBJECTS, N(OBJECTS), NULL, "[]");
}

static void only_matched_fields_of_a_set(void **state)
{
    static const char *const train[] = {"{\"a\":\"x\",\"b\":\"x\"}", "{\"a\":\"x\",\"b\":\"x\"}"};
    static const char *const asked[] = {"{\"a\":\"y\",\"b\":\"y\"}"};
    struct goldenset set = {.is_json = true, .n_fields = 2};
    (void)state;
    set.fields[0] = (struct golden_field){.name = (char[]){"a"}, .metric = GOLDEN_MATCH};
    set.fields[1] = (struct golden_field){.name = (char[]){"b"}, .metric = GOLDEN_OVERLAP};
    expect(train, N(train), asked, N(asked), &set,
           "[[\"golden: label of \\\"a\\\" that no training row has\",1,\"\\\"y\\\" (1 row)\"]]");
    /* A field that no training answer has: all of it is unknown. */
    set.fields[0].name[0] = 'c';
    static const char *const other[] = {"{\"c\":\"y\"}"};
    expect(train, N(train), other, N(other), &set,
           "[[\"golden: label of \\\"c\\\" that no training row has\",1,\"\\\"y\\\" (1 row)\"]]");
}

static void whole_answers_and_arrays(void **state)
{
    static const char *const texts[] = {"yes", "no", "yes", "no"};
    static const char *const maybe[] = {"maybe", "no"};
    static const char *const tags[] = {"[\"joy\",\"fear\"]", "[\"fear\",\"joy\"]"};
    static const char *const tag[] = {"[\"joy\",\"anger\"]"};
    static const char *const free_text[] = {"A long answer.", "Another one.", "A third."};
    (void)state;
    expect(texts, N(texts), maybe, N(maybe), NULL,
           "[[\"golden: answer that no training row has\",1,\"\\\"maybe\\\" (1 row)\"]]");
    expect(tags, N(tags), tag, N(tag), NULL,
           "[[\"golden: label that no training row has\",1,\"\\\"anger\\\" (1 row)\"]]");
    expect(free_text, N(free_text), maybe, N(maybe), NULL, "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(only_matched_fields_of_a_set),
        cmocka_unit_test(whole_answers_and_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
