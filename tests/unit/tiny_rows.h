#ifndef FMFORGE_TESTS_TINY_ROWS_H
#define FMFORGE_TESTS_TINY_ROWS_H

/* Rows by hand for tests, and what they look for in a table of findings. */

#include <stddef.h>

#include "pipeline/base/json.h"
#include "stages/text/chat.h"

/* system NULL: none. */
struct tiny_row {
    const char *system, *user, *answer;
};

/* A list of them, read from NAME.jsonl. */
void tiny_rows(const struct tiny_row *rows, size_t n, const char *name, struct chat_list *l);
/* Puts a user's text and an answer behind a row. */
void tiny_rows_add_turn(struct chat *c, const char *user, const char *answer);
/* Fails when no finding has `what` in it, this count and these places. */
void tiny_rows_expect(const struct json *findings, const char *what, int n, const char *where);

#endif
