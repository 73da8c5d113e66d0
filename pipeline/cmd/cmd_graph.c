/* fmforge graph: what is made from what. Writes nothing. */

#include "pipeline/base/buf.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/graph_dot.h"
#include "pipeline/engine/session.h"

int cmd_graph(int argc, char **argv, const struct cmd_context *c, struct err *e)
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
        return cmd_help(c, "graph MANIFEST [options]",
                        "Prints what is made from what in DOT: fmforge graph MANIFEST | dot -Tsvg "
                        ">graph.svg\nGreen stages are cached, yellow ones would run; a dashed "
                        "line waits for gates.",
                        flags, n_flags);
    if (n != 1)
        return err_set(e, ERR_CONFIG, "graph: expected a manifest, e.g. configs/quickstart.yaml");
    rc = cmd_begin(&common, c->term, e);
    if (rc < 0)
        return rc;
    struct session s;
    struct session_options o = {path,  common.home, c->program_folder, sets.items, sets.n_items,
                                false, c->term};
    rc = session_open(&s, &o, e);
    if (rc == 0 && s.absent) {
        cmd_say_skipped(c, &s, common.json);
    } else if (rc == 0) {
        struct json *root = graph_to_json(&s.plan);
        struct buf out;
        buf_init(&out, BUF_MAX_DEFAULT);
        if (common.json)
            json_write_pretty(root, 2, &out);
        else
            graph_to_dot(root, &out);
        term_out(c->term, buf_text(&out));
        buf_release(&out);
        json_free(root);
    }
    session_release(&s);
    return rc;
}
