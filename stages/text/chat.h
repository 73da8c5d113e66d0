#ifndef FMFORGE_TEXT_CHAT_H
#define FMFORGE_TEXT_CHAT_H

/*
 * One training or golden row: a conversation. A line is a JSON array of messages; where the caller
 * allows it also an object with the key "messages" that holds the array, and with "tools", which
 * then are those of the system message.
 *
 * Rules, checked on every row:
 * - a message is an object with role and content, both text, and no other key than tools (on the
 *   system message) and tool_calls (on assistant messages, whose content may then be null or
 * absent: an empty text);
 * - roles: an optional system message first, then user and assistant in turn, user first and
 *   assistant last.
 *
 * tools and tool_calls become part of the rendered text as the model family expects it:
 *   system     CONTENT \n system tools: TOOL \n TOOL ...
 *   assistant  CONTENT <executable_start> ```function \n [{"name": .., "arguments": ..}] \n ```
 * <executable_end> Any other key is refused by name: nothing in a row is ever dropped silently.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/text/jsonl.h"

enum chat_role {
    CHAT_SYSTEM,
    CHAT_USER,
    CHAT_ASSISTANT,
};

struct chat_message {
    enum chat_role role;
    char *content; /* as written */
    char *tools;   /* JSON texts of tools or tool calls, one a line; NULL = none */
};

struct chat {
    struct chat_message *messages;
    size_t n_messages;
    char *called;  /* the last message with its tool calls, as text; NULL = it has none */
    uint64_t line; /* where it came from, from 1 */
};

/* Takes a parsed line. text is its source, for columns. Message: "column N: message 2: ...". */
int chat_take(struct chat *c, const struct json *v, const char *text, size_t n_bytes,
              bool objects_allowed, struct err *e) MUST_USE;
void chat_release(struct chat *c); /* safe on zeroed, safe twice */

const char *chat_role_name(enum chat_role role); /* "system", ... */
/* The system text, NULL when there is none. */
const char *chat_system(const struct chat *c);
/* The last user message and the last answer, as a model writes it: with its tool calls, as above.
 * There always are. Borrowed. */
const char *chat_last_user(const struct chat *c);
const char *chat_answer(const struct chat *c);
/* What stands between a turn's head and its end: content, tools or tool calls; appended. */
void chat_write_message(const struct chat_message *m, struct buf *out);
/* One canonical text of everything in the row: what it is hashed and compared by; appended. */
void chat_write(const struct chat *c, struct buf *out);

/* A whole file. */
struct chat_list {
    struct chat *rows;
    size_t n_rows;
    size_t capacity;
    uint64_t blank_lines;
    bool has_mark; /* a byte order mark in front was left out */
    char *path;    /* where they were read, for messages; no output may hold it */
};

/* Reads all rows or none. When lines are bad, the message gives the first ones with line and
 * reason, one below the other, and how many there are in all. A file without rows is ERR_FORMAT. */
int chat_list_read(struct chat_list *l, const char *path, bool objects_allowed,
                   struct err *e) MUST_USE;
void chat_list_release(struct chat_list *l); /* safe on zeroed, safe twice */

#endif
