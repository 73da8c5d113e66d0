/* stages/text: lines (jsonl.h), rows (chat.h), the rules of a set (rules.h) and of two
 * (leak.h). */

#include <string.h>

#include "pipeline/base/check.h"
#include "stages/text/chat.h"
#include "stages/text/jsonl.h"
#include "stages/text/labels.h"
#include "stages/text/leak.h"
#include "stages/text/rules.h"
#include "tests/fuzz/fuzz.h"

static const char template_text[] =
    "{\"turn_start\":\"<turn_start>\",\"turn_end\":\"<turn_end>\",\"newline\":\"<n>\","
    "\"default_system\":\"A conversation.\"}";

/* Rows that are taken; those of lines that are not are only looked at. */
static size_t read_lines(const char *path, bool objects_allowed)
{
    struct jsonl lines = {0};
    struct err e = {0};
    size_t n_taken = 0;
    CHECK(jsonl_open(&lines, path, &e) == 0);
    while (jsonl_next(&lines)) {
        struct json *v = NULL;
        struct chat c = {0};
        struct err bad = {0};
        struct buf text;
        buf_init(&text, BUF_MAX_DEFAULT);
        if (jsonl_value(&lines, &v, &bad) == 0 &&
            chat_take(&c, v, lines.text, lines.n_text, objects_allowed, &bad) == 0) {
            n_taken++;
            CHECK(chat_answer(&c) != NULL && chat_last_user(&c) != NULL);
            chat_write(&c, &text);
        }
        buf_release(&text);
        chat_release(&c);
        json_free(v);
    }
    jsonl_close(&lines);
    return n_taken;
}

static void check_rules(const struct chat_list *rows)
{
    struct template t = {0};
    struct err e = {0}, refused = {0};
    struct json *findings = json_new_array();
    CHECK(template_parse(&t, template_text, strlen(template_text), &e) == 0);
    if (rules_check(rows, "raw", &t, findings, &refused) == 0)
        CHECK(rules_check_special(rows, "raw", &t, &refused) == 0);
    refused = (struct err){0};
    const struct leak leak = {rows, "training", "raw", rows, "rows", "rows", true};
    CHECK(leak_check(&leak, findings, &refused) == ERR_FORMAT); /* each is its own repeat */
    labels_check(rows, rows, NULL, "rows", findings);
    json_free(findings);
    template_release(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char *path = fuzz_file(data, n_bytes);
    struct chat_list rows = {0};
    struct err e = {0};
    size_t n_arrays = read_lines(path, false);
    size_t n_all = read_lines(path, true);
    CHECK(n_arrays <= n_all);
    fuzz_taken = chat_list_read(&rows, path, true, &e) == 0;
    if (fuzz_taken) {
        CHECK(rows.n_rows == n_all);
        check_rules(&rows);
    }
    chat_list_release(&rows);
    return 0;
}
