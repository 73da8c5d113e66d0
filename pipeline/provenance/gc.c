#include "pipeline/provenance/gc.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/recipe.h"
#include "pipeline/provenance/statement.h"
#include "pipeline/store/owed.h"
#include "pipeline/store/store.h"
#include "pipeline/store/sweep.h"

#define DAY_SECONDS 86400

/* One recorded run that stays. */
struct kept_run {
    char commit[COMMIT_HEX + 1];
    bool pinned;
    struct json *root; /* run.json */
};

struct gc {
    const struct ledger *ledger;
    const char *home;
    const struct gc_options *options;
    struct sweep sweep;
    struct kept_run *runs;
    size_t n_runs;
};

/* ---- which runs stay ---- */

static struct kept_run *find_run(struct gc *g, const char *commit)
{
    for (size_t i = 0; i < g->n_runs; i++)
        if (str_eq(g->runs[i].commit, commit))
            return &g->runs[i];
    return NULL;
}

/* Reads a run's record once. */
static int keep_run(struct gc *g, const char *commit, bool pinned, struct err *e)
{
    struct kept_run *known = find_run(g, commit);
    if (known != NULL) {
        known->pinned = known->pinned || pinned;
        return 0;
    }
    if (!str_is_hex(commit, COMMIT_HEX))
        return err_set(e, ERR_FORMAT, "ledger: `%s` is no commit id", commit);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    struct kept_run r = {.pinned = pinned};
    memcpy(r.commit, commit, sizeof r.commit);
    int rc = ledger_cat(g->ledger, commit, "run.json", &b, e);
    if (rc == 0)
        rc = json_parse(buf_text(&b), b.n_bytes, &r.root, e);
    buf_release(&b);
    if (rc != 0)
        return err_wrap(e, "run %.12s", commit);
    g->runs = xrealloc_array(g->runs, g->n_runs + 1, sizeof *g->runs);
    g->runs[g->n_runs++] = r;
    return 0;
}

/* The last of each ref's chain: of a ref the log has the newest first. */
static int keep_newest(struct gc *g, const struct json *log, struct err *e)
{
    struct json *seen = json_new_object(); /* ref -> how many */
    int rc = 0;
    for (const struct json *c = json_items(log, "commits"); c != NULL && rc == 0;
         c = json_next(c)) {
        const char *ref = json_find_text(c, "ref");
        const char *commit = json_find_text(c, "commit");
        if (ref == NULL || commit == NULL)
            continue;
        const struct json *so_far = json_get(seen, ref);
        int64_t n = so_far != NULL ? (int64_t)json_number(so_far) : 0;
        json_put_i64(seen, ref, n + 1);
        if (n < g->options->keep)
            rc = keep_run(g, commit, false, e);
    }
    json_free(seen);
    return rc;
}

static int keep_pinned(struct gc *g, struct err *e)
{
    char *folder = file_join(g->home, "pins");
    struct file_list names = {0};
    int rc = file_is_folder(folder) ? file_list_names(folder, &names, e) : 0;
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        if (!str_is_hex(names.paths[i], COMMIT_HEX))
            continue; /* left by a kill while a pin was written */
        struct err why = {0};
        rc = keep_run(g, names.paths[i], true, &why);
        if (rc != 0)
            rc = err_set(e, why.code, "pin %.12s: %s; fmforge gc --unpin %.12s takes it off",
                         names.paths[i], why.text, names.paths[i]);
    }
    file_list_release(&names);
    xfree(folder);
    return rc;
}

/* Called before the lock is held, since it takes a process a run, and under it, for what came. */
static int load_runs(struct gc *g, struct err *e)
{
    struct json *log = NULL;
    if (!file_is_folder(g->ledger->repo))
        return err_set(e, ERR_MISSING,
                       "%s is not there: no run is recorded, so nothing says what is needed; "
                       "nothing is removed",
                       g->ledger->repo);
    int rc = ledger_log(g->ledger, NULL, 0, &log, e);
    const struct json *newest = rc == 0 ? json_items(log, "commits") : NULL;
    if (rc == 0 && newest == NULL)
        rc = err_set(e, ERR_MISSING,
                     "%s: no run is recorded, so nothing says what is needed; nothing is removed",
                     g->ledger->repo);
    if (rc == 0)
        rc = json_need_i64(newest, "time", &g->sweep.since, e);
    if (rc == 0)
        rc = keep_newest(g, log, e);
    if (rc == 0)
        rc = keep_pinned(g, e);
    json_free(log);
    return rc;
}

/* ---- what they need ---- */

static int need_output(struct gc *g, const struct json *o, bool may_be_folder, struct err *e)
{
    const char *id = json_find_text(o, "id");
    const struct json *folder = json_get(o, "folder");
    if (id == NULL || !str_is_hex(id, SHA256_HEX))
        return 0;
    return sweep_need(&g->sweep, id, folder != NULL ? json_bool(folder) : may_be_folder, e);
}

/* An input that no stage has made is a source: a large one is not in the store. It may be a
 * folder's listing. */
static int need_run(struct gc *g, const struct json *root, struct err *e)
{
    int rc = 0;
    for (const struct json *s = json_items(root, "stages"); s != NULL; s = json_next(s)) {
        const char *key = json_find_text(s, "key");
        if (key != NULL && str_is_hex(key, SHA256_HEX))
            id_set_add(&g->sweep.keys, key);
        for (const struct json *o = json_items(s, "outputs"); o != NULL && rc == 0;
             o = json_next(o))
            rc = need_output(g, o, false, e);
        for (const struct json *i = json_items(s, "inputs"); i != NULL && rc == 0; i = json_next(i))
            rc = need_output(g, i, true, e);
    }
    return rc;
}

static void need_last_keys(struct gc *g, const struct json *last)
{
    const struct json *stages = json_get(last, "stages");
    for (const struct json *k = stages != NULL ? json_first(stages) : NULL; k != NULL;
         k = json_next(k))
        if (json_type(k) == JSON_STRING && str_is_hex(json_string(k), SHA256_HEX))
            id_set_add(&g->sweep.keys, json_string(k));
}

static int need_last(struct gc *g, struct err *e)
{
    char *folder = file_join(g->home, "last");
    struct file_list names = {0};
    int rc = file_is_folder(folder) ? file_list_names(folder, &names, e) : 0;
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        if (!str_ends(names.paths[i], ".json"))
            continue;
        char *path = file_join(folder, names.paths[i]);
        struct json *last = NULL;
        struct err damaged = {0}; /* only explanations are lost with it */
        if (json_read(path, &last, &damaged) == 0)
            need_last_keys(g, last);
        else if (damaged.code == ERR_IO)
            rc = err_set(e, ERR_IO, "%s", damaged.text);
        json_free(last);
        xfree(path);
    }
    file_list_release(&names);
    xfree(folder);
    return rc;
}

/* The log of an execution is named by its statement alone. */
static int need_log(struct gc *g, const char *statement_id, struct err *e)
{
    struct buf b;
    struct statement s = {0};
    struct err damaged = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = 0;
    if (sweep_read(&g->sweep, statement_id, LIMIT_JSON_BYTES, &b, &damaged) == 0 &&
        statement_parse(buf_text(&b), b.n_bytes, &s, &damaged) == 0 && s.facts.log != NULL &&
        str_is_hex(s.facts.log, SHA256_HEX))
        rc = sweep_need(&g->sweep, s.facts.log, false, e);
    else if (damaged.code == ERR_IO)
        rc = err_set(e, ERR_IO, "%s", damaged.text);
    statement_release(&s);
    buf_release(&b);
    return rc;
}

/* What it read, also while no run has recorded it. */
static int need_sources(struct gc *g, const char *key, struct err *e)
{
    struct buf b;
    struct recipe recipe;
    struct err damaged = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = 0;
    if (sweep_read(&g->sweep, key, LIMIT_JSON_BYTES, &b, &damaged) == 0 &&
        recipe_parse(buf_text(&b), b.n_bytes, &recipe, &damaged) == 0) {
        for (size_t i = 0; i < recipe.n_inputs && rc == 0; i++)
            rc = sweep_need(&g->sweep, recipe.inputs[i].id, true, e);
        recipe_release(&recipe);
    } else if (damaged.code == ERR_IO) {
        rc = err_set(e, ERR_IO, "%s", damaged.text);
    }
    buf_release(&b);
    return rc;
}

/* Everything that the record of a needed key names. */
static int need_action(struct gc *g, const char *key, struct err *e)
{
    struct action a;
    bool found = false;
    int rc = sweep_action(&g->sweep, key, &a, &found, e);
    if (rc == 0)
        rc = need_sources(g, key, e);
    if (rc != 0 || !found)
        return rc;
    if (a.statement.hex[0] != '\0') {
        rc = sweep_need(&g->sweep, a.statement.hex, false, e);
        if (rc == 0)
            rc = need_log(g, a.statement.hex, e);
    }
    for (size_t i = 0; i < a.n_outputs && rc == 0; i++)
        rc = sweep_need(&g->sweep, a.outputs[i].id.hex, a.outputs[i].is_folder, e);
    return rc;
}

static int mark(struct gc *g, struct err *e)
{
    int rc = sweep_look(&g->sweep, e);
    for (size_t i = 0; i < g->n_runs && rc == 0; i++)
        rc = need_run(g, g->runs[i].root, e);
    if (rc == 0)
        rc = need_last(g, e);
    for (size_t i = 0; i < g->sweep.keys.n_slots && rc == 0; i++) {
        char key[SHA256_HEX + 1];
        if (id_set_at(&g->sweep.keys, i, key))
            rc = need_action(g, key, e);
    }
    return rc;
}

/* ---- the report ---- */

static struct json *kind_to_json(enum sweep_kind k, const struct sweep_count *c)
{
    struct json *o = json_new_object();
    json_put_string(o, "kind", sweep_kind_name(k));
    json_put_i64(o, "gone", (int64_t)c->n_removed);
    json_put_i64(o, "gone_bytes", (int64_t)c->removed_bytes);
    json_put_i64(o, "kept", (int64_t)c->n_kept);
    json_put_i64(o, "kept_bytes", (int64_t)c->kept_bytes);
    return o;
}

static struct json *report_of(const struct gc *g)
{
    const struct sweep *s = &g->sweep;
    uint64_t after = sweep_kept_bytes(s), freed = sweep_removed_bytes(s);
    struct json *root = json_new_object(), *kinds = json_new_array(), *runs = json_new_array(),
                *bytes = json_new_object();
    json_put_string(root, "schema", "fmforge.gc/1");
    json_put_bool(root, "removed", g->options->remove);
    json_put_i64(root, "keep", g->options->keep);
    json_put_i64(root, "work_days", g->options->work_days);
    json_put(root, "budget",
             s->budget_bytes == UINT64_MAX ? json_new_null()
                                           : json_new_i64((int64_t)s->budget_bytes));
    json_put_bool(root, "budget_holds", after <= s->budget_bytes);
    json_put_i64(bytes, "before", (int64_t)(after + freed));
    json_put_i64(bytes, "after", (int64_t)after);
    json_put_i64(bytes, "freed", (int64_t)freed);
    json_put(root, "bytes", bytes);
    for (size_t k = 0; k < SWEEP_KINDS; k++)
        json_append(kinds, kind_to_json(k, &s->counts[k]));
    json_put(root, "kinds", kinds);
    for (size_t i = 0; i < g->n_runs; i++) {
        struct json *o = json_new_object();
        const char *name = json_find_text(g->runs[i].root, "name");
        json_put_string(o, "commit", g->runs[i].commit);
        json_put_string(o, "name", name != NULL ? name : "?");
        json_put_string(o, "why", g->runs[i].pinned ? "pinned" : "newest");
        json_append(runs, o);
    }
    json_put(root, "runs", runs);
    return root;
}

static void release(struct gc *g)
{
    for (size_t i = 0; i < g->n_runs; i++)
        json_free(g->runs[i].root);
    xfree(g->runs);
    sweep_close(&g->sweep);
}

static int lock_all(struct gc *g, struct err *e)
{
    bool locked = false;
    int rc = sweep_lock(&g->sweep, false, &locked, e);
    if (rc == 0 && !locked) {
        if (g->options->on_wait != NULL)
            g->options->on_wait(g->options->context);
        rc = sweep_lock(&g->sweep, true, &locked, e);
    }
    return rc;
}

/* The lists of living processes come before what they leave when they end. */
static int look(struct gc *g, struct err *e)
{
    int rc = sweep_held(&g->sweep, e);
    if (rc == 0)
        rc = load_runs(g, e);
    return rc == 0 ? owed_read(g->home, g->sweep.work_since, &g->sweep.keys, &g->sweep.since, e)
                   : rc;
}

int gc_make(const struct ledger *l, const char *home, const struct gc_options *o,
            struct json **report, struct err *e)
{
    struct gc g = {.ledger = l, .home = home, .options = o};
    int rc = sweep_open(&g.sweep, home, o->remove, e);
    g.sweep.budget_bytes = o->budget_bytes;
    g.sweep.work_since = (int64_t)time(NULL) - o->work_days * DAY_SECONDS;
    if (rc == 0 && o->remove)
        rc = load_runs(&g, e);
    if (rc == 0 && o->remove)
        rc = lock_all(&g, e);
    if (rc == 0)
        rc = look(&g, e);
    if (rc == 0)
        rc = mark(&g, e);
    if (rc == 0)
        rc = sweep_run(&g.sweep, e);
    if (rc == 0)
        *report = report_of(&g);
    release(&g);
    return rc == 0 ? 0 : err_wrap(e, "gc");
}

static uint64_t number(const struct json *o, const char *key)
{
    return (uint64_t)json_number_or(o, key, 0);
}

void gc_to_text(const struct json *report, struct buf *out)
{
    char a[16], b[16];
    bool removed = json_bool(json_get(report, "removed"));
    size_t n_runs = 0, n_pinned = 0;
    buf_printf(out, "%-10s  %8s  %10s  %8s  %10s\n", "", removed ? "removed" : "to go", "bytes",
               "kept", "bytes");
    for (const struct json *k = json_items(report, "kinds"); k != NULL; k = json_next(k))
        buf_printf(
            out, "%-10s  %8llu  %10s  %8llu  %10s\n", json_find_text(k, "kind"),
            (unsigned long long)number(k, "gone"), str_format_bytes(number(k, "gone_bytes"), a),
            (unsigned long long)number(k, "kept"), str_format_bytes(number(k, "kept_bytes"), b));
    for (const struct json *r = json_items(report, "runs"); r != NULL; r = json_next(r)) {
        n_runs++;
        n_pinned += str_eq(json_find_text(r, "why"), "pinned");
    }
    const struct json *bytes = json_get(report, "bytes");
    buf_printf(out, "%s %s of %s; ", removed ? "freed" : "would free",
               str_format_bytes(number(bytes, "freed"), a),
               str_format_bytes(number(bytes, "before"), b));
    buf_printf(out, "%zu run%s kept, %zu of them pinned\n", n_runs, n_runs == 1 ? "" : "s",
               n_pinned);
    if (!json_bool(json_get(report, "budget_holds")))
        buf_printf(out,
                   "the budget of %s does not hold: what kept runs need takes %s; a smaller --keep "
                   "or --unpin lets more go\n",
                   str_format_bytes(number(report, "budget"), a),
                   str_format_bytes(number(bytes, "after"), b));
    if (!removed)
        buf_add_text(out, "nothing was removed: --delete does it\n");
}

/* ---- pins ---- */

static struct json *pin_answer(const struct run_record *r, bool pinned, size_t n_missing)
{
    struct json *o = json_new_object();
    json_put_string(o, "schema", "fmforge.pin/1");
    json_put_string(o, "commit", r->commit);
    json_put(o, "name", statement_text(r->name)); /* of a damaged pin any bytes */
    json_put_bool(o, "pinned", pinned);
    json_put_i64(o, "missing", (int64_t)n_missing);
    return o;
}

static size_t count_missing(const struct store *s, const struct run_record *r)
{
    size_t n = 0;
    for (const struct json *t = json_items(r->root, "stages"); t != NULL; t = json_next(t))
        for (const struct json *o = json_items(t, "outputs"); o != NULL; o = json_next(o)) {
            const char *id = json_find_text(o, "id");
            n += id != NULL && str_is_hex(id, SHA256_HEX) && !store_has(s, id);
        }
    return n;
}

int gc_pin(const struct ledger *l, const char *home, const char *id, struct json **out,
           struct err *e)
{
    struct store *s = NULL;
    struct run_record r = {0};
    int rc = store_open_read(home, &s, e); /* a gc that is at work ends first */
    if (rc == 0)
        rc = run_record_find(l, id, NULL, &r, e);
    if (rc == 0) {
        char *folder = file_join(home, "pins");
        char *path = file_join(folder, r.commit);
        char *text = xasprintf("%s\n", r.name);
        rc = file_make_folder(folder, e);
        if (rc == 0)
            rc = file_publish(path, text, strlen(text), 0644, e);
        if (rc == 0)
            *out = pin_answer(&r, true, count_missing(s, &r));
        xfree(text);
        xfree(path);
        xfree(folder);
    }
    run_record_release(&r);
    store_close(s);
    return rc;
}

/* By the files alone: the run of a pin may be gone from the ledger. */
static int find_pin(const char *home, const char *id, char **path, struct err *e)
{
    char *folder = file_join(home, "pins");
    struct file_list names = {0};
    size_t n_found = 0;
    int rc = file_is_folder(folder) ? file_list_names(folder, &names, e) : 0;
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        if (!str_is_hex(names.paths[i], COMMIT_HEX) || !str_starts(names.paths[i], id))
            continue;
        xfree(*path);
        *path = file_join(folder, names.paths[i]);
        n_found++;
    }
    if (rc == 0 && n_found == 0)
        rc = err_set(e, ERR_CONFIG, "no run %s is pinned", id);
    if (rc == 0 && n_found > 1)
        rc = err_set(e, ERR_CONFIG, "%s is the beginning of %zu pinned runs: give more digits", id,
                     n_found);
    file_list_release(&names);
    xfree(folder);
    return rc;
}

int gc_unpin(const struct ledger *l, const char *home, const char *id, struct json **out,
             struct err *e)
{
    struct run_record r = {0};
    char *path = NULL;
    struct err unknown = {0};
    int rc = store_check_home(home, e);
    if (rc != 0)
        return rc;
    bool known = run_record_find(l, id, NULL, &r, &unknown) == 0;
    rc = find_pin(home, known ? r.commit : id, &path, e);
    struct buf name;
    buf_init(&name, LIMIT_PATH_BYTES);
    if (rc == 0)
        rc = file_read(path, LIMIT_NAME_BYTES + 1, &name, e); /* and its newline */
    if (rc == 0 && unlink(path) != 0)
        rc = err_set_errno(e, errno, "%s: cannot remove", path);
    if (rc == 0) {
        char *text = xstrndup(buf_text(&name), strcspn(buf_text(&name), "\n"));
        struct run_record was = {.commit = file_base_name(path), .name = text};
        *out = pin_answer(&was, false, 0);
        xfree(text);
    }
    buf_release(&name);
    run_record_release(&r);
    xfree(path);
    return rc;
}
