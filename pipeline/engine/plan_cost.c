#include "pipeline/engine/plan_cost.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/statement.h"

#define UNKNOWN (-1.0)

/* Of an execution of this instance only: a result of equal recipe may be another one's. */
static double statement_seconds(const char *text, size_t n_bytes, const char *instance)
{
    struct statement s = {0};
    struct err ignored = {0};
    double seconds = UNKNOWN;
    if (statement_parse(text, n_bytes, &s, &ignored) == 0 && s.facts.instance != NULL &&
        str_eq(s.facts.instance, instance) && s.facts.finished_ms >= s.facts.started_ms)
        seconds = (double)(s.facts.finished_ms - s.facts.started_ms) / 1e3;
    statement_release(&s);
    return seconds;
}

double plan_cost_made(const struct plan *p, size_t i)
{
    const struct plan_item *item = &p->items[i];
    struct buf b;
    struct err ignored = {0};
    double seconds = UNKNOWN;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (item->cached && item->action.statement.hex[0] != '\0' &&
        store_get_bytes(p->store, item->action.statement.hex, LIMIT_JSON_BYTES, &b, &ignored) == 0)
        seconds = statement_seconds(buf_text(&b), b.n_bytes, p->graph->instances[i]->name);
    buf_release(&b);
    return seconds;
}

static double from_store(const struct plan *p, size_t i)
{
    const char *last = plan_last_key(p, i);
    struct action a;
    struct err ignored = {0};
    bool found = false;
    double seconds = UNKNOWN;
    if (p->store == NULL || last == NULL || !str_is_hex(last, SHA256_HEX) ||
        store_action_get(p->store, last, &a, &found, &ignored) != 0 || !found ||
        a.statement.hex[0] == '\0')
        return UNKNOWN;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (store_get_bytes(p->store, a.statement.hex, LIMIT_JSON_BYTES, &b, &ignored) == 0)
        seconds = statement_seconds(buf_text(&b), b.n_bytes, p->graph->instances[i]->name);
    buf_release(&b);
    return seconds;
}

static bool is_unknown(const struct plan_cost *c, const struct plan *p, size_t i)
{
    return !p->items[i].cached && c->seconds[i] < 0;
}

/* Takes from one recorded run what is still unknown. */
static void from_run(struct plan_cost *c, const struct plan *p, const struct run_record *r)
{
    for (size_t i = 0; i < p->graph->n_instances; i++) {
        if (!is_unknown(c, p, i))
            continue;
        const char *name = p->graph->instances[i]->name;
        char *path = xasprintf("stages/%s/statement.json", name);
        const char *text = run_record_file(r, path);
        if (text != NULL)
            c->seconds[i] = statement_seconds(text, strlen(text), name);
        xfree(path);
    }
}

static size_t count_unknown(const struct plan_cost *c, const struct plan *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->graph->n_instances; i++)
        n += is_unknown(c, p, i);
    return n;
}

static void from_ledger(struct plan_cost *c, const struct plan *p, const struct ledger *l)
{
    struct json *log = NULL;
    struct err ignored = {0};
    char *ref = xasprintf("refs/prov/%s", p->graph->manifest->name);
    if (file_is_folder(l->repo) && ledger_log(l, ref, PLAN_COST_RUNS_MAX, &log, &ignored) == 0)
        for (const struct json *v = json_items(log, "commits");
             v != NULL && count_unknown(c, p) > 0; v = json_next(v)) {
            struct run_record r = {0};
            struct err damaged = {0};
            if (run_record_load(l, json_find_text(v, "commit"), &r, &damaged) == 0)
                from_run(c, p, &r);
            run_record_release(&r);
        }
    json_free(log);
    xfree(ref);
}

void plan_cost_open(struct plan_cost *c, const struct plan *p, const struct ledger *l)
{
    size_t n = p->graph->n_instances;
    *c = (struct plan_cost){.seconds = xalloc_array(n, sizeof *c->seconds)};
    for (size_t i = 0; i < n; i++)
        c->seconds[i] = p->items[i].cached ? UNKNOWN : from_store(p, i);
    if (l != NULL && count_unknown(c, p) > 0)
        from_ledger(c, p, l);
    c->n_unknown = count_unknown(c, p);
    for (size_t i = 0; i < n; i++)
        c->sum += c->seconds[i] > 0 ? c->seconds[i] : 0;
}

void plan_cost_release(struct plan_cost *c)
{
    xfree(c->seconds);
    *c = (struct plan_cost){0};
}
