#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/answers.h"
#include "stages/text/confusion.h"
#include "stages/text/overlap.h"
#include "stages/text/score.h"
#include "stages/text/words.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];

static char *in_folder(const char *name)
{
    return file_join(folder, name);
}

static void put(const char *name, const char *text)
{
    scratch_put(folder, name, text);
}

static int setup(void **state)
{
    (void)state;
    return scratch_open(folder);
}

static int teardown(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

#define ROW(user, team, subject)                                                         \
    "[{\"role\":\"user\",\"content\":\"" user "\"},{\"role\":\"assistant\",\"content\":" \
    "\"{\\\"team\\\": \\\"" team "\\\", \\\"subject\\\": \\\"" subject "\\\"}\"}]\n"

static void put_set(void)
{
    put("rows.jsonl", ROW("The lamp is broken", "returns", "Broken lamp")
                          ROW("Where is my parcel?", "shipping", "Parcel missing")
                              ROW("Charged twice for tea", "billing", "Tea charged twice")
                                  ROW("How do I log in?", "account", "Cannot log in"));
    put("set.json", "{\"rows\":\"rows.jsonl\",\"answer\":\"json\",\"fields\":{"
                    "\"team\":{\"metric\":\"match\"},"
                    "\"subject\":{\"metric\":\"overlap\",\"distinct\":true}}}");
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

static double metric(const struct score *s, const char *name)
{
    for (size_t i = 0; i < s->n_metrics; i++)
        if (strcmp(s->metrics[i].name, name) == 0)
            return s->metrics[i].value;
    fail_msg("no metric %s", name);
    return -1;
}

/* The n of a metric's interval. */
static double rows_of(const struct score *s, const char *name)
{
    for (size_t i = 0; i < s->n_metrics; i++)
        if (strcmp(s->metrics[i].name, name) == 0)
            return s->metrics[i].n_rows;
    fail_msg("no metric %s", name);
    return -1;
}

static void json_set(void **state)
{
    /* All right; team wrong and a stop word shared; not JSON; text behind the object. */
    static const char *const texts[] = {
        "{\"team\": \"returns\", \"subject\": \"Broken lamp\"}",
        "{\"team\": \"billing\", \"subject\": \"Where?\"}",
        "Tea charged twice",
        "{\"team\": \"account\", \"subject\": \"log\"} and more",
    };
    struct goldenset g;
    struct score s;
    struct err e = {0};
    char *answers[4];
    (void)state;
    put_set();
    assert_int_equal(goldenset_open(&g, folder, &e), 0);
    assert_int_equal(g.n_fields, 2);
    for (size_t i = 0; i < 4; i++)
        answers[i] = xstrdup(texts[i]);
    score_answers(&s, &g, answers);
    assert_true(metric(&s, "exact_match") == 0.25);
    assert_true(metric(&s, "json_valid") == 0.5);
    assert_true(metric(&s, "team_match") == 0.25);
    assert_true(metric(&s, "subject_overlap") == 0.25);
    assert_true(metric(&s, "subject_distinct") == 2);
    assert_true(rows_of(&s, "exact_match") == 4 && rows_of(&s, "subject_overlap") == 4);
    assert_true(rows_of(&s, "subject_distinct") == 0);
    struct json *v = score_to_json(&s);
    int64_t rows = 0;
    assert_int_equal(json_need_i64(v, "rows", &rows, &e), 0);
    assert_int_equal(rows, 4);
    json_free(v);
    score_release(&s);
    for (size_t i = 0; i < 4; i++)
        xfree(answers[i]);
    goldenset_close(&g);
}

#define SET(answer, fields) \
    ("{\"rows\":\"rows.jsonl\",\"answer\":\"" answer "\",\"fields\":{" fields "}}")

static void bad_sets(void **state)
{
    static const char *const sets[] = {
        "[]",
        "{\"rows\":\"rows.jsonl\"}",
        "{\"rows\":\"rows.jsonl\",\"answer\":\"yaml\"}",
        "{\"rows\":\"../rows.jsonl\",\"answer\":\"json\"}",
        "{\"rows\":\"absent.jsonl\",\"answer\":\"json\"}",
        "{\"rows\":\"rows.jsonl\",\"answer\":\"json\",\"more\":1}",
        SET("text", "\"a\":{\"metric\":\"match\"}"),
        SET("json", "\"a\":{\"metric\":\"near\"}"),
        SET("json", "\"absent\":{\"metric\":\"match\"}"),
        SET("json", "\"exact\":{\"metric\":\"match\"}"),
    };
    (void)state;
    put_set();
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        struct goldenset g;
        struct err e = {0};
        put("set.json", sets[i]);
        assert_true(goldenset_open(&g, folder, &e) < 0);
        assert_true(e.text[0] != '\0');
        goldenset_close(&g);
    }
}

static void written_and_read_back(void **state)
{
    static const char *const texts[] = {"a\nb", "", "\xC3\xA9\"", "{}"};
    struct goldenset g;
    struct err e = {0};
    char *answers[4];
    char **back = NULL;
    char *paths[] = {in_folder("answers"), in_folder("metrics"), in_folder("report")};
    (void)state;
    put_set();
    assert_int_equal(goldenset_open(&g, folder, &e), 0);
    for (size_t i = 0; i < 4; i++)
        answers[i] = xstrdup(texts[i]);
    struct answers_job job = {
        .golden = &g,
        .answers = answers,
        .answers_path = paths[0],
        .metrics_path = paths[1],
        .report_path = paths[2],
    };
    assert_int_equal(answers_write(&job, &e), 0);
    assert_int_equal(answers_read(paths[0], &g, &back, &e), 0);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(back[i], texts[i]);
    /* Every metric but the count has its interval in the report. */
    struct buf report;
    buf_init(&report, BUF_MAX_DEFAULT);
    need(file_read(paths[2], 1 << 20, &report, &e), &e);
    assert_non_null(strstr(buf_text(&report), "[\"leaf_f1\",0,0,0.489"));
    assert_non_null(strstr(buf_text(&report), "[\"subject_distinct\",0,\"\",\"\"]"));
    buf_release(&report);
    /* Beside another system's answers. */
    job.against_path = paths[0];
    job.answers_path = in_folder("answers2");
    assert_int_equal(answers_write(&job, &e), 0);
    xfree((char *)job.answers_path);
    answers_free(back, 4);
    /* Answers to another set are refused. */
    put("rows.jsonl",
        ROW("Another", "a", "b") ROW("1", "a", "b") ROW("2", "a", "b") ROW("3", "a", "b"));
    goldenset_close(&g);
    assert_int_equal(goldenset_open(&g, folder, &e), 0);
    assert_int_equal(answers_read(paths[0], &g, &back, &e), ERR_FORMAT);
    assert_null(back);
    goldenset_close(&g);
    for (size_t i = 0; i < 4; i++)
        xfree(answers[i]);
    for (size_t i = 0; i < 3; i++)
        xfree(paths[i]);
}

#define TEXT_ROW(user, answer)                                                                    \
    "[{\"role\":\"user\",\"content\":\"" user "\"},{\"role\":\"assistant\",\"content\":\"" answer \
    "\"}]\n"

/* A file of rows alone, opened and scored against fixed answers. */
static void score_file(const char *rows, const char *const *texts, size_t n, struct goldenset *g,
                       struct score *s)
{
    struct err e = {0};
    char *path = in_folder("alone.jsonl");
    char *answers[8];
    put("alone.jsonl", rows);
    assert_int_equal(goldenset_open(g, path, &e), 0);
    assert_int_equal(g->rows.n_rows, n);
    for (size_t i = 0; i < n; i++)
        answers[i] = (char *)texts[i];
    score_answers(s, g, answers);
    xfree(path);
}

static void rows_alone_of_text(void **state)
{
    static const char *const labels[] = {"a_b", "B!", "c d", "c"};
    static const char *const sums[] = {"So 1,200 it is.", "It is -3.5"};
    struct goldenset g;
    struct score s;
    (void)state;
    score_file(TEXT_ROW("1", "a_b") TEXT_ROW("2", "b") TEXT_ROW("3", "c d e") TEXT_ROW("4", "a_b"),
               labels, 4, &g, &s);
    assert_false(g.is_json);
    assert_true(metric(&s, "exact_match") == 0.25);
    /* 1, then 1 (case and marks are no words), 2 * 2 / 5, 0. */
    assert_true(metric(&s, "word_f1") == (1 + 1 + 0.8 + 0) / 4);
    assert_true(near(rows_of(&s, "word_f1"), 0.21 / 0.0425));
    assert_int_equal(s.n_metrics, 2); /* no number in every answer */
    score_release(&s);
    goldenset_close(&g);
    score_file(TEXT_ROW("1", "10 and 20 are 1200") TEXT_ROW("2", "The answer is 4."), sums, 2, &g,
               &s);
    assert_true(metric(&s, "number_match") == 0.5);
    score_release(&s);
    goldenset_close(&g);
}

/* What is expected of a call is what the model writes: the call, too. */
static void rows_with_calls(void **state)
{
    static const char rows[] =
        "[{\"role\":\"user\",\"content\":\"Weather?\"},{\"role\":\"assistant\",\"content\":\"I "
        "ask.\","
        "\"tool_calls\":[{\"function\":{\"name\":\"w\",\"arguments\":\"{\\\"a\\\": 1}\"}}]}]\n";
    static const char *const call[] = {
        "I ask.<executable_start>```function\n[{\"name\": \"w\", \"arguments\": {\"a\": 1}}]\n```"
        "<executable_end>"};
    static const char *const no_call[] = {"I ask."};
    struct goldenset g;
    struct score s;
    (void)state;
    score_file(rows, call, 1, &g, &s);
    assert_string_equal(chat_answer(&g.rows.rows[0]), call[0]);
    assert_true(metric(&s, "exact_match") == 1);
    score_release(&s);
    goldenset_close(&g);
    score_file(rows, no_call, 1, &g, &s);
    assert_true(metric(&s, "exact_match") == 0);
    score_release(&s);
    goldenset_close(&g);
}

static void rows_alone_of_json(void **state)
{
    /* Both tags in another order; one of two and one wrong; an object; no JSON. */
    static const char *const texts[] = {"[\"y\", \"x\"]", "[\"x\",\"z\"]", "{\"x\": 1}", "[\"x\""};
    struct goldenset g;
    struct score s;
    (void)state;
    score_file(TEXT_ROW("1", "[\\\"x\\\", \\\"y\\\"]") TEXT_ROW("2", "[\\\"x\\\", \\\"y\\\"]")
                   TEXT_ROW("3", "[\\\"x\\\"]") TEXT_ROW("4", "[\\\"x\\\"]"),
               texts, 4, &g, &s);
    assert_true(g.is_json);
    assert_true(metric(&s, "json_valid") == 0.5);
    assert_true(metric(&s, "exact_match") == 0);
    assert_true(metric(&s, "leaf_f1") == 2.0 * 3 / (6 + 4));
    /* Of 4, 4, 1 and 1 leaves 4, 2, 0 and 0: off by 1.6, 0.4, 0.6 and 0.6. */
    assert_true(near(rows_of(&s, "leaf_f1"), 0.24 / ((2.56 + 0.16 + 0.36 + 0.36) / 100)));
    score_release(&s);
    goldenset_close(&g);
}

static void leaves_and_numbers(void **state)
{
    struct err e = {0};
    struct json *a = NULL, *b = NULL;
    const char *x = "{\"i\":\"p\",\"s\":{\"a\":1,\"b\":[true,null]}}",
               *y = "{\"i\":\"p\",\"a\":1,\"s\":{\"b\":[null]}}";
    (void)state;
    assert_int_equal(json_parse(x, strlen(x), &a, &e), 0);
    assert_int_equal(json_parse(y, strlen(y), &b, &e), 0);
    struct overlap o = overlap_leaves(a, b);
    assert_int_equal(o.n_both, 2); /* i and s.b[] null; a stands elsewhere */
    assert_int_equal(o.n_expected, 4);
    assert_int_equal(o.n_answer, 3);
    o = overlap_leaves(a, NULL);
    assert_int_equal(o.n_answer, 0);
    json_free(a);
    json_free(b);
    /* Records that exchanged a value have only the other in common; their order is no matter. */
    x = "{\"a\":[{\"x\":1,\"y\":2},{\"x\":3,\"y\":4}],\"b\":[1,1,2],\"c\":[]}";
    y = "{\"a\":[{\"x\":3,\"y\":2},{\"x\":1,\"y\":4}],\"b\":[2,1],\"c\":{}}";
    assert_int_equal(json_parse(x, strlen(x), &a, &e), 0);
    assert_int_equal(json_parse(y, strlen(y), &b, &e), 0);
    o = overlap_leaves(a, b);
    assert_int_equal(o.n_both, 4);
    assert_int_equal(o.n_expected, 8);
    assert_int_equal(o.n_answer, 7);
    o = overlap_leaves(a, a);
    assert_int_equal(o.n_both, 8);
    json_free(a);
    json_free(b);
    static const struct {
        const char *text;
        bool found;
        double value;
    } numbers[] = {{"none", false, 0},
                   {"7", true, 7},
                   {"a 12. Or 3,456.5!", true, 3456.5},
                   {"x -4.", true, -4},
                   {"1.2.", true, 1.2},
                   {"10,", true, 10},
                   {"#### 007", true, 7},
                   {"at 10:05", true, 5},
                   {"3-4", true, 4},
                   {"pages 1,2,3", true, 3},
                   {"v1.2.3", true, 2.3},
                   {"1,234,567", true, 1234567},
                   {"1234,567", true, 567},
                   {"0.50", true, 0.5},
                   {"-0", true, 0},
                   {"is .5.", true, 0.5},
                   {"-.5", true, -0.5},
                   {"so ...5", true, 5},
                   {"1e3", true, 1000},
                   {"2.5E-1", true, 0.25},
                   {"x \xE2\x88\x92"
                    "4",
                    true, -4},
                   {"3\xE2\x88\x92"
                    "4",
                    true, 4},
                   {"e3", true, 3},
                   {"1.5e+2 m", true, 150}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        double v = 0;
        assert_int_equal(overlap_last_number(numbers[i].text, &v), numbers[i].found);
        assert_true(!numbers[i].found || v == numbers[i].value);
    }
}

static void confusions(void **state)
{
    static const char *const texts[] = {"b", "b", "a", "c"};
    char *answers[4];
    struct goldenset g;
    struct score s;
    (void)state;
    for (size_t i = 0; i < 4; i++)
        answers[i] = (char *)texts[i];
    score_file(TEXT_ROW("1", "b") TEXT_ROW("2", "a") TEXT_ROW("3", "a") TEXT_ROW("4", "b"), texts,
               4, &g, &s);
    struct json *report = json_new_object();
    json_put(report, "blocks", json_new_array());
    confusion_add(report, &g, answers);
    struct buf b;
    buf_init(&b, 4096);
    json_write_canonical(report, &b);
    assert_string_equal(
        buf_text(&b),
        "{\"blocks\":[{\"columns\":[\"a\",\"b\",\"(none of them)\"],\"rows\":[\"a\",\"b\"],"
        "\"title\":\"Answer: expected (rows) and answered\",\"type\":\"matrix\","
        "\"values\":[[1,1,0],[0,1,1]]}]}");
    buf_release(&b);
    json_free(report);
    score_release(&s);
    goldenset_close(&g);
}

static void content_words(void **state)
{
    (void)state;
    assert_true(words_share_content("Broken LAMP", "my lamp, it broke"));
    assert_false(words_share_content("Where is it", "where is this?"));
    assert_false(words_share_content("an ox 123", "an ox 123")); /* short, and a number */
    assert_false(words_share_content("lamps", "lamp"));
    assert_true(words_share_content("caf\xC3\xA9", "the caf\xC3\xA9!"));
    assert_false(words_share_content("", "x"));
    /* Every stop word is found: the list is sorted. */
    static const char *const some[] = {"about", "yourselves", "and", "the", "just", "please"};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        assert_false(words_share_content(some[i], some[i]));
}

static void intervals(void **state)
{
    double low = -1;
    double high = -1;
    (void)state;
    score_interval(0.5, 100, &low, &high);
    assert_true(low > 0.4038 && low < 0.4039 && high > 0.5961 && high < 0.5962);
    score_interval(0, 100, &low, &high);
    assert_true(low == 0 && high > 0.0369 && high < 0.0371);
    score_interval(1, 100, &low, &high);
    assert_true(low < 0.9631 && high == 1);
    score_interval(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

/* The expected numbers were computed with Python's fractions. */
static void intervals_of_partly_right_rows(void **state)
{
    static const double part[] = {2, 0, 6, 4, 2, 0, 6, 2}, whole[] = {5, 3, 6, 4, 4, 2, 9, 2};
    static const double f1[] = {2.0 / 3, 0, 1, 0.5, 0.8}, one[] = {1, 1, 1, 1, 1};
    static const double none[] = {0, 0, 0, 0, 0}, third[] = {1.0 / 3, 1.0 / 3, 1.0 / 3};
    static const double right[] = {1, 0, 1, 1, 0};
    double low = -1, high = -1, n = score_effective_rows(part, whole, 8);
    (void)state;
    assert_true(near(n, 19.656081687612208));
    score_interval(22.0 / 35, n, &low, &high);
    assert_true(near(low, 0.4110573698824849) && near(high, 0.8040468876715885));
    n = score_effective_rows(f1, one, 5);
    assert_true(near(n, 10.505030959752322));
    score_interval(0.5933333333333334, n, &low, &high);
    assert_true(near(low, 0.31293501183518246) && near(high, 0.8237492323595029));
    /* Right or wrong as a whole: the number of rows. All alike, a single one, none: as they are. */
    assert_true(near(score_effective_rows(right, one, 5), 5));
    assert_true(score_effective_rows(one, one, 5) == 5);
    assert_true(score_effective_rows(none, one, 5) == 5);
    assert_true(score_effective_rows(none, none, 5) == 5);
    assert_true(score_effective_rows(third, one, 3) == 3);
    assert_true(score_effective_rows(f1, one, 1) == 1);
    assert_true(score_effective_rows(f1, one, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_set),
        cmocka_unit_test(bad_sets),
        cmocka_unit_test(written_and_read_back),
        cmocka_unit_test(rows_alone_of_text),
        cmocka_unit_test(rows_alone_of_json),
        cmocka_unit_test(rows_with_calls),
        cmocka_unit_test(leaves_and_numbers),
        cmocka_unit_test(confusions),
        cmocka_unit_test(content_words),
        cmocka_unit_test(intervals),
        cmocka_unit_test(intervals_of_partly_right_rows),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
