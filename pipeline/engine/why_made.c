#include "pipeline/engine/why_made.h"
#include "pipeline/base/clock.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/change_list.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/statement.h"

#define RUNS_MAX 8 /* that are read to find one */

/* The commits of one pipeline, newest first. */
struct history {
    struct json *log;
    const struct json **commits;
    size_t n_commits;
};

static void history_open(struct history *h, const struct ledger *l, const char *pipeline)
{
    struct err ignored = {0};
    char *ref = xasprintf("refs/prov/%s", pipeline);
    *h = (struct history){0};
    if (file_is_folder(l->repo) && ledger_log(l, ref, 0, &h->log, &ignored) == 0) {
        h->commits = xalloc_array(json_count(json_get(h->log, "commits")), sizeof *h->commits);
        for (const struct json *c = json_items(h->log, "commits"); c != NULL; c = json_next(c))
            h->commits[h->n_commits++] = c;
    }
    xfree(ref);
}

static void history_release(struct history *h)
{
    xfree(h->commits);
    json_free(h->log);
}

/* An invocation is "<Unix milliseconds>-<process>"; the commit's time is that of the run's begin.
 */
static double invocation_seconds(const struct statement_facts *f)
{
    char *digits = f->invocation ? xstrndup(f->invocation, strcspn(f->invocation, "-")) : NULL;
    int64_t ms = 0;
    if (digits == NULL || !str_to_i64(digits, &ms))
        ms = f->started_ms;
    xfree(digits);
    return (double)(ms / 1000);
}

/* The oldest commit, of those since the invocation began, that has this key; its index, or -1. */
static long find_run(const struct history *h, const struct ledger *l,
                     const struct statement_facts *f, const char *key, struct run_record *out)
{
    double since = invocation_seconds(f);
    int n_read = 0;
    for (size_t k = h->n_commits; k > 0 && n_read < RUNS_MAX; k--) {
        const struct json *time = json_get(h->commits[k - 1], "time");
        struct err ignored = {0};
        if (time == NULL || json_type(time) != JSON_NUMBER || json_number(time) < since)
            continue;
        n_read++;
        if (run_record_load(l, json_find_text(h->commits[k - 1], "commit"), out, &ignored) == 0) {
            const struct json *stage = run_record_stage(out, f->instance);
            const char *has = json_find_text(stage, "key");
            if (has != NULL && str_eq(has, key))
                return (long)(k - 1);
        }
        run_record_release(out);
    }
    return -1;
}

/* What differed from the newest run before it that has the stage. */
static void put_before(struct json *o, const struct history *h, const struct ledger *l, size_t k,
                       const struct run_record *r, const char *instance)
{
    const char *now = run_record_stage_file(r, instance, "recipe.json");
    struct json *changes = json_new_array();
    struct json *before = json_new_null();
    for (size_t b = k + 1; b < h->n_commits && b <= k + RUNS_MAX && now != NULL; b++) {
        struct run_record old = {0};
        struct err ignored = {0};
        const char *was = NULL;
        if (run_record_load(l, json_find_text(h->commits[b], "commit"), &old, &ignored) == 0)
            was = run_record_stage_file(&old, instance, "recipe.json");
        bool found =
            was != NULL &&
            change_list_add(changes, was, now, json_get(run_record_stage(r, instance), "inputs"),
                            &ignored) == 0;
        if (found) {
            json_free(before);
            before = json_new_string(old.commit);
        }
        run_record_release(&old);
        if (found)
            break;
    }
    json_put(o, "before", before);
    json_put(o, "changes", changes);
}

/* A result of a shared cache was made by no run of this ledger, whatever the clock elsewhere said.
 */
static bool has_fetched(const struct run_record *r, const char *instance)
{
    return str_starts(json_text(run_record_stage(r, instance), "why"), PLAN_WHY_FETCHED);
}

static void put_run(struct json *o, const struct ledger *l, const struct statement_facts *f,
                    const struct action *a)
{
    struct history h;
    struct run_record r = {0};
    history_open(&h, l, f->pipeline);
    long k = find_run(&h, l, f, a->key.hex, &r);
    if (k >= 0 && a->origin[0] != '\0' && !has_fetched(&r, f->instance))
        k = -1;
    json_put(o, "run", k >= 0 ? json_new_string(r.commit) : json_new_null());
    if (k >= 0) {
        const char *why = json_find_text(run_record_stage(&r, f->instance), "why");
        if (why != NULL)
            json_put_string(o, "why", why);
        put_before(o, &h, l, (size_t)k, &r, f->instance);
    } else {
        json_put(o, "before", json_new_null());
        json_put(o, "changes", json_new_array());
    }
    run_record_release(&r);
    history_release(&h);
}

struct json *why_made(const struct plan *p, size_t i, const struct ledger *l)
{
    const struct plan_item *item = &p->items[i];
    struct json *o = NULL;
    struct buf b;
    struct statement s = {0};
    struct err ignored = {0};
    char when[25];
    buf_init(&b, BUF_MAX_DEFAULT);
    if (item->cached && item->action.statement.hex[0] != '\0' &&
        store_get_bytes(p->store, item->action.statement.hex, LIMIT_JSON_BYTES, &b, &ignored) ==
            0 &&
        statement_parse(buf_text(&b), b.n_bytes, &s, &ignored) == 0 && s.facts.instance != NULL &&
        s.facts.pipeline != NULL) {
        o = json_new_object();
        json_put_string(o, "at", clock_text(s.facts.finished_ms, when));
        json_put_f64(o, "seconds", (double)(s.facts.finished_ms - s.facts.started_ms) / 1e3);
        json_put_string(o, "pipeline", s.facts.pipeline);
        json_put_string(o, "stage", s.facts.instance);
        struct statement_facts f = s.facts;
        if (item->action.origin[0] != '\0') {
            json_put_string(o, "origin", item->action.origin);
            f.pipeline = p->graph->manifest->name;
            f.instance = p->graph->instances[i]->name;
        }
        put_run(o, l, &f, &item->action);
    }
    statement_release(&s);
    buf_release(&b);
    return o;
}

void why_made_to_text(const struct json *made, struct buf *out)
{
    char seconds[24];
    const char *at = json_find_text(made, "at"), *run = json_find_text(made, "run");
    const char *origin = json_find_text(made, "origin");
    str_format_seconds(json_number(json_get(made, "seconds")), seconds);
    buf_printf(out, "  made %.10s %.8s UTC in %s %s", at, at + 11, seconds,
               origin != NULL ? "elsewhere; fetched" : "by ");
    if (origin != NULL && run != NULL)
        buf_printf(out, " by run %.12s", run);
    else if (origin != NULL)
        buf_printf(out, " from %s", origin);
    else if (run != NULL)
        buf_printf(out, "run %.12s of %s", run, json_find_text(made, "pipeline"));
    else
        buf_printf(out, "a run of %s that is not in the ledger", json_find_text(made, "pipeline"));
    if (json_find_text(made, "why") != NULL)
        buf_printf(out, ": %s", json_find_text(made, "why"));
    buf_add_char(out, '\n');
    if (json_find_text(made, "before") != NULL && json_count(json_get(made, "changes")) > 0)
        buf_printf(out, "  since run %.12s:\n", json_find_text(made, "before"));
    change_list_to_text(json_get(made, "changes"), out);
}
