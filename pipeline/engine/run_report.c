/* What a run says. */

#include <stdio.h>
#include <string.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/deliver.h"
#include "pipeline/engine/plan_memory.h"
#include "pipeline/engine/report_findings.h"
#include "pipeline/engine/run_events.h"
#include "pipeline/engine/run_state.h"

static const char *status_text(enum run_status s)
{
    static const char *const texts[] = {"not run", "running", "executed", "reused",
                                        "failed",  "blocked", "not run"};
    return texts[s];
}

static const char *outcome(const struct run *r)
{
    if (r->interrupts > 0)
        return "interrupted";
    if (r->n_failed + r->n_not_written > 0)
        return "failed";
    return r->n_gates_failed > 0 ? "gates" : "ok";
}

static struct json *stage_to_json(const struct run *r, size_t i)
{
    const struct instance *n = r->session->graph.instances[i];
    const struct plan *p = &r->session->plan;
    const struct run_item *item = &r->items[i];
    struct json *o = json_new_object();
    json_put_string(o, "stage", n->name);
    json_put_string(o, "run", n->desc->name);
    json_put(o, "key",
             p->items[i].has_key ? json_new_string(p->items[i].key.hex) : json_new_null());
    json_put_string(o, "status", status_text(item->status));
    json_put_string(o, "why", item->why);
    char *remark = graph_remark(&r->session->graph, i);
    if (remark)
        json_put_string(o, "remark", remark);
    xfree(remark);
    if (item->reason) {
        char *clean = xstrndup(item->reason, str_utf8_prefix(item->reason, strlen(item->reason)));
        json_put_string(o, "reason", clean);
        xfree(clean);
    }
    if (r->done[i] && p->items[i].action.origin[0])
        json_put_string(o, "origin", p->items[i].action.origin);
    json_put(o, "inputs", plan_inputs_to_json(p, i));
    json_put(o, "outputs", plan_outputs_to_json(p, i));
    if (item->status == RUN_EXECUTED || item->status == RUN_FAILED)
        json_put_seconds(o, "seconds", item->seconds);
    if (item->retries > 0)
        json_put_i64(o, "retries", item->retries);
    return o;
}

static void add_findings(const struct run *r, size_t i, struct buf *b)
{
    struct json *stage = stage_to_json(r, i);
    findings_say(r->session->store, stage, b);
    json_free(stage);
}

static void add_interrupted(const char *name, const char *seconds, const struct watch *w,
                            struct buf *out)
{
    struct buf how;
    buf_init(&how, BUF_MAX_DEFAULT);
    watch_to_text(w, &how);
    bool is_told = how.n_bytes > 0;
    buf_printf(out, "%s: interrupted after %s%s%s%s\n", name, seconds, is_told ? " (" : "",
               buf_text(&how), is_told ? ")" : "");
    buf_release(&how);
}

void run_report_stage(struct run *r, const struct job *j, const char *outcome)
{
    const struct run_item *item = &r->items[j->i];
    const char *name = r->session->graph.instances[j->i]->name;
    char seconds[24];
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    str_format_seconds(item->seconds, seconds);
    bool is_stopped = outcome && r->interrupts > 0 && j->wait_status != 0;
    if (is_stopped)
        add_interrupted(name, seconds, &j->watch, &b);
    else if (outcome)
        buf_printf(&b, "%s: failed after %s: %s\n", name, seconds, outcome);
    else
        buf_printf(&b, "%s: done in %s (%s)\n", name, seconds, item->why);
    if (!outcome && item->retries > 0)
        buf_printf(&b, "  after %lld %s\n", (long long)item->retries,
                   item->retries == 1 ? "retry" : "retries");
    for (const char *line = buf_text(&j->log); *line;) {
        size_t n = strcspn(line, "\n");
        char *text = xstrndup(line, n);
        if (!outcome || !strstr(outcome, text)) /* the last words are the reason already */
            buf_printf(&b, "  %s\n", text);
        xfree(text);
        line += n + (line[n] == '\n');
    }
    if (!outcome)
        add_findings(r, j->i, &b);
    if (outcome && item->status == RUN_WAITING)
        buf_printf(&b, "  trying again: %lld of %lld\n", (long long)item->retries,
                   (long long)j->watch.limits.retries);
    else if (outcome && j->command && r->interrupts == 0)
        buf_printf(&b, "  by hand: %s\n", j->command);
    term_note(r->term, buf_text(&b));
    buf_release(&b);
    run_events_ended(r, j, is_stopped ? "interrupted" : outcome);
}

struct json *run_to_json(const struct run *r)
{
    const struct session *s = r->session;
    struct json *root = json_new_object();
    struct json *stages = json_new_array();
    struct json *sets = json_new_array();
    char when[25];
    json_put_i64(root, "schema", 1);
    json_put_string(root, "name", s->manifest.name);
    if (s->manifest.description)
        json_put_string(root, "description", s->manifest.description);
    json_put_string(root, "status", outcome(r));
    json_put_string(root, "started", clock_text(r->started_unix_ms, when));
    json_put_string(root, "finished", clock_text(clock_unix_ms(), when));
    json_put_string(root, "manifest", r->env.manifest_id.hex);
    json_put_string(root, "manifest_path", s->manifest.doc.path);
    for (size_t i = 0; i < r->options->n_sets; i++)
        json_append(sets, json_new_string(r->options->sets[i]));
    json_put(root, "set", sets);
    for (size_t i = 0; i < s->graph.n_instances; i++)
        json_append(stages, stage_to_json(r, i));
    json_put(root, "stages", stages);
    json_put(root, "gates", json_clone(r->gates));
    json_put(root, "deliveries", json_clone(r->deliveries));
    return root;
}

static int exit_status(const struct run *r)
{
    if (r->interrupts > 0)
        return 130;
    if (r->n_failed + r->n_not_written > 0)
        return 1;
    return r->n_gates_failed > 0 ? 3 : 0;
}

static bool had_nothing_to_do(const struct run *r)
{
    return r->interrupts == 0 && r->n_executed + r->n_fetched == 0 && r->n_failed == 0 &&
           r->n_written == 0 && r->n_not_written == 0 && r->n_blocked == 0;
}

static size_t n_reused(const struct run *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->session->graph.n_instances; i++)
        n += r->items[i].status == RUN_REUSED;
    return n;
}

static void add_results(const struct run *r, struct buf *b)
{
    const struct graph *g = &r->session->graph;
    buf_add_text(b, buf_text(&r->gate_table));
    for (size_t d = 0; d < g->n_deliveries; d++) {
        if (!r->delivered[d])
            continue;
        char *path = deliver_path(&g->deliveries[d], r->options->out_root);
        buf_printf(b, "%s: %s\n", g->instances[g->deliveries[d].i_instance]->name, path);
        xfree(path);
    }
}

/* The last line of a run that had nothing to do, up to its time. */
static void add_nothing(const struct run *r, struct buf *b)
{
    buf_printf(b, "%s: nothing to do, %zu stages cached", r->session->manifest.name, n_reused(r));
}

static void add_counts(const struct run *r, struct buf *b)
{
    buf_printf(b, "%s: %zu executed, ", r->session->manifest.name, r->n_executed);
    if (r->n_fetched > 0)
        buf_printf(b, "%zu fetched, ", r->n_fetched);
    buf_printf(b, "%zu cached, %zu failed, %zu not run", n_reused(r) - r->n_fetched, r->n_failed,
               r->n_blocked);
}

static void add_page(const struct run *r, struct buf *b)
{
    buf_printf(b, "%s: report %s", r->session->manifest.name, r->page.path);
    if (r->page.n_findings > 0)
        buf_printf(b, " (%zu finding%s)", r->page.n_findings, r->page.n_findings == 1 ? "" : "s");
    buf_add_char(b, '\n');
}

static void report_people(const struct run *r, const char *commit, struct buf *b)
{
    const struct graph *g = &r->session->graph;
    const char *name = r->session->manifest.name;
    char seconds[24];
    str_format_seconds((clock_ms() - r->started_ms) / 1e3, seconds);
    for (size_t i = 0; i < g->n_instances; i++)
        if (r->items[i].status == RUN_BLOCKED)
            buf_printf(b, "%s: not run: %s\n", g->instances[i]->name, r->items[i].why);
    add_results(r, b);
    if (r->interrupts > 0)
        buf_printf(b, "%s: interrupted; run the same command to go on\n", name);
    else if (had_nothing_to_do(r))
        add_nothing(r, b);
    else
        add_counts(r, b);
    if (r->interrupts == 0)
        buf_printf(b, " (%s)\n", seconds);
    if (r->n_gates_failed > 0 && r->interrupts == 0)
        buf_printf(b, "%s: a gate does not hold\n", name);
    if (*commit)
        buf_printf(b, "%s: recorded as %.12s%s\n", name, commit,
                   r->options->sign_key ? ", signed" : "");
    if (r->page.path)
        add_page(r, b);
}

/* Only what ends without a word more than the usual: no commit, no damage, every gate held. */
static void keep_state(const struct run *r, const char *commit)
{
    const struct run_options *o = r->options;
    if (!o->instant || o->json || o->record || *commit || !had_nothing_to_do(r) ||
        exit_status(r) != 0 || n_reused(r) != r->session->graph.n_instances ||
        *store_notes(r->session->store))
        return;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    graph_remarks(&r->session->graph, &b);
    bool remarks = b.n_bytes > 0;
    add_results(r, &b);
    add_nothing(r, &b);
    instant_keep(r, buf_text(&b));
    if (!remarks) /* a plan says them to people, beside what it prints */
        plan_memory_keep(r);
    buf_release(&b);
}

int run_report_end(struct run *r, const char *commit)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (r->options->json) {
        struct json *root = run_to_json(r);
        json_put_string(root, "schema", "fmforge.run/1");
        json_put(root, "commit", *commit ? json_new_string(commit) : json_new_null());
        if (*commit && r->options->sign_key)
            json_put_bool(root, "signed", true);
        json_put(root, "report", r->page.path ? json_new_string(r->page.path) : json_new_null());
        json_write_pretty(root, 2, &b);
        json_free(root);
    } else {
        report_people(r, commit, &b);
    }
    if (*store_notes(r->session->store))
        term_note(r->term, store_notes(r->session->store));
    term_out(r->term, buf_text(&b));
    buf_release(&b);
    keep_state(r, commit);
    run_events_finished(r, outcome(r), exit_status(r));
    return exit_status(r);
}
