#include "stages/text/chat.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/template.h"

/* How many bad lines a message spells out. */
#define BAD_LINES_SHOWN 8
/* How many keys of an object that is no row. */
#define KEYS_SHOWN 4

static const char *const ROLE_NAMES[] = {"system", "user", "assistant"};

const char *chat_role_name(enum chat_role role)
{
    return ROLE_NAMES[role];
}

/* Column of item i of the array in a line that json_scan took: commas at depth 1, outside text. */
static size_t column_of(const char *text, size_t n_bytes, size_t i_item)
{
    size_t depth = 0;
    size_t i_seen = 0;
    bool in_text = false;
    const char *open = memchr(text, '[', n_bytes);
    if (!open)
        return 1;
    for (size_t i = (size_t)(open - text); i < n_bytes; i++) {
        char c = text[i];
        if (in_text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_text = false;
            continue;
        }
        bool is_start = depth == 1 && i_seen == i_item && !strchr(" \t\r,", c);
        if (is_start)
            return i + 1;
        if (c == '"')
            in_text = true;
        else if (c == '[' || c == '{')
            depth++;
        else if (c == ']' || c == '}')
            depth--;
        else if (c == ',' && depth == 1)
            i_seen++;
    }
    return 1;
}

/* Python's separators, keys in source order: what the model family saw in training. */
static void write_loose(const struct json *v, struct buf *out)
{
    bool is_object = json_type(v) == JSON_OBJECT;
    if (!is_object && json_type(v) != JSON_ARRAY) {
        json_write_canonical(v, out);
        return;
    }
    buf_add_char(out, is_object ? '{' : '[');
    for (const struct json *item = json_first(v); item; item = json_next(item)) {
        if (item != json_first(v))
            buf_add_text(out, ", ");
        if (is_object) {
            json_add_string(out, json_key(item));
            buf_add_text(out, ": ");
        }
        write_loose(item, out);
    }
    buf_add_char(out, is_object ? '}' : ']');
}

static int take_tools(struct chat_message *m, const struct json *tools, struct err *e)
{
    struct buf text;
    if (json_type(tools) != JSON_ARRAY || json_count(tools) == 0)
        return err_set(e, ERR_FORMAT, "key \"tools\": expected an array with at least one tool");
    buf_init(&text, BUF_MAX_DEFAULT);
    for (const struct json *tool = json_first(tools); tool; tool = json_next(tool)) {
        if (json_type(tool) != JSON_OBJECT) {
            buf_release(&text);
            return err_set(e, ERR_FORMAT, "key \"tools\": expected objects, found %s",
                           json_type_name(json_type(tool)));
        }
        if (text.n_bytes > 0)
            buf_add_char(&text, '\n');
        write_loose(tool, &text);
    }
    m->tools = buf_steal(&text);
    return 0;
}

/* One call: {"function": {"name": text, "arguments": text holding JSON, or an object}}; id and type
 * may stand beside it and are not rendered. */
static int add_call(const struct json *call, struct buf *text, struct err *e)
{
    static const char *const call_keys[] = {"function", "id", "type"};
    static const char *const function_keys[] = {"name", "arguments"};
    const struct json *function = NULL;
    const char *name = NULL;
    struct json *parsed = NULL;
    int status = json_type(call) == JSON_OBJECT
                     ? json_only_keys(call, call_keys, 3, e)
                     : err_set(e, ERR_FORMAT, "expected an object, found %s",
                               json_type_name(json_type(call)));
    if (status == 0)
        status = json_need_object(call, "function", &function, e);
    if (status == 0)
        status = json_only_keys(function, function_keys, 2, e);
    if (status == 0)
        status = json_need_string(function, "name", &name, e);
    if (status < 0)
        return status;
    const struct json *arguments = json_get(function, "arguments");
    if (arguments && json_type(arguments) == JSON_STRING) {
        const char *source = json_string(arguments);
        status = json_parse(source, strlen(source), &parsed, e);
        if (status < 0)
            return err_wrap(e, "arguments");
        arguments = parsed;
    }
    if (!arguments || json_type(arguments) != JSON_OBJECT) {
        json_free(parsed);
        return err_set(e, ERR_FORMAT, "key \"arguments\": expected an object as JSON text");
    }
    buf_add_text(text, "{\"name\": ");
    json_add_string(text, name);
    buf_add_text(text, ", \"arguments\": ");
    write_loose(arguments, text);
    buf_add_char(text, '}');
    json_free(parsed);
    return 0;
}

static int take_calls(struct chat_message *m, const struct json *calls, struct err *e)
{
    struct buf text;
    int status = 0;
    if (json_type(calls) != JSON_ARRAY || json_count(calls) == 0)
        return err_set(e, ERR_FORMAT,
                       "key \"tool_calls\": expected an array with at least one call");
    buf_init(&text, BUF_MAX_DEFAULT);
    buf_add_char(&text, '[');
    for (const struct json *call = json_first(calls); call && status == 0; call = json_next(call)) {
        if (call != json_first(calls))
            buf_add_text(&text, ", ");
        status = add_call(call, &text, e);
    }
    buf_add_char(&text, ']');
    if (status == 0)
        m->tools = buf_steal(&text);
    else
        status = err_wrap(e, "key \"tool_calls\"");
    buf_release(&text);
    return status;
}

static int check_key(const char *key, enum chat_role role, struct err *e)
{
    if (str_eq(key, "role") || str_eq(key, "content"))
        return 0;
    if (str_eq(key, "tools") && role == CHAT_SYSTEM)
        return 0;
    if (str_eq(key, "tool_calls") && role == CHAT_ASSISTANT)
        return 0;
    if (str_eq(key, "tools"))
        return err_set(e, ERR_FORMAT, "key \"tools\" belongs on the system message");
    if (str_eq(key, "tool_calls"))
        return err_set(e, ERR_FORMAT, "key \"tool_calls\" belongs on an assistant message");
    return err_set(e, ERR_FORMAT, "unknown key \"%s\": expected role and content", key);
}

static int need_text(const struct json *v, const char *key, const char **out, struct err *e)
{
    const struct json *member = json_get(v, key);
    if (!member)
        return err_set(e, ERR_FORMAT, "key \"%s\" is missing", key);
    if (json_type(member) != JSON_STRING)
        return err_set(e, ERR_FORMAT, "key \"%s\": expected text, found %s", key,
                       json_type_name(json_type(member)));
    *out = json_string(member);
    return 0;
}

static int take_message(struct chat_message *m, const struct json *v, struct err *e)
{
    const char *role = NULL;
    const char *content = NULL;
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "expected an object, found %s", json_type_name(json_type(v)));
    int status = need_text(v, "role", &role, e);
    if (status < 0)
        return status;
    for (m->role = CHAT_SYSTEM; m->role <= CHAT_ASSISTANT; m->role++)
        if (str_eq(role, ROLE_NAMES[m->role]))
            break;
    if (m->role > CHAT_ASSISTANT)
        return err_set(e, ERR_FORMAT, "role \"%.40s\": expected system, user or assistant%s", role,
                       str_eq(role, "tool") || str_eq(role, "function")
                           ? "; what a tool answered is no turn: end the row at the call"
                           : "");
    for (const struct json *member = json_first(v); member && status == 0;
         member = json_next(member))
        status = check_key(json_key(member), m->role, e);
    const struct json *written = json_get(v, "content");
    bool only_calls = json_get(v, "tool_calls") && (!written || json_type(written) == JSON_NULL);
    if (status == 0 && !only_calls)
        status = need_text(v, "content", &content, e);
    if (status < 0)
        return status;
    m->content = xstrdup(only_calls ? "" : content);
    if (json_get(v, "tools"))
        return take_tools(m, json_get(v, "tools"), e);
    if (json_get(v, "tool_calls"))
        return take_calls(m, json_get(v, "tool_calls"), e);
    return 0;
}

/* What may follow: system only first, then user and assistant in turn. */
static int check_order(const struct chat *c, size_t i, struct err *e)
{
    enum chat_role role = c->messages[i].role;
    bool has_system = c->messages[0].role == CHAT_SYSTEM;
    if (role == CHAT_SYSTEM && i > 0)
        return err_set(e, ERR_FORMAT, "a system message may only be the first");
    if (i == 0 && role == CHAT_SYSTEM)
        return 0;
    enum chat_role expected = (i - has_system) % 2 == 0 ? CHAT_USER : CHAT_ASSISTANT;
    if (role != expected)
        return err_set(e, ERR_FORMAT, "role %s: expected %s (user and assistant take turns)",
                       ROLE_NAMES[role], ROLE_NAMES[expected]);
    return 0;
}

/* Appends `"prompt", "completion"`: what an object has instead. */
static void write_keys(const struct json *v, struct buf *out)
{
    size_t n = 0;
    for (const struct json *m = json_first(v); m && n < KEYS_SHOWN; m = json_next(m), n++)
        buf_printf(out, "%s\"%.40s\"", n > 0 ? ", " : "", json_key(m));
    if (json_count(v) > n)
        buf_add_text(out, ", ...");
}

static int refuse_object(const struct json *v, bool objects_allowed, struct err *e)
{
    struct buf keys;
    buf_init(&keys, BUF_MAX_DEFAULT);
    write_keys(v, &keys);
    if (objects_allowed)
        err_set(e, ERR_FORMAT, "column 1: key \"messages\" is missing; found %s", buf_text(&keys));
    else if (json_get(v, "messages"))
        err_set(e, ERR_FORMAT,
                "column 1: expected an array of messages, found an object (rows of the form "
                "{\"messages\": [...]} need `objects: true` below `with`)");
    else
        err_set(e, ERR_FORMAT, "column 1: expected an array of messages, found an object with %s",
                json_count(v) > 0 ? buf_text(&keys) : "no key");
    buf_release(&keys);
    return ERR_FORMAT;
}

static int check_object(const struct json *v, bool objects_allowed, struct err *e)
{
    if (!objects_allowed || !json_get(v, "messages"))
        return refuse_object(v, objects_allowed, e);
    for (const struct json *m = json_first(v); m; m = json_next(m))
        if (!str_eq(json_key(m), "messages") && !str_eq(json_key(m), "tools"))
            return err_set(e, ERR_FORMAT, "column 1: unknown key \"%.40s\" beside \"messages\"",
                           json_key(m));
    return 0;
}

static const struct json *messages_of(const struct json *v, bool objects_allowed, struct err *e)
{
    const struct json *messages = v;
    if (json_type(v) == JSON_OBJECT) {
        if (check_object(v, objects_allowed, e) < 0)
            return NULL;
        messages = json_get(v, "messages");
    }
    if (json_type(messages) != JSON_ARRAY) {
        err_set(e, ERR_FORMAT, "column 1: expected an array of messages, found %s",
                json_type_name(json_type(messages)));
        return NULL;
    }
    return messages;
}

/* What stands beside the messages is what the system message would have. */
static int take_tools_beside(struct chat *c, const struct json *tools, struct err *e)
{
    struct chat_message *first = &c->messages[0];
    if (first->role != CHAT_SYSTEM)
        return err_set(e, ERR_FORMAT,
                       "column 1: \"tools\" beside the messages belong to a system message, and "
                       "there is none");
    if (first->tools)
        return err_set(e, ERR_FORMAT,
                       "column 1: \"tools\" stand beside the messages and on the system message");
    return take_tools(first, tools, e);
}

static char *message_text(const struct chat_message *m)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    chat_write_message(m, &text);
    return buf_steal(&text);
}

int chat_take(struct chat *c, const struct json *v, const char *text, size_t n_bytes,
              bool objects_allowed, struct err *e)
{
    *c = (struct chat){0};
    const struct json *messages = messages_of(v, objects_allowed, e);
    if (!messages)
        return ERR_FORMAT;
    size_t n = json_count(messages);
    if (n == 0)
        return err_set(e, ERR_FORMAT, "column 1: the array holds no message");
    c->messages = xalloc_array(n, sizeof *c->messages);
    int status = 0;
    const struct json *item = json_first(messages);
    for (size_t i = 0; i < n && status == 0; i++, item = json_next(item)) {
        c->n_messages = i + 1;
        status = take_message(&c->messages[i], item, e);
        if (status == 0)
            status = check_order(c, i, e);
        if (status < 0)
            status = err_wrap(e, "column %zu: message %zu", column_of(text, n_bytes, i), i + 1);
    }
    if (status == 0 && json_type(v) == JSON_OBJECT && json_get(v, "tools"))
        status = take_tools_beside(c, json_get(v, "tools"), e);
    if (status == 0 && c->messages[n - 1].role != CHAT_ASSISTANT)
        status =
            err_set(e, ERR_FORMAT, "column %zu: the last message is of role %s: expected assistant",
                    column_of(text, n_bytes, n - 1), ROLE_NAMES[c->messages[n - 1].role]);
    if (status < 0)
        chat_release(c);
    else if (c->messages[n - 1].tools)
        c->called = message_text(&c->messages[n - 1]);
    return status;
}

void chat_release(struct chat *c)
{
    xfree(c->called);
    for (size_t i = 0; i < c->n_messages; i++) {
        xfree(c->messages[i].content);
        xfree(c->messages[i].tools);
    }
    xfree(c->messages);
    *c = (struct chat){0};
}

const char *chat_system(const struct chat *c)
{
    return c->messages[0].role == CHAT_SYSTEM ? c->messages[0].content : NULL;
}

const char *chat_last_user(const struct chat *c)
{
    CHECK(c->n_messages >= 2);
    return c->messages[c->n_messages - 2].content;
}

const char *chat_answer(const struct chat *c)
{
    CHECK(c->n_messages >= 2);
    return c->called ? c->called : c->messages[c->n_messages - 1].content;
}

void chat_write_message(const struct chat_message *m, struct buf *out)
{
    buf_add_text(out, m->content);
    if (m->tools && m->role == CHAT_SYSTEM) {
        buf_add_text(out, "\nsystem tools: ");
        buf_add_text(out, m->tools);
    } else if (m->tools) {
        buf_add_text(out, TEMPLATE_PIECES[TEMPLATE_EXECUTABLE_START]);
        buf_add_text(out, "```function\n");
        buf_add_text(out, m->tools);
        buf_add_text(out, "\n```");
        buf_add_text(out, TEMPLATE_PIECES[TEMPLATE_EXECUTABLE_END]);
    }
}

void chat_write(const struct chat *c, struct buf *out)
{
    for (size_t i = 0; i < c->n_messages; i++) {
        const struct chat_message *m = &c->messages[i];
        buf_add_text(out, ROLE_NAMES[m->role]);
        buf_add_char(out, ' ');
        json_add_string(out, m->content);
        if (m->tools) {
            buf_add_char(out, ' ');
            json_add_string(out, m->tools);
        }
        buf_add_char(out, '\n');
    }
}

static void add_row(struct chat_list *l, const struct chat *c)
{
    if (l->n_rows == l->capacity) {
        l->capacity = l->capacity == 0 ? 64 : 2 * l->capacity;
        l->rows = xrealloc_array(l->rows, l->capacity, sizeof *l->rows);
    }
    l->rows[l->n_rows++] = *c;
}

static int take_line(struct chat_list *l, const struct jsonl *lines, bool objects_allowed,
                     struct err *e)
{
    struct json *v = NULL;
    struct chat c = {0};
    int status = jsonl_value(lines, &v, e);
    if (status == 0)
        status = chat_take(&c, v, lines->text, lines->n_text, objects_allowed, e);
    if (status == 0) {
        c.line = lines->line;
        add_row(l, &c);
    }
    json_free(v);
    return status;
}

/* Is what is read so far the beginning of a value that goes on in the next line? */
static bool is_open_value(const struct jsonl *lines)
{
    size_t n = lines->n_text;
    while (n > 0 && strchr(" \t", lines->text[n - 1]))
        n--;
    return n > 0 && strchr("[{", lines->text[n - 1]);
}

/* Of a file of which no line is a row: what it may be, and what to do. */
static void add_hint(struct buf *reasons, const char *path, bool is_open)
{
    buf_printf(reasons,
               "\n%s: no line of it is a row: expected one JSON array of messages a line; %s", path,
               is_open ? "for one JSON value over several lines, jq -c '.[]' FILE writes one a line"
                       : "a table or a text becomes rows as configs/README.md, Rows, says");
}

static int read_lines(struct chat_list *l, struct jsonl *lines, const char *path,
                      bool objects_allowed, struct err *e)
{
    struct buf reasons;
    size_t n_bad = 0;
    bool is_open = false;
    int status = 0;
    buf_init(&reasons, BUF_MAX_DEFAULT);
    while (jsonl_next(lines)) {
        struct err bad = {0};
        if (take_line(l, lines, objects_allowed, &bad) == 0)
            continue;
        is_open = n_bad == 0 ? is_open_value(lines) : is_open;
        if (++n_bad <= BAD_LINES_SHOWN)
            buf_printf(&reasons, "%s%s:%llu: %.200s", n_bad > 1 ? "\n" : "", path,
                       (unsigned long long)lines->line, bad.text);
    }
    if (n_bad > BAD_LINES_SHOWN)
        buf_printf(&reasons, "\n%s: %zu bad lines in all", path, n_bad);
    if (n_bad > 0 && l->n_rows == 0)
        add_hint(&reasons, path, is_open);
    if (n_bad > 0)
        status = err_set(e, ERR_FORMAT, "%s", buf_text(&reasons));
    else if (l->n_rows == 0)
        status = err_set(e, ERR_FORMAT,
                         "%s: no row in it: expected one JSON array of messages a line", path);
    l->blank_lines = lines->blank_lines;
    l->has_mark = lines->has_mark;
    buf_release(&reasons);
    return status;
}

int chat_list_read(struct chat_list *l, const char *path, bool objects_allowed, struct err *e)
{
    struct jsonl lines = {0};
    *l = (struct chat_list){.path = xstrdup(path)};
    int status = jsonl_open(&lines, path, e);
    if (status == 0)
        status = read_lines(l, &lines, path, objects_allowed, e);
    jsonl_close(&lines);
    if (status < 0)
        chat_list_release(l);
    return status;
}

void chat_list_release(struct chat_list *l)
{
    for (size_t i = 0; i < l->n_rows; i++)
        chat_release(&l->rows[i]);
    xfree(l->rows);
    xfree(l->path);
    *l = (struct chat_list){0};
}
