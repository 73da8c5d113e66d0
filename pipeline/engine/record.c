#include "pipeline/engine/record.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/deliver.h"
#include "pipeline/engine/test_result.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/store/owed.h"
#include "pipeline/store/run_line.h"

static int put_object(const struct record *r, struct run_files *files, const char *path,
                      const char *id, struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = store_get_bytes(r->session->store, id, LIMIT_JSON_BYTES, &b, e);
    if (rc == 0)
        run_files_add(files, path, b.bytes, b.n_bytes);
    buf_release(&b);
    return rc;
}

/* A result is used without its recipe being read: only here it shows that it is lost or damaged. */
static int mend_recipe(const struct record *r, size_t i, struct err *e)
{
    const struct buf *recipe = &r->session->plan.items[i].recipe;
    struct content_id id;
    return store_put_bytes(r->session->store, recipe->bytes, recipe->n_bytes, &id, e);
}

static int put_stage(const struct record *r, struct run_files *files, size_t i, struct err *e)
{
    const struct plan_item *item = &r->session->plan.items[i];
    const char *name = r->session->graph.instances[i]->name;
    char *recipe = xasprintf("stages/%s/recipe.json", name);
    char *statement = xasprintf("stages/%s/statement.json", name);
    int rc = 0;
    run_files_add(files, recipe, item->recipe.bytes, item->recipe.n_bytes);
    if (item->action.statement.hex[0])
        rc = put_object(r, files, statement, item->action.statement.hex, e);
    struct buf result;
    buf_init(&result, BUF_MAX_DEFAULT);
    if (rc == 0 && test_result_write(r->session, i, r->run, &result)) {
        char *path = xasprintf("stages/%s/test-result.json", name);
        run_files_add(files, path, result.bytes, result.n_bytes);
        xfree(path);
    }
    buf_release(&result);
    xfree(recipe);
    xfree(statement);
    return rc < 0 ? err_wrap(e, "%s", name) : 0;
}

/* `sha256sum` lines of one output under a path; of a folder: of its files. */
static int add_artifact(const struct record *r, const struct action_output *o, const char *path,
                        struct buf *out, struct err *e)
{
    if (!o->is_folder) {
        buf_printf(out, "%s  %s\n", o->id.hex, path);
        return 0;
    }
    struct buf listing;
    buf_init(&listing, BUF_MAX_DEFAULT);
    int rc = store_get_bytes(r->session->store, o->id.hex, BUF_MAX_DEFAULT, &listing, e);
    const char *line = buf_text(&listing);
    while (rc == 0 && *line) {
        size_t n = strcspn(line, "\n");
        if (n > SHA256_HEX + 2)
            buf_printf(out, "%.*s%s/%.*s\n", SHA256_HEX + 2, line, path, (int)n - SHA256_HEX - 2,
                       line + SHA256_HEX + 2);
        line += n + (line[n] == '\n');
    }
    buf_release(&listing);
    return rc;
}

static int put_artifacts(const struct record *r, struct run_files *files, struct err *e)
{
    const struct graph *g = &r->session->graph;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = 0;
    for (size_t i = 0; i < g->n_instances && rc == 0; i++) {
        const struct action *a = &r->session->plan.items[i].action;
        for (size_t k = 0; r->done[i] && k < a->n_outputs && rc == 0; k++) {
            char *path = xasprintf("%s/%s", g->instances[i]->name, a->outputs[k].name);
            rc = add_artifact(r, &a->outputs[k], path, &b, e);
            xfree(path);
        }
    }
    for (size_t d = 0; d < g->n_deliveries && rc == 0; d++) {
        const struct delivery *delivery = &g->deliveries[d];
        if (!r->delivered[d])
            continue;
        char *path = deliver_path(delivery, r->out_root);
        rc = add_artifact(r,
                          plan_output(&r->session->plan, delivery->i_instance, delivery->i_output),
                          path, &b, e);
        xfree(path);
    }
    if (rc == 0)
        run_files_add(files, "artifacts.sha256", b.bytes, b.n_bytes);
    buf_release(&b);
    return rc;
}

static void put_toolkit_file(struct run_files *files, const struct toolkit_dir *t, const char *name,
                             const struct yaml_doc *doc)
{
    char *path = xasprintf("toolkits/%s/%s", t->label, name);
    run_files_add(files, path, doc->source, doc->source_bytes);
    xfree(path);
}

/* toolkit.yaml; by a layout also that, and the toolkit.yaml is the one of its version. */
static void put_toolkits(const struct record *r, struct run_files *files)
{
    for (size_t i = 0; i < r->session->graph.n_toolkits; i++) {
        const struct toolkit_dir *t = &r->session->graph.toolkits[i];
        if (t->version_of)
            put_toolkit_file(files, t, "layout.yaml", &t->doc);
        put_toolkit_file(files, t, "toolkit.yaml", t->version_of ? &t->version_of->doc : &t->doc);
    }
}

/* SHA256SUMS of every other file: the check does not rest on git's SHA-1. */
static void put_sums(struct run_files *files)
{
    struct buf sums;
    buf_init(&sums, BUF_MAX_DEFAULT);
    run_files_sort(files);
    run_files_sums(files, &sums);
    run_files_add(files, "SHA256SUMS", sums.bytes, sums.n_bytes);
    run_files_sort(files);
    buf_release(&sums);
}

int record_collect(const struct record *r, struct run_files *files, struct err *e)
{
    const struct session *s = r->session;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_pretty(r->run, 1, &b);
    run_files_add(files, "run.json", b.bytes, b.n_bytes);
    buf_release(&b);
    run_files_add(files, "manifest.yaml", s->manifest.doc.source, s->manifest.doc.source_bytes);
    put_toolkits(r, files);
    int rc = 0;
    const struct json *stage = json_first(json_get(r->run, "stages"));
    for (size_t i = 0; i < s->graph.n_instances && rc == 0; i++, stage = json_next(stage)) {
        if (str_eq(json_text(stage, "status"), "reused"))
            rc = mend_recipe(r, i, e);
        if (rc == 0 && r->done[i])
            rc = put_stage(r, files, i, e);
    }
    if (rc == 0)
        rc = put_artifacts(r, files, e);
    if (rc == 0)
        put_sums(files);
    return rc;
}

/* "support_desk: ok, 3 executed, 4 reused" and one line a stage. */
static void write_message(const struct record *r, struct buf *out)
{
    const struct json *stages = json_get(r->run, "stages");
    size_t n_executed = 0, n_reused = 0;
    for (const struct json *s = json_first(stages); s; s = json_next(s)) {
        n_executed += str_eq(json_text(s, "status"), "executed");
        n_reused += str_eq(json_text(s, "status"), "reused");
    }
    buf_printf(out, "%s: %s, %zu executed, %zu reused\n\n", json_text(r->run, "name"),
               json_text(r->run, "status"), n_executed, n_reused);
    for (const struct json *s = json_first(stages); s; s = json_next(s))
        buf_printf(out, "%-9s %s: %s\n", json_text(s, "status"), json_text(s, "stage"),
                   json_text(s, "why"));
}

/* A mark of what the record contains: the instances first, then the deliveries. */
static bool owed_id(const struct record *r, size_t i, struct content_id *id)
{
    const struct session *s = r->session;
    size_t n = s->graph.n_instances;
    if (i < n ? !r->done[i] : !r->delivered[i - n])
        return false;
    *id = i < n ? s->plan.items[i].key
                : deliver_id(&s->plan, &s->graph.deliveries[i - n], r->out_root);
    return true;
}

static size_t n_owed_max(const struct record *r)
{
    return r->session->graph.n_instances + r->session->graph.n_deliveries;
}

bool record_is_owed(const struct record *r)
{
    const char *home = store_home(r->session->store), *name = r->session->manifest.name;
    bool owed = owed_has(home, name, NULL);
    struct content_id id;
    for (size_t i = 0; i < n_owed_max(r) && !owed; i++)
        owed = owed_id(r, i, &id) && owed_has(home, name, id.hex);
    return owed;
}

int record_settle(const struct record *r, bool all_written, struct err *e)
{
    const char *home = store_home(r->session->store), *name = r->session->manifest.name;
    struct content_id id;
    int rc = 0;
    for (size_t i = 0; i < n_owed_max(r) && rc == 0; i++)
        if (owed_id(r, i, &id))
            rc = owed_settle(home, name, id.hex, e);
    return rc == 0 && all_written ? owed_settle(home, name, NULL, e) : rc;
}

int record_commit(const struct record *r, struct run_files *files, char commit[COMMIT_HEX + 1],
                  struct err *e)
{
    char *repo = store_path(r->session->store, "ledger.git");
    const struct ledger l = {r->helper, repo};
    char *ref = xasprintf("refs/prov/%s", r->session->manifest.name);
    struct buf message;
    buf_init(&message, BUF_MAX_DEFAULT);
    write_message(r, &message);
    int rc = record_collect(r, files, e);
    if (rc == 0)
        rc = ledger_commit(&l,
                           &(struct ledger_entry){ref, files, buf_text(&message),
                                                  r->started_unix_ms / 1000, r->sign_key},
                           commit, e);
    buf_release(&message);
    xfree(ref);
    xfree(repo);
    return rc < 0 ? err_wrap(e, "writing the ledger") : 0;
}

int record_line(const struct record *r, struct err *e)
{
    struct run_line line = {json_text(r->run, "name"), json_text(r->run, "started"),
                            json_text(r->run, "status"), json_text(r->run, "manifest"),
                            r->session->graph.n_instances};
    return run_line_add(&line, store_home(r->session->store), true, e);
}

/* SHA-256 of the status and of each gate with its verdict, whatever the order they were judged in.
 */
static struct content_id outcome_id(const struct record *r)
{
    struct json *root = json_new_object(), *gates = json_new_object();
    for (const struct json *g = json_items(r->run, "gates"); g; g = json_next(g)) {
        char *name = xasprintf("%s: %s", json_text(g, "stage"), json_text(g, "gate"));
        json_put(gates, name, json_clone(g));
        xfree(name);
    }
    json_put_string(root, "status", json_text(r->run, "status"));
    json_put(root, "gates", gates);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(root, &b);
    json_free(root);
    struct content_id id = sha256_of(b.bytes, b.n_bytes);
    buf_release(&b);
    return id;
}

bool record_is_news(const struct record *r)
{
    const char *told = json_text(r->session->plan.last, "told");
    if (!str_is_hex(told, SHA256_HEX))
        return !str_eq(json_text(r->run, "status"), "ok");
    return !str_eq(told, outcome_id(r).hex);
}

/* told: "" when nothing is known. */
static struct json *last_of(const struct record *r, const char *told)
{
    const struct session *s = r->session;
    struct json *stages = s->plan.last && json_get(s->plan.last, "stages")
                              ? json_clone(json_get(s->plan.last, "stages"))
                              : json_new_object();
    for (size_t i = 0; i < s->graph.n_instances; i++)
        if (r->done[i])
            json_put_string(stages, s->graph.instances[i]->name, s->plan.items[i].key.hex);
    struct json *root = json_new_object();
    json_put_i64(root, "schema", 1);
    json_put(root, "stages", stages);
    if (*told)
        json_put_string(root, "told", told);
    return root;
}

static int write_last(const struct record *r, const struct json *root, struct err *e)
{
    const struct session *s = r->session;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(root, &b);
    char *relative = xasprintf("last/%s.json", s->manifest.name);
    char *path = store_path(s->store, relative);
    int rc = store_make_folder(s->store, "last", e);
    if (rc == 0)
        rc = file_publish(path, b.bytes, b.n_bytes, 0644, e);
    xfree(path);
    xfree(relative);
    buf_release(&b);
    return rc;
}

int record_last(const struct record *r, struct err *e)
{
    const struct json *before = r->session->plan.last;
    struct json *root = last_of(r, json_text(before, "told"));
    int rc = before && json_equal(root, before) ? 0 : write_last(r, root, e);
    json_free(root);
    return rc;
}

int record_told(const struct record *r, struct err *e)
{
    struct content_id id = outcome_id(r);
    if (str_eq(json_text(r->session->plan.last, "told"), id.hex))
        return 0;
    struct json *root = last_of(r, id.hex);
    int rc = write_last(r, root, e);
    json_free(root);
    return rc;
}
