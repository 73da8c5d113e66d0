#include "pipeline/engine/report_compare.h"

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/report.h"
#include "pipeline/engine/report_cells.h"
#include "pipeline/engine/report_findings.h"

/* More do not fit on a page; it says so. */
#define STAGES_MAX 24
/* Lines of one chart, of the first stages that have it. */
#define LINES_MAX 8

/* Stages that belong together, in the run's order. */
struct group {
    const struct json *stages[STAGES_MAX];
    size_t n, n_all; /* those above, and how many there are */
};

/* Does the stage belong to the group that `first` begins? */
typedef bool belongs_fn(const struct json *first, const struct json *stage);

static const struct json *golden_of(const struct json *stage)
{
    return run_item_of_kind(stage, "inputs", "golden");
}

/* What reads a golden set and gives no answers (speculate) has other metrics than who answers it.
 */
static bool has_answered(const struct json *stage)
{
    return golden_of(stage) && run_item_of_kind(stage, "outputs", "answers");
}

/* One that did not run has an output without an id. */
static bool has_metrics(const struct json *stage)
{
    const struct json *metrics = run_item_of_kind(stage, "outputs", "metrics");
    return metrics != NULL && json_find_text(metrics, "id") != NULL;
}

static bool same_golden(const struct json *first, const struct json *stage)
{
    const struct json *a = golden_of(first), *b = golden_of(stage);
    return has_answered(first) && has_answered(stage) && has_metrics(first) && has_metrics(stage) &&
           str_eq(json_text(a, "id"), json_text(b, "id"));
}

static bool same_program(const struct json *first, const struct json *stage)
{
    return !has_answered(first) && !has_answered(stage) && has_metrics(first) &&
           has_metrics(stage) && str_eq(json_text(first, "run"), json_text(stage, "run"));
}

/* The group that begins at `first`; false when an earlier stage begins it. */
static bool group_from(const struct run_record *r, const struct json *first, belongs_fn *belongs,
                       struct group *g)
{
    *g = (struct group){0};
    if (!belongs(first, first))
        return false;
    bool is_later = false;
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t)) {
        is_later = is_later || t == first;
        if (!belongs(first, t))
            continue;
        if (!is_later)
            return false;
        if (g->n < STAGES_MAX)
            g->stages[g->n++] = t;
        g->n_all++;
    }
    return true;
}

/* --- metrics -----------------------------------------------------------------------------------
 */

static void add_names(struct json *names, const struct json *metrics)
{
    for (const struct json *m = metrics ? json_first(metrics) : NULL; m; m = json_next(m))
        if (json_is_number(m) && !json_get(names, json_key(m)))
            json_put_bool(names, json_key(m), true);
}

/* The place of a column in a table, -1 when there is none. */
static int column_of(const struct json *table, const char *name)
{
    int i = 0;
    for (const struct json *c = json_items(table, "columns"); c; c = json_next(c), i++)
        if (json_type(c) == JSON_STRING && str_eq(json_string(c), name))
            return i;
    return -1;
}

static const struct json *nth(const struct json *row, int i)
{
    const struct json *v = row && json_type(row) == JSON_ARRAY ? json_first(row) : NULL;
    for (; v && i > 0; i--)
        v = json_next(v);
    return v;
}

/* The row of the table whose first cell is this text. */
static const struct json *row_of(const struct json *table, const char *name)
{
    for (const struct json *row = json_items(table, "rows"); row; row = json_next(row)) {
        const struct json *first = nth(row, 0);
        if (first && json_type(first) == JSON_STRING && str_eq(json_string(first), name))
            return row;
    }
    return NULL;
}

/* What the stage's own report says of how sure a metric is: [low, high], NULL when it says nothing.
 * Owned by the caller. */
static struct json *interval_of(const struct json *report, const char *metric)
{
    for (const struct json *b = report ? json_items(report, "blocks") : NULL; b; b = json_next(b)) {
        int from = column_of(b, "95 % from");
        const struct json *low = from > 0 ? nth(row_of(b, metric), from) : NULL;
        const struct json *high = low ? json_next(low) : NULL;
        if (!json_is_number(low) || !json_is_number(high))
            continue;
        struct json *ends = json_new_array();
        json_append(ends, json_clone(low));
        json_append(ends, json_clone(high));
        return ends;
    }
    return NULL;
}

/* What a group's table is made of. */
struct compared {
    const char *stages[STAGES_MAX];
    struct json *metrics[STAGES_MAX]; /* NULL: the store has none any more */
    struct json *reports[STAGES_MAX]; /* the same */
    size_t n;
    struct json *names; /* of metrics, in order */
};

static void add_cell(struct json *row, const struct compared *c, size_t i, const char *metric)
{
    const struct json *v = json_get(c->metrics[i], metric);
    if (!json_is_number(v)) {
        json_append(row, json_new_null());
        return;
    }
    char *key = xasprintf("%s/%s", c->stages[i], metric);
    struct json *cell = report_cell_number(json_number(v), key);
    struct json *interval = interval_of(c->reports[i], metric);
    if (interval)
        json_put(cell, "interval", interval);
    json_append(row, cell);
    xfree(key);
}

/* A row a metric, a column a stage. */
static void add_rows_of_metrics(struct json *blocks, const char *title, const struct compared *c)
{
    const char *columns[STAGES_MAX + 2] = {"metric"};
    for (size_t i = 0; i < c->n; i++)
        columns[i + 1] = c->stages[i];
    struct json *rows = page_add_table(blocks, title, columns);
    for (const struct json *name = json_first(c->names); name; name = json_next(name)) {
        struct json *row = page_add_row(rows);
        json_append(row, report_cell_text(json_key(name)));
        for (size_t i = 0; i < c->n; i++)
            add_cell(row, c, i, json_key(name));
    }
}

/* The other way round, for more stages than metrics. */
static void add_rows_of_stages(struct json *blocks, const char *title, const struct compared *c)
{
    const char *columns[STAGES_MAX + 2] = {"stage"};
    size_t n = 1;
    for (const struct json *name = json_first(c->names); name; name = json_next(name))
        columns[n++] = json_key(name);
    struct json *rows = page_add_table(blocks, title, columns);
    for (size_t i = 0; i < c->n; i++) {
        struct json *row = page_add_row(rows);
        json_append(row, report_cell_text(c->stages[i]));
        for (const struct json *name = json_first(c->names); name; name = json_next(name))
            add_cell(row, c, i, json_key(name));
    }
}

static void add_metrics(struct json *blocks, struct store *s, const char *title,
                        const struct group *g)
{
    struct compared c = {.n = g->n, .names = json_new_object()};
    for (size_t i = 0; i < g->n; i++) {
        c.stages[i] = json_text(g->stages[i], "stage");
        c.metrics[i] = report_output(s, g->stages[i], "metrics", NULL);
        c.reports[i] = report_output(s, g->stages[i], "report", NULL);
        add_names(c.names, c.metrics[i]);
    }
    if (json_count(c.names) < g->n)
        add_rows_of_stages(blocks, title, &c);
    else
        add_rows_of_metrics(blocks, title, &c);
    if (g->n_all > g->n) {
        char *note = xasprintf("The first %zu of %zu stages.", g->n, g->n_all);
        page_add_text(blocks, "", note);
        xfree(note);
    }
    for (size_t i = 0; i < g->n; i++) {
        json_free(c.metrics[i]);
        json_free(c.reports[i]);
    }
    json_free(c.names);
}

/* --- curves ------------------------------------------------------------------------------------
 */

static const struct json *series_of(const struct json *report, const char *title)
{
    for (const struct json *b = report ? json_items(report, "blocks") : NULL; b; b = json_next(b))
        if (str_eq(json_text(b, "type"), "series") && str_eq(json_text(b, "title"), title))
            return b;
    return NULL;
}

static const struct json *line_of(const struct json *series, const char *name)
{
    for (const struct json *l = series ? json_items(series, "lines") : NULL; l; l = json_next(l))
        if (str_eq(json_text(l, "name"), name))
            return l;
    return NULL;
}

/* The line `name` of the series of every stage as one chart, where two stages or more have it. */
static void add_chart(struct json *blocks, const struct json *series, const char *name,
                      const struct group *g, struct json *const *reports)
{
    const char *title = json_text(series, "title");
    struct json *lines = json_new_array();
    for (size_t i = 0; i < g->n && json_count(lines) < LINES_MAX; i++) {
        const struct json *line = line_of(series_of(reports[i], title), name);
        if (!line || !json_get(line, "x") || !json_get(line, "y"))
            continue;
        struct json *o = json_new_object();
        json_put_string(o, "name", json_text(g->stages[i], "stage"));
        json_put(o, "x", json_clone(json_get(line, "x")));
        json_put(o, "y", json_clone(json_get(line, "y")));
        json_append(lines, o);
    }
    if (json_count(lines) < 2) {
        json_free(lines);
        return;
    }
    struct json *chart = json_new_object();
    char *whole = xasprintf("%s: %s", title, name);
    json_put_string(chart, "type", "series");
    json_put_string(chart, "title", whole);
    json_put_string(chart, "x_label", json_text(series, "x_label"));
    json_put_string(chart, "y_label", json_text(series, "y_label"));
    json_put(chart, "lines", lines);
    json_append(blocks, chart);
    xfree(whole);
}

/* Charts for the curves of the first stage. */
static void add_curves(struct json *blocks, struct store *s, const struct group *g)
{
    struct json *reports[STAGES_MAX] = {NULL};
    for (size_t i = 0; i < g->n; i++)
        reports[i] = report_output(s, g->stages[i], "report", NULL);
    for (const struct json *b = reports[0] ? json_items(reports[0], "blocks") : NULL; b;
         b = json_next(b))
        for (const struct json *l = str_eq(json_text(b, "type"), "series") ? json_items(b, "lines")
                                                                           : NULL;
             l; l = json_next(l))
            add_chart(blocks, b, json_text(l, "name"), g, reports);
    for (size_t i = 0; i < g->n; i++)
        json_free(reports[i]);
}

/* Who read the set beside those that answered it, and found something odd about it or with it. */
static void add_doubts(struct json *blocks, const struct run_record *r, struct store *s,
                       const struct json *first)
{
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t)) {
        bool reads = golden_of(t) &&
                     str_eq(json_text(golden_of(t), "id"), json_text(golden_of(first), "id"));
        struct json *report = reads ? report_output(s, t, "report", NULL) : NULL;
        size_t n = findings_count(report);
        json_free(report);
        if (n == 0)
            continue;
        char *text =
            xasprintf("\"What to look at\" has %zu finding%s of %s, which read the same set.", n,
                      n == 1 ? "" : "s", json_text(t, "stage"));
        page_add_text(blocks, "", text);
        xfree(text);
    }
}

/* --- sections ----------------------------------------------------------------------------------
 */

void report_add_golden(struct json *page, const struct run_record *r, struct store *s)
{
    struct json *blocks = NULL;
    struct group g;
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t)) {
        if (!group_from(r, t, same_golden, &g))
            continue;
        if (!blocks)
            blocks = page_add_section(
                page, "results", "Golden sets", true,
                "Every stage that answered the set, side by side. Below a share stands its "
                "95 % interval.");
        char *title = xasprintf("On %s", json_text(golden_of(t), "from"));
        add_metrics(blocks, s, title, &g);
        add_doubts(blocks, r, s, t);
        xfree(title);
    }
}

void report_add_alike(struct json *page, const struct run_record *r, struct store *s)
{
    struct json *blocks = NULL;
    struct group g;
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t)) {
        if (!group_from(r, t, same_program, &g) || g.n < 2)
            continue;
        if (!blocks)
            blocks = page_add_section(page, "alike", "Side by side", true,
                                      "Stages that ran the same program.");
        char *title = xasprintf("Program %s", json_text(t, "run"));
        add_metrics(blocks, s, title, &g);
        xfree(title);
        add_curves(blocks, s, &g);
    }
}
