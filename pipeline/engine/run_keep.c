/* What a run leaves: deliveries, its record, its page. */

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/deliver.h"
#include "pipeline/engine/record.h"
#include "pipeline/engine/report.h"
#include "pipeline/engine/run_events.h"
#include "pipeline/engine/run_state.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/store/owed.h"

static struct json *delivery_to_json(const struct run *r, size_t d)
{
    const struct delivery *delivery = &r->session->graph.deliveries[d];
    char *path = deliver_path(delivery, r->options->out_root);
    struct json *item = json_new_object();
    json_put_string(item, "path", path);
    json_put_string(
        item, "id",
        plan_output(&r->session->plan, delivery->i_instance, delivery->i_output)->id.hex);
    json_put_string(item, "stage", r->session->graph.instances[delivery->i_instance]->name);
    xfree(path);
    return item;
}

void run_deliver(struct run *r)
{
    const struct graph *g = &r->session->graph;
    for (size_t d = 0; d < g->n_deliveries && r->interrupts == 0; d++) {
        size_t i = g->deliveries[d].i_instance;
        if (!r->done[i] || (r->items[i].judged && !r->items[i].held))
            continue;
        struct delivered made = {0};
        struct err cause = {0};
        int rc =
            deliver_one(&r->session->plan, &g->deliveries[d], r->options->out_root, &made, &cause);
        if (made.moved)
            term_notef(r->term,
                       "%s: what was in the place of the delivery is not what a run has made, or "
                       "was changed: it is %s now\n",
                       g->instances[i]->name, made.moved);
        if (rc < 0) {
            xfree(made.moved);
            term_notef(r->term, "%s: %s\n", g->instances[i]->name, cause.text);
            r->n_not_written++;
            run_events_delivery(r, delivery_to_json(r, d), cause.text);
            continue;
        }
        r->delivered[d] = true;
        r->n_written += made.written;
        struct json *item = delivery_to_json(r, d);
        json_put_bool(item, "written", made.written);
        if (made.moved)
            json_put_string(item, "moved", made.moved);
        xfree(made.moved);
        run_events_delivery(r, json_clone(item), NULL);
        json_append(r->deliveries, item);
    }
}

/* Hours of work are no place to learn that a key has a passphrase. */
int run_try_key(struct run *r, struct err *e)
{
    const struct session *s = r->session;
    bool wanted = r->options->record || owed_any(store_home(s->store), s->manifest.name);
    for (size_t i = 0; i < s->graph.n_instances && !wanted; i++)
        wanted = !s->plan.items[i].cached;
    if (r->options->sign_key == NULL || !wanted)
        return 0;
    int rc = ledger_try_key(r->helper, r->options->sign_key, e);
    return rc < 0 ? err_wrap(e, "nothing was run, the record could not be signed") : 0;
}

int run_try_folders(struct run *r, struct err *e)
{
    const struct session *s = r->session;
    bool executes = false;
    for (size_t i = 0; i < s->graph.n_instances && !executes; i++)
        executes = !s->plan.items[i].cached;
    int rc = 0;
    for (size_t d = 0; d < s->graph.n_deliveries && executes && rc == 0; d++) {
        char *path = deliver_path(&s->graph.deliveries[d], r->options->out_root);
        rc = file_can_make(path, e);
        if (rc < 0)
            err_wrap(e, "nothing was run, %s could not be delivered", path);
        xfree(path);
    }
    char *page = xasprintf("%s/%s/index.html", r->options->reports_root, s->manifest.name);
    if (executes && rc == 0) {
        rc = file_can_make(page, e);
        if (rc < 0)
            err_wrap(e, "nothing was run, %s could not be written", page);
    }
    xfree(page);
    return rc;
}

/* A run that failed before a stage ended is in no commit; its page says all the same what became of
 * it, in place of what an earlier run had to say. */
static void collect_unrecorded(struct run *r, const struct record *record)
{
    struct err cause = {0};
    if (record_collect(record, &r->recorded, &cause) == 0)
        return;
    term_notef(r->term, "the report is not written: %s\n", cause.text);
    run_files_release(&r->recorded);
}

int run_keep_record(struct run *r, char commit[COMMIT_HEX + 1], struct err *e)
{
    struct json *root = run_to_json(r);
    struct record record = {r->session,
                            root,
                            r->done,
                            r->options->out_root,
                            r->delivered,
                            r->helper,
                            r->started_unix_ms,
                            r->options->sign_key};
    int rc = record_last(&record, e);
    bool owed = record_is_owed(&record);
    bool went_through = r->interrupts == 0 && r->n_failed + r->n_not_written == 0;
    bool is_news = went_through && record_is_news(&record);
    if (rc == 0 &&
        (r->n_executed > 0 || r->n_written > 0 || owed || is_news || r->options->record)) {
        rc = store_tidy(r->session->store, e);
        if (rc == 0)
            rc = record_commit(&record, &r->recorded, commit, e);
        /* A delivery that failed may be in place all the same: the next run looks, and records. */
        if (rc == 0 && owed)
            rc = record_settle(&record, r->n_not_written == 0, e);
    } else if (rc == 0) {
        rc = record_line(&record, e);
        if (rc == 0 && !went_through)
            collect_unrecorded(r, &record);
    }
    if (rc == 0)
        rc = record_told(&record, e);
    json_free(root);
    if (rc == 0)
        run_events_recorded(r, commit);
    if (rc < 0 && r->options->sign_key != NULL)
        err_wrap(e, "no run is recorded; what was made is kept, and the same command records it "
                    "when the cause is gone");
    return rc;
}

void run_draw_page(struct run *r, const char *commit)
{
    struct err cause = {0};
    struct run_record record = {0};
    int rc = run_record_of_files(&r->recorded, commit, &record, &cause);
    if (rc == 0)
        rc = report_write(&record, r->session->store, r->options->reports_root, &r->page, &cause);
    run_record_release(&record);
    if (rc < 0) {
        term_notef(r->term, "the report is not written: %s\n", cause.text);
        r->n_not_written++;
        xfree(r->page.path);
        r->page.path = NULL;
    }
}
