#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/chat.h"

#define BAD_LINES "../shared/data/bad_lines"

static int take(const char *line, bool objects_allowed, struct chat *c, struct err *e)
{
    struct json *v = NULL;
    int status = json_parse(line, strlen(line), &v, e);
    if (status == 0)
        status = chat_take(c, v, line, strlen(line), objects_allowed, e);
    json_free(v);
    return status;
}

static void sound_rows(void **state)
{
    struct chat c;
    struct err e = {0};
    (void)state;
    assert_int_equal(
        take("[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"},"
             "{\"role\":\"assistant\",\"content\":\"A\"},{\"content\":\"V\",\"role\":\"user\"},"
             "{\"role\":\"assistant\",\"content\":\"B\"}]",
             false, &c, &e),
        0);
    assert_int_equal(c.n_messages, 5);
    assert_string_equal(chat_system(&c), "S");
    assert_string_equal(chat_last_user(&c), "V");
    assert_string_equal(chat_answer(&c), "B");
    chat_release(&c);
    chat_release(&c);
}

static void objects(void **state)
{
    static const char row[] = "{\"messages\": [{\"role\":\"user\",\"content\":\"U\"},"
                              "{\"role\":\"assistant\",\"content\":\"A\"}]}";
    struct chat c;
    struct err e = {0};
    (void)state;
    assert_int_equal(take(row, true, &c, &e), 0);
    assert_null(chat_system(&c));
    chat_release(&c);
    assert_int_equal(take(row, false, &c, &e), ERR_FORMAT);
    e = (struct err){0};
    assert_int_equal(take("{\"messages\": [], \"id\": 1}", true, &c, &e), ERR_FORMAT);
    e = (struct err){0};
    assert_int_equal(take("{\"rows\": []}", true, &c, &e), ERR_FORMAT);
}

#define CALL                                                                            \
    "\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\"," \
    "\"arguments\":"                                                                    \
    "\"{}\"}}]"

/* OpenAI's form: tools beside the messages, a call without content. */
static void openai(void **state)
{
    static const char tools[] = "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]";
    static const char *const contents[] = {"", "\"content\":null,", "\"content\":\"\","};
    struct chat c;
    struct err e = {0};
    (void)state;
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        char *row = xasprintf("{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
                              "{\"role\":\"user\",\"content\":\"U\"},"
                              "{\"role\":\"assistant\",%s" CALL "}],%s}",
                              contents[i], tools);
        assert_int_equal(take(row, true, &c, &e), 0);
        assert_string_equal(c.messages[0].tools,
                            "{\"type\": \"function\", \"function\": {\"name\": \"f\"}}");
        assert_string_equal(chat_answer(&c),
                            "<executable_start>```function\n[{\"name\": \"f\", \"arguments\": "
                            "{}}]\n```<executable_end>");
        chat_release(&c);
        xfree(row);
    }
    static const struct {
        const char *row, *reason;
    } refused[] = {
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\","
         "\"content\":\"A\"}],\"tools\":[{}]}",
         "\"tools\" beside the messages belong to a system message, and there is none"},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"S\",\"tools\":[{}]},{\"role\":\"user\","
         "\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"A\"}],\"tools\":[{}]}",
         "\"tools\" stand beside the messages and on the system message"},
        {"{\"messages\":[],\"parallel_tool_calls\":true}",
         "unknown key \"parallel_tool_calls\" beside \"messages\""},
        {"{\"prompt\":\"a\",\"completion\":\"b\"}",
         "key \"messages\" is missing; found \"prompt\", \"completion\""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\"}]}",
         "message 2: key \"content\" is missing"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"tool\",\"content\":\"\"}"
         "]}",
         "role \"tool\": expected system, user or assistant; what a tool answered is no turn"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        e = (struct err){0};
        assert_int_equal(take(refused[i].row, true, &c, &e), ERR_FORMAT);
        if (!strstr(e.text, refused[i].reason))
            fail_msg("expected: %s\nfound:    %s", refused[i].reason, e.text);
    }
    e = (struct err){0};
    assert_int_equal(take("{\"prompt\":\"a\",\"completion\":\"b\"}", false, &c, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "found an object with \"prompt\", \"completion\""));
    e = (struct err){0};
    assert_int_equal(take("{\"messages\":[]}", false, &c, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "need `objects: true` below `with`"));
}

/* A file of which no line is a row is of another form: the message says so, and what to do. */
static void no_row_at_all(void **state)
{
    static const struct {
        const char *text, *hint;
    } files[] = {
        {"Frage;Abteilung\r\nWo?;Lieferung\r\n", "a table or a text becomes rows as"},
        {"\xEF\xBB\xBF"
         "Frage;Abteilung\r\n",
         "a table or a text becomes rows as"},
        {"[\n [\n  {\n",
         "for one JSON value over several lines, jq -c '.[]' FILE writes one a line"},
        {"{\"prompt\":\"a\"}\n", "a table or a text becomes rows as"},
    };
    char path[] = "/tmp/chat_test_XXXXXX";
    struct chat_list list;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct err e = {0};
        assert_int_equal(file_write(path, files[i].text, strlen(files[i].text), &e), 0);
        assert_int_equal(chat_list_read(&list, path, false, &e), ERR_FORMAT);
        if (!strstr(e.text, "no line of it is a row") || !strstr(e.text, files[i].hint))
            fail_msg("expected: %s\nfound:    %s", files[i].hint, e.text);
    }
    unlink(path);
}

/* What spreadsheets and editors of Windows put in front of a text is left out, and known. */
static void byte_order_mark(void **state)
{
    static const char row[] = "\xEF\xBB\xBF[{\"role\":\"user\",\"content\":\"U\"},"
                              "{\"role\":\"assistant\",\"content\":\"A\"}]\r\n";
    char path[] = "/tmp/chat_test_XXXXXX";
    struct chat_list list;
    struct err e = {0};
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(file_write(path, row, sizeof row - 1, &e), 0);
    assert_int_equal(chat_list_read(&list, path, false, &e), 0);
    assert_int_equal(list.n_rows, 1);
    assert_true(list.has_mark);
    chat_list_release(&list);
    assert_int_equal(file_write(path, row + 3, sizeof row - 4, &e), 0);
    assert_int_equal(chat_list_read(&list, path, false, &e), 0);
    assert_false(list.has_mark);
    chat_list_release(&list);
    unlink(path);
}

struct refusal {
    const char *line;
    const char *reason;
};

static const struct refusal REFUSALS[] = {
    {"[]", "column 1: the array holds no message"},
    {"7", "column 1: expected an array of messages, found a number"},
    {"[{\"role\":\"user\",\"content\":\"U\"}]", "column 2: the last message is of role user"},
    {"[ {\"role\":\"system\",\"content\":\"S\"}]", "column 3: the last message is of role system"},
    {"[{\"role\":\"assistant\",\"content\":\"A\"}]",
     "column 2: message 1: role assistant: expected user"},
    {"[{\"role\":\"user\",\"content\":\"a, [b]\"}, {\"role\":\"user\",\"content\":\"V\"}]",
     "column 38: message 2: role user: expected assistant"},
    {"[{\"role\":\"user\",\"content\":\"U\",\"name\":\"x\"}]", "unknown key \"name\""},
    {"[{\"role\":\"user\",\"content\":\"U\",\"tools\":[]}]",
     "\"tools\" belongs on the system message"},
    {"[{\"role\":\"user\",\"content\":\"U\",\"tool_calls\":[]}]",
     "belongs on an assistant message"},
    {"[{\"role\":\"user\",\"content\":\"U\",\"response_format\":{}}]",
     "unknown key \"response_format\""},
    {"[{\"role\":\"tool\",\"content\":\"U\"}]",
     "role \"tool\": expected system, user or assistant"},
    {"[{\"role\":\"user\",\"content\":null}]", "key \"content\": expected text, found null"},
    {"[{\"role\":\"user\"}]", "key \"content\" is missing"},
    {"[{\"content\":\"x\"}]", "key \"role\" is missing"},
    {"[{\"role\":\"user\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_"
     "calls\":"
     "[{\"function\":{\"name\":\"f\",\"arguments\":\"[1]\"}}]}]",
     "\"arguments\": expected an object"},
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof REFUSALS / sizeof REFUSALS[0]; i++) {
        struct chat c;
        struct err e = {0};
        assert_int_equal(take(REFUSALS[i].line, false, &c, &e), ERR_FORMAT);
        if (!strstr(e.text, REFUSALS[i].reason))
            print_message("expected: %s\nfound:    %s\n", REFUSALS[i].reason, e.text);
        assert_non_null(strstr(e.text, REFUSALS[i].reason));
    }
}

/* A list names every bad line, the first ones with their reason. */
static void whole_file(void **state)
{
    char path[] = "/tmp/chat_test_XXXXXX";
    struct buf text;
    struct err e = {0};
    struct chat_list list;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    buf_init(&text, 10000);
    for (int i = 0; i < 12; i++)
        buf_add_text(&text, i % 2 == 0 ? "[{\"role\":\"user\",\"content\":\"U\"},"
                                         "{\"role\":\"assistant\",\"content\":\"A\"}]\r\n"
                                       : " \n");
    assert_int_equal(file_write(path, text.bytes, text.n_bytes, &e), 0);
    assert_int_equal(chat_list_read(&list, path, false, &e), 0);
    assert_int_equal(list.n_rows, 6);
    assert_int_equal(list.blank_lines, 6);
    assert_int_equal(list.rows[2].line, 5);
    chat_list_release(&list);

    for (int i = 0; i < 9; i++)
        buf_add_text(&text, "[}\n");
    assert_int_equal(file_write(path, text.bytes, text.n_bytes, &e), 0);
    assert_int_equal(chat_list_read(&list, path, false, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, ":13: column 2: "));
    assert_non_null(strstr(e.text, ":20: column 2: "));
    assert_null(strstr(e.text, ":21: "));
    assert_non_null(strstr(e.text, "9 bad lines in all"));
    chat_list_release(&list);

    e = (struct err){0};
    assert_int_equal(file_write(path, "\n", 1, &e), 0);
    assert_int_equal(chat_list_read(&list, path, false, &e), ERR_FORMAT);
    buf_release(&text);
    unlink(path);
}

/* Our rules for what a name leaves open: these are taken, the other either_* files are refused. */
static bool is_taken(const char *name)
{
    return str_starts(name, "take_") || str_starts(name, "either_blank_line_") ||
           str_starts(name, "either_empty_content_") || str_starts(name, "either_huge_text_");
}

static void bad_lines(void **state)
{
    struct file_list files = {0};
    struct err e = {0};
    size_t n = 0;
    (void)state;
    if (!file_is_folder(BAD_LINES)) {
        print_message("skipped: %s is not there\n", BAD_LINES);
        skip();
    }
    assert_int_equal(file_list_folder(BAD_LINES, &files, &e), 0);
    for (size_t i = 0; i < files.n_paths; i++) {
        const char *name = files.paths[i];
        struct chat_list list;
        if (!str_ends(name, ".jsonl"))
            continue;
        char *path = file_join(BAD_LINES, name);
        e = (struct err){0};
        int status = chat_list_read(&list, path, false, &e);
        bool is_right = (status == 0) == is_taken(name);
        if (status < 0)
            is_right = is_right && strstr(e.text, ".jsonl:2: column ") != NULL;
        else
            is_right = is_right && list.n_rows + list.blank_lines == 3;
        if (!is_right)
            print_message("%s: %d %s\n", name, status, e.text);
        assert_true(is_right);
        chat_list_release(&list);
        xfree(path);
        n++;
    }
    assert_true(n > 0);
    file_list_release(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_rows),    cmocka_unit_test(objects),
        cmocka_unit_test(refusals),      cmocka_unit_test(openai),
        cmocka_unit_test(no_row_at_all), cmocka_unit_test(byte_order_mark),
        cmocka_unit_test(whole_file),    cmocka_unit_test(bad_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
