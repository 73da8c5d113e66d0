#include "pipeline/engine/report_cells.h"

#include "pipeline/base/str.h"
#include "pipeline/provenance/statement.h"

struct json *report_cell_text(const char *text)
{
    return text ? statement_text(text) : json_new_null();
}

const char *report_tone(const char *status)
{
    if (str_eq(status, "ok") || str_eq(status, "executed") || str_eq(status, "holds"))
        return "good";
    if (str_eq(status, "failed") || str_eq(status, "fails") || str_eq(status, "gates"))
        return "bad";
    return str_eq(status, "reused") ? "muted" : "warn";
}

const char *report_stage_status(const struct json *stage)
{
    const char *status = json_text(stage, "status");
    bool stopped = str_eq(status, "failed") && str_eq(json_text(stage, "reason"), "interrupted");
    return stopped ? "interrupted" : status;
}

struct json *report_cell_code(const char *hash)
{
    if (!hash)
        return json_new_null();
    struct json *o = json_new_object();
    json_put_string(o, "text", hash);
    json_put_bool(o, "code", true);
    return o;
}

struct json *report_cell_tone(const char *text, const char *tone)
{
    struct json *o = json_new_object();
    json_put_string(o, "text", text);
    json_put_string(o, "tone", tone);
    return o;
}

struct json *report_cell_number(double v, const char *key)
{
    struct json *o = json_new_object();
    json_put_f64(o, "number", v);
    if (key)
        json_put_string(o, "key", key);
    return o;
}

/* An array member of an object of ours, made when absent. */
static struct json *list_of(struct json *object, const char *name)
{
    const struct json *found = json_get(object, name);
    if (found)
        return (struct json *)found; /* json_get speaks of trees that were read; this one is ours */
    struct json *list = json_new_array();
    json_put(object, name, list);
    return list;
}

void page_add_fact(struct json *page, const char *name, struct json *cell)
{
    struct json *o = json_new_object();
    json_put_string(o, "name", name);
    json_put(o, "value", cell);
    json_append(list_of(page, "facts"), o);
}

void page_add_notice(struct json *page, const char *name, const char *text, const char *tone,
                     const char *section)
{
    struct json *o = json_new_object();
    json_put_string(o, "name", name);
    json_put(o, "text", statement_text(text));
    json_put_string(o, "tone", tone);
    json_put_string(o, "section", section);
    json_append(list_of(page, "notices"), o);
}

struct json *page_add_section(struct json *page, const char *id, const char *title, bool open,
                              const char *note)
{
    struct json *o = json_new_object(), *blocks = json_new_array();
    json_put_string(o, "id", id);
    json_put_string(o, "title", title);
    json_put_bool(o, "open", open);
    if (note)
        json_put_string(o, "note", note);
    json_put(o, "blocks", blocks);
    json_append(list_of(page, "sections"), o);
    return blocks;
}

struct json *page_add_table(struct json *blocks, const char *title, const char *const *columns)
{
    struct json *o = json_new_object(), *names = json_new_array(), *rows = json_new_array();
    json_put_string(o, "type", "table");
    json_put_string(o, "title", title);
    for (size_t i = 0; columns[i]; i++)
        json_append(names, json_new_string(columns[i]));
    json_put(o, "columns", names);
    json_put(o, "rows", rows);
    json_append(blocks, o);
    return rows;
}

struct json *page_add_row(struct json *rows)
{
    struct json *row = json_new_array();
    json_append(rows, row);
    return row;
}

void page_add_text(struct json *blocks, const char *title, const char *text)
{
    struct json *o = json_new_object();
    json_put_string(o, "type", "text");
    json_put_string(o, "title", title);
    json_put_string(o, "text", text);
    json_append(blocks, o);
}
