#include "pipeline/report/matrix_html.h"

#include <math.h>

#include "pipeline/base/str.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/html.h"

struct matrix {
    const struct json *rows, *columns; /* names */
    const struct json *values;
    size_t n_rows, n_columns;
    const char *row_label, *column_label;
    bool by_name; /* the diagonal is where the names are the same; otherwise where the places are */
};

static bool share_a_name(const struct json *a, const struct json *b)
{
    for (const struct json *v = json_first(a); v; v = json_next(v))
        for (const struct json *w = json_first(b); w; w = json_next(w))
            if (str_eq(json_string(v), json_string(w)))
                return true;
    return false;
}

static int matrix_read(const struct json *block, struct matrix *m, struct err *e)
{
    int rc = block_texts(block, "rows", &m->rows, &m->n_rows, e);
    if (rc == 0)
        rc = block_texts(block, "columns", &m->columns, &m->n_columns, e);
    if (rc == 0)
        rc = block_rows(block, "values", m->n_columns, &m->values, e);
    if (rc == 0)
        rc = block_maybe_text(block, "row_label", &m->row_label, e);
    if (rc == 0)
        rc = block_maybe_text(block, "column_label", &m->column_label, e);
    if (rc < 0)
        return rc;
    if (json_count(m->values) != m->n_rows)
        return err_set(e, ERR_FORMAT, "\"values\": expected %zu rows, found %zu", m->n_rows,
                       json_count(m->values));
    for (const struct json *row = json_first(m->values); row; row = json_next(row))
        for (const struct json *v = json_first(row); v; v = json_next(v))
            if (json_type(v) != JSON_NUMBER)
                return err_set(e, ERR_FORMAT, "\"values\": expected a number, found %s",
                               json_type_name(json_type(v)));
    m->by_name = share_a_name(m->rows, m->columns);
    return 0;
}

static void head_write(const struct matrix *m, struct buf *out)
{
    buf_add_text(out, "<thead>\n<tr><td class=\"corner\"><span>");
    html_add_text(out, *m->column_label ? m->column_label : "answered");
    buf_add_text(out, " \xE2\x86\x92</span><span>"); /* arrow to the right */
    html_add_text(out, *m->row_label ? m->row_label : "expected");
    buf_add_text(out, " \xE2\x86\x93</span></td>"); /* arrow down */
    for (const struct json *v = json_first(m->columns); v; v = json_next(v)) {
        buf_add_text(out, "<th scope=\"col\"><span");
        html_add_attribute(out, "title", json_string(v));
        buf_add_char(out, '>');
        html_add_text(out, json_string(v));
        buf_add_text(out, "</span></th>");
    }
    buf_add_text(out, "</tr>\n</thead>\n");
}

/* Of what is above zero. Past the largest double every share is 0. */
static double row_sum(const struct json *row)
{
    double sum = 0;
    for (const struct json *v = json_first(row); v; v = json_next(v))
        sum += json_number(v) > 0 ? json_number(v) : 0;
    return sum;
}

/* The darkness of a cell in ten steps; page_style.c has a colour for each. */
static const char *const heats[] = {NULL, "h1", "h2", "h3", "h4", "h5",
                                    "h6", "h7", "h8", "h9", "h10"};

static void value_write(double v, double sum, bool is_diagonal, struct buf *out)
{
    double share = v > 0 ? v / sum : 0;
    int level = share > 0 && share <= 1 ? (int)ceil(share * 10) : 0;
    buf_add_text(out, "<td");
    html_add_classes(out, is_diagonal ? "same" : NULL, v == 0 ? "zero" : NULL, heats[level]);
    html_add_exact(out, v);
    buf_add_char(out, '>');
    html_add_number(out, v);
    buf_add_text(out, "</td>");
}

static void row_write(const struct matrix *m, const char *name, size_t i_row,
                      const struct json *values, struct buf *out)
{
    double sum = row_sum(values);
    buf_add_text(out, "<tr><th scope=\"row\">");
    html_add_text(out, name);
    buf_add_text(out, "</th>");
    const struct json *column = json_first(m->columns);
    size_t i = 0;
    for (const struct json *v = json_first(values); v; v = json_next(v), i++) {
        bool is_diagonal = m->by_name ? str_eq(name, json_string(column)) : i == i_row;
        value_write(json_number(v), sum, is_diagonal, out);
        column = json_next(column);
    }
    buf_add_text(out, "</tr>\n");
}

int matrix_write(const struct json *block, struct buf *out, struct err *e)
{
    struct matrix m = {0};
    int rc = matrix_read(block, &m, e);
    if (rc < 0)
        return rc;
    if (m.n_rows == 0 || m.n_columns == 0) {
        buf_add_text(out, "<p class=\"note\">no values</p>\n");
        return 0;
    }
    buf_add_text(out, "<div class=\"scroll\">\n<table class=\"matrix\">\n");
    head_write(&m, out);
    buf_add_text(out, "<tbody>\n");
    const struct json *name = json_first(m.rows);
    size_t i = 0;
    for (const struct json *row = json_first(m.values); row; row = json_next(row), i++) {
        row_write(&m, json_string(name), i, row, out);
        name = json_next(name);
    }
    buf_add_text(out, "</tbody>\n</table>\n</div>\n");
    buf_add_text(out, "<p class=\"note\">Colour: share of the row. Framed: the same.</p>\n");
    return 0;
}
