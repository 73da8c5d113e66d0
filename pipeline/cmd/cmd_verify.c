/* fmforge verify: is everything that is kept still what it was? */

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/provenance/verify.h"

int cmd_verify(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    const char *signers = NULL;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"signers", 0, FLAG_STRING, &signers, "FILE",
         "check the runs' signatures against allowed signers"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, NULL, 0, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "verify [options]",
                        "Reads every stored object, raw copy and action and the whole ledger, and "
                        "names what is\ndamaged. With --signers it also says who signed which run. "
                        "Changes nothing.\nExit status: 0 all is sound, 1 "
                        "something is not.",
                        flags, n_flags);
    rc = cmd_begin(&common, c->term, e);
    if (rc == 0)
        rc = cmd_need_file("--signers", signers, CMD_EXPECTED_SIGNERS, e);
    if (rc < 0)
        return rc;
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common.home, "ledger.git");
    struct ledger l = {helper, repo};
    struct json *report = NULL;
    rc = verify_make(&l, common.home, signers, &report, e);
    if (rc == 0) {
        struct buf out;
        buf_init(&out, BUF_MAX_DEFAULT);
        if (common.json)
            json_write_pretty(report, 2, &out);
        else
            verify_to_text(report, &out);
        term_out(c->term, buf_text(&out));
        buf_release(&out);
        rc = str_eq(json_find_text(report, "status"), "ok") ? 0 : 1;
    }
    json_free(report);
    xfree(repo);
    xfree(helper);
    return rc;
}
