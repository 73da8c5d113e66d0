/* fmforge nightly: runs every manifest of a folder, compares with the baselines, and says so. */

#include <string.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/nightly.h"
#include "pipeline/engine/run.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/provenance/statement.h"
#include "pipeline/report/page.h"

struct nightly_command {
    const struct cmd_context *context;
    struct cmd_common common;
    struct run_options run;
    struct nightly nightly;
};

static const char *status_of(int rc)
{
    return rc == 0 ? "ok" : rc == 3 ? "gates" : rc == 130 ? "interrupted" : "failed";
}

/* Compares what the run has recorded. */
static int take_run(struct nightly_command *c, struct nightly_item *item, struct store *store,
                    const char *commit, struct err *e)
{
    char *helper = file_join(c->context->program_folder, "fmforge-ledger");
    char *repo = file_join(c->common.home, "ledger.git");
    struct ledger l = {helper, repo};
    struct run_record r = {0};
    int rc = run_record_load(&l, commit, &r, e);
    if (rc == 0)
        rc = nightly_compare(item, &r, store, e);
    run_record_release(&r);
    xfree(repo);
    xfree(helper);
    return rc;
}

/* Whatever is wrong with one manifest is its own result. Returns false when interrupted. */
static bool run_item(struct nightly_command *c, struct nightly_item *item)
{
    double started_ms = clock_ms();
    struct session s;
    struct session_options so = {item->path, c->common.home,  c->context->program_folder, NULL, 0,
                                 true,       c->context->term};
    struct err e = {0};
    int rc = session_open(&s, &so, &e);
    if (s.manifest.name)
        item->name = xstrdup(s.manifest.name);
    if (rc == 0 && s.absent) {
        item->status = "skipped";
        item->reason = session_absent_text(&s);
    } else if (rc == 0) {
        char commit[COMMIT_HEX + 1] = "";
        struct term term = *c->context->term;
        if (c->common.json) /* standard output is for one document */
            term.out = term.note;
        c->run.commit = commit;
        c->run.has_page = &item->has_page;
        rc = run_session(&s, &c->run, &term, started_ms, &e);
        c->run.commit = NULL;
        c->run.has_page = NULL;
        if (rc >= 0)
            item->status = status_of(rc);
        if (rc >= 0 && *commit)
            rc = take_run(c, item, s.store, commit, &e);
    }
    if (rc < 0) {
        item->status = "error";
        xfree(item->reason);
        item->reason = xstrdup(e.text);
        bool named = str_starts(e.text, item->path);
        term_notef(c->context->term, "%s%s%s\n", named ? "" : item->path, named ? "" : ": ",
                   e.text);
    }
    session_release(&s);
    item->seconds = (clock_ms() - started_ms) / 1e3;
    return !str_eq(item->status, "interrupted");
}

static int list_manifests(struct nightly_command *c, const char *folder, struct err *e)
{
    struct file_list files = {0};
    if (!file_is_folder(folder))
        return err_set(e, ERR_CONFIG, "nightly: %s: no such folder of manifests", folder);
    int rc = file_list_names(folder, &files, e);
    struct nightly *n = &c->nightly;
    n->items = xalloc_array(files.n_paths, sizeof *n->items);
    for (size_t i = 0; i < files.n_paths && rc == 0; i++)
        if (str_ends(files.paths[i], ".yaml") && files.paths[i][0] != '.') {
            n->items[n->n_items].status = "not run";
            n->items[n->n_items++].path = file_join(folder, files.paths[i]);
        }
    file_list_release(&files);
    if (rc == 0 && n->n_items == 0)
        rc = err_set(e, ERR_CONFIG, "nightly: %s has no manifest (*.yaml)", folder);
    return rc;
}

static int two_digits(const char *s)
{
    return (s[0] - '0') * 10 + s[1] - '0';
}

/* 2026-01-31, a day that there is: it becomes a folder's name. */
static bool is_date(const char *s)
{
    static const char form[] = "dddd-dd-dd";
    if (strlen(s) != strlen(form))
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != '-')
            return false;
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century = two_digits(s), year = two_digits(s + 2);
    bool leap = year % 4 == 0 && (year != 0 || century % 4 == 0);
    int month = two_digits(s + 5), day = two_digits(s + 8);
    return month >= 1 && month <= 12 && day >= 1 &&
           day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static int write_file(const char *folder, const char *name, const struct buf *b, struct err *e)
{
    char *path = file_join(folder, name);
    int rc = file_make_parents(path, e);
    if (rc == 0)
        rc = file_publish(path, b->bytes, b->n_bytes, 0644, e);
    xfree(path);
    return rc;
}

static int write_files(const struct nightly_command *c, const char *folder, struct err *e)
{
    struct json *page = nightly_page(&c->nightly);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    page_write(page, &b);
    int rc = write_file(folder, "index.html", &b, e);
    buf_clear(&b);
    nightly_junit(&c->nightly, &b);
    if (rc == 0)
        rc = write_file(folder, "junit.xml", &b, e);
    buf_release(&b);
    json_free(page);
    return rc;
}

static void say(const struct nightly_command *c)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (c->common.json) {
        struct json *root = nightly_to_json(&c->nightly);
        json_write_pretty(root, 2, &b);
        json_free(root);
    } else {
        nightly_to_text(&c->nightly, &b);
    }
    term_out(c->context->term, buf_text(&b));
    buf_release(&b);
}

/* Hours of work are no place to learn that their page cannot be written. */
static int try_folder(const char *folder, struct err *e)
{
    char *page = file_join(folder, "index.html");
    int rc = file_can_make(page, e);
    if (rc < 0)
        err_wrap(e, "nothing was run, %s could not be written", page);
    xfree(page);
    return rc;
}

/* Runs what is listed; returns the exit status. */
static int run_listed(struct nightly_command *c, const char *folder)
{
    bool interrupted = false;
    for (size_t i = 0; i < c->nightly.n_items && !interrupted; i++)
        interrupted = !run_item(c, &c->nightly.items[i]);
    say(c);
    int status = interrupted ? 130 : nightly_exit_status(&c->nightly);
    struct err cause = {0};
    if (write_files(c, folder, &cause) == 0) {
        term_notef(c->context->term, "nightly: %s/index.html and junit.xml\n", folder);
    } else {
        term_notef(c->context->term, "nightly: the page is not written: %s\n", cause.text);
        status = status == 0 ? 1 : status;
    }
    return status;
}

static int run_all(struct nightly_command *c, const char *folder, struct err *e)
{
    char today[25];
    clock_text(clock_unix_ms(), today);
    today[strlen("2026-01-31")] = '\0';
    if (!c->nightly.date)
        c->nightly.date = today;
    char *out = xasprintf("%s/nightly/%s", c->run.reports_root, c->nightly.date);
    int rc = list_manifests(c, folder, e);
    if (rc == 0)
        rc = try_folder(out, e);
    if (rc == 0)
        rc = run_listed(c, out);
    xfree(out);
    c->nightly.date = NULL;
    return rc;
}

int cmd_nightly(int argc, char **argv, const struct cmd_context *context, struct err *e)
{
    struct nightly_command c = {
        .context = context,
        .common = CMD_COMMON_INIT,
        .run = {.out_root = "out", .reports_root = "reports", .kernels = "auto", .record = true},
    };
    int64_t jobs = 1, threads = 0;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(c.common),
        {"jobs", 'j', FLAG_INT, &jobs, "N", "stages at a time (default 1)"},
        {"threads", 0, FLAG_INT, &threads, "N",
         "threads of all stages together (default all CPUs)"},
        {"out", 0, FLAG_STRING, &c.run.out_root, "DIR", "where packages go (default out)"},
        {"reports", 0, FLAG_STRING, &c.run.reports_root, "DIR",
         "where the pages go (default reports)"},
        {"date", 0, FLAG_STRING, &c.nightly.date, "DATE", "names the page (default today, UTC)"},
        {"no-remote", 0, FLAG_BOOL, &c.run.alone, NULL,
         "leave the manifests' shared caches alone in this run"},
        {"sign", 0, FLAG_STRING, &c.run.sign_key, "KEY",
         "sign the ledger's commit with an SSH key (a private key, or a .pub in ssh-agent)"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *folder = "configs/nightly";
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &folder, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(context, "nightly [FOLDER] [options]",
                        "Runs and records every manifest of a folder (default configs/nightly),\n"
                        "compares each golden metric with its accepted baseline, and writes\n"
                        "reports/nightly/DATE/index.html and junit.xml. Exit status 3: something\n"
                        "is worse; 1: something is broken; 0: neither.",
                        flags, n_flags);
    rc = cmd_check_counts(jobs, threads, e);
    if (rc == 0)
        rc = cmd_need_name("--out", c.run.out_root, e);
    if (rc == 0)
        rc = cmd_need_name("--reports", c.run.reports_root, e);
    if (rc < 0)
        return rc;
    if (c.nightly.date && !is_date(c.nightly.date))
        return err_set(e, ERR_CONFIG, "--date: expected e.g. 2026-01-31, found \"%s\"",
                       c.nightly.date);
    c.run.jobs = (int)jobs;
    c.run.threads = (int)threads;
    c.run.program_folder = context->program_folder;
    rc = cmd_begin(&c.common, context->term, e);
    if (rc == 0)
        rc = cmd_need_file("--sign", c.run.sign_key, CMD_EXPECTED_KEY, e);
    if (rc == 0)
        rc = run_all(&c, folder, e);
    nightly_release(&c.nightly);
    return rc;
}
