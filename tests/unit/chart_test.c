#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/page.h"

/* JSON with ' for "; a real ' is written \u0027. The caller frees it. */
static struct json *parse(const char *text)
{
    char *real = xstrdup(text);
    for (char *p = real; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    struct json *v = NULL;
    struct err e = {0};
    if (json_parse(real, strlen(real), &v, &e) < 0)
        fail_msg("%s: %s", real, e.text);
    xfree(real);
    return v;
}

/* The page of one block; the caller xfrees it. */
static char *draw_block(const char *block)
{
    char *text = xasprintf("{'sections': [{'open': true, 'blocks': [%s]}]}", block);
    struct json *page = parse(text);
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    page_write(page, &out);
    json_free(page);
    xfree(text);
    return buf_steal(&out);
}

static size_t count(const char *html, const char *what)
{
    size_t n = 0;
    for (const char *p = strstr(html, what); p; p = strstr(p + strlen(what), what))
        n++;
    return n;
}

static void has(const char *html, const char *what)
{
    if (!strstr(html, what))
        fail_msg("no %s in:\n%s", what, strstr(html, "</style>"));
}

static void lacks(const char *html, const char *what)
{
    if (strstr(html, what))
        fail_msg("%s in:\n%s", what, strstr(html, "</style>"));
}

static void draws(const char *block, const char *what)
{
    char *html = draw_block(block);
    lacks(html, "cannot be drawn");
    has(html, what);
    xfree(html);
}

static void add_numbers(struct buf *b, const char *key, const double *values, size_t n)
{
    buf_printf(b, ", '%s': [", key);
    for (size_t i = 0; i < n; i++) {
        buf_add_text(b, i ? "," : "");
        json_add_number(b, values[i]);
    }
    buf_add_char(b, ']');
}

/* The caller xfrees it. */
static char *draw_line(const double *x, const double *y, size_t n, const char *more)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b, "{'type': 'series'%s, 'lines': [{'name': 'a'", more);
    add_numbers(&b, "x", x, n);
    add_numbers(&b, "y", y, n);
    buf_add_text(&b, "}]}");
    char *html = draw_block(buf_text(&b));
    lacks(html, "cannot be drawn");
    buf_release(&b);
    return html;
}

/* The path of the first line; the caller xfrees it. */
static char *path_of(const char *html)
{
    const char *start = strstr(html, "<path class=\"line");
    assert_non_null(start);
    start = strstr(start, "d=\"") + 3;
    return xstrndup(start, strcspn(start, "\""));
}

/* Lines that rise in x share a table; others are listed point by point. */
static void values_of_two_lines(void **state)
{
    (void)state;
    draws("{'type': 'series', 'lines': [{'name': 'a', 'x': [1, 3], 'y': [5, 6]},"
          " {'name': 'b', 'x': [2, 3], 'y': [7, 8]}]}",
          "<tr><td class=\"num n\" data-value=\"2\">2</td><td></td>"
          "<td class=\"num n\" data-value=\"7\">7</td></tr>\n"
          "<tr><td class=\"num n\" data-value=\"3\">3</td>"
          "<td class=\"num n\" data-value=\"6\">6</td>"
          "<td class=\"num n\" data-value=\"8\">8</td></tr>");
    draws("{'type': 'series', 'lines': [{'name': 'a', 'x': [3, 1], 'y': [5, 6]},"
          " {'name': 'b', 'x': [2], 'y': [7]}]}",
          "<tr><th scope=\"row\">b</th><td class=\"num n\" data-value=\"2\">2</td>"
          "<td class=\"num n\" data-value=\"7\">7</td></tr>");
}

static void check_ticks(double lo, double hi, const char *more)
{
    const double x[] = {lo, hi};
    char *html = draw_line(x, x, 2, more);
    size_t n_x = count(html, "<text class=\"x\"");
    size_t n_y = count(html, "<text class=\"y\"");
    if (n_x < 4 || n_x > 6 || n_y < 4 || n_y > 6)
        fail_msg("%g to %g%s: %zu and %zu ticks", lo, hi, more, n_x, n_y);
    lacks(html, "nan");
    lacks(html, "inf");
    if (!*more) {
        has(html, " y=\"0.00%\">"); /* y ends in ticks */
        has(html, " y=\"100.00%\">");
    }
    /* No two ticks of y have one label. */
    const char *const tick = "<text class=\"y\"";
    for (const char *p = strstr(html, tick); p; p = strstr(p + 1, tick)) {
        char *label = xstrndup(strchr(p, '>'), strcspn(strchr(p, '>'), "<") + 1);
        for (const char *q = strstr(p + 1, tick); q; q = strstr(q + 1, tick))
            if (str_starts(strchr(q, '>'), label))
                fail_msg("%g to %g%s: the label %s stands twice", lo, hi, more, label);
        xfree(label);
    }
    xfree(html);
}

static void ticks(void **state)
{
    (void)state;
    static const double ranges[][2] = {{0, 1},          {0, 0},
                                       {0.87, 0.87},    {-3, -3},
                                       {-1, 1},         {1, 128},
                                       {40, 7856},      {0.3, 6.6},
                                       {1e-9, 3e-9},    {-7e-150, 1e-150},
                                       {-1e150, 1e150}, {1e6, 1e6 + 3},
                                       {99990, 100010}, {1e12, 1e12 + 900000},
                                       {5, 5.000001},   {0, 2031320},
                                       {1, 1e150},      {0.001, 1},
                                       {1e-150, 1e150}, {0.29, 0.31}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        check_ticks(ranges[i][0], ranges[i][1], "");
        check_ticks(ranges[i][0], ranges[i][1], ", 'log_y': true");
    }
    /* and many of no special kind */
    double hi = 1;
    for (int i = 0; i < 400; i++) {
        hi *= 1.037;
        check_ticks(1, 1 + hi, ", 'log_y': true");
        check_ticks(-0.3, hi / 7, "");
    }
}

static void tick_labels(void **state)
{
    (void)state;
    static const double ends[][2] = {{0, 2031320},    {0, 20000},  {-1, 1},  {0, 8},
                                     {1e-9, 3e-9},    {0, 4e12},   {0, 9e6}, {0, 0.001},
                                     {99990, 100010}, {0.29, 0.31}};
    static const char *const labels[] = {">0.5M<", ">5k<", ">-0.5<",   ">8<",     ">1.5e-9<",
                                         ">3e12<", ">8M<", ">0.0002<", ">99995<", ">0.305<"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char *html = draw_line(ends[i], ends[i], 2, "");
        has(html, labels[i]);
        xfree(html);
    }
}

static void log_axis(void **state)
{
    (void)state;
    const double x[] = {0, 1, 2};
    const double y[] = {1, 10, 100};
    char *html = draw_line(x, y, 3, ", 'y_label': 'loss', 'log_y': true");
    char *path = path_of(html);
    assert_string_equal(path, "M0 10000L5000 5000L10000 0");
    has(html, "loss (logarithmic)");
    xfree(path);
    xfree(html);
    const double zero[] = {0, 10, 100};
    html = draw_line(x, zero, 3, ", 'y_label': 'loss', 'log_y': true");
    has(html, "the axis is linear");
    lacks(html, "(logarithmic)");
    xfree(html);
}

struct rect {
    double x, y, width, height;
};

static size_t take_rects(const char *html, struct rect *rects, size_t n_max)
{
    size_t n = 0;
    for (const char *p = strstr(html, "<rect "); p && n < n_max; p = strstr(p + 1, "<rect ")) {
        struct rect *r = &rects[n++];
        int n_read = sscanf(p, "<rect rx=\"6\" x=\"%lf\" y=\"%lf\" width=\"%lf\" height=\"%lf\"",
                            &r->x, &r->y, &r->width, &r->height);
        assert_int_equal(n_read, 4);
    }
    return n;
}

static bool overlap(const struct rect *a, const struct rect *b)
{
    return a->x < b->x + b->width && b->x < a->x + a->width && a->y < b->y + b->height &&
           b->y < a->y + a->height;
}

/* n nodes; each but the first has edges from one or two that stand before it. */
static void add_graph(struct buf *b, size_t n, size_t (*ends)[2], size_t *n_edges)
{
    *n_edges = 0;
    buf_add_text(b, "{'type': 'graph', 'title': 'g', 'nodes': [");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s{'id': '%zu', 'note': '%s'}", i ? "," : "", i, i % 3 ? "note" : "");
    buf_add_text(b, "], 'edges': [");
    for (size_t i = 1; i < n; i++) {
        size_t from[2] = {i > 9 ? i - 1 - i * 37 % 9 : i / 2, i * i * 7 / 3 % i};
        for (size_t k = 0; k < 1 + i % 2; k++) {
            buf_printf(b, "%s['%zu', '%zu']", *n_edges ? "," : "", from[k], i);
            ends[*n_edges][0] = from[k];
            ends[(*n_edges)++][1] = i;
        }
    }
    buf_add_text(b, "]}");
}

static void boxes_keep_apart(void **state)
{
    (void)state;
    enum { N = 60 };
    struct rect rects[N];
    size_t ends[2 * N][2];
    size_t n_edges = 0;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    add_graph(&b, N, ends, &n_edges);
    char *html = draw_block(buf_text(&b));
    assert_int_equal(take_rects(html, rects, N), N);
    assert_int_equal(count(html, "class=\"edge\""), n_edges);
    double width = 0, height = 0;
    int n_read = sscanf(strstr(html, "viewBox=\"0 0 "), "viewBox=\"0 0 %lf %lf", &width, &height);
    assert_int_equal(n_read, 2);
    for (size_t i = 0; i < N; i++) {
        assert_true(rects[i].x >= 0 && rects[i].x + rects[i].width <= width);
        assert_true(rects[i].y >= 0 && rects[i].y + rects[i].height <= height);
        for (size_t k = 0; k < i; k++)
            assert_false(overlap(&rects[i], &rects[k]));
    }
    for (size_t i = 0; i < n_edges; i++)
        assert_true(rects[ends[i][0]].x + rects[ends[i][0]].width < rects[ends[i][1]].x);
    xfree(html);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_two_lines), cmocka_unit_test(ticks),
        cmocka_unit_test(tick_labels),         cmocka_unit_test(log_axis),
        cmocka_unit_test(boxes_keep_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
