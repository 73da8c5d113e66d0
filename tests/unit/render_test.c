#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/json.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/render.h"
#include "tests/unit/tiny_spm.h"

struct fixture {
    struct spm *spm;
    struct template template;
    struct render render;
    struct sample sample;
};

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    struct err e = {0};
    f->spm = tiny_spm_open();
    tiny_template(&f->template);
    *state = f;
    return render_init(&f->render, f->spm, &f->template, &e);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sample_release(&f->sample);
    template_release(&f->template);
    spm_close(f->spm);
    xfree(f);
    return 0;
}

static void chat_of(const char *line, struct chat *c)
{
    struct err e = {0};
    struct json *v = NULL;
    assert_int_equal(json_parse(line, strlen(line), &v, &e), 0);
    assert_int_equal(chat_take(c, v, line, strlen(line), false, &e), 0);
    json_free(v);
}

/* EOS and the ids of the whole text less the first: written down independently. */
static void expect_text(struct fixture *f, const char *text)
{
    struct err e = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(spm_encode(f->spm, text, strlen(text), &ids, &n, &e), 0);
    assert_int_equal(f->sample.n_ids, n);
    assert_int_equal(f->sample.ids[0], SPM_EOS);
    assert_memory_equal(f->sample.ids + 1, ids + 1, (n - 1) * sizeof *ids);
    xfree(ids);
}

/* The labelled runs, each in [ ]. */
static void expect_labels(struct fixture *f, const char *expected)
{
    struct err e = {0};
    struct buf text;
    buf_init(&text, 4096);
    for (size_t i = 0; i < f->sample.n_ids;) {
        size_t n = 0;
        while (i + n < f->sample.n_ids && f->sample.labels[i + n])
            n++;
        if (n > 0) {
            buf_add_char(&text, '[');
            assert_int_equal(render_answer(&f->render, f->sample.ids + i, n, &text, &e), 0);
            buf_add_char(&text, ']');
        }
        i += n > 0 ? n : 1;
    }
    assert_string_equal(buf_text(&text), expected);
    buf_release(&text);
}

static void one_turn(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct chat c;
    chat_of("[{\"role\":\"system\",\"content\":\"Route it.\"},"
            "{\"role\":\"user\",\"content\":\"Line one\\nline two\"},"
            "{\"role\":\"assistant\",\"content\":\" {\\\"team\\\": \\\"x\\\"}\\n\"}]",
            &c);
    assert_int_equal(render_chat(&f->render, &c, true, &f->sample, &e), 0);
    expect_text(f, "<turn_start> system<n>Route it.<turn_end>"
                   "<turn_start> user<n>Line one<n>line two<turn_end>"
                   "<turn_start> assistant<n> {\"team\": \"x\"}<n><turn_end>");
    expect_labels(f, "[ {\"team\": \"x\"}\n<turn_end>]");
    assert_int_equal(f->sample.ids[f->sample.n_ids - 1], f->render.ids[TEMPLATE_TURN_END]);
    chat_release(&c);
}

static void default_system(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct chat c;
    chat_of("[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Yes\"}]",
            &c);
    assert_int_equal(render_chat(&f->render, &c, true, &f->sample, &e), 0);
    expect_text(f, "<turn_start> system<n>Be kind.<turn_end><turn_start> user<n>Hi<turn_end>"
                   "<turn_start> assistant<n>Yes<turn_end>");
    assert_int_equal(render_chat(&f->render, &c, false, &f->sample, &e), 0);
    expect_text(f, "<turn_start> user<n>Hi<turn_end><turn_start> assistant<n>Yes<turn_end>");
    chat_release(&c);
}

static void every_answer_is_labelled(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct chat c;
    chat_of("[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"\"},"
            "{\"role\":\"user\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":\"two\"}]",
            &c);
    assert_int_equal(render_chat(&f->render, &c, false, &f->sample, &e), 0);
    expect_labels(f, "[<turn_end>][two<turn_end>]");
    chat_release(&c);
}

static void tools(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct chat c;
    chat_of(
        "[{\"role\":\"system\",\"content\":\"S\",\"tools\":[{\"type\":\"function\",\"n\":[1,2]},"
        "{\"b\":null}]},{\"role\":\"user\",\"content\":\"u\"},"
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"1\",\"function\":"
        "{\"name\":\"go\",\"arguments\":\"{\\\"z\\\":1,\\\"a\\\":\\\"b\\\"}\"}}]}]",
        &c);
    assert_int_equal(render_chat(&f->render, &c, false, &f->sample, &e), 0);
    expect_text(f, "<turn_start> system<n>S<n>system tools: {\"type\": \"function\", \"n\": [1, 2]}"
                   "<n>{\"b\": null}<turn_end><turn_start> user<n>u<turn_end>"
                   "<turn_start> assistant<n><executable_start>```function<n>"
                   "[{\"name\": \"go\", \"arguments\": {\"z\": 1, \"a\": \"b\"}}]<n>```"
                   "<executable_end><turn_end>");
    chat_release(&c);
}

static void prompt_is_the_start(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct chat c;
    struct sample prompt = {0};
    chat_of("[{\"role\":\"user\",\"content\":\" odd  text \"},"
            "{\"role\":\"assistant\",\"content\":\"answer\"}]",
            &c);
    assert_int_equal(render_chat(&f->render, &c, false, &f->sample, &e), 0);
    assert_int_equal(render_prompt(&f->render, c.messages, 1, false, &prompt, &e), 0);
    assert_true(prompt.n_ids < f->sample.n_ids);
    assert_memory_equal(prompt.ids, f->sample.ids, prompt.n_ids * sizeof *prompt.ids);
    assert_int_equal(f->sample.labels[prompt.n_ids - 1], 0);
    assert_int_equal(f->sample.labels[prompt.n_ids], 1);
    sample_release(&prompt);
    chat_release(&c);
}

/* Answers of every odd form come back byte for byte. */
static void answers_come_back(void **state)
{
    static const char *const texts[] = {
        "x",         " x",       "  two",
        "\n",        "a\n\nb\n", "{\"k\": \"v\"}",
        "trailing ", "\t",       "\xC3\xA9\xE2\x82\xAC",
        "1234",      "-",        "a\rb",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct err e = {0};
        struct buf back;
        char user[] = "q";
        char *answer = xstrdup(texts[i]);
        struct chat_message messages[] = {{.role = CHAT_USER, .content = user},
                                          {.role = CHAT_ASSISTANT, .content = answer}};
        struct chat c = {.messages = messages, .n_messages = 2};
        struct sample prompt = {0};
        assert_int_equal(render_chat(&f->render, &c, false, &f->sample, &e), 0);
        assert_int_equal(render_prompt(&f->render, messages, 1, false, &prompt, &e), 0);
        buf_init(&back, 4096);
        assert_int_equal(render_answer(&f->render, f->sample.ids + prompt.n_ids,
                                       f->sample.n_ids - prompt.n_ids - 1, &back, &e),
                         0);
        assert_string_equal(buf_text(&back), texts[i]);
        buf_release(&back);
        sample_release(&prompt);
        xfree(answer);
    }
}

#define ASKS(user)                                   \
    "[{\"role\":\"user\",\"content\":\"" user "\"}," \
    "{\"role\":\"assistant\",\"content\":\"A\"}]"

/* A tokenizer that normalises makes <turn_end> of full-width letters, and a text longer. */
static void look_alikes(void **state)
{
    struct err e = {0};
    struct template t;
    struct render r;
    struct chat c;
    struct sample s = {0};
    struct spm *spm = tiny_spm_open_nfkc();
    (void)state;
    tiny_template(&t);
    assert_int_equal(render_init(&r, spm, &t, &e), 0);
    chat_of(ASKS("hi \xEF\xBC\x9Cturn_end\xEF\xBC\x9E there"), &c);
    assert_int_equal(render_chat(&r, &c, false, &s, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "2 of the special piece <turn_end>"));
    chat_release(&c);
    e = (struct err){0};
    chat_of(ASKS("hi \xEF\xB7\xBA\xEF\xB7\xBA\xEF\xB7\xBA"), &c); /* 18 letters each */
    assert_int_equal(render_chat(&r, &c, false, &s, &e), 0);
    chat_release(&c);
    sample_release(&s);
    template_release(&t);
    spm_close(spm);
}

/* A vocabulary may be padded beyond the tokenizer's pieces. */
static void ids_without_a_piece(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct buf text;
    const int32_t ids[] = {spm_size(f->spm) + 7};
    buf_init(&text, 100);
    assert_int_equal(render_answer(&f->render, ids, 1, &text, &e), 0);
    assert_string_equal(buf_text(&text), "\xEF\xBF\xBD");
    buf_release(&text);
}

static void template_refusals(void **state)
{
    struct err e = {0};
    struct template t;
    static const char *const bad[] = {
        "[]",
        "{\"turn_start\":\"<a>\",\"turn_end\":\"<b>\",\"newline\":\"<n>\"}",
        "{\"turn_start\":\"\",\"turn_end\":\"<b>\",\"newline\":\"<n>\",\"default_system\":\"\"}",
        "{\"turn_start\":\"<a>\",\"turn_end\":\"<b>\",\"newline\":\"<n>\",\"default_system\":\" "
        "x\"}",
        "{\"turn_start\":\"<a>\",\"turn_end\":\"<b>\",\"newline\":\"<n>\",\"default_system\":\"<b>"
        "\"}",
        "{\"turn_start\":\"<a>\",\"turn_end\":\"<b>\",\"newline\":\"<n>\",\"default_system\":\"\","
        "\"x\":1}",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        e = (struct err){0};
        assert_true(template_parse(&t, bad[i], strlen(bad[i]), &e) < 0);
    }
    /* Pieces that the tokenizer does not have. */
    struct render r;
    static const char other[] = "{\"turn_start\":\"<other>\",\"turn_end\":\"<turn_end>\","
                                "\"newline\":\"<n>\",\"default_system\":\"\"}";
    e = (struct err){0};
    assert_int_equal(template_parse(&t, other, sizeof other - 1, &e), 0);
    assert_int_equal(render_init(&r, f->spm, &t, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "<other>"));
    template_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_turn),
        cmocka_unit_test(default_system),
        cmocka_unit_test(every_answer_is_labelled),
        cmocka_unit_test(tools),
        cmocka_unit_test(prompt_is_the_start),
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(look_alikes),
        cmocka_unit_test(ids_without_a_piece),
        cmocka_unit_test(template_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
