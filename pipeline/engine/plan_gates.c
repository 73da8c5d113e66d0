#include "pipeline/engine/plan_gates.h"

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/judge.h"

static bool can_be_judged(const struct plan *p, size_t i)
{
    const struct instance *n = p->graph->instances[i];
    bool known = p->items[i].cached && n->n_gates > 0;
    for (size_t g = 0; g < n->n_gates; g++)
        known = known && (n->gates[g].type != GATE_STAGE || p->items[n->gates[g].i_other].cached);
    return known;
}

/* Do the gates of i fail? */
static bool judge(struct plan_gates *g, const struct plan *p, size_t i, const bool *done)
{
    struct json *records = json_new_array();
    struct buf table;
    struct err gone = {0};
    bool held = true;
    buf_init(&table, BUF_MAX_DEFAULT);
    int rc = judge_instance(p, i, done, records, &table, &held, &gone);
    for (const struct json *r = rc == 0 ? json_first(records) : NULL; r != NULL; r = json_next(r))
        json_append(g->records, json_clone(r));
    buf_release(&table);
    json_free(records);
    return rc == 0 && !held;
}

/* The words are those of a run. */
static char *why_held(const struct plan_gates *g, const struct plan *p, size_t i, const bool *fails)
{
    const struct instance *n = p->graph->instances[i];
    for (size_t k = 0; k < n->n_inputs; k++)
        if (n->inputs[k].source == SOURCE_STAGE && g->held[n->inputs[k].producer] != NULL)
            return xasprintf("%s has no result", p->graph->instances[n->inputs[k].producer]->name);
    for (size_t k = 0; k < n->n_needs; k++) {
        const char *name = p->graph->instances[n->needs[k]]->name;
        if (g->held[n->needs[k]] != NULL)
            return xasprintf("%s has no result", name);
        if (fails[n->needs[k]])
            return xasprintf("a gate of %s does not hold", name);
    }
    return NULL;
}

static void leave_out(struct plan_cost *cost, size_t i)
{
    if (cost->seconds[i] < 0)
        cost->n_unknown--;
    else
        cost->sum -= cost->seconds[i];
    cost->seconds[i] = -1;
}

void plan_gates_open(struct plan_gates *g, const struct plan *p, struct plan_cost *cost)
{
    size_t n = p->graph->n_instances;
    bool *done = xalloc_array(n, sizeof *done), *fails = xalloc_array(n, sizeof *fails);
    *g = (struct plan_gates){json_new_array(), xalloc_array(n, sizeof *g->held), n};
    for (size_t i = 0; i < n; i++)
        done[i] = p->items[i].cached;
    for (size_t i = 0; i < n; i++) { /* each after what it needs */
        fails[i] = can_be_judged(p, i) && judge(g, p, i, done);
        g->held[i] = why_held(g, p, i, fails);
        if (g->held[i] != NULL && cost != NULL && !p->items[i].cached)
            leave_out(cost, i);
    }
    xfree(fails);
    xfree(done);
}

void plan_gates_release(struct plan_gates *g)
{
    for (size_t i = 0; i < g->n_instances; i++)
        xfree(g->held[i]);
    xfree(g->held);
    json_free(g->records);
    *g = (struct plan_gates){0};
}
