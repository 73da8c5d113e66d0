/* fmforge plan: what a run would do. Writes nothing. */

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/plan_cost.h"
#include "pipeline/engine/plan_gates.h"
#include "pipeline/engine/plan_memory.h"
#include "pipeline/engine/session.h"

static void show_plan(const struct cmd_context *c, const struct cmd_common *common,
                      const struct session *s)
{
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common->home, "ledger.git");
    struct ledger l = {helper, repo};
    struct plan_cost cost;
    struct plan_gates gates;
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    plan_cost_open(&cost, &s->plan, &l);
    plan_gates_open(&gates, &s->plan, &cost);
    if (common->json) {
        struct json *root = plan_to_json(&s->plan, &cost, &gates);
        json_write_pretty(root, 2, &out);
        json_free(root);
    } else {
        plan_to_text(&s->plan, &cost, &gates, &out);
    }
    term_out(c->term, buf_text(&out));
    plan_gates_release(&gates);
    plan_cost_release(&cost);
    buf_release(&out);
    xfree(repo);
    xfree(helper);
}

int cmd_plan(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    struct flag_list sets = {0};
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"set", 0, FLAG_LIST, &sets, "NAME=VALUE", "override the manifest, e.g. vars.seed=8"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *path = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &path, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(
            c, "plan MANIFEST [options]",
            "Says for each stage whether its result is there or why it would run, and how "
            "long it took\nwhen it was last executed. What a gate would hold back is said where "
            "the gate can be judged\nalready: of results that are there.",
            flags, n_flags);
    if (n != 1)
        return err_set(e, ERR_CONFIG, "plan: expected a manifest, e.g. configs/quickstart.yaml");
    rc = cmd_begin(&common, c->term, e);
    if (rc < 0)
        return rc;
    struct instant memory = {path, common.home, c->program_folder, "out", sets.items, sets.n_items,
                             0};
    if (!common.json && plan_memory_tell(&memory, c->term))
        return 0;
    struct session s;
    struct session_options o = {path,  common.home, c->program_folder, sets.items, sets.n_items,
                                false, c->term};
    rc = session_open(&s, &o, e);
    if (rc == 0 && s.absent) {
        cmd_say_skipped(c, &s, common.json);
    } else if (rc == 0) {
        session_say_remarks(&s, c->term);
        show_plan(c, &common, &s);
    }
    session_release(&s);
    return rc;
}
