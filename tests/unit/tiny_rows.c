#include "tests/unit/tiny_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static void add(struct chat *c, enum chat_role role, const char *text)
{
    c->messages = xrealloc_array(c->messages, c->n_messages + 1, sizeof *c->messages);
    c->messages[c->n_messages++] = (struct chat_message){role, xstrdup(text), NULL};
}

void tiny_rows(const struct tiny_row *rows, size_t n, const char *name, struct chat_list *l)
{
    *l = (struct chat_list){.rows = xalloc_array(n, sizeof *l->rows),
                            .n_rows = n,
                            .capacity = n,
                            .path = xasprintf("%s.jsonl", name)};
    for (size_t i = 0; i < n; i++) {
        struct chat *c = &l->rows[i];
        c->line = i + 1;
        if (rows[i].system)
            add(c, CHAT_SYSTEM, rows[i].system);
        tiny_rows_add_turn(c, rows[i].user, rows[i].answer);
    }
}

void tiny_rows_add_turn(struct chat *c, const char *user, const char *answer)
{
    add(c, CHAT_USER, user);
    add(c, CHAT_ASSISTANT, answer);
}

void tiny_rows_expect(const struct json *findings, const char *what, int n, const char *where)
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
