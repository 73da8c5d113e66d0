#include "pipeline/engine/why.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/change_list.h"
#include "pipeline/engine/judge.h"
#include "pipeline/engine/plan_cost.h"
#include "pipeline/engine/plan_gates.h"
#include "pipeline/engine/why_made.h"

static int compare(const struct plan *p, size_t i, const char *last, struct json *changes,
                   struct err *e)
{
    struct buf old, now;
    buf_init(&old, BUF_MAX_DEFAULT);
    buf_init(&now, BUF_MAX_DEFAULT);
    struct json *inputs = plan_inputs_to_json(p, i);
    int rc = store_get_bytes(p->store, last, LIMIT_JSON_BYTES, &old, e);
    if (rc == 0) {
        plan_known_recipe(p, i, &old, &now);
        rc = change_list_add(changes, buf_text(&old), buf_text(&now), inputs, e);
    }
    json_free(inputs);
    buf_release(&old);
    buf_release(&now);
    return rc;
}

static void put_failure(const struct plan *p, size_t i, struct json *root)
{
    if (!p->store || !p->items[i].has_key || p->items[i].cached)
        return;
    char *relative = xasprintf("failed/%s.json", p->items[i].key.hex);
    char *path = store_path(p->store, relative);
    struct json *failed = NULL;
    struct err ignored = {0};
    if (file_exists(path) && json_read(path, &failed, &ignored) == 0 &&
        json_find_text(failed, "reason") != NULL)
        json_put(root, "failed", failed);
    else
        json_free(failed); /* a damaged one is none */
    xfree(path);
    xfree(relative);
}

/* The stages that this one waits for, up to the one that runs for a reason of its own. */
static struct json *causes(const struct plan *p, size_t i)
{
    struct json *list = json_new_array();
    for (bool more = !p->items[i].cached && !p->items[i].has_key; more;) {
        const struct instance *n = p->graph->instances[i];
        more = false;
        for (size_t k = 0; k < n->n_inputs && !more; k++)
            if (n->inputs[k].source == SOURCE_STAGE && !p->items[n->inputs[k].producer].cached) {
                i = n->inputs[k].producer;
                more = true;
            }
        if (!more)
            break;
        struct json *o = json_new_object();
        char *why = plan_why(p, i);
        json_put_string(o, "stage", p->graph->instances[i]->name);
        json_put_string(o, "why", why);
        json_append(list, o);
        xfree(why);
        more = !p->items[i].has_key;
    }
    return list;
}

/* What is made of a stage, and of what is made of it: a graph is in the order of its making. */
static bool *find_after(const struct graph *g, size_t i)
{
    bool *after = xalloc_array(g->n_instances, sizeof *after);
    for (size_t k = i + 1; k < g->n_instances; k++) {
        const struct instance *n = g->instances[k];
        for (size_t m = 0; m < n->n_inputs; m++)
            after[k] |= n->inputs[m].source == SOURCE_STAGE &&
                        (n->inputs[m].producer == i || after[n->inputs[m].producer]);
        for (size_t m = 0; m < n->n_needs; m++)
            after[k] |= n->needs[m] == i || after[n->needs[m]];
    }
    return after;
}

static struct json *seconds_or_null(double seconds)
{
    return seconds < 0 ? json_new_null() : json_new_f64(seconds);
}

/* What it took before, of this stage and of those after it that would run, too. */
static struct json *expected(const struct plan *p, size_t i, const struct plan_cost *cost)
{
    struct json *o = json_new_object();
    struct json *list = json_new_array();
    bool *after = find_after(p->graph, i);
    double sum = 0;
    int64_t n_unknown = 0;
    for (size_t k = 0; k < p->graph->n_instances; k++) {
        if (p->items[k].cached || (k != i && !after[k]))
            continue;
        sum += cost->seconds[k] > 0 ? cost->seconds[k] : 0;
        n_unknown += cost->seconds[k] < 0;
        if (k == i)
            continue;
        struct json *one = json_new_object();
        json_put_string(one, "stage", p->graph->instances[k]->name);
        json_put(one, "seconds", seconds_or_null(cost->seconds[k]));
        json_append(list, one);
    }
    json_put(o, "seconds", seconds_or_null(cost->seconds[i]));
    json_put_f64(o, "with_after", sum);
    json_put_i64(o, "unknown", n_unknown);
    json_put(o, "after", list);
    xfree(after);
    return o;
}

/* Its own gates, and those that hold it back. */
static void put_gates(const struct plan *p, size_t i, struct json *root)
{
    struct plan_gates gates;
    struct json *list = json_new_array();
    plan_gates_open(&gates, p, NULL);
    for (const struct json *g = json_first(gates.records); g; g = json_next(g))
        if (str_eq(json_text(g, "stage"), p->graph->instances[i]->name) ||
            (gates.held[i] && str_eq(json_text(g, "verdict"), "fails")))
            json_append(list, json_clone(g));
    json_put(root, "gates", list);
    if (gates.held[i])
        json_put_string(root, "held", gates.held[i]);
    plan_gates_release(&gates);
}

struct json *why_to_json(const struct plan *p, size_t i, const struct ledger *l)
{
    const struct instance *n = p->graph->instances[i];
    const struct plan_item *item = &p->items[i];
    const char *last = plan_last_key(p, i);
    struct json *root = json_new_object();
    struct json *changes = json_new_array();
    char *why = plan_why(p, i);
    json_put_string(root, "schema", "fmforge.why/1");
    json_put_string(root, "stage", n->name);
    json_put_string(root, "run", n->desc->name);
    json_put_string(root, "status", item->cached ? "cached" : "run");
    json_put(root, "key", item->has_key ? json_new_string(item->key.hex) : json_new_null());
    json_put(root, "last", last ? json_new_string(last) : json_new_null());
    json_put_string(root, "why", why);
    json_put(root, "cause", causes(p, i));
    xfree(why);
    put_failure(p, i, root);
    struct err lost = {0};
    if (last && !(item->has_key && str_eq(last, item->key.hex)) &&
        compare(p, i, last, changes, &lost) < 0)
        json_put_string(root, "lost", lost.text);
    json_put(root, "changes", changes);
    json_put(root, "inputs", plan_inputs_to_json(p, i));
    put_gates(p, i, root);
    struct json *made = why_made(p, i, l);
    if (made)
        json_put(root, "made", made);
    if (!item->cached) {
        struct plan_cost cost;
        plan_cost_open(&cost, p, l);
        json_put(root, "expected", expected(p, i, &cost));
        plan_cost_release(&cost);
    }
    return root;
}

static void expected_to_text(const struct json *expected, struct buf *out)
{
    char seconds[24];
    const struct json *own = json_get(expected, "seconds");
    size_t n_after = json_count(json_get(expected, "after"));
    double n_unknown = json_number(json_get(expected, "unknown"));
    if (json_type(own) == JSON_NUMBER)
        buf_printf(out, "  took %s", str_format_seconds(json_number(own), seconds));
    else
        buf_add_text(out, "  time unknown");
    double sum = json_number(json_get(expected, "with_after"));
    if (n_after > 0)
        buf_printf(out, "; with the %zu after it that would run: ", n_after);
    if (n_after > 0 && sum > 0)
        buf_printf(out, "%s%s", str_format_seconds(sum, seconds), n_unknown > 0 ? ", " : "");
    if (n_after > 0 && n_unknown > 0)
        buf_printf(out, "%.0f of unknown time", n_unknown);
    buf_add_char(out, '\n');
}

void why_to_text(const struct json *why, struct buf *out)
{
    bool cached = str_eq(json_find_text(why, "status"), "cached");
    const char *key = json_find_text(why, "key");
    const struct json *failed = json_get(why, "failed");
    const char *held = json_find_text(why, "held"), *stage = json_find_text(why, "stage");
    if (held)
        buf_printf(out, "%s: held back: %s\n", stage, held);
    judge_records_to_text(json_get(why, "gates"), held ? NULL : stage, "  ", out);
    buf_printf(out, "%s%s: %s: %s\n", held ? "  without that " : "", stage,
               cached ? "does not run" : "runs", json_find_text(why, "why"));
    for (const struct json *c = json_first(json_get(why, "cause")); c; c = json_next(c))
        buf_printf(out, "  %s: runs: %s\n", json_find_text(c, "stage"), json_find_text(c, "why"));
    if (key)
        buf_printf(out, "  key %.12s\n", key);
    if (json_get(why, "made"))
        why_made_to_text(json_get(why, "made"), out);
    if (cached && json_count(json_get(why, "changes")) > 0)
        buf_add_text(out, "  since its newest run:\n");
    change_list_to_text(json_get(why, "changes"), out);
    if (json_find_text(why, "lost"))
        buf_printf(out, "  cannot be compared with its last run: %s\n",
                   json_find_text(why, "lost"));
    if (failed)
        buf_printf(out, "  its last attempt failed: %s\n", json_text(failed, "reason"));
    if (json_get(why, "expected"))
        expected_to_text(json_get(why, "expected"), out);
    if (!cached && json_count(json_get(why, "changes")) > 0)
        return;
    for (const struct json *in = json_first(json_get(why, "inputs")); in; in = json_next(in))
        buf_printf(out, "  input %s: %s %.14s\n", json_find_text(in, "name"),
                   json_find_text(in, "from"), json_text_or(in, "id", "(not made yet)"));
}
