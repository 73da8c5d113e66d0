/* fmforge log: recorded runs, newest first, or one of them. */

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/provenance/statement.h"

/* "2026-01-31 12:00:00" */
static void add_time(struct buf *out, double seconds)
{
    char text[25];
    statement_time((int64_t)seconds * 1000, text);
    buf_printf(out, "%.10s %.8s", text, text + 11);
}

static void list_to_text(const struct json *list, struct buf *out)
{
    for (const struct json *r = json_first(list); r != NULL; r = json_next(r)) {
        const char *commit = run_text(r, "commit");
        buf_printf(out, "%-12.12s  ", commit != NULL ? commit : "-");
        add_time(out, json_number(json_get(r, "time")));
        buf_printf(out, "  %s: %s\n", run_text(r, "name"), run_text(r, "summary"));
    }
    if (json_first(list) == NULL)
        buf_add_text(out, "no runs are recorded\n");
}

static const char *text_or(const struct json *v, const char *key, const char *other)
{
    return run_text(v, key) != NULL ? run_text(v, key) : other;
}

static void gate_to_text(const struct json *g, struct buf *out)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(g, &b);
    buf_printf(out, "  gate %s\n", buf_text(&b));
    buf_release(&b);
}

static void run_to_text(const struct run_record *r, struct buf *out)
{
    buf_printf(out, "run %.12s of %s: %s\n  started ", r->commit, r->name,
               text_or(r->root, "status", "?"));
    add_time(out, (double)r->time);
    buf_printf(out, " UTC, manifest %s %.12s\n\n", text_or(r->root, "manifest_path", ""),
               text_or(r->root, "manifest", "?"));
    const struct json *stages = json_get(r->root, "stages");
    for (const struct json *s = stages ? json_first(stages) : NULL; s; s = json_next(s)) {
        const struct json *seconds = json_get(s, "seconds");
        char took[24] = "";
        if (seconds != NULL && json_type(seconds) == JSON_NUMBER)
            str_format_seconds(json_number(seconds), took);
        buf_printf(out, "  %-9s %s (%s) key %.12s%s%s: %s\n", text_or(s, "status", "?"),
                   text_or(s, "stage", "?"), text_or(s, "run", "?"), text_or(s, "key", "-"),
                   took[0] ? ", " : "", took, text_or(s, "why", ""));
        const struct json *outputs = json_get(s, "outputs");
        for (const struct json *o = outputs ? json_first(outputs) : NULL; o; o = json_next(o))
            buf_printf(out, "            %s  %s\n", text_or(o, "id", "-"), text_or(o, "name", "?"));
    }
    const struct json *gates = json_get(r->root, "gates");
    for (const struct json *g = gates ? json_first(gates) : NULL; g; g = json_next(g))
        gate_to_text(g, out);
    const struct json *deliveries = json_get(r->root, "deliveries");
    for (const struct json *d = deliveries ? json_first(deliveries) : NULL; d; d = json_next(d))
        buf_printf(out, "  delivered %s  %s\n", text_or(d, "id", "?"), text_or(d, "path", "?"));
}

static int show_run(const struct ledger *l, const char *id, const char *name, bool as_json,
                    struct buf *out, struct err *e)
{
    struct run_record r = {0};
    int rc = run_record_find(l, id, name, &r, e);
    if (rc == 0 && as_json) {
        json_put_string(r.root, "schema", "fmforge.run/1");
        json_put_string(r.root, "commit", r.commit);
        json_write_pretty(r.root, 2, out);
    } else if (rc == 0) {
        run_to_text(&r, out);
    }
    run_record_release(&r);
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
        list_to_text(list, out);
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
                        "one.\nA run without id executed nothing.",
                        flags, n_flags);
    rc = cmd_enter(&common, e);
    if (rc < 0)
        return rc;
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common.home, "ledger.git");
    struct ledger l = {helper, repo};
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    rc = run != NULL ? show_run(&l, run, name, common.json, &out, e)
                     : show_list(&l, common.home, name, common.json, &out, e);
    if (rc == 0)
        term_out(c->term, buf_text(&out));
    buf_release(&out);
    xfree(repo);
    xfree(helper);
    return rc;
}
