#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/answers.h"
#include "stages/text/score.h"
#include "stages/text/words.h"

static char folder[64];

static char *in_folder(const char *name)
{
    return file_join(folder, name);
}

static void put(const char *name, const char *text)
{
    struct err e = {0};
    char *path = in_folder(name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    xfree(path);
}

static int setup(void **state)
{
    static const char form[] = "/tmp/score_test_XXXXXX";
    (void)state;
    memcpy(folder, form, sizeof form);
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    struct err e = {0};
    (void)state;
    return file_remove_tree(folder, &e);
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

static double metric(const struct score *s, const char *name)
{
    for (size_t i = 0; i < s->n_metrics; i++)
        if (strcmp(s->metrics[i].name, name) == 0)
            return s->metrics[i].value;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_set),
        cmocka_unit_test(bad_sets),
        cmocka_unit_test(written_and_read_back),
        cmocka_unit_test(content_words),
        cmocka_unit_test(intervals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
