#include "stages/text/finding.h"

#include <stdarg.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"

const char *const FINDING_COLUMNS[] = {"finding", "rows", "where", NULL};

void finding_add(struct finding *f, const char *format, ...)
{
    if (f->n == 0)
        buf_init(&f->where, BUF_MAX_DEFAULT);
    if (++f->n > FINDING_PLACES_SHOWN)
        return;
    if (f->n > 1)
        buf_add_text(&f->where, ", ");
    va_list args;
    va_start(args, format);
    buf_vprintf(&f->where, format, args);
    va_end(args);
}

const char *finding_where(struct finding *f)
{
    if (f->n > FINDING_PLACES_SHOWN)
        buf_add_text(&f->where, ", ...");
    return buf_text(&f->where);
}

void finding_put(struct json *table, const char *name, const char *what, uint64_t n,
                 const char *where)
{
    struct json *row = blocks_row(table);
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    buf_printf(&text, "%s: %s", name, what);
    json_append(row, json_new_string(buf_text(&text)));
    json_append(row, json_new_i64((int64_t)n));
    /* Names of files may hold any bytes. */
    char *valid = xstrndup(where, str_utf8_prefix(where, strlen(where)));
    json_append(row, json_new_string(valid));
    xfree(valid);
    buf_release(&text);
}

void finding_close(struct finding *f, const char *name, const char *what, struct json *table)
{
    if (f->n > 0)
        finding_put(table, name, what, f->n, finding_where(f));
    finding_release(f);
}

void finding_add_table(struct json *report, struct json *rows)
{
    if (json_count(rows) > 0) {
        struct json *table = blocks_add_table(report, "table", "Findings", FINDING_COLUMNS);
        for (const struct json *row = json_first(rows); row; row = json_next(row))
            json_append(table, json_clone(row));
    }
    json_free(rows);
}

void finding_release(struct finding *f)
{
    buf_release(&f->where);
    *f = (struct finding){0};
}
