/* The legend of a chart and the table of its values. */

#include "pipeline/base/xalloc.h"
#include "pipeline/report/chart.h"
#include "pipeline/report/html.h"

static void at_write(const char *word, const struct chart_line *line, size_t i, struct buf *out)
{
    buf_printf(out, " <span class=\"stat\">%s ", word);
    html_add_number_span(out, line->y[i]);
    buf_add_text(out, " at ");
    html_add_number_span(out, line->x[i]);
    buf_add_text(out, "</span>");
}

static void extremes_write(const struct chart_line *line, struct buf *out)
{
    size_t i_low = 0, i_high = 0;
    for (size_t i = 1; i < line->n_points; i++) {
        i_low = line->y[i] < line->y[i_low] ? i : i_low;
        i_high = line->y[i] > line->y[i_high] ? i : i_high;
    }
    if (line->n_points == 0) {
        buf_add_text(out, " <span class=\"stat\">no points</span>");
    } else if (line->n_points == 1) {
        at_write("one point", line, 0, out);
    } else {
        at_write("first", line, 0, out);
        at_write("last", line, line->n_points - 1, out);
        at_write("min", line, i_low, out);
        at_write("max", line, i_high, out);
    }
}

void chart_legend_write(const struct chart *c, struct buf *out)
{
    buf_add_text(out, c->n_lines > 1 ? "<ul class=\"legend keys\">\n" : "<ul class=\"legend\">\n");
    for (size_t i = 0; i < c->n_lines; i++) {
        buf_add_text(out, "<li>");
        if (c->n_lines > 1) {
            buf_add_text(out, "<svg class=\"key\" width=\"30\" height=\"10\" aria-hidden=\"true\">"
                              "<path class=\"line");
            chart_add_pen(out, i);
            buf_add_text(out, "\" d=\"M1 5H29\"/></svg>");
        }
        buf_add_text(out, "<b>");
        html_add_text(out, c->lines[i].name);
        buf_add_text(out, "</b>");
        extremes_write(&c->lines[i], out);
        buf_add_text(out, "</li>\n");
    }
    buf_add_text(out, "</ul>\n");
}

/*
 * The table has one row per x and one column per line when every line's x rises; otherwise one
 * row per point, with the line's name. `next` is the first point of each line not yet written.
 */
struct values {
    const struct chart *chart;
    bool merged;
    size_t *next;
    size_t n_rows;
};

static bool all_rise(const struct chart *c)
{
    for (size_t i = 0; i < c->n_lines; i++)
        for (size_t k = 1; k < c->lines[i].n_points; k++)
            if (!(c->lines[i].x[k - 1] < c->lines[i].x[k]))
                return false;
    return true;
}

/* The least x that is not yet written; NULL behind the last one. */
static const double *next_x(const struct values *v)
{
    const double *least = NULL;
    for (size_t i = 0; i < v->chart->n_lines; i++) {
        const struct chart_line *line = &v->chart->lines[i];
        if (v->next[i] < line->n_points && (!least || line->x[v->next[i]] < *least))
            least = &line->x[v->next[i]];
    }
    return least;
}

static void number_cell_write(double v, struct buf *out)
{
    buf_add_text(out, "<td class=\"num n\"");
    html_add_exact(out, v);
    buf_add_char(out, '>');
    html_add_number(out, v);
    buf_add_text(out, "</td>");
}

/* Goes to the next row and writes it unless out is NULL; false behind the last one. */
static bool merged_row(struct values *v, struct buf *out)
{
    const double *least = next_x(v);
    if (!least)
        return false;
    double x = *least;
    if (out)
        number_cell_write(x, out);
    for (size_t i = 0; i < v->chart->n_lines; i++) {
        const struct chart_line *line = &v->chart->lines[i];
        bool is_here = v->next[i] < line->n_points && line->x[v->next[i]] == x;
        if (out && is_here)
            number_cell_write(line->y[v->next[i]], out);
        else if (out)
            buf_add_text(out, "<td></td>");
        v->next[i] += is_here;
    }
    return true;
}

static bool single_row(struct values *v, struct buf *out)
{
    for (size_t i = 0; i < v->chart->n_lines; i++) {
        const struct chart_line *line = &v->chart->lines[i];
        if (v->next[i] == line->n_points)
            continue;
        if (out) {
            buf_add_text(out, "<th scope=\"row\">");
            html_add_text(out, line->name);
            buf_add_text(out, "</th>");
            number_cell_write(line->x[v->next[i]], out);
            number_cell_write(line->y[v->next[i]], out);
        }
        v->next[i]++;
        return true;
    }
    return false;
}

static bool values_row(struct values *v, struct buf *out)
{
    return v->merged ? merged_row(v, out) : single_row(v, out);
}

static void rewind_rows(struct values *v)
{
    for (size_t i = 0; i < v->chart->n_lines; i++)
        v->next[i] = 0;
}

static void values_head_write(const struct values *v, struct buf *out)
{
    const struct chart *c = v->chart;
    buf_add_text(out, v->merged ? "<thead>\n<tr>" : "<thead>\n<tr><th scope=\"col\">line</th>");
    buf_add_text(out, "<th scope=\"col\" class=\"num\">");
    html_add_text(out, *c->x_label ? c->x_label : "x");
    buf_add_text(out, "</th>");
    for (size_t i = 0; i < c->n_lines && v->merged; i++) {
        buf_add_text(out, "<th scope=\"col\" class=\"num\">");
        html_add_text(out, c->lines[i].name);
        buf_add_text(out, "</th>");
    }
    if (!v->merged) {
        buf_add_text(out, "<th scope=\"col\" class=\"num\">");
        html_add_text(out, *c->y_label ? c->y_label : "y");
        buf_add_text(out, "</th>");
    }
    buf_add_text(out, "</tr>\n</thead>\n<tbody>\n");
}

/* Of n rows the k-th of CHART_VALUES_ROWS that are evenly spaced, first and last included. */
static size_t chosen_row(size_t k, size_t n)
{
    return n <= CHART_VALUES_ROWS ? k : k * (n - 1) / (CHART_VALUES_ROWS - 1);
}

static void values_body_write(struct values *v, struct buf *out)
{
    size_t n_shown = 0;
    rewind_rows(v);
    for (size_t i = 0; i < v->n_rows; i++) {
        bool is_shown = i == chosen_row(n_shown, v->n_rows);
        n_shown += is_shown;
        if (is_shown)
            buf_add_text(out, "<tr>");
        values_row(v, is_shown ? out : NULL);
        if (is_shown)
            buf_add_text(out, "</tr>\n");
    }
}

void chart_values_write(const struct chart *c, struct buf *out)
{
    struct values v = {.chart = c, .merged = all_rise(c)};
    v.next = xalloc_array(c->n_lines, sizeof *v.next);
    while (values_row(&v, NULL))
        v.n_rows++;
    buf_add_text(out, "<details class=\"values\">\n<summary>Values (");
    if (v.n_rows > CHART_VALUES_ROWS)
        buf_printf(out, "%d of ", CHART_VALUES_ROWS);
    html_add_number(out, (double)v.n_rows);
    buf_add_text(out, v.n_rows > CHART_VALUES_ROWS ? " rows, evenly spaced" : "");
    buf_add_text(out, v.n_rows > CHART_VALUES_ROWS ? "" : v.n_rows == 1 ? " row" : " rows");
    buf_add_text(out, ")</summary>\n<div class=\"scroll\">\n<table>\n");
    values_head_write(&v, out);
    values_body_write(&v, out);
    buf_add_text(out, "</tbody>\n</table>\n</div>\n</details>\n");
    xfree(v.next);
}
