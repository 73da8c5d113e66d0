/* fmforge accept: makes the results of recorded runs the baseline of later ones. */

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/baseline.h"

#define RUNS_MAX 32

static int accept(const struct cmd_context *c, const char *home, const char *name,
                  const char *const *ids, size_t n_ids, bool as_json, struct err *e)
{
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(home, "ledger.git");
    struct ledger l = {helper, repo};
    struct store *store = NULL;
    struct run_record runs[RUNS_MAX] = {{0}};
    size_t n_written = 0;
    int rc = store_open_read(home, &store, e);
    for (size_t i = 0; i < n_ids && rc == 0; i++)
        rc = run_record_find(&l, ids[i], name, &runs[i], e);
    if (rc == 0)
        rc = baseline_accept(runs, n_ids, store, &n_written, e);
    if (rc == 0 && as_json)
        term_outf(c->term,
                  "{\n  \"schema\": \"fmforge.accept/1\",\n  \"name\": \"%s\",\n  \"baselines\": "
                  "%zu,\n  \"runs\": %zu\n}\n",
                  runs[0].name, n_written, n_ids);
    else if (rc == 0)
        term_outf(c->term, "%s: %zu baseline%s in " BASELINE_ROOT "/%s, from %zu run%s\n",
                  runs[0].name, n_written, n_written == 1 ? "" : "s", runs[0].name, n_ids,
                  n_ids == 1 ? "" : "s");
    for (size_t i = 0; i < n_ids; i++)
        run_record_release(&runs[i]);
    store_close(store);
    xfree(repo);
    xfree(helper);
    return rc;
}

int cmd_accept(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    const char *name = NULL;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"name", 0, FLAG_STRING, &name, "NAME", "last means the newest run of this pipeline"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *ids[RUNS_MAX] = {NULL};
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, ids, RUNS_MAX, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(
            c, "accept RUN [RUN ...] [options]",
            "Writes the golden results of a run to " BASELINE_ROOT "/, where `drop`\n"
            "gates and the nightly compare with them. Of several runs (other seeds) the\n"
            "mean, and their spread says how much of a change means nothing.",
            flags, n_flags);
    if (n == 0)
        return err_set(e, ERR_CONFIG, "accept: expected a run's id (fmforge log), or last");
    rc = cmd_begin(&common, c->term, e);
    return rc == 0 ? accept(c, common.home, name, ids, n, common.json, e) : rc;
}
