#include "pipeline/engine/nightly.h"

#include <string.h>

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

/* The number behind `<=` of a drop gate on this metric; false when there is none. */
static bool drop_gate(const struct run_record *r, const char *stage, const char *metric,
                      double *allowed)
{
    for (const struct json *g = run_items(r->root, "gates"); g; g = json_next(g)) {
        const char *text = run_text(g, "gate"), *drop = text ? strstr(text, " drop ") : NULL;
        if (!drop || !run_text(g, "stage") || !run_text(g, "metric") ||
            !str_eq(run_text(g, "stage"), stage) || !str_eq(run_text(g, "metric"), metric))
            continue;
        const char *number = strstr(drop, "<=");
        if (number && str_to_f64(number + 2 + strspn(number + 2, " "), allowed))
            return true;
    }
    return false;
}

static const char *judge(const struct baseline *b, const struct run_record *r, const char *stage,
                         const struct json *metric, struct json *change)
{
    const struct json *was = b->metrics ? json_get(b->metrics, json_key(metric)) : NULL;
    double value = json_number(metric), allowed = 0;
    if (b->is_of_another_set)
        return "another golden set";
    if (!was || json_type(was) != JSON_NUMBER)
        return "no baseline";
    double before = json_number(was);
    json_put_f64(change, "baseline", before);
    json_put_f64(change, "change", value - before);
    bool gate = drop_gate(r, stage, json_key(metric), &allowed);
    if (!gate && !(is_share(value) && is_share(before)))
        return "shown";
    if (!gate)
        allowed = baseline_allowed(b, json_key(metric));
    json_put_f64(change, "allowed", allowed);
    if (before - value > allowed + 1e-12) /* 0.90 - 0.89 is a little more than 0.01 in binary */
        return "regression";
    return value - before > allowed ? "better" : "ok";
}

static int compare_stage(struct nightly_item *item, const struct run_record *r, struct store *s,
                         const struct json *stage, struct err *e)
{
    const char *name = run_text(stage, "stage"), *golden = NULL;
    for (const struct json *i = run_items(stage, "inputs"); i; i = json_next(i))
        if (run_text(i, "kind") && str_eq(run_text(i, "kind"), "golden"))
            golden = run_text(i, "id");
    struct json *metrics = golden && name ? report_output(s, stage, "metrics", NULL) : NULL;
    if (!metrics)
        return 0;
    struct baseline b = {0};
    int rc = baseline_read(&b, r->name, name, golden, e);
    for (const struct json *m = rc == 0 ? json_first(metrics) : NULL; m; m = json_next(m)) {
        if (json_type(m) != JSON_NUMBER || str_eq(json_key(m), "rows"))
            continue;
        struct json *change = json_new_object();
        json_put_string(change, "stage", name);
        json_put_string(change, "metric", json_key(m));
        json_put_f64(change, "value", json_number(m));
        const char *verdict = judge(&b, r, name, m, change);
        json_put_string(change, "verdict", verdict);
        item->n_regressions += str_eq(verdict, "regression");
        json_append(item->changes, change);
    }
    baseline_release(&b);
    json_free(metrics);
    return rc;
}

int nightly_compare(struct nightly_item *item, const struct run_record *r, struct store *s,
                    struct err *e)
{
    int rc = 0;
    item->commit = xstrdup(r->commit);
    item->run = json_clone(r->root);
    item->changes = json_new_array();
    for (const struct json *t = run_items(r->root, "stages"); t && rc == 0; t = json_next(t))
        rc = compare_stage(item, r, s, t, e);
    for (const struct json *g = run_items(r->root, "gates"); g; g = json_next(g))
        item->n_gates_failed += run_text(g, "verdict") && str_eq(run_text(g, "verdict"), "fails");
    return rc;
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

/* --- for people --------------------------------------------------------------------------------
 */

static double number_of(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);
    return v && json_type(v) == JSON_NUMBER ? json_number(v) : 0;
}

static void change_to_text(const struct nightly_item *item, const struct json *c, struct buf *out)
{
    buf_printf(out, "%s: %s: %s fell from %.4g to %.4g (%+.4g; %.4g is allowed)\n", item->name,
               run_text(c, "stage"), run_text(c, "metric"), number_of(c, "baseline"),
               number_of(c, "value"), number_of(c, "change"), number_of(c, "allowed"));
}

void nightly_to_text(const struct nightly *n, struct buf *out)
{
    for (size_t i = 0; i < n->n_items; i++) {
        const struct nightly_item *item = &n->items[i];
        char seconds[24];
        str_format_seconds(item->seconds, seconds);
        buf_printf(out, "%-11s %s", item->status, item->path);
        if (item->reason)
            buf_printf(out, ": %s", item->reason);
        else
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
        for (const struct json *c = n->items[i].changes ? json_first(n->items[i].changes) : NULL; c;
             c = json_next(c))
            if (str_eq(run_text(c, "verdict"), "regression"))
                change_to_text(&n->items[i], c, out);
}
