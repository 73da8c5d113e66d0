/* fmforge log: recorded runs, newest first, or one of them. */

#include <string.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/judge.h"
#include "pipeline/engine/report.h"
#include "pipeline/provenance/recipe.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/provenance/statement.h"
#include "pipeline/store/store.h"

/* "2026-01-31 12:00:00 UTC" */
static void add_time(struct buf *out, double seconds)
{
    char text[25];
    clock_text((int64_t)seconds * 1000, text);
    buf_printf(out, "%.10s %.8s UTC", text, text + 11);
}

static void list_to_text(const struct json *list, const char *name, struct buf *out)
{
    for (const struct json *r = json_first(list); r != NULL; r = json_next(r)) {
        const char *commit = json_find_text(r, "commit");
        buf_printf(out, "%-12.12s  ", commit != NULL ? commit : "-");
        add_time(out, json_number(json_get(r, "time")));
        buf_printf(out, "  %s: %s\n", json_find_text(r, "name"), json_find_text(r, "summary"));
    }
    if (json_first(list) == NULL && name != NULL)
        buf_printf(out, "no runs of %s are recorded; --run ID shows one run\n", name);
    else if (json_first(list) == NULL)
        buf_add_text(out, "no runs are recorded\n");
}

/* Puts into each stage what run.json leaves to other files: the config of its recipe, and its
 * metrics, where the store has them. */
static void add_details(struct run_record *r, struct store *s)
{
    struct json *stages = json_new_array();
    for (const struct json *t = json_items(r->root, "stages"); t != NULL; t = json_next(t)) {
        struct json *o = json_clone(t);
        const char *text = run_record_stage_file(r, json_text(t, "stage"), "recipe.json");
        struct recipe recipe;
        struct err ignored = {0};
        if (text != NULL && recipe_parse(text, strlen(text), &recipe, &ignored) == 0) {
            json_put(o, "config", json_clone(recipe.config));
            recipe_release(&recipe);
        }
        bool missing = false;
        struct json *metrics = s != NULL ? report_output(s, t, "metrics", &missing) : NULL;
        if (metrics != NULL)
            json_put(o, "metrics", metrics);
        json_append(stages, o);
    }
    json_put(r->root, "stages", stages);
}

static void object_to_text(const struct json *object, const char *label, struct buf *out)
{
    for (const struct json *m = object ? json_first(object) : NULL; m != NULL; m = json_next(m)) {
        buf_printf(out, "%s%s ", m == json_first(object) ? label : ", ", json_key(m));
        json_write_canonical(m, out);
    }
    if (object != NULL && json_first(object) != NULL)
        buf_add_char(out, '\n');
}

static void run_to_text(const struct run_record *r, struct buf *out)
{
    buf_printf(out, "run %.12s of %s: %s\n  started ", r->commit, r->name,
               json_text_or(r->root, "status", "?"));
    add_time(out, (double)r->time);
    buf_printf(out, ", manifest %s %.12s\n\n", json_text(r->root, "manifest_path"),
               json_text_or(r->root, "manifest", "?"));
    for (const struct json *s = json_items(r->root, "stages"); s; s = json_next(s)) {
        const struct json *seconds = json_get(s, "seconds");
        char took[24] = "";
        if (json_is_number(seconds))
            str_format_seconds(json_number(seconds), took);
        buf_printf(out, "  %-9s %s (%s) key %.12s%s%s: %s\n", json_text_or(s, "status", "?"),
                   json_text_or(s, "stage", "?"), json_text_or(s, "run", "?"),
                   json_text_or(s, "key", "-"), took[0] ? ", " : "", took, json_text(s, "why"));
        if (json_find_text(s, "reason") != NULL)
            buf_printf(out, "    reason  %s\n", json_text(s, "reason"));
        for (const struct json *i = json_items(s, "inputs"); i != NULL; i = json_next(i))
            buf_printf(out, "    <- %-10s %.12s  %s\n", json_text_or(i, "name", "?"),
                       json_text_or(i, "id", "-"), json_text_or(i, "from", "?"));
        for (const struct json *o = json_items(s, "outputs"); o != NULL; o = json_next(o))
            buf_printf(out, "    -> %-10s %s\n", json_text_or(o, "name", "?"),
                       json_text_or(o, "id", "-"));
        object_to_text(json_get(s, "config"), "    config  ", out);
        object_to_text(json_get(s, "metrics"), "    metrics ", out);
        judge_records_to_text(json_get(r->root, "gates"), json_text(s, "stage"), "    ", out);
    }
    for (const struct json *d = json_items(r->root, "deliveries"); d; d = json_next(d))
        buf_printf(out, "  delivered %s  %s\n", json_text_or(d, "id", "?"),
                   json_text_or(d, "path", "?"));
}

static int show_run(const struct ledger *l, const char *home, const char *id, const char *name,
                    bool as_json, struct buf *out, struct err *e)
{
    struct run_record r = {0};
    struct store *s = NULL;
    struct err absent = {0}; /* a ledger alone is enough */
    int rc = run_record_find(l, id, name, &r, e);
    if (rc == 0 && store_open_read(home, &s, &absent) < 0)
        s = NULL;
    if (rc == 0)
        add_details(&r, s);
    if (rc == 0 && as_json) {
        json_put_string(r.root, "schema", "fmforge.run/1");
        json_put_string(r.root, "commit", r.commit);
        json_write_pretty(r.root, 2, out);
    } else if (rc == 0) {
        run_to_text(&r, out);
    }
    run_record_release(&r);
    store_close(s);
    return rc;
}

static int show_list(const struct ledger *l, const char *home, const char *name, bool as_json,
                     struct buf *out, struct err *e)
{
    struct json *list = NULL;
    char *runs_log = file_join(home, "runs.log");
    int rc = runs_list(l, runs_log, name, &list, e);
    if (rc == 0 && as_json) {
        struct json *root = json_new_object();
        json_put_string(root, "schema", "fmforge.log/1");
        json_put(root, "runs", list);
        json_write_pretty(root, 2, out);
        json_free(root);
    } else if (rc == 0) {
        list_to_text(list, name, out);
        json_free(list);
    }
    xfree(runs_log);
    return rc;
}

int cmd_log(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    const char *run = NULL;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"run", 0, FLAG_STRING, &run, "ID", "show one run: 6 to 40 digits of its id, or last"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *name = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &name, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "log [NAME] [options]",
                        "Lists the recorded runs, newest first (of the pipeline NAME), or shows "
                        "one: its stages\nwith inputs, outputs, config, metrics and gates, and why "
                        "one failed. A run without "
                        "id executed nothing.",
                        flags, n_flags);
    rc = cmd_begin(&common, c->term, e);
    if (rc < 0)
        return rc;
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common.home, "ledger.git");
    struct ledger l = {helper, repo};
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    if (!file_exists(repo)) /* a ledger alone is enough */
        rc = store_check_home(common.home, e);
    if (rc == 0)
        rc = run != NULL ? show_run(&l, common.home, run, name, common.json, &out, e)
                         : show_list(&l, common.home, name, common.json, &out, e);
    if (rc == 0)
        term_out(c->term, buf_text(&out));
    buf_release(&out);
    xfree(repo);
    xfree(helper);
    return rc;
}
