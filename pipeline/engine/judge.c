#include "pipeline/engine/judge.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/baseline.h"
#include "pipeline/provenance/statement.h"

int judge_metrics(const struct plan *p, size_t i, struct json **out, struct err *e)
{
    const struct action *a = &p->items[i].action;
    *out = NULL;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = 0;
    for (size_t k = 0; k < a->n_outputs && rc == 0; k++) {
        if (!str_eq(a->outputs[k].kind, "metrics"))
            continue;
        struct json *one = NULL;
        buf_clear(&b);
        rc = store_get_bytes(p->store, a->outputs[k].id.hex, LIMIT_JSON_BYTES, &b, e);
        if (rc == 0)
            rc = json_parse(buf_text(&b), b.n_bytes, &one, e);
        if (rc == 0 && json_type(one) != JSON_OBJECT)
            rc = err_set(e, ERR_FORMAT, "output %s: metrics are an object of numbers",
                         a->outputs[k].name);
        if (!*out && rc == 0)
            *out = json_new_object();
        for (const struct json *m = rc == 0 ? json_first(one) : NULL; m; m = json_next(m))
            json_put(*out, json_key(m), json_clone(m));
        json_free(one);
    }
    buf_release(&b);
    return rc < 0 ? err_wrap(e, "%s", p->graph->instances[i]->name) : 0;
}

/* The accepted result of an earlier run, when it is one of the golden set that is answered now;
 * else why there is none that can be compared with. One that cannot be read is no error here: its
 * gates fail, but no work is lost by it. */
static void read_baseline(const struct plan *p, size_t i, struct baseline *b, struct err *cause)
{
    const struct instance *n = p->graph->instances[i];
    const char *golden = NULL;
    bool wanted = false;
    for (size_t k = 0; k < n->n_inputs; k++)
        if (str_eq(n->inputs[k].port->kind, "golden"))
            golden = p->items[i].inputs[k].id.hex;
    for (size_t g = 0; g < n->n_gates; g++)
        wanted |= n->gates[g].type == GATE_DROP;
    if (wanted && baseline_read(b, p->graph->manifest->name, n->name, golden, cause) < 0)
        err_wrap(cause, "its baseline cannot be read");
}

/* Where a drop gate fails the fault may be the file's: then it is named. */
static void judge_baseline(const struct gate *g, const struct baseline *b, struct gate_result *r)
{
    struct err e = {0};
    if (r->verdict != GATE_FAILS || !r->has_value)
        return;
    if (!r->has_bound)
        err_set(&e, ERR_FORMAT, "%s: %s", b->path, r->note);
    if (e.code != 0 || baseline_check_share(b, g->metric, r->value, &e) < 0)
        snprintf(r->note, sizeof r->note, "%s", e.text);
}

/* What a drop gate is judged by; a baseline of another set is said, one that is broken fails. */
static struct gate_result judge_one(const struct gate *g, const struct json *own,
                                    const struct json *other, const struct baseline *b,
                                    const struct err *cause)
{
    struct gate_result r = gate_judge(g, own, other, b->metrics);
    if (g->type == GATE_DROP)
        judge_baseline(g, b, &r);
    if (g->type != GATE_DROP || r.verdict != GATE_NO_BASELINE)
        return r;
    if (cause->code != 0) {
        r.verdict = GATE_FAILS;
        snprintf(r.note, sizeof r.note, "%s", cause->text);
    } else if (b->is_of_another_set) {
        snprintf(r.note, sizeof r.note,
                 "its baseline was accepted on another golden set: fmforge accept RUN");
    }
    return r;
}

static void add_number(struct buf *b, bool known, double v)
{
    if (known)
        buf_printf(b, "%-10.6g", v);
    else
        buf_printf(b, "%-10s", "-");
}

static const char *verdict_text(enum gate_verdict v)
{
    static const char *const texts[] = {"holds", "FAILS", "no baseline"};
    return texts[v];
}

static void put_record(const struct plan *p, size_t i, const struct gate *g,
                       const struct gate_result *r, struct json *records)
{
    struct json *o = json_new_object();
    json_put_string(o, "stage", p->graph->instances[i]->name);
    json_put_string(o, "gate", g->text);
    json_put_string(o, "metric", g->metric);
    json_put(o, "value", r->has_value ? json_new_f64(r->value) : json_new_null());
    json_put(o, "bound", r->has_bound ? json_new_f64(r->bound) : json_new_null());
    if (g->type == GATE_DROP)
        json_put_f64(o, "allowed", g->value);
    json_put_string(o, "verdict",
                    r->verdict == GATE_HOLDS   ? "holds"
                    : r->verdict == GATE_FAILS ? "fails"
                                               : "no_baseline");
    if (r->note[0])
        json_put(o, "note", statement_text(r->note));
    json_append(records, o);
}

/* The metrics that the gates name, of this instance and of those it is compared with. */
static void add_comparison(const struct plan *p, size_t i, const struct json *own,
                           struct json *const *others, struct buf *table)
{
    const struct instance *n = p->graph->instances[i];
    for (const struct json *m = own ? json_first(own) : NULL; m; m = json_next(m)) {
        bool shown = json_type(m) == JSON_NUMBER;
        if (!shown)
            continue;
        buf_printf(table, "  %-26s ", json_key(m));
        add_number(table, true, json_number(m));
        for (size_t g = 0; g < n->n_gates; g++) {
            bool first = others[g] != NULL;
            for (size_t k = 0; k < g && first; k++)
                first =
                    n->gates[k].type != GATE_STAGE || n->gates[k].i_other != n->gates[g].i_other;
            const struct json *v = first ? json_get(others[g], json_key(m)) : NULL;
            if (!v || json_type(v) != JSON_NUMBER)
                continue;
            buf_printf(table, " %s ", n->gates[g].stage);
            add_number(table, true, json_number(v));
        }
        while (table->n_bytes > 0 && table->bytes[table->n_bytes - 1] == ' ')
            table->bytes[--table->n_bytes] = '\0';
        buf_add_char(table, '\n');
    }
}

static void add_line(const struct gate *g, const struct gate_result *r, struct buf *table)
{
    buf_printf(table, "  %-40s ", g->text);
    add_number(table, r->has_value, r->value);
    if (g->type != GATE_NUMBER) {
        buf_add_text(table, g->type == GATE_STAGE ? "against " : "was ");
        add_number(table, r->has_bound, r->bound);
    }
    buf_add_text(table, verdict_text(r->verdict));
    if (r->note[0])
        buf_printf(table, " (%s)", r->note);
    buf_add_char(table, '\n');
}

int judge_instance(const struct plan *p, size_t i, const bool *others_done, struct json *records,
                   struct buf *table, bool *held, struct err *e)
{
    const struct instance *n = p->graph->instances[i];
    struct json *own = NULL;
    struct baseline baseline = {0};
    struct err cause = {0};
    struct json **others = xalloc_array(n->n_gates, sizeof(struct json *));
    int rc = judge_metrics(p, i, &own, e);
    for (size_t g = 0; g < n->n_gates && rc == 0; g++)
        if (n->gates[g].type == GATE_STAGE && others_done[n->gates[g].i_other])
            rc = judge_metrics(p, n->gates[g].i_other, &others[g], e);
    *held = true;
    if (rc == 0) {
        buf_printf(table, "%s\n", n->name);
        add_comparison(p, i, own, others, table);
        read_baseline(p, i, &baseline, &cause);
    }
    for (size_t g = 0; g < n->n_gates && rc == 0; g++) {
        struct gate_result r = judge_one(&n->gates[g], own, others[g], &baseline, &cause);
        *held = *held && r.verdict != GATE_FAILS;
        put_record(p, i, &n->gates[g], &r, records);
        add_line(&n->gates[g], &r, table);
    }
    for (size_t g = 0; g < n->n_gates; g++)
        json_free(others[g]);
    xfree(others);
    json_free(own);
    baseline_release(&baseline);
    return rc;
}

static void add_json_number(struct buf *out, const struct json *v)
{
    if (json_is_number(v))
        json_add_number(out, json_number(v));
    else
        buf_add_text(out, "nothing");
}

void judge_records_to_text(const struct json *records, const char *instance, const char *indent,
                           struct buf *out)
{
    for (const struct json *r = records ? json_first(records) : NULL; r != NULL; r = json_next(r)) {
        const char *stage = json_text(r, "stage"), *verdict = json_text(r, "verdict");
        const char *note = json_text(r, "note");
        if (instance != NULL ? !str_eq(stage, instance) : !str_eq(verdict, "fails"))
            continue;
        buf_printf(out, "%sgate %s%s%s: found ", indent, instance ? "" : stage,
                   instance ? "" : ": ", json_text(r, "gate"));
        add_json_number(out, json_get(r, "value"));
        if (json_is_number(json_get(r, "bound"))) {
            buf_add_text(out, " against ");
            add_json_number(out, json_get(r, "bound"));
        }
        buf_printf(out, ", %s%s%s\n",
                   str_eq(verdict, "holds")   ? "holds"
                   : str_eq(verdict, "fails") ? "does not hold"
                                              : "no baseline",
                   note[0] ? ": " : "", note);
    }
}
