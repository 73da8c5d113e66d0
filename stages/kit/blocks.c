#include "stages/kit/blocks.h"

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"

struct json *blocks_new(void)
{
    struct json *report = json_new_object();
    json_put(report, "blocks", json_new_array());
    return report;
}

struct json *blocks_add(struct json *report, const char *type, const char *title)
{
    struct json *block = json_new_object();
    json_put_string(block, "type", type);
    json_put_string(block, "title", title);
    /* The tree is ours and not const; json_get speaks of trees that were read. */
    json_append((struct json *)json_get(report, "blocks"), block);
    return block;
}

void blocks_add_text(struct json *report, const char *title, const char *text)
{
    json_put_string(blocks_add(report, "text", title), "text", text);
}

struct json *blocks_add_table(struct json *report, const char *type, const char *title,
                              const char *const *columns)
{
    struct json *block = blocks_add(report, type, title);
    struct json *names = json_new_array();
    struct json *rows = json_new_array();
    for (size_t i = 0; columns[i]; i++)
        json_append(names, json_new_string(columns[i]));
    json_put(block, "columns", names);
    json_put(block, "rows", rows);
    return rows;
}

struct json *blocks_row(struct json *rows)
{
    struct json *row = json_new_array();
    json_append(rows, row);
    return row;
}

struct json *blocks_add_values(struct json *report, const char *title)
{
    static const char *const columns[] = {"what", "value", NULL};
    return blocks_add_table(report, "table", title, columns);
}

void blocks_value(struct json *rows, const char *what, struct json *value)
{
    struct json *row = blocks_row(rows);
    json_append(row, json_new_string(what));
    json_append(row, value);
}

int blocks_save(const struct json *report, const char *path, struct err *e)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    json_write_canonical(report, &text);
    buf_add_char(&text, '\n');
    int status = file_write(path, text.bytes, text.n_bytes, e);
    buf_release(&text);
    return status;
}

void blocks_add_numbers(struct json *report, const char *title, const struct json *numbers)
{
    struct json *rows = blocks_add_values(report, title);
    for (const struct json *n = json_first(numbers); n; n = json_next(n))
        blocks_value(rows, json_key(n), json_new_f64(json_number(n)));
}

int blocks_publish(const struct stage_run *run, const char *port, struct json *metrics,
                   struct json *report, int rc, struct err *e)
{
    if (rc == 0 && stage_out(run, port))
        rc = blocks_save(metrics, stage_out(run, port), e);
    if (rc == 0 && stage_out(run, "report"))
        rc = blocks_save(report, stage_out(run, "report"), e);
    json_free(metrics);
    json_free(report);
    return rc;
}
