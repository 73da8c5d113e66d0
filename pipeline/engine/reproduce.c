#include "pipeline/engine/reproduce.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/session.h"
#include "pipeline/engine/spawn.h"

#define FRESH_HOME ".fmforge"

/* ---- the run ---- */

static void no_out(const char *text, size_t n_bytes)
{
    (void)text;
    (void)n_bytes;
}

/* In the folder that was laid out, which is the working directory now. *cause: why the manifest
 * cannot be run at all. */
static int run_here(const struct reproduction *p, char commit[COMMIT_HEX + 1], struct err *cause)
{
    const struct reproduce_options *o = p->options;
    size_t n_sets = 0;
    const char **sets = run_record_sets(p->run, &n_sets);
    struct term quiet = *p->term;
    quiet.out = no_out;
    struct session s;
    struct session_options so = {p->manifest, FRESH_HOME, o->program_folder, sets, n_sets,
                                 true,        NULL};
    struct run_options ro = {.program_folder = o->program_folder,
                             .out_root = "out",
                             .reports_root = "reports",
                             .jobs = o->jobs,
                             .threads = o->threads,
                             .kernels = o->kernels,
                             .record = true,
                             .alone = true, /* what is fetched is not made once more */
                             .sets = sets,
                             .n_sets = n_sets,
                             .commit = commit};
    int rc = session_open(&s, &so, cause);
    if (rc == 0 && s.absent)
        rc = err_set(cause, ERR_MISSING, "%s (skip_without) is not there", s.absent);
    else if (rc == 0)
        rc = run_session(&s, &ro, &quiet, clock_ms(), cause);
    session_release(&s);
    xfree(sets);
    return rc;
}

static int load_fresh(const struct reproduce_options *o, const char *commit,
                      struct run_record *fresh, struct err *e)
{
    char *helper = file_join(o->program_folder, "fmforge-ledger");
    char *repo = file_join(FRESH_HOME, "ledger.git");
    struct ledger l = {helper, repo};
    int rc = run_record_load(&l, commit, fresh, e);
    xfree(repo);
    xfree(helper);
    return rc;
}

/* Goes there and comes back. */
static int run_in_work(const struct reproduction *p, struct run_record *fresh, struct err *e)
{
    char commit[COMMIT_HEX + 1] = "";
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (before < 0 || chdir(p->work) != 0) {
        int rc = err_set_errno(e, errno, "%s: cannot work there", p->work);
        if (before >= 0)
            close(before);
        return rc;
    }
    int rc = run_here(p, commit, e);
    if (rc >= 0 && rc != 130) {
        int loaded = load_fresh(p->options, commit, fresh, e);
        rc = loaded < 0 ? loaded : rc;
    }
    if (fchdir(before) != 0 && rc >= 0)
        rc = err_set_errno(e, errno, "the working directory is gone");
    close(before);
    return rc;
}

/* ---- the comparison ---- */

static const char *output_id(const struct json *stage, const char *name)
{
    for (const struct json *o = json_items(stage, "outputs"); o != NULL; o = json_next(o))
        if (str_eq(json_text(o, "name"), name))
            return json_find_text(o, "id");
    return NULL;
}

/* NULL when the recorded stage made nothing: then there is nothing to compare. */
static struct json *compare_stage(const struct json *was, const struct json *now)
{
    struct json *outputs = json_new_array();
    const char *status = "same";
    for (const struct json *o = run_stage_made(was) ? json_items(was, "outputs") : NULL; o != NULL;
         o = json_next(o)) {
        const char *recorded = json_find_text(o, "id");
        const char *found = now != NULL ? output_id(now, json_text(o, "name")) : NULL;
        if (recorded == NULL)
            continue;
        struct json *item = json_new_object();
        json_put_string(item, "name", json_text(o, "name"));
        json_put_string(item, "recorded", recorded);
        json_put(item, "now", found != NULL ? json_new_string(found) : json_new_null());
        json_append(outputs, item);
        if (found == NULL)
            status = "missing";
        else if (!str_eq(found, recorded) && str_eq(status, "same"))
            status = "different";
    }
    if (json_count(outputs) == 0) {
        json_free(outputs);
        return NULL;
    }
    struct json *stage = json_new_object();
    json_put_string(stage, "stage", json_text(was, "stage"));
    json_put_string(stage, "status", status);
    if (str_eq(status, "missing")) {
        const char *reason = json_find_text(now, "reason");
        if (reason == NULL)
            reason = now != NULL ? json_text(now, "why") : "the manifest does not have it any more";
        json_put_string(stage, "reason", reason);
    }
    json_put(stage, "outputs", outputs);
    return stage;
}

static struct json *new_report(const struct run_record *r, const char *status, const char *first,
                               struct json *stages, struct json *unknown)
{
    struct json *root = json_new_object();
    json_put_string(root, "schema", "fmforge.reproduce/1");
    json_put_string(root, "commit", r->commit);
    json_put_string(root, "name", r->name);
    json_put_string(root, "status", status);
    json_put(root, "first", first != NULL ? json_new_string(first) : json_new_null());
    json_put(root, "stages", stages);
    json_put(root, "unknown", unknown);
    return root;
}

static struct json *compare(const struct run_record *was, const struct run_record *now)
{
    struct json *stages = json_new_array();
    const char *first = NULL;
    for (const struct json *s = json_items(was->root, "stages"); s != NULL; s = json_next(s)) {
        struct json *one = compare_stage(s, run_record_stage(now, json_text(s, "stage")));
        if (one == NULL)
            continue;
        if (first == NULL && !str_eq(json_text(one, "status"), "same"))
            first = json_text(s, "stage");
        json_append(stages, one);
    }
    return new_report(was, first != NULL ? "different" : "same", first, stages, json_new_array());
}

/* ---- the whole ---- */

static bool makes_something(const struct run_record *r)
{
    for (const struct json *s = json_items(r->root, "stages"); s != NULL; s = json_next(s))
        for (const struct json *o = json_items(s, "outputs"); o != NULL; o = json_next(o))
            if (run_stage_made(s) && json_find_text(o, "id") != NULL)
                return true;
    return false;
}

/* A folder of the user's that stays, or one in the store's tmp/ that goes with the process. */
static int make_root(struct store *s, const char *into, char **root, struct err *e)
{
    struct file_list names = {0};
    if (into == NULL) {
        int rc = store_temporary(s, root, e);
        return rc == 0 ? file_make_folder(*root, e) : rc;
    }
    int rc = file_make_folder(into, e);
    if (rc == 0)
        rc = file_list_names(into, &names, e);
    if (rc == 0 && names.n_paths > 0)
        rc = err_set(e, ERR_CONFIG, "--into %s: expected a new or empty folder, it holds %s", into,
                     names.paths[0]);
    file_list_release(&names);
    if (rc == 0)
        *root = xstrdup(into);
    return rc;
}

/* Everything that is needed, or `unknown` names what is not to be had. */
static int prepare(struct reproduction *p, struct err *e)
{
    size_t n_right = run_record_check(p->run, p->unknown);
    if (json_count(p->unknown) > 0)
        return 0;
    if (n_right == 0 || !makes_something(p->run)) {
        json_append(p->unknown, json_new_string("the run has made nothing that could be compared"));
        return 0;
    }
    int rc = reproduce_check_programs(p, e);
    return rc == 0 ? reproduce_lay_out(p, e) : rc;
}

static int make_report(const struct reproduction *p, struct json **report, struct err *e)
{
    struct run_record fresh = {0};
    struct err cause = {0};
    int rc = 0;
    if (json_count(p->unknown) == 0) {
        rc = run_in_work(p, &fresh, &cause);
        if (rc == ERR_CONFIG || rc == ERR_MISSING) { /* its manifest cannot be run here any more */
            json_append(p->unknown, json_new_string(cause.text));
            rc = 0;
        } else if (rc < 0) {
            rc = err_set(e, cause.code, "%s", cause.text);
        }
    }
    if (json_count(p->unknown) > 0) {
        *report = new_report(p->run, "unknown", NULL, json_new_array(), json_clone(p->unknown));
        rc = 4;
    } else if (rc >= 0 && rc != 130) {
        *report = compare(p->run, &fresh);
        rc = str_eq(json_text(*report, "status"), "same") ? 0 : 1;
    }
    run_record_release(&fresh);
    return rc;
}

int reproduce_run(const struct run_record *r, const struct reproduce_options *o,
                  const struct term *term, struct json **report, struct err *e)
{
    struct reproduction p = {.run = r, .options = o, .term = term, .unknown = json_new_array()};
    int rc = store_check_home(o->home, e);
    if (rc == 0)
        rc = store_open(o->home, &p.store, e);
    if (rc == 0)
        rc = make_root(p.store, o->into, &p.root, e);
    if (rc == 0)
        rc = prepare(&p, e);
    if (rc == 0)
        rc = make_report(&p, report, e);
    json_free(p.unknown);
    xfree(p.manifest);
    xfree(p.work);
    xfree(p.root);
    store_close(p.store);
    return rc;
}

void reproduce_to_text(const struct json *report, struct buf *out)
{
    int width = 5;
    size_t n_outputs = 0, n_stages = 0, n_other = 0;
    for (const struct json *s = json_items(report, "stages"); s != NULL; s = json_next(s)) {
        int n = (int)strlen(json_text(s, "stage"));
        width = n > width ? n : width;
    }
    if (json_items(report, "stages") != NULL)
        buf_printf(out, "%-*s  %-16s  %-12s  %-12s\n", width, "stage", "output", "recorded", "now");
    for (const struct json *s = json_items(report, "stages"); s != NULL;
         s = json_next(s), n_stages++)
        for (const struct json *o = json_items(s, "outputs"); o != NULL; o = json_next(o)) {
            const char *now = json_find_text(o, "now");
            bool same = now != NULL && str_eq(now, json_text(o, "recorded"));
            n_outputs++;
            n_other += !same;
            buf_printf(out, "%-*s  %-16s  %.12s  %-12.12s  %s\n", width, json_text(s, "stage"),
                       json_text(o, "name"), json_text(o, "recorded"), now != NULL ? now : "-",
                       same          ? "same"
                       : now != NULL ? "different"
                                     : json_text(s, "reason"));
        }
    for (const struct json *u = json_items(report, "unknown"); u != NULL; u = json_next(u))
        buf_printf(out, "%s\n", json_string(u));
    buf_printf(out, "run %.12s of %s: ", json_text(report, "commit"), json_text(report, "name"));
    if (str_eq(json_text(report, "status"), "unknown"))
        buf_add_text(out, "cannot tell: not everything that it was made from is here\n");
    else if (n_other == 0)
        buf_printf(out, "%zu outputs of %zu stages, every digest the same\n", n_outputs, n_stages);
    else
        buf_printf(out, "%zu of %zu outputs differ; the first stage that differs is %s\n", n_other,
                   n_outputs, json_text(report, "first"));
}
