#include "pipeline/report/pairs_html.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/html.h"

/* Columns share the width; one of line numbers needs no such share. */
#define NARROW_DIGITS 8

struct column {
    const char *name;
    bool is_badge;
    bool is_narrow; /* badges, and numbers */
};

struct pairs {
    const struct json *rows;
    size_t n_rows;
    struct column *columns;
    size_t n_columns;
};

static bool is_yes_or_no(const char *text)
{
    return str_eq(text, "yes") || str_eq(text, "no");
}

static bool is_number(const char *text)
{
    size_t n = strspn(text, "0123456789");
    return n > 0 && n <= NARROW_DIGITS && text[n] == '\0';
}

static int check_rows(struct pairs *p, struct err *e)
{
    for (size_t i = 0; i < p->n_columns; i++) {
        struct column *c = &p->columns[i];
        c->is_badge = json_first(p->rows) != NULL && str_eq(c->name, "same");
        c->is_narrow = json_first(p->rows) != NULL && html_width(c->name) <= NARROW_DIGITS;
    }
    for (const struct json *row = json_first(p->rows); row; row = json_next(row)) {
        p->n_rows++;
        struct column *column = p->columns;
        for (const struct json *v = json_first(row); v; v = json_next(v), column++) {
            if (block_is_text(v, e) < 0)
                return err_wrap(e, "row %zu, column %zu", p->n_rows,
                                (size_t)(column - p->columns) + 1);
            const char *text = json_string(v);
            column->is_badge = column->is_badge && is_yes_or_no(text);
            column->is_narrow = column->is_narrow && (column->is_badge || is_number(text));
        }
    }
    return 0;
}

static void text_cell_write(const struct column *column, const char *text, struct buf *out)
{
    buf_add_text(out, "<td");
    html_add_classes(out, column->is_narrow ? "mark" : NULL, NULL, NULL);
    html_add_attribute(out, "data-label", column->name);
    buf_add_char(out, '>');
    if (column->is_badge)
        buf_printf(out, "<span class=\"badge %s\">%s</span>", str_eq(text, "yes") ? "good" : "warn",
                   text);
    else {
        buf_add_text(out, "<div>");
        html_add_text(out, text);
        buf_add_text(out, "</div>");
    }
    buf_add_text(out, "</td>");
}

/* A table of n rows from *row on; *row is then the first one behind them. */
static void rows_write(const struct pairs *p, const struct json **row, size_t n, struct buf *out)
{
    buf_add_text(out, "<table class=\"pairs\">\n<thead>\n<tr>");
    for (size_t i = 0; i < p->n_columns; i++) {
        buf_add_text(out, p->columns[i].is_narrow ? "<th scope=\"col\" class=\"mark\">"
                                                  : "<th scope=\"col\">");
        html_add_text(out, p->columns[i].name);
        buf_add_text(out, "</th>");
    }
    buf_add_text(out, "</tr>\n</thead>\n<tbody>\n");
    for (; n > 0; n--, *row = json_next(*row)) {
        const struct column *column = p->columns;
        buf_add_text(out, "<tr>");
        for (const struct json *v = json_first(*row); v; v = json_next(v), column++)
            text_cell_write(column, json_string(v), out);
        buf_add_text(out, "</tr>\n");
    }
    buf_add_text(out, "</tbody>\n</table>\n");
}

static void pairs_draw(const struct pairs *p, struct buf *out)
{
    const struct json *row = json_first(p->rows);
    size_t n_shown = p->n_rows < PAIRS_ROWS_SHOWN ? p->n_rows : PAIRS_ROWS_SHOWN;
    rows_write(p, &row, n_shown, out);
    if (p->n_rows == 0)
        buf_add_text(out, "<p class=\"note\">no rows</p>\n");
    if (p->n_rows == n_shown)
        return;
    buf_add_text(out, "<details>\n<summary>");
    html_add_number(out, (double)(p->n_rows - n_shown));
    buf_add_text(out, p->n_rows - n_shown == 1 ? " more row" : " more rows");
    buf_add_text(out, "</summary>\n");
    rows_write(p, &row, p->n_rows - n_shown, out);
    buf_add_text(out, "</details>\n");
}

int pairs_write(const struct json *block, struct buf *out, struct err *e)
{
    const struct json *names = NULL;
    struct pairs p = {0};
    int rc = block_texts(block, "columns", &names, &p.n_columns, e);
    if (rc == 0)
        rc = block_rows(block, "rows", p.n_columns, &p.rows, e);
    if (rc < 0)
        return rc;
    if (p.n_columns == 0)
        return err_set(e, ERR_FORMAT, "pairs without columns");
    p.columns = xalloc_array(p.n_columns, sizeof *p.columns);
    size_t i = 0;
    for (const struct json *v = json_first(names); v; v = json_next(v))
        p.columns[i++].name = json_string(v);
    rc = check_rows(&p, e);
    if (rc == 0)
        pairs_draw(&p, out);
    xfree(p.columns);
    return rc;
}
