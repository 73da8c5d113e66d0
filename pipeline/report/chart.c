#include "pipeline/report/chart.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/chart_axis.h"
#include "pipeline/report/html.h"

/* The inner drawing's own coordinates, and how many columns of them are told apart. */
#define PLOT_SIZE 10000
#define PLOT_COLUMNS 1000
/* Lines of no more points than this show each of them. */
#define DOTS_MAX 24

static bool is_drawable(double v)
{
    return v == 0 || (fabs(v) >= AXIS_VALUE_LEAST && fabs(v) <= AXIS_VALUE_MAX);
}

static int read_line(const struct json *v, struct chart_line *line, struct err *e)
{
    size_t n_y = 0;
    int rc = json_need_string(v, "name", &line->name, e);
    if (rc == 0)
        rc = block_numbers(v, "x", &line->x, &line->n_points, e);
    if (rc == 0)
        rc = block_numbers(v, "y", &line->y, &n_y, e);
    if (rc < 0)
        return rc;
    if (n_y != line->n_points)
        return err_set(e, ERR_FORMAT, "%zu numbers in \"x\" and %zu in \"y\"", line->n_points, n_y);
    for (size_t i = 0; i < n_y; i++)
        if (!is_drawable(line->x[i]) || !is_drawable(line->y[i]))
            return err_set(e, ERR_FORMAT, "point %zu is too large or too small to be drawn", i + 1);
    return 0;
}

static int read_chart(const struct json *block, struct chart *c, struct err *e)
{
    const struct json *lines = NULL;
    int rc = block_maybe_text(block, "x_label", &c->x_label, e);
    if (rc == 0)
        rc = block_maybe_text(block, "y_label", &c->y_label, e);
    if (rc == 0 && json_get(block, "log_y"))
        rc = json_need_bool(block, "log_y", &c->log_y, e);
    if (rc == 0)
        rc = json_need_array(block, "lines", &lines, e);
    if (rc < 0)
        return rc;
    c->lines = xalloc_array(json_count(lines), sizeof *c->lines);
    for (const struct json *v = json_first(lines); v; v = json_next(v)) {
        struct chart_line *line = &c->lines[c->n_lines++];
        if (read_line(v, line, e) < 0)
            return err_wrap(e, "line %zu", c->n_lines);
        c->n_points += line->n_points;
    }
    return 0;
}

static void release_chart(struct chart *c)
{
    for (size_t i = 0; i < c->n_lines; i++) {
        xfree(c->lines[i].x);
        xfree(c->lines[i].y);
    }
    xfree(c->lines);
    memset(c, 0, sizeof *c);
}

void chart_add_pen(struct buf *out, size_t i_line)
{
    buf_printf(out, " c%zu d%zu", i_line % 5, (i_line + i_line / 5) % 5);
}

struct range {
    double lo, hi;
};

static void range_add(struct range *r, const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->lo = fmin(r->lo, values[i]);
        r->hi = fmax(r->hi, values[i]);
    }
}

struct plot {
    struct axis x, y;
};

static void plot_fit(struct plot *p, const struct chart *c)
{
    struct range x = {INFINITY, -INFINITY};
    struct range y = {INFINITY, -INFINITY};
    for (size_t i = 0; i < c->n_lines; i++) {
        range_add(&x, c->lines[i].x, c->lines[i].n_points);
        range_add(&y, c->lines[i].y, c->lines[i].n_points);
    }
    axis_fit(&p->x, x.lo, x.hi);
    if (c->log_y && y.lo > 0)
        axis_fit_log(&p->y, y.lo, y.hi);
    else
        axis_fit_out(&p->y, y.lo, y.hi);
}

static void add_percent(struct buf *out, const char *name, double share)
{
    buf_printf(out, " %s=\"", name);
    html_add_fixed(out, share * 100, 2);
    buf_add_text(out, "%\"");
}

static void grid_write(const struct plot *p, struct buf *out)
{
    buf_add_text(out, "<g class=\"grid\">");
    for (size_t i = 0; i < p->y.n_ticks; i++) {
        double at = axis_at(&p->y, p->y.ticks[i]);
        buf_add_text(out, "<line x1=\"0\" x2=\"100%\"");
        add_percent(out, "y1", 1 - at);
        add_percent(out, "y2", 1 - at);
        buf_add_text(out, "/>");
    }
    for (size_t i = 0; i < p->x.n_ticks; i++) {
        double at = axis_at(&p->x, p->x.ticks[i]);
        buf_add_text(out, "<line y1=\"0\" y2=\"100%\"");
        add_percent(out, "x1", at);
        add_percent(out, "x2", at);
        buf_add_text(out, "/>");
    }
    buf_add_text(out, "</g>\n<g class=\"ticks\">");
    for (size_t i = 0; i < p->y.n_ticks; i++) {
        buf_add_text(out, "<text class=\"y\" x=\"0\" dx=\"-8\" dy=\".32em\"");
        add_percent(out, "y", 1 - axis_at(&p->y, p->y.ticks[i]));
        buf_add_char(out, '>');
        axis_add_label(&p->y, p->y.ticks[i], out);
        buf_add_text(out, "</text>");
    }
    for (size_t i = 0; i < p->x.n_ticks; i++) {
        buf_add_text(out, "<text class=\"x\" y=\"100%\" dy=\"18\"");
        add_percent(out, "x", axis_at(&p->x, p->x.ticks[i]));
        buf_add_char(out, '>');
        axis_add_label(&p->x, p->x.ticks[i], out);
        buf_add_text(out, "</text>");
    }
    buf_add_text(out, "</g>\n");
}

static long plot_x(const struct plot *p, double x)
{
    return lround(axis_at(&p->x, x) * PLOT_SIZE);
}

static long plot_y(const struct plot *p, double y)
{
    return lround((1 - axis_at(&p->y, y)) * PLOT_SIZE);
}

static size_t add_once(size_t *list, size_t n, size_t value)
{
    size_t at = 0;
    while (at < n && list[at] < value)
        at++;
    if (at < n && list[at] == value)
        return n;
    memmove(list + at + 1, list + at, (n - at) * sizeof *list);
    list[at] = value;
    return n + 1;
}

/*
 * Of neighbouring points in one column of the plot only the first, the last, the lowest and the
 * highest are drawn, in their order: the picture is the same, and its size has a bound.
 */
static void path_write(const struct plot *p, const struct chart_line *line, struct buf *out)
{
    const char *command = "M";
    for (size_t i = 0; i < line->n_points;) {
        long column = plot_x(p, line->x[i]) * PLOT_COLUMNS / PLOT_SIZE;
        size_t i_low = i, i_high = i, j = i;
        for (; j < line->n_points; j++) {
            if (plot_x(p, line->x[j]) * PLOT_COLUMNS / PLOT_SIZE != column)
                break;
            i_low = line->y[j] < line->y[i_low] ? j : i_low;
            i_high = line->y[j] > line->y[i_high] ? j : i_high;
        }
        size_t kept[4] = {i};
        size_t n = add_once(kept, 1, i_low);
        n = add_once(kept, n, i_high);
        n = add_once(kept, n, j - 1);
        for (size_t k = 0; k < n; k++) {
            buf_printf(out, "%s%ld %ld", command, plot_x(p, line->x[kept[k]]),
                       plot_y(p, line->y[kept[k]]));
            command = "L";
        }
        i = j;
    }
}

static void dots_write(const struct plot *p, const struct chart_line *line, size_t i_line,
                       struct buf *out)
{
    buf_add_text(out, "<g class=\"dots");
    chart_add_pen(out, i_line);
    buf_add_text(out, "\">");
    for (size_t i = 0; i < line->n_points; i++) {
        buf_printf(out, "<circle r=\"%s\"", line->n_points == 1 ? "4" : "2.5");
        add_percent(out, "cx", axis_at(&p->x, line->x[i]));
        add_percent(out, "cy", 1 - axis_at(&p->y, line->y[i]));
        buf_add_text(out, "><title>");
        html_add_number(out, line->x[i]);
        buf_add_text(out, ": ");
        html_add_number(out, line->y[i]);
        buf_add_text(out, "</title></circle>");
    }
    buf_add_text(out, "</g>\n");
}

static void lines_write(const struct plot *p, const struct chart *c, struct buf *out)
{
    buf_printf(out,
               "<svg class=\"lines\" width=\"100%%\" height=\"100%%\" viewBox=\"0 0 %d %d\" "
               "preserveAspectRatio=\"none\">\n",
               PLOT_SIZE, PLOT_SIZE);
    for (size_t i = 0; i < c->n_lines; i++) {
        if (c->lines[i].n_points < 2)
            continue;
        buf_add_text(out, "<path class=\"line");
        chart_add_pen(out, i);
        buf_add_text(out, "\" d=\"");
        path_write(p, &c->lines[i], out);
        buf_add_text(out, "\"/>\n");
    }
    buf_add_text(out, "</svg>\n");
    for (size_t i = 0; i < c->n_lines; i++)
        if (c->lines[i].n_points > 0 && c->lines[i].n_points <= DOTS_MAX)
            dots_write(p, &c->lines[i], i, out);
}

/* Room for the widest label left of the plot, in pixels: a digit is about 7 wide. */
static size_t left_margin(const struct axis *y)
{
    size_t widest = 0;
    struct buf label;
    buf_init(&label, 64);
    for (size_t i = 0; i < y->n_ticks; i++) {
        buf_clear(&label);
        axis_add_label(y, y->ticks[i], &label);
        widest = label.n_bytes > widest ? label.n_bytes : widest;
    }
    buf_release(&label);
    return widest * 7 + 14;
}

static void drawing_write(const struct chart *c, const char *title, struct buf *out)
{
    struct plot p;
    plot_fit(&p, c);
    if (*c->y_label) {
        buf_add_text(out, "<p class=\"axis\">");
        html_add_text(out, c->y_label);
        buf_add_text(out, p.y.is_log ? " (logarithmic)</p>\n" : "</p>\n");
    }
    buf_printf(out, "<div class=\"plot\" style=\"padding-left:%zupx\">\n", left_margin(&p.y));
    buf_add_text(out, "<svg class=\"chart\" role=\"img\" width=\"100%\" height=\"240\"><title>");
    html_add_text(out, *title ? title : "chart");
    buf_add_text(out, "</title>\n");
    grid_write(&p, out);
    lines_write(&p, c, out);
    buf_add_text(out, "</svg>\n</div>\n");
    if (*c->x_label) {
        buf_add_text(out, "<p class=\"axis x\">");
        html_add_text(out, c->x_label);
        buf_add_text(out, "</p>\n");
    }
    if (c->log_y && !p.y.is_log)
        buf_add_text(out, "<p class=\"note\">Not every value is above zero: the axis is linear."
                          "</p>\n");
}

int chart_write(const struct json *block, struct buf *out, struct err *e)
{
    struct chart c = {0};
    const char *title = "";
    int rc = read_chart(block, &c, e);
    if (rc == 0)
        rc = block_maybe_text(block, "title", &title, e);
    if (rc == 0 && c.n_points == 0) {
        buf_add_text(out, "<p class=\"note\">no points</p>\n");
    } else if (rc == 0) {
        buf_add_text(out, "<figure>\n");
        drawing_write(&c, title, out);
        buf_add_text(out, "<figcaption>\n");
        chart_legend_write(&c, out);
        buf_add_text(out, "</figcaption>\n</figure>\n");
        chart_values_write(&c, out);
    }
    release_chart(&c);
    return rc;
}
