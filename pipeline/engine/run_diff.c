#include "pipeline/engine/run_diff.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/change_list.h"
#include "pipeline/engine/report.h"
#include "pipeline/provenance/statement.h"

static bool same_value(const struct json *a, const struct json *b)
{
    return a == NULL || b == NULL ? a == b : json_equal(a, b);
}

static struct json *copy_or_null(const struct json *v)
{
    return v != NULL ? json_clone(v) : json_new_null();
}

/* {"<label>": name, "old", "new"} when the two differ. */
static void put_pair(struct json *list, const char *label, const char *name,
                     const struct json *old_value, const struct json *new_value)
{
    if (same_value(old_value, new_value))
        return;
    struct json *o = json_new_object();
    json_put(o, label, statement_text(name));
    json_put(o, "old", copy_or_null(old_value));
    json_put(o, "new", copy_or_null(new_value));
    json_append(list, o);
}

/* ---- the run ---- */

static struct json *head(const struct run_record *r)
{
    struct json *o = json_new_object();
    json_put_string(o, "commit", r->commit);
    json_put_string(o, "name", r->name);
    json_put_string(o, "status", json_text(r->root, "status"));
    json_put_string(o, "started", json_text(r->root, "started"));
    return o;
}

/* Label -> SHA-256 of its toolkit.yaml. */
static struct json *toolkits_of(const struct run_record *r)
{
    struct json *o = json_new_object();
    for (const struct json *f = json_items(r->shown, "files"); f != NULL; f = json_next(f)) {
        const char *path = json_text(f, "path"), *text = json_find_text(f, "text");
        const char *name = path + strlen("toolkits/");
        if (!str_starts(path, "toolkits/") || !str_ends(path, "/toolkit.yaml") || text == NULL)
            continue;
        char *label = xstrndup(name, strcspn(name, "/"));
        struct content_id id = sha256_of(text, strlen(text));
        json_put_string(o, label, id.hex);
        xfree(label);
    }
    return o;
}

/* Members of two objects, those of the new one that the old one lacks last. */
static void put_members(struct json *list, const char *label, const char *prefix,
                        const struct json *old_object, const struct json *new_object)
{
    for (int pass = 0; pass < 2; pass++) {
        const struct json *from = pass == 0 ? old_object : new_object;
        for (const struct json *m = from != NULL ? json_first(from) : NULL; m; m = json_next(m)) {
            const struct json *a = json_get(old_object, json_key(m));
            const struct json *b = json_get(new_object, json_key(m));
            if (pass == 1 && a != NULL)
                continue;
            char *name = xasprintf("%s%s", prefix, json_key(m));
            put_pair(list, label, name, a, b);
            xfree(name);
        }
    }
}

static struct json *diff_run(const struct run_record *a, const struct run_record *b)
{
    static const char *const fields[] = {"name", "status", "manifest", "set"};
    struct json *list = json_new_array();
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        put_pair(list, "field", fields[i], json_get(a->root, fields[i]),
                 json_get(b->root, fields[i]));
    struct json *ta = toolkits_of(a), *tb = toolkits_of(b);
    put_members(list, "field", "toolkit ", ta, tb);
    json_free(ta);
    json_free(tb);
    return list;
}

/* ---- one stage ---- */

/* A stage that was made is made in either way: executed or reused says nothing about it. */
static const char *outcome(const struct json *stage)
{
    const char *status = json_text(stage, "status");
    return str_eq(status, "executed") || str_eq(status, "reused") ? "made" : status;
}

static struct json *diff_recipes(const struct run_record *a, const struct run_record *b,
                                 const struct json *sa, const struct json *sb)
{
    struct json *list = json_new_array();
    const char *name = json_text(sb, "stage");
    const char *ta = run_record_stage_file(a, name, "recipe.json"),
               *tb = run_record_stage_file(b, name, "recipe.json");
    struct err damaged = {0}; /* verify says it */
    if (!str_eq(outcome(sa), outcome(sb))) {
        struct json *was = json_new_string(outcome(sa)), *now = json_new_string(outcome(sb));
        put_pair(list, "field", "status", was, now);
        json_free(was);
        json_free(now);
    }
    if (ta != NULL && tb != NULL &&
        change_list_add(list, ta, tb, json_get(sb, "inputs"), &damaged) < 0)
        damaged.text[0] = '\0';
    return list;
}

/* Output name -> id. */
static struct json *outputs_of(const struct json *stage)
{
    struct json *o = json_new_object();
    for (const struct json *v = json_items(stage, "outputs"); v != NULL; v = json_next(v))
        if (json_find_text(v, "id") != NULL)
            json_put_string(o, json_text(v, "name"), json_find_text(v, "id"));
    return o;
}

/* Metric -> number; *gone when the run had some that the store has not. */
static struct json *metrics_of(struct store *s, const struct json *stage, bool *gone)
{
    struct json *numbers = json_new_object();
    bool missing = run_item_of_kind(stage, "outputs", "metrics") != NULL &&
                   json_find_text(run_item_of_kind(stage, "outputs", "metrics"), "id") != NULL;
    struct json *all = s != NULL ? report_output(s, stage, "metrics", &missing) : NULL;
    for (const struct json *m = all != NULL ? json_first(all) : NULL; m != NULL; m = json_next(m))
        if (json_type(m) == JSON_NUMBER)
            json_put(numbers, json_key(m), json_clone(m));
    *gone = *gone || missing;
    json_free(all);
    return numbers;
}

static struct json *diff_stage(const struct run_record *a, const struct run_record *b,
                               const struct json *sa, const struct json *sb, struct store *s)
{
    struct json *o = json_new_object(), *outputs = json_new_array(), *metrics = json_new_array();
    struct json *changes = sa != NULL && sb != NULL ? diff_recipes(a, b, sa, sb) : json_new_array();
    struct json *oa = outputs_of(sa), *ob = outputs_of(sb);
    bool gone = false;
    put_members(outputs, "name", "", oa, ob);
    if (json_count(outputs) > 0) { /* the same outputs have the same metrics */
        struct json *ma = metrics_of(s, sa, &gone), *mb = metrics_of(s, sb, &gone);
        if (!gone)
            put_members(metrics, "name", "", ma, mb);
        json_free(ma);
        json_free(mb);
    }
    bool same = json_count(changes) == 0 && json_count(outputs) == 0;
    json_put_string(o, "stage", json_text(sb != NULL ? sb : sa, "stage"));
    json_put_string(o, "status",
                    sb == NULL   ? "only_old"
                    : sa == NULL ? "only_new"
                    : same       ? "same"
                                 : "changed");
    json_put(o, "changes", changes);
    json_put(o, "outputs", outputs);
    json_put(o, "metrics", metrics);
    if (gone)
        json_put_bool(o, "metrics_gone", true);
    json_free(oa);
    json_free(ob);
    return o;
}

/* ---- gates ---- */

static const struct json *find_gate(const struct run_record *r, const struct json *gate)
{
    for (const struct json *g = json_items(r->root, "gates"); g != NULL; g = json_next(g))
        if (str_eq(json_text(g, "stage"), json_text(gate, "stage")) &&
            str_eq(json_text(g, "gate"), json_text(gate, "gate")))
            return g;
    return NULL;
}

static struct json *judgement(const struct json *gate)
{
    if (gate == NULL)
        return NULL;
    struct json *o = json_new_object();
    json_put(o, "value", copy_or_null(json_get(gate, "value")));
    json_put_string(o, "verdict", json_text(gate, "verdict"));
    return o;
}

static struct json *diff_gates(const struct run_record *a, const struct run_record *b)
{
    struct json *list = json_new_array();
    for (int pass = 0; pass < 2; pass++)
        for (const struct json *g = json_items(pass == 0 ? a->root : b->root, "gates"); g != NULL;
             g = json_next(g)) {
            const struct json *other = find_gate(pass == 0 ? b : a, g);
            if (pass == 1 && other != NULL)
                continue;
            struct json *was = judgement(pass == 0 ? g : other);
            struct json *now = judgement(pass == 0 ? other : g);
            if (!same_value(was, now)) {
                struct json *o = json_new_object();
                json_put_string(o, "stage", json_text(g, "stage"));
                json_put_string(o, "gate", json_text(g, "gate"));
                json_put(o, "old", copy_or_null(was));
                json_put(o, "new", copy_or_null(now));
                json_append(list, o);
            }
            json_free(was);
            json_free(now);
        }
    return list;
}

/* ---- the whole ---- */

static bool all_same(const struct json *stages)
{
    for (const struct json *s = json_first(stages); s != NULL; s = json_next(s))
        if (!str_eq(json_text(s, "status"), "same"))
            return false;
    return true;
}

struct json *run_diff(const struct run_record *old_run, const struct run_record *new_run,
                      struct store *s)
{
    const struct json *old_stages = json_items(old_run->root, "stages");
    const struct json *new_stages = json_items(new_run->root, "stages");
    struct json *root = json_new_object(), *stages = json_new_array();
    for (const struct json *t = new_stages; t != NULL; t = json_next(t))
        json_append(stages, diff_stage(old_run, new_run,
                                       run_record_stage(old_run, json_text(t, "stage")), t, s));
    for (const struct json *t = old_stages; t != NULL; t = json_next(t))
        if (run_record_stage(new_run, json_text(t, "stage")) == NULL)
            json_append(stages, diff_stage(old_run, new_run, t, NULL, s));
    struct json *run = diff_run(old_run, new_run), *gates = diff_gates(old_run, new_run);
    json_put_string(root, "schema", "fmforge.diff/1");
    json_put_bool(root, "same", json_count(run) + json_count(gates) == 0 && all_same(stages));
    json_put(root, "old", head(old_run));
    json_put(root, "new", head(new_run));
    json_put(root, "run", run);
    json_put(root, "stages", stages);
    json_put(root, "gates", gates);
    return root;
}

/* ---- for people ---- */

/* A digest by its first twelve digits, all else as it is. */
static void add_value(struct buf *out, const struct json *v)
{
    if (v == NULL || json_type(v) == JSON_NULL)
        buf_add_text(out, "-");
    else if (json_type(v) == JSON_STRING && str_is_hex(json_string(v), SHA256_HEX))
        buf_printf(out, "%.12s", json_string(v));
    else if (json_type(v) == JSON_NUMBER)
        buf_printf(out, "%.6g", json_number(v));
    else
        json_write_canonical(v, out);
}

static void add_pair(struct buf *out, const char *label, const struct json *pair)
{
    const struct json *was = json_get(pair, "old"), *now = json_get(pair, "new");
    buf_printf(out, "  %-32s  ", label);
    add_value(out, was);
    buf_add_text(out, " -> ");
    add_value(out, now);
    if (str_starts(label, "metric ") && was && now && json_type(was) == JSON_NUMBER &&
        json_type(now) == JSON_NUMBER)
        buf_printf(out, "  (%+.4g)", json_number(now) - json_number(was));
    if (json_find_text(pair, "from") != NULL)
        buf_printf(out, "  (%s)", json_find_text(pair, "from"));
    buf_add_char(out, '\n');
}

static void add_list(struct buf *out, const char *kind, const char *key, const struct json *first)
{
    for (const struct json *v = first; v != NULL; v = json_next(v)) {
        char *label = xasprintf("%s%s", kind, json_text(v, key));
        add_pair(out, label, v);
        xfree(label);
    }
}

static void add_stage(struct buf *out, const struct json *s)
{
    const char *status = json_text(s, "status");
    buf_printf(out, "%s%s\n", json_text(s, "stage"),
               str_eq(status, "only_old")   ? ": in the old run only"
               : str_eq(status, "only_new") ? ": in the new run only"
                                            : "");
    add_list(out, "", "field", json_items(s, "changes"));
    if (!str_eq(status, "changed"))
        return;
    add_list(out, "output ", "name", json_items(s, "outputs"));
    add_list(out, "metric ", "name", json_items(s, "metrics"));
    if (json_get(s, "metrics_gone") != NULL)
        buf_add_text(out, "  the store does not have the metrics of both runs any more\n");
}

static void add_gate_side(struct buf *out, const struct json *side)
{
    if (side == NULL || json_type(side) == JSON_NULL) {
        buf_add_text(out, "-");
        return;
    }
    add_value(out, json_get(side, "value"));
    buf_printf(out, " %s", json_text(side, "verdict"));
}

static void add_head(struct buf *out, const char *which, const struct json *h)
{
    buf_printf(out, "%s  %.12s  %s  %s  %s\n", which, json_text(h, "commit"),
               json_text(h, "started"), json_text(h, "name"), json_text(h, "status"));
}

void run_diff_to_text(const struct json *diff, struct buf *out)
{
    size_t n_stages = 0, n_other = 0;
    add_head(out, "old", json_get(diff, "old"));
    add_head(out, "new", json_get(diff, "new"));
    add_list(out, "", "field", json_items(diff, "run"));
    for (const struct json *s = json_items(diff, "stages"); s != NULL; s = json_next(s)) {
        n_stages++;
        if (str_eq(json_text(s, "status"), "same"))
            continue;
        n_other++;
        add_stage(out, s);
    }
    for (const struct json *g = json_items(diff, "gates"); g != NULL; g = json_next(g)) {
        buf_printf(out, "gate of %s: %s  ", json_text(g, "stage"), json_text(g, "gate"));
        add_gate_side(out, json_get(g, "old"));
        buf_add_text(out, " -> ");
        add_gate_side(out, json_get(g, "new"));
        buf_add_char(out, '\n');
    }
    if (json_bool(json_get(diff, "same")))
        buf_printf(out, "the same in %zu stages\n", n_stages);
    else
        buf_printf(out, "%zu of %zu stages differ\n", n_other, n_stages);
}
