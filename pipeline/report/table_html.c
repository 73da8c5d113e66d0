#include "pipeline/report/table_html.h"

#include "pipeline/base/xalloc.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/cell.h"
#include "pipeline/report/html.h"

/* What a column holds decides how it is set. */
struct column {
    size_t n_numbers;
    size_t n_texts; /* that are not empty */
    size_t width;   /* of the widest text */
};

#define SHORT_WIDTH 26 /* not broken up to here */
#define LONG_WIDTH 90  /* wants a wide column from here on */

static int count_row(const struct json *row, size_t i_row, struct column *columns, struct err *e)
{
    struct column *column = columns;
    for (const struct json *v = json_first(row); v; v = json_next(v), column++) {
        struct cell c;
        if (cell_read(v, &c, e) < 0)
            return err_wrap(e, "row %zu, column %zu", i_row, (size_t)(column - columns) + 1);
        column->n_numbers += c.kind == CELL_NUMBER;
        if (c.kind != CELL_TEXT || !*c.text)
            continue;
        column->n_texts++;
        size_t width = c.code ? CELL_CODE_CHARACTERS : html_width(c.text);
        if (width > column->width)
            column->width = width;
    }
    return 0;
}

static const char *column_class(const struct column *c)
{
    if (c->n_texts == 0 && c->n_numbers > 0)
        return "num";
    if (c->width <= SHORT_WIDTH)
        return "short";
    return c->width >= LONG_WIDTH ? "long" : NULL;
}

static void head_write(const struct json *names, const struct column *columns, struct buf *out)
{
    buf_add_text(out, "<thead>\n<tr>");
    for (const struct json *v = json_first(names); v; v = json_next(v), columns++) {
        buf_add_text(out, "<th scope=\"col\"");
        html_add_classes(out, column_class(columns), NULL, NULL);
        buf_add_char(out, '>');
        html_add_name(out, json_string(v));
        buf_add_text(out, "</th>");
    }
    buf_add_text(out, "</tr>\n</thead>\n");
}

static int row_write(const struct json *row, const struct column *columns, struct buf *out,
                     struct err *e)
{
    bool is_first = true;
    buf_add_text(out, "<tr>");
    for (const struct json *v = json_first(row); v; v = json_next(v), columns++) {
        struct cell c;
        int rc = cell_read(v, &c, e);
        if (rc < 0)
            return rc;
        /* The first column names its row, unless it is a figure or a tale. */
        bool is_name = is_first && columns->n_texts > 0 && columns->width < LONG_WIDTH;
        cell_write(&c, is_name ? "th" : "td", is_name ? " scope=\"row\"" : "",
                   column_class(columns), out);
        is_first = false;
    }
    buf_add_text(out, "</tr>\n");
    return 0;
}

int table_write(const struct json *block, struct buf *out, struct err *e)
{
    const struct json *names = NULL;
    const struct json *rows = NULL;
    size_t n = 0;
    int rc = block_texts(block, "columns", &names, &n, e);
    if (rc == 0)
        rc = block_rows(block, "rows", n, &rows, e);
    if (rc < 0)
        return rc;
    if (n == 0)
        return err_set(e, ERR_FORMAT, "a table without columns");
    struct column *columns = xalloc_array(n, sizeof *columns);
    size_t i_row = 0;
    for (const struct json *row = json_first(rows); row && rc == 0; row = json_next(row))
        rc = count_row(row, ++i_row, columns, e);
    buf_add_text(out, "<div class=\"scroll\">\n<table>\n");
    head_write(names, columns, out);
    buf_add_text(out, "<tbody>\n");
    for (const struct json *row = json_first(rows); row && rc == 0; row = json_next(row))
        rc = row_write(row, columns, out, e);
    buf_add_text(out, "</tbody>\n</table>\n</div>\n");
    if (i_row == 0)
        buf_add_text(out, "<p class=\"note\">no rows</p>\n");
    xfree(columns);
    return rc;
}
