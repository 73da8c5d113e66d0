/* What a nightly leaves: the document of its page, and JUnit's XML. */

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/nightly.h"
#include "pipeline/engine/report_cells.h"
#include "pipeline/provenance/statement.h"
#include "pipeline/report/html.h"

static const char *tone_of(const char *verdict)
{
    if (str_eq(verdict, "ok") || str_eq(verdict, "better") || str_eq(verdict, "holds"))
        return "good";
    if (str_eq(verdict, "skipped") || str_eq(verdict, "shown") || str_eq(verdict, "not run"))
        return "muted";
    if (str_eq(verdict, "no baseline") || str_eq(verdict, "another golden set") ||
        str_eq(verdict, "no_baseline"))
        return "warn";
    return "bad";
}

static const char *label_of(const struct nightly_item *item)
{
    return item->name ? item->name : item->path;
}

static struct json *number_cell(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);
    return json_is_number(v) ? report_cell_number(json_number(v), NULL) : json_new_null();
}

/* --- the page ----------------------------------------------------------------------------------
 */

static void add_tile(struct json *page, const char *name, size_t n, const char *tone)
{
    struct json *o = json_new_object();
    json_put_string(o, "name", name);
    json_put_i64(o, "value", (int64_t)n);
    json_put_string(o, "tone", n == 0 ? "muted" : tone);
    json_append((struct json *)json_get(page, "tiles"), o); /* the tree is ours */
}

static size_t count(const struct nightly *n, const char *status)
{
    size_t found = 0;
    for (size_t i = 0; i < n->n_items; i++)
        found += str_eq(nightly_item_word(&n->items[i]), status);
    return found;
}

static void add_head(struct json *page, const struct nightly *n)
{
    size_t n_regressions = 0, n_gates = 0;
    for (size_t i = 0; i < n->n_items; i++) {
        n_regressions += n->items[i].n_regressions;
        n_gates += n->items[i].n_gates_failed;
    }
    int rc = nightly_exit_status(n);
    char *title = xasprintf("Nightly of %s", n->date);
    json_put_string(page, "title", title);
    xfree(title);
    json_put(page, "status",
             report_cell_tone(rc == 0   ? "ok"
                              : rc == 3 ? "something is worse"
                                        : "something is broken",
                              rc == 0 ? "good" : "bad"));
    json_put(page, "tiles", json_new_array());
    add_tile(page, "manifests", n->n_items, "muted");
    add_tile(page, "ok", count(n, "ok"), "good");
    add_tile(page, "regressions", n_regressions, "bad");
    add_tile(page, "gates not held", n_gates, "bad");
    add_tile(page, "broken", count(n, "failed") + count(n, "error") + count(n, "interrupted"),
             "bad");
    add_tile(page, "skipped", count(n, "skipped"), "warn");
}

static size_t n_stages(const struct nightly_item *item, const char *status)
{
    size_t found = 0;
    for (const struct json *t = json_items(item->run, "stages"); t; t = json_next(t))
        found += str_eq(json_text(t, "status"), status);
    return found;
}

/* The manifest's path; a link to the page of its run, where it has drawn one. */
static struct json *path_cell(const struct nightly_item *item)
{
    if (!item->has_page || !item->name)
        return report_cell_text(item->path);
    struct json *o = json_new_object();
    char *link = xasprintf("../../%s/index.html", item->name);
    json_put(o, "text", statement_text(item->path));
    json_put_string(o, "link", link);
    xfree(link);
    return o;
}

static void add_manifests(struct json *page, const struct nightly *n)
{
    static const char *const columns[] = {"manifest", "status", "reason",      "executed", "reused",
                                          "took",     "commit", "regressions", NULL};
    struct json *blocks = page_add_section(page, "manifests", "Manifests", true, NULL);
    struct json *rows = page_add_table(blocks, "", columns);
    for (size_t i = 0; i < n->n_items; i++) {
        const struct nightly_item *item = &n->items[i];
        struct json *row = page_add_row(rows);
        char seconds[24];
        str_format_seconds(item->seconds, seconds);
        json_append(row, path_cell(item));
        json_append(row,
                    report_cell_tone(nightly_item_word(item), tone_of(nightly_item_word(item))));
        json_append(row, report_cell_text(item->reason));
        json_append(row, json_new_i64((int64_t)n_stages(item, "executed")));
        json_append(row, json_new_i64((int64_t)n_stages(item, "reused")));
        json_append(row, report_cell_text(seconds));
        json_append(row, report_cell_code(item->commit));
        json_append(row, json_new_i64((int64_t)item->n_regressions));
    }
}

static void add_change_row(struct json *rows, const struct nightly_item *item, const struct json *c)
{
    struct json *row = page_add_row(rows);
    const char *verdict = json_find_text(c, "verdict");
    char *key =
        xasprintf("%s/%s/%s", item->name, json_find_text(c, "stage"), json_find_text(c, "metric"));
    json_append(row, report_cell_text(item->name));
    json_append(row, report_cell_text(json_find_text(c, "stage")));
    json_append(row, report_cell_text(json_find_text(c, "metric")));
    const struct json *value = json_get(c, "value");
    json_append(row, value ? report_cell_number(json_number(value), key) : json_new_null());
    json_append(row, number_cell(c, "baseline"));
    json_append(row, number_cell(c, "change"));
    json_append(row, number_cell(c, "allowed"));
    json_append(row, report_cell_tone(verdict, tone_of(verdict)));
    xfree(key);
}

static void add_changes(struct json *page, const struct nightly *n, bool only_worse)
{
    static const char *const columns[] = {"manifest", "stage",   "metric",  "value", "baseline",
                                          "change",   "allowed", "verdict", NULL};
    struct json *blocks =
        only_worse ? page_add_section(page, "regressions", "Regressions", true, NULL)
                   : page_add_section(page, "changes", "Every golden metric", true,
                                      "Allowed is a drop gate's number, or what other seeds and "
                                      "the number of rows make likely.");
    struct json *rows = page_add_table(blocks, "", columns);
    for (size_t i = 0; i < n->n_items; i++)
        for (const struct json *c = n->items[i].changes ? json_first(n->items[i].changes) : NULL; c;
             c = json_next(c))
            if (!only_worse || nightly_is_worse(c))
                add_change_row(rows, &n->items[i], c);
}

static void add_gates(struct json *page, const struct nightly *n)
{
    static const char *const columns[] = {"manifest", "stage", "gate", "value",
                                          "verdict",  "note",  NULL};
    struct json *blocks = page_add_section(page, "gates", "Gates", true, NULL);
    struct json *rows = page_add_table(blocks, "", columns);
    for (size_t i = 0; i < n->n_items; i++)
        for (const struct json *g = json_items(n->items[i].run, "gates"); g; g = json_next(g)) {
            struct json *row = page_add_row(rows);
            const char *verdict = json_text(g, "verdict");
            json_append(row, report_cell_text(n->items[i].name));
            json_append(row, report_cell_text(json_find_text(g, "stage")));
            json_append(row, report_cell_text(json_find_text(g, "gate")));
            json_append(row, number_cell(g, "value"));
            bool none = str_eq(verdict, "no_baseline");
            json_append(row, report_cell_tone(none ? "no baseline" : verdict, tone_of(verdict)));
            json_append(row, report_cell_text(json_find_text(g, "note")));
        }
}

struct json *nightly_page(const struct nightly *n)
{
    struct json *page = json_new_object();
    add_head(page, n);
    add_manifests(page, n);
    add_changes(page, n, true);
    add_gates(page, n);
    add_changes(page, n, false);
    return page;
}

/* --- JUnit -------------------------------------------------------------------------------------
 */

/* Any bytes as text in XML 1.0, wrong bytes as statement_text writes them. What HTML refuses covers
 * what XML refuses. */
static void add_xml(struct buf *out, const char *bytes)
{
    struct json *clean = statement_text(bytes);
    html_add_text(out, json_string(clean));
    json_free(clean);
}

/* problem: NULL when the case passed. element: failure, error or skipped. */
static void add_case(struct buf *out, const char *suite, const char *name, const char *element,
                     const char *problem)
{
    buf_add_text(out, "    <testcase classname=\"");
    add_xml(out, suite);
    buf_add_text(out, "\" name=\"");
    add_xml(out, name);
    if (!problem) {
        buf_add_text(out, "\"/>\n");
        return;
    }
    buf_printf(out, "\"><%s message=\"", element);
    add_xml(out, problem);
    buf_add_text(out, "\"/></testcase>\n");
}

struct tally {
    size_t n_cases, n_failures, n_errors, n_skipped;
};

static void case_of_manifest(const struct nightly_item *item, struct tally *t, struct buf *out)
{
    bool skipped = str_eq(item->status, "skipped") || str_eq(item->status, "not run");
    bool broken = !skipped && !str_eq(item->status, "ok") && !str_eq(item->status, "gates");
    t->n_cases++;
    t->n_skipped += skipped;
    t->n_errors += broken;
    add_case(out, label_of(item), "run", skipped ? "skipped" : "error",
             !skipped && !broken ? NULL
             : item->reason      ? item->reason
                                 : item->status);
}

static void cases_of_stages(const struct nightly_item *item, struct tally *t, struct buf *out)
{
    for (const struct json *s = json_items(item->run, "stages"); s; s = json_next(s)) {
        if (!str_eq(json_text(s, "status"), "failed"))
            continue;
        t->n_cases++;
        t->n_errors++;
        add_case(out, label_of(item), json_find_text(s, "stage"), "error",
                 json_text_or(s, "reason", "failed"));
    }
}

static void cases_of_gates(const struct nightly_item *item, struct tally *t, struct buf *out)
{
    for (const struct json *g = json_items(item->run, "gates"); g; g = json_next(g)) {
        const char *verdict = json_text(g, "verdict");
        bool fails = str_eq(verdict, "fails"), unjudged = str_eq(verdict, "no_baseline");
        const char *note = json_find_text(g, "note");
        char *name =
            xasprintf("%s: gate %s", json_find_text(g, "stage"), json_find_text(g, "gate"));
        char *problem = NULL;
        const struct json *value = json_get(g, "value");
        if (fails && !note && json_is_number(value))
            problem = xasprintf("%s is %.6g", json_find_text(g, "metric"), json_number(value));
        else if (fails || unjudged)
            problem = xstrdup(note ? note : "cannot be judged");
        t->n_cases++;
        t->n_failures += fails;
        t->n_skipped += unjudged;
        add_case(out, label_of(item), name, unjudged ? "skipped" : "failure", problem);
        xfree(problem);
        xfree(name);
    }
}

static void cases_of_changes(const struct nightly_item *item, struct tally *t, struct buf *out)
{
    for (const struct json *c = item->changes ? json_first(item->changes) : NULL; c;
         c = json_next(c)) {
        const char *verdict = json_find_text(c, "verdict");
        if (str_eq(verdict, "shown") || str_eq(verdict, "no baseline"))
            continue;
        bool worse = nightly_is_worse(c);
        char *name = xasprintf("%s: %s", json_find_text(c, "stage"), json_find_text(c, "metric"));
        char *problem = NULL;
        if (str_eq(verdict, "gone"))
            problem = xstrdup("is not there any more");
        else if (worse)
            problem = xasprintf(
                "fell from %.6g to %.6g, allowed are %.6g", json_number(json_get(c, "baseline")),
                json_number(json_get(c, "value")), json_number(json_get(c, "allowed")));
        else if (str_eq(verdict, "another golden set"))
            problem = xstrdup("the baseline was accepted on another golden set");
        t->n_cases++;
        t->n_failures += worse;
        t->n_skipped += problem && !worse;
        add_case(out, label_of(item), name, worse ? "failure" : "skipped", problem);
        xfree(problem);
        xfree(name);
    }
}

void nightly_junit(const struct nightly *n, struct buf *out)
{
    buf_add_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (size_t i = 0; i < n->n_items; i++) {
        const struct nightly_item *item = &n->items[i];
        struct tally t = {0};
        struct buf cases;
        buf_init(&cases, BUF_MAX_DEFAULT);
        case_of_manifest(item, &t, &cases);
        cases_of_stages(item, &t, &cases);
        cases_of_gates(item, &t, &cases);
        cases_of_changes(item, &t, &cases);
        buf_add_text(out, "  <testsuite name=\"");
        add_xml(out, label_of(item));
        buf_printf(out,
                   "\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" "
                   "time=\"%.3f\">\n",
                   t.n_cases, t.n_failures, t.n_errors, t.n_skipped, item->seconds);
        buf_add_text(out, buf_text(&cases));
        buf_add_text(out, "  </testsuite>\n");
        buf_release(&cases);
    }
    buf_add_text(out, "</testsuites>\n");
}

/* --- JSON --------------------------------------------------------------------------------------
 */

struct json *nightly_to_json(const struct nightly *n)
{
    struct json *root = json_new_object(), *list = json_new_array();
    json_put_string(root, "schema", "fmforge.nightly/1");
    json_put_string(root, "date", n->date);
    json_put_i64(root, "exit_status", nightly_exit_status(n));
    for (size_t i = 0; i < n->n_items; i++) {
        const struct nightly_item *item = &n->items[i];
        struct json *o = json_new_object();
        json_put(o, "path", statement_text(item->path));
        json_put(o, "name", report_cell_text(item->name));
        json_put_string(o, "status", item->status);
        json_put(o, "reason", report_cell_text(item->reason));
        json_put(o, "commit", report_cell_text(item->commit));
        json_put_i64(o, "regressions", (int64_t)item->n_regressions);
        json_put_i64(o, "gates_failed", (int64_t)item->n_gates_failed);
        json_put(o, "changes", item->changes ? json_clone(item->changes) : json_new_array());
        json_append(list, o);
    }
    json_put(root, "manifests", list);
    return root;
}
