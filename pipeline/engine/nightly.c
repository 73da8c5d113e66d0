#include "pipeline/engine/nightly.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/baseline.h"
#include "pipeline/engine/report.h"

void nightly_release(struct nightly *n)
{
    for (size_t i = 0; i < n->n_items; i++) {
        struct nightly_item *item = &n->items[i];
        xfree(item->path);
        xfree(item->name);
        xfree(item->reason);
        xfree(item->commit);
        json_free(item->run);
        json_free(item->changes);
    }
    xfree(n->items);
    memset(n, 0, sizeof *n);
}

static bool is_share(double v)
{
    return v >= 0 && v <= 1;
}

/* The drop gate on this metric in run.json, or NULL. */
static const struct json *drop_gate(const struct run_record *r, const char *stage,
                                    const char *metric)
{
    for (const struct json *g = json_items(r->root, "gates"); g; g = json_next(g))
        if (json_get(g, "allowed") && str_eq(json_text(g, "stage"), stage) &&
            str_eq(json_text(g, "metric"), metric))
            return g;
    return NULL;
}

static const char *judge(const struct baseline *b, const struct run_record *r, const char *stage,
                         const struct json *metric, struct json *change)
{
    const struct json *was = json_get(b->metrics, json_key(metric));
    const struct json *gate = drop_gate(r, stage, json_key(metric));
    double value = json_number(metric);
    if (b->is_of_another_set)
        return "another golden set";
    if (!was)
        return "no baseline";
    double before = json_number(was);
    json_put_f64(change, "baseline", before);
    json_put_f64(change, "change", value - before);
    if (!gate && !(is_share(value) && is_share(before)))
        return "shown";
    double allowed = gate && json_type(json_get(gate, "allowed")) == JSON_NUMBER
                         ? json_number(json_get(gate, "allowed"))
                         : baseline_allowed(b, json_key(metric));
    json_put_f64(change, "allowed", allowed);
    bool worse = json_find_text(gate, "verdict") ? str_eq(json_find_text(gate, "verdict"), "fails")
                                                 : before - value > allowed + 1e-12;
    return worse ? "regression" : value - before > allowed ? "better" : "ok";
}

static struct json *add_change(struct nightly_item *item, const char *stage, const char *metric)
{
    struct json *change = json_new_object();
    json_put_string(change, "stage", stage);
    json_put_string(change, "metric", metric);
    json_append(item->changes, change);
    return change;
}

static void set_verdict(struct nightly_item *item, struct json *change, const char *verdict)
{
    json_put_string(change, "verdict", verdict);
    item->n_regressions += str_eq(verdict, "regression") || str_eq(verdict, "gone");
}

/* What the baseline has and the run has not. metrics: NULL when the run has none of this stage. */
static void add_gone(struct nightly_item *item, const struct baseline *b, const char *stage,
                     const struct json *metrics)
{
    for (const struct json *m = b->metrics ? json_first(b->metrics) : NULL; m; m = json_next(m)) {
        const struct json *now = json_get(metrics, json_key(m));
        if (json_is_number(now))
            continue;
        struct json *change = add_change(item, stage, json_key(m));
        json_put_f64(change, "baseline", json_number(m));
        set_verdict(item, change, "gone");
    }
}

static int compare_stage(struct nightly_item *item, const struct run_record *r, struct store *s,
                         const struct json *stage, struct err *e)
{
    const struct json *input = run_item_of_kind(stage, "inputs", "golden");
    const char *name = json_find_text(stage, "stage"), *golden = json_find_text(input, "id");
    bool missing = false;
    struct json *metrics = golden && name ? report_output(s, stage, "metrics", &missing) : NULL;
    if (missing)
        return err_set(e, ERR_MISSING, "the store cannot give the metrics of %s", name);
    if (!metrics)
        return 0;
    struct baseline b = {0};
    int rc = baseline_read(&b, r->name, name, golden, e);
    for (const struct json *m = json_first(metrics); m && rc == 0; m = json_next(m))
        if (json_is_number(m) && !drop_gate(r, name, json_key(m)))
            rc = baseline_check_share(&b, json_key(m), json_number(m), e);
    for (const struct json *m = rc == 0 ? json_first(metrics) : NULL; m; m = json_next(m)) {
        if (json_type(m) != JSON_NUMBER || str_eq(json_key(m), "rows"))
            continue;
        struct json *change = add_change(item, name, json_key(m));
        json_put_f64(change, "value", json_number(m));
        set_verdict(item, change, judge(&b, r, name, m, change));
    }
    add_gone(item, &b, name, metrics);
    baseline_release(&b);
    json_free(metrics);
    return rc;
}

/* Baselines of stages that the run does not have. One that failed or was not run is said so. */
static int compare_absent(struct nightly_item *item, const struct run_record *r, struct err *e)
{
    char *folder = xasprintf(BASELINE_ROOT "/%s", r->name);
    struct file_list files = {0};
    int rc = file_is_folder(folder) ? file_list_names(folder, &files, e) : 0;
    for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
        size_t n = strlen(files.paths[i]);
        if (!str_ends(files.paths[i], ".json"))
            continue;
        char *stage = xstrndup(files.paths[i], n - strlen(".json"));
        struct baseline b = {0};
        if (!run_record_stage(r, stage))
            rc = baseline_read_any(&b, r->name, stage, e);
        add_gone(item, &b, stage, NULL);
        baseline_release(&b);
        xfree(stage);
    }
    file_list_release(&files);
    xfree(folder);
    return rc;
}

/* Of the first stage that failed, and how many others did; NULL: none. The caller xfrees it. */
static char *failure_of(const struct json *run)
{
    const struct json *first = NULL;
    size_t n = 0;
    for (const struct json *t = json_items(run, "stages"); t; t = json_next(t)) {
        if (!str_eq(json_text(t, "status"), "failed"))
            continue;
        first = first ? first : t;
        n++;
    }
    if (!first)
        return NULL;
    const char *reason = json_text_or(first, "reason", "failed");
    if (n == 1)
        return xasprintf("%s: %s", json_text(first, "stage"), reason);
    return xasprintf("%s: %s (%zu stage%s more failed)", json_text(first, "stage"), reason, n - 1,
                     n == 2 ? "" : "s");
}

int nightly_compare(struct nightly_item *item, const struct run_record *r, struct store *s,
                    struct err *e)
{
    int rc = 0;
    item->commit = xstrdup(r->commit);
    item->run = json_clone(r->root);
    item->changes = json_new_array();
    if (!item->reason)
        item->reason = failure_of(r->root);
    for (const struct json *g = json_items(r->root, "gates"); g; g = json_next(g))
        item->n_gates_failed += str_eq(json_text(g, "verdict"), "fails");
    for (const struct json *t = json_items(r->root, "stages"); t && rc == 0; t = json_next(t))
        rc = compare_stage(item, r, s, t, e);
    return rc == 0 ? compare_absent(item, r, e) : rc;
}

static bool is_broken(const struct nightly_item *item)
{
    return str_eq(item->status, "failed") || str_eq(item->status, "error") ||
           str_eq(item->status, "interrupted");
}

int nightly_exit_status(const struct nightly *n)
{
    bool broken = false, worse = false;
    for (size_t i = 0; i < n->n_items; i++) {
        broken |= is_broken(&n->items[i]);
        worse |= n->items[i].n_regressions > 0 || n->items[i].n_gates_failed > 0;
    }
    return worse ? 3 : broken ? 1 : 0;
}

const char *nightly_item_word(const struct nightly_item *item)
{
    return str_eq(item->status, "ok") && item->n_regressions > 0 ? "worse" : item->status;
}

bool nightly_is_worse(const struct json *change)
{
    const char *verdict = json_find_text(change, "verdict");
    return str_eq(verdict, "regression") || str_eq(verdict, "gone");
}

/* --- for people --------------------------------------------------------------------------------
 */

static void change_to_text(const struct nightly_item *item, const struct json *c, struct buf *out)
{
    const char *stage = json_find_text(c, "stage"), *metric = json_find_text(c, "metric");
    if (str_eq(json_find_text(c, "verdict"), "gone"))
        buf_printf(out, "%s: %s: %s was %.4g and is not there any more\n", item->name, stage,
                   metric, json_number_or(c, "baseline", 0));
    else
        buf_printf(out, "%s: %s: %s fell from %.4g to %.4g (%+.4g; %.4g is allowed)\n", item->name,
                   stage, metric, json_number_or(c, "baseline", 0), json_number_or(c, "value", 0),
                   json_number_or(c, "change", 0), json_number_or(c, "allowed", 0));
}

static bool has_verdict(const struct json *change, const char *verdict)
{
    return str_eq(json_find_text(change, "verdict"), verdict);
}

/* A stage's changes stand together, from c on: says what could not be compared, and why. */
static void uncompared_to_text(const struct nightly_item *item, const struct json *c,
                               struct buf *out)
{
    const char *stage = json_find_text(c, "stage");
    size_t n = 0, n_none = 0, n_other = 0;
    struct buf names;
    buf_init(&names, BUF_MAX_DEFAULT);
    for (; c && str_eq(json_find_text(c, "stage"), stage); c = json_next(c), n++) {
        n_other += has_verdict(c, "another golden set");
        if (has_verdict(c, "no baseline"))
            buf_printf(&names, "%s%s", n_none++ > 0 ? ", " : "", json_find_text(c, "metric"));
    }
    if (n_other > 0)
        buf_printf(out,
                   "%s: %s: not compared: its baseline was accepted on another golden set "
                   "(fmforge accept RUN)\n",
                   item->name, stage);
    else if (n_none == n)
        buf_printf(out, "%s: %s: not compared: no baseline yet (fmforge accept RUN)\n", item->name,
                   stage);
    else if (n_none > 0)
        buf_printf(out, "%s: %s: not compared: its baseline has no %s (fmforge accept RUN)\n",
                   item->name, stage, buf_text(&names));
    buf_release(&names);
}

/* 0 and 1 may be shares or counts; the baseline's number is none, or it was written in percent. */
static void no_share_to_text(const struct nightly_item *item, const struct json *c, struct buf *out)
{
    const char *stage = json_find_text(c, "stage");
    double was = json_number_or(c, "baseline", 0), value = json_number_or(c, "value", -1);
    if (!has_verdict(c, "shown") || !is_share(value) || is_share(was))
        return;
    char *path = baseline_path(item->name, stage);
    buf_printf(out,
               "%s: %s: %s is %.4g and was %.4g (%s): shown, not compared: a share goes "
               "from 0 to 1, where 0.5 is 50 %%\n",
               item->name, stage, json_find_text(c, "metric"), value, was, path);
    xfree(path);
}

static void gates_to_text(const struct nightly_item *item, struct buf *out)
{
    for (const struct json *g = json_items(item->run, "gates"); g; g = json_next(g))
        if (json_find_text(g, "note") && has_verdict(g, "fails"))
            buf_printf(out, "%s: %s: gate %s: %s\n", item->name, json_find_text(g, "stage"),
                       json_find_text(g, "gate"), json_find_text(g, "note"));
}

static void details_to_text(const struct nightly_item *item, struct buf *out)
{
    const char *stage = "";
    gates_to_text(item, out);
    for (const struct json *c = item->changes ? json_first(item->changes) : NULL; c;
         c = json_next(c)) {
        if (!str_eq(json_find_text(c, "stage"), stage))
            uncompared_to_text(item, c, out);
        stage = json_find_text(c, "stage");
        no_share_to_text(item, c, out);
        if (nightly_is_worse(c))
            change_to_text(item, c, out);
    }
}

void nightly_to_text(const struct nightly *n, struct buf *out)
{
    for (size_t i = 0; i < n->n_items; i++) {
        const struct nightly_item *item = &n->items[i];
        char seconds[24];
        str_format_seconds(item->seconds, seconds);
        bool named = item->reason && str_starts(item->reason, item->path); /* with its line */
        buf_printf(out, "%-11s %s", nightly_item_word(item), named ? item->reason : item->path);
        if (item->reason && !named)
            buf_printf(out, ": %s", item->reason);
        else if (!named && !str_eq(item->status, "not run"))
            buf_printf(out, " (%s)", seconds);
        if (item->n_gates_failed > 0)
            buf_printf(out, ", %zu gate%s not held", item->n_gates_failed,
                       item->n_gates_failed == 1 ? "" : "s");
        if (item->n_regressions > 0)
            buf_printf(out, ", %zu regression%s", item->n_regressions,
                       item->n_regressions == 1 ? "" : "s");
        buf_add_char(out, '\n');
    }
    for (size_t i = 0; i < n->n_items; i++)
        details_to_text(&n->items[i], out);
}
