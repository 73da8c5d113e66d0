#include "pipeline/engine/run_events.h"

#include <string.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/release.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/judge.h"
#include "pipeline/engine/plan_cost.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/provenance/statement.h"

#define PROGRESS_MS 1000.0

static struct event_stream *stream(const struct run *r)
{
    return r->options->events;
}

/* The fields that every event of a stage has. */
static struct json *of_stage(const struct run *r, size_t i)
{
    const struct instance *n = r->session->graph.instances[i];
    const struct plan_item *item = &r->session->plan.items[i];
    struct json *o = json_new_object();
    json_put_string(o, "stage", n->name);
    json_put_string(o, "run", n->desc->name);
    json_put(o, "key", item->has_key ? json_new_string(item->key.hex) : json_new_null());
    return o;
}

static void tell_plan(struct run *r)
{
    const struct session *s = r->session;
    char *repo = store_path(s->store, "ledger.git");
    struct ledger l = {r->helper, repo};
    struct plan_cost cost;
    plan_cost_open(&cost, &s->plan, &l);
    for (size_t i = 0; i < s->graph.n_instances; i++) {
        bool cached = s->plan.items[i].cached;
        struct json *o = of_stage(r, i);
        json_put_string(o, "status", cached ? "cached" : "run");
        json_put_string(o, "why", r->items[i].why);
        if (!cached)
            json_put(o, "expected_seconds",
                     cost.seconds[i] < 0 ? json_new_null() : json_new_f64(cost.seconds[i]));
        event_stream_add(stream(r), "stage_planned", o);
    }
    plan_cost_release(&cost);
    xfree(repo);
}

void run_events_started(struct run *r)
{
    if (stream(r) == NULL)
        return;
    struct json *o = json_new_object();
    struct json *sets = json_new_array();
    for (size_t i = 0; i < r->options->n_sets; i++)
        json_append(sets, statement_text(r->options->sets[i]));
    json_put_string(o, "name", r->session->manifest.name);
    json_put_string(o, "invocation", r->invocation);
    json_put_string(o, "manifest", r->env.manifest_id.hex);
    json_put(o, "manifest_path", statement_text(r->session->manifest.doc.path));
    json_put(o, "set", sets);
    json_put_i64(o, "stages", (int64_t)r->session->graph.n_instances);
    json_put_i64(o, "jobs", r->options->jobs);
    json_put_string(o, "fmforge", FMFORGE_VERSION);
    event_stream_add(stream(r), "run_started", o);
    tell_plan(r);
}

static void put_results(const struct run *r, size_t i, struct json *o)
{
    struct json *metrics = NULL;
    struct err ignored = {0};
    json_put(o, "outputs", plan_outputs_to_json(&r->session->plan, i));
    if (judge_metrics(&r->session->plan, i, &metrics, &ignored) == 0 && metrics != NULL)
        json_put(o, "metrics", metrics);
    else
        json_free(metrics);
}

void run_events_settled(struct run *r, size_t i)
{
    const struct run_item *item = &r->items[i];
    if (stream(r) == NULL)
        return;
    struct json *o = of_stage(r, i);
    if (item->status == RUN_REUSED) {
        const char *origin = r->session->plan.items[i].action.origin;
        json_put_string(o, "why", item->why);
        if (origin[0])
            json_put_string(o, "origin", origin);
        put_results(r, i, o);
        event_stream_add(stream(r), "stage_cached", o);
    } else if (item->status == RUN_BLOCKED) {
        json_put_string(o, "why", item->why);
        json_put_bool(o, "by_gate", item->by_gate);
        event_stream_add(stream(r), "stage_blocked", o);
    } else {
        json_put(o, "reason", statement_text(item->reason != NULL ? item->reason : ""));
        event_stream_add(stream(r), "stage_failed", o);
    }
}

void run_events_launched(struct run *r, const struct job *j)
{
    if (stream(r) == NULL)
        return;
    struct json *o = of_stage(r, j->i);
    json_put_string(o, "why", r->items[j->i].why);
    json_put_i64(o, "try", j->retries + 1);
    json_put_i64(o, "pid", j->pid);
    event_stream_add(stream(r), "stage_started", o);
}

void run_events_ended(struct run *r, const struct job *j, const char *outcome)
{
    const struct run_item *item = &r->items[j->i];
    if (stream(r) == NULL)
        return;
    bool again = outcome != NULL && item->status == RUN_WAITING;
    struct json *o = of_stage(r, j->i);
    json_put_i64(o, "try", j->retries + 1);
    json_put_seconds(o, "seconds", item->seconds);
    json_put_i64(o, "peak_bytes", (int64_t)j->usage.ru_maxrss * 1024);
    json_put_seconds(o, "user_seconds", clock_seconds(j->usage.ru_utime));
    json_put_seconds(o, "system_seconds", clock_seconds(j->usage.ru_stime));
    if (outcome == NULL)
        put_results(r, j->i, o);
    else
        json_put(o, "reason", statement_text(outcome));
    event_stream_add(stream(r),
                     outcome == NULL ? "stage_finished"
                     : again         ? "stage_retried"
                                     : "stage_failed",
                     o);
}

static void tell_progress(struct run *r, const struct job *j)
{
    struct run_item *item = &r->items[j->i];
    struct json *last = progress_last(j->events);
    if (last == NULL)
        return;
    const struct json *done = json_get(last, "done"), *of = json_get(last, "of");
    const char *note = json_find_text(last, "note");
    if (json_is_number(done) && json_is_number(of) && json_number(done) > item->told_done) {
        item->told_done = json_number(done);
        struct json *o = of_stage(r, j->i);
        json_put(o, "done", json_clone(done));
        json_put(o, "of", json_clone(of));
        if (note != NULL)
            json_put_string(o, "note", note);
        event_stream_add(stream(r), "stage_progress", o);
    }
    json_free(last);
}

void run_events_progress(struct run *r)
{
    if (stream(r) == NULL)
        return;
    event_stream_flush(stream(r));
    double now = clock_ms();
    if (now - r->told_ms < PROGRESS_MS)
        return;
    r->told_ms = now;
    for (size_t k = 0; k < r->n_running; k++)
        tell_progress(r, &r->jobs[k]);
}

void run_events_gates(struct run *r, size_t n_before)
{
    size_t i = 0;
    if (stream(r) == NULL)
        return;
    for (const struct json *g = json_first(r->gates); g != NULL; g = json_next(g))
        if (i++ >= n_before)
            event_stream_add(stream(r), "gate", json_clone(g));
}

void run_events_delivery(struct run *r, struct json *item, const char *problem)
{
    if (problem != NULL)
        json_put(item, "reason", statement_text(problem));
    event_stream_add(stream(r), problem != NULL ? "delivery_failed" : "delivered", item);
}

void run_events_recorded(struct run *r, const char *commit)
{
    struct json *o = json_new_object();
    json_put(o, "commit", *commit != '\0' ? json_new_string(commit) : json_new_null());
    json_put_bool(o, "signed", *commit != '\0' && r->options->sign_key != NULL);
    event_stream_add(stream(r), "run_recorded", o);
}

void run_events_finished(struct run *r, const char *status, int exit_status)
{
    struct json *o = json_new_object();
    json_put_string(o, "status", status);
    json_put_i64(o, "exit", exit_status);
    json_put_seconds(o, "seconds", (clock_ms() - r->started_ms) / 1e3);
    json_put_i64(o, "executed", (int64_t)r->n_executed);
    json_put_i64(o, "fetched", (int64_t)r->n_fetched);
    json_put_i64(o, "failed", (int64_t)r->n_failed);
    json_put_i64(o, "blocked", (int64_t)r->n_blocked);
    json_put_i64(o, "gates_failed", (int64_t)r->n_gates_failed);
    event_stream_add(stream(r), "run_finished", o);
}

void run_events_skipped(struct event_stream *s, const struct session *session)
{
    struct json *o = json_new_object();
    char *reason = session_absent_text(session);
    json_put_string(o, "name", session->manifest.name);
    json_put(o, "reason", statement_text(reason));
    event_stream_add(s, "run_skipped", o);
    xfree(reason);
}

void run_events_error(struct event_stream *s, const struct err *e)
{
    struct json *o = json_new_object();
    json_put_string(o, "status", "error");
    json_put_i64(o, "exit", err_exit_status(e));
    json_put(o, "reason", statement_text(e->text));
    event_stream_add(s, "run_finished", o);
}
