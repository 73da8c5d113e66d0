#include "pipeline/engine/report.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/report_cells.h"
#include "pipeline/engine/report_compare.h"
#include "pipeline/engine/report_findings.h"
#include "pipeline/engine/report_origin.h"
#include "pipeline/provenance/statement.h"
#include "pipeline/report/page.h"

#define TILES_MAX 12

struct json *report_output(struct store *s, const struct json *stage, const char *kind,
                           bool *missing)
{
    const struct json *o = run_item_of_kind(stage, "outputs", kind);
    const char *id = json_find_text(o, "id");
    struct json *v = NULL;
    if (!id)
        return NULL;
    struct err ignored = {0};
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = store_get_bytes(s, id, LIMIT_JSON_BYTES, &b, &ignored);
    if (rc == 0)
        rc = json_parse(buf_text(&b), b.n_bytes, &v, &ignored);
    buf_release(&b);
    if (rc == 0 && json_type(v) != JSON_OBJECT)
        rc = err_set(&ignored, ERR_FORMAT, "not an object");
    if (missing)
        *missing = rc != 0;
    if (rc != 0) {
        json_free(v);
        v = NULL;
    }
    return v;
}

/* --- times -------------------------------------------------------------------------------------
 */

/* The statement of the run that executed the stage; false without one. Release it then, too. */
static bool stage_statement(const struct run_record *r, const struct json *stage,
                            struct statement *s)
{
    char *path = xasprintf("stages/%s/statement.json", json_text(stage, "stage"));
    const char *text = run_record_file(r, path);
    struct err ignored = {0};
    xfree(path);
    return text && statement_parse(text, strlen(text), s, &ignored) == 0;
}

/* How long the stage took when it was really executed; false when it is not known. */
static bool stage_seconds(const struct run_record *r, const struct json *stage, double *seconds)
{
    const struct json *own = json_get(stage, "seconds");
    if (json_is_number(own)) {
        *seconds = json_number(own);
        return true;
    }
    struct statement s = {0};
    bool known = stage_statement(r, stage, &s);
    if (known)
        *seconds = (double)(s.facts.finished_ms - s.facts.started_ms) / 1e3;
    statement_release(&s);
    return known;
}

/* Of all outputs of the stage; an empty cell when it has none. */
static struct json *cell_of_outputs(const struct json *stage)
{
    double sum = 0;
    bool any = false;
    char bytes[16];
    for (const struct json *o = json_items(stage, "outputs"); o; o = json_next(o))
        if (json_is_number(json_get(o, "bytes"))) {
            sum += json_number(json_get(o, "bytes"));
            any = true;
        }
    return any ? report_cell_text(str_format_bytes((size_t)sum, bytes)) : json_new_null();
}

/* --- head --------------------------------------------------------------------------------------
 */

static void add_status(struct json *page, const char *status)
{
    struct json *o = json_new_object();
    json_put_string(o, "text", str_eq(status, "gates") ? "a gate does not hold" : status);
    json_put_string(o, "tone", report_tone(status));
    json_put(page, "status", o);
}

/* "2026-01-31 04:05:06 UTC" of what statements write; any other text as it is. */
static struct json *cell_of_time(const char *text)
{
    int64_t ms = 0;
    if (!text || !statement_time_parse(text, &ms) || strlen(text) < 20)
        return report_cell_text(text);
    char *plain = xasprintf("%.10s %.8s UTC", text, text + 11);
    struct json *cell = report_cell_text(plain);
    xfree(plain);
    return cell;
}

static void add_head(struct json *page, const struct run_record *r)
{
    char seconds[24];
    int64_t from = 0, to = 0;
    json_put_string(page, "title", r->name);
    if (json_find_text(r->root, "description"))
        json_put_string(page, "subtitle", json_find_text(r->root, "description"));
    add_status(page, json_text(r->root, "status"));
    page_add_fact(page, "started", cell_of_time(json_find_text(r->root, "started")));
    if (statement_time_parse(json_text(r->root, "started"), &from) &&
        statement_time_parse(json_text(r->root, "finished"), &to)) {
        str_format_seconds((double)(to - from) / 1e3, seconds);
        page_add_fact(page, "took", report_cell_text(seconds));
    }
    page_add_fact(page, "ledger commit",
                  *r->commit ? report_cell_code(r->commit)
                             : report_cell_tone("none: nothing was made", "warn"));
    page_add_fact(page, "manifest", report_cell_text(json_find_text(r->root, "manifest_path")));
    page_add_fact(page, "manifest SHA-256", report_cell_code(json_find_text(r->root, "manifest")));
    for (const struct json *set = json_items(r->root, "set"); set; set = json_next(set))
        if (json_type(set) == JSON_STRING)
            page_add_fact(page, "set", report_cell_text(json_string(set)));
    for (const struct json *d = json_items(r->root, "deliveries"); d; d = json_next(d))
        page_add_fact(page, "delivered", report_cell_text(json_find_text(d, "path")));
}

/* --- gates -------------------------------------------------------------------------------------
 */

static void add_tile(struct json *tiles, const struct json *gate)
{
    struct json *o = json_new_object();
    char *key = xasprintf("%s/%s", json_text(gate, "stage"), json_text(gate, "metric"));
    char *note = xasprintf("%s of %s", json_text(gate, "gate"), json_text(gate, "stage"));
    json_put_string(o, "name", json_text(gate, "metric"));
    json_put(o, "value",
             json_is_number(json_get(gate, "value"))
                 ? report_cell_number(json_number(json_get(gate, "value")), key)
                 : json_new_null());
    json_put_string(o, "note", note);
    json_put_string(o, "tone", report_tone(json_text(gate, "verdict")));
    json_append(tiles, o);
    xfree(key);
    xfree(note);
}

static const char *verdict_text(const struct json *gate)
{
    const char *verdict = json_text(gate, "verdict");
    return str_eq(verdict, "no_baseline") ? "no baseline" : verdict;
}

static void add_gate_notice(struct json *page, const struct json *gate)
{
    const struct json *value = json_get(gate, "value");
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b, "gate %s does not hold: ", json_text(gate, "gate"));
    if (*json_text(gate, "note"))
        buf_add_text(&b, json_text(gate, "note"));
    else if (json_is_number(value))
        buf_printf(&b, "%s is %.6g", json_text(gate, "metric"), json_number(value));
    else
        buf_printf(&b, "there is no %s", json_text(gate, "metric"));
    page_add_notice(page, json_text(gate, "stage"), buf_text(&b), "bad", "gates");
    buf_release(&b);
}

static void add_gates(struct json *page, const struct run_record *r)
{
    static const char *const columns[] = {"stage",   "gate", "value", "compared with",
                                          "verdict", "note", NULL};
    const struct json *g = json_items(r->root, "gates");
    struct json *tiles = json_new_array();
    json_put(page, "tiles", tiles);
    if (!g)
        return;
    struct json *blocks = page_add_section(page, "gates", "Gates", true,
                                           "Judged on every run, also on cached results.");
    struct json *rows = page_add_table(blocks, "", columns);
    for (size_t n = 0; g; g = json_next(g), n++) {
        struct json *row = page_add_row(rows);
        const struct json *value = json_get(g, "value"), *bound = json_get(g, "bound");
        if (n < TILES_MAX)
            add_tile(tiles, g);
        if (str_eq(json_text(g, "verdict"), "fails"))
            add_gate_notice(page, g);
        json_append(row, report_cell_text(json_text(g, "stage")));
        json_append(row, report_cell_text(json_text(g, "gate")));
        json_append(row, json_is_number(value) ? report_cell_number(json_number(value), NULL)
                                               : json_new_null());
        json_append(row, json_is_number(bound) ? report_cell_number(json_number(bound), NULL)
                                               : json_new_null());
        json_append(row, report_cell_tone(verdict_text(g), report_tone(json_text(g, "verdict"))));
        json_append(row, report_cell_text(json_text(g, "note")));
    }
}

/* --- the stages --------------------------------------------------------------------------------
 */

static void add_stage_notice(struct json *page, const struct json *stage)
{
    const char *status = report_stage_status(stage);
    if (str_eq(status, "failed"))
        page_add_notice(page, json_text(stage, "stage"), json_text_or(stage, "reason", status),
                        "bad", "stages");
    else if (str_eq(status, "interrupted"))
        page_add_notice(page, json_text(stage, "stage"),
                        "interrupted; the same command goes on with it", "warn", "stages");
}

/* Why it ended as it did, where that says more than its status; else why it ran. */
static const char *stage_why(const struct json *stage)
{
    const char *reason = json_find_text(stage, "reason");
    return reason && !str_eq(reason, report_stage_status(stage)) ? reason : json_text(stage, "why");
}

static void add_stages(struct json *page, const struct run_record *r)
{
    static const char *const columns[] = {"stage", "program", "status", "why",
                                          "took",  "outputs", "recipe", NULL};
    struct json *blocks = page_add_section(
        page, "stages", "Stages", true,
        "A reused stage has the time of the run that made it. The recipe's SHA-256 is the key.");
    struct json *rows = page_add_table(blocks, "", columns);
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t)) {
        struct json *row = page_add_row(rows);
        double took = 0;
        char seconds[24];
        const char *status = report_stage_status(t);
        add_stage_notice(page, t);
        bool has_time = stage_seconds(r, t, &took);
        str_format_seconds(took, seconds);
        json_append(row, report_cell_text(json_text(t, "stage")));
        json_append(row, report_cell_text(json_text(t, "run")));
        json_append(row, report_cell_tone(status, report_tone(status)));
        json_append(row, report_cell_text(stage_why(t)));
        json_append(row, has_time ? report_cell_text(seconds) : json_new_null());
        json_append(row, cell_of_outputs(t));
        json_append(row, report_cell_code(json_find_text(t, "key")));
    }
}

static void add_own_metrics(struct json *blocks, const struct json *stage,
                            const struct json *metrics)
{
    static const char *const columns[] = {"metric", "value", NULL};
    struct json *rows = page_add_table(blocks, "All metrics", columns);
    for (const struct json *m = json_first(metrics); m; m = json_next(m)) {
        if (!json_is_number(m))
            continue;
        struct json *row = page_add_row(rows);
        char *key = xasprintf("%s/%s", json_text(stage, "stage"), json_key(m));
        json_append(row, report_cell_text(json_key(m)));
        json_append(row, report_cell_number(json_number(m), key));
        xfree(key);
    }
}

/* What the stage measured of the machine that it ran on: in no output, so from its statement. */
static void add_measured(struct json *blocks, const struct run_record *r, const struct json *stage)
{
    static const char *const columns[] = {"measured when it ran", "value", NULL};
    struct statement s = {0};
    bool known = stage_statement(r, stage, &s);
    if (known && s.facts.events && str_eq(json_text(s.facts.events, "event"), "measured")) {
        struct json *rows = page_add_table(blocks, "Speed on that machine", columns);
        for (const struct json *m = json_first(s.facts.events); m; m = json_next(m)) {
            if (!json_is_number(m))
                continue;
            struct json *row = page_add_row(rows);
            json_append(row, report_cell_text(json_key(m)));
            json_append(row, report_cell_number(json_number(m), NULL));
        }
    }
    statement_release(&s);
}

/* What is judged is what a reader wants to see first. */
static bool has_gates(const struct run_record *r, const struct json *stage)
{
    for (const struct json *g = json_items(r->root, "gates"); g; g = json_next(g))
        if (str_eq(json_text(g, "stage"), json_text(stage, "stage")))
            return true;
    return false;
}

/* The blocks of a report that are its findings, or all but these. */
static void add_blocks(struct json *blocks, const struct json *report, bool findings)
{
    for (const struct json *b = report ? json_items(report, "blocks") : NULL; b; b = json_next(b))
        if (findings_is_block(b) == findings)
            json_append(blocks, json_clone(b));
}

/* What one stage drew, and its metrics; what it found odd comes first. Sections are numbered: names
 * need not be valid ids. Returns how many findings it has. */
static size_t add_one_report(struct json *page, const struct run_record *r, struct store *s,
                             const struct json *stage, size_t i)
{
    bool missing = false, no_metrics = false;
    struct json *report = report_output(s, stage, "report", &missing);
    struct json *metrics = report_output(s, stage, "metrics", &no_metrics);
    if (!report && !metrics && !missing && !no_metrics)
        return 0;
    size_t n_findings = findings_count(report);
    char *id = xasprintf("stage-%zu", i + 1);
    char *note = xasprintf("Program %s, %s.", json_text(stage, "run"), report_stage_status(stage));
    bool is_open = has_gates(r, stage) || n_findings > 0;
    struct json *blocks = page_add_section(page, id, json_text(stage, "stage"), is_open, note);
    if (json_find_text(stage, "remark"))
        page_add_notice(page, json_text(stage, "stage"), json_find_text(stage, "remark"), "warn",
                        id);
    findings_add_notices(page, json_text(stage, "stage"), id, report);
    xfree(note);
    xfree(id);
    add_blocks(blocks, report, true);
    add_blocks(blocks, report, false);
    if (metrics)
        add_own_metrics(blocks, stage, metrics);
    add_measured(blocks, r, stage);
    if (missing || no_metrics)
        page_add_text(blocks, "", "The store cannot give this stage's report or metrics any more.");
    json_free(report);
    json_free(metrics);
    return n_findings;
}

static size_t add_reports(struct json *page, const struct run_record *r, struct store *s)
{
    size_t i = 0, n_findings = 0;
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t), i++)
        n_findings += add_one_report(page, r, s, t, i);
    return n_findings;
}

/* --- the page ----------------------------------------------------------------------------------
 */

/* The document that pipeline/report/page.h draws; the caller frees it. */
static struct json *page_of(const struct run_record *r, struct store *s, size_t *n_findings)
{
    struct json *page = json_new_object();
    add_head(page, r);
    add_gates(page, r);
    report_add_golden(page, r, s);
    report_add_alike(page, r, s);
    add_stages(page, r);
    *n_findings = add_reports(page, r, s);
    report_add_origin(page, r);
    return page;
}

int report_write(const struct run_record *r, struct store *s, const char *root,
                 struct report_page *page, struct err *e)
{
    struct json *document = page_of(r, s, &page->n_findings);
    struct buf html;
    buf_init(&html, BUF_MAX_DEFAULT);
    page_write(document, &html);
    json_free(document);
    page->path = xasprintf("%s/%s/index.html", root, r->name);
    int rc = file_make_parents(page->path, e);
    if (rc == 0)
        rc = file_publish(page->path, html.bytes, html.n_bytes, 0644, e);
    buf_release(&html);
    return rc;
}
