/* fmforge audit: where a file, folder or digest came from, checked. */

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/provenance/audit.h"

static int audit(const struct cmd_context *c, const struct cmd_common *common, const char *target,
                 const char *signers, struct err *e)
{
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common->home, "ledger.git");
    struct ledger l = {helper, repo};
    struct json *report = NULL;
    const struct audit_question q = {target, NULL, signers};
    int rc = audit_make(&l, common->home, &q, &report, e);
    if (rc == 0) {
        struct buf out;
        buf_init(&out, BUF_MAX_DEFAULT);
        if (common->json)
            json_write_pretty(report, 2, &out);
        else
            audit_to_text(report, &out);
        term_out(c->term, buf_text(&out));
        buf_release(&out);
        const char *status = json_find_text(report, "status");
        rc = str_eq(status, "proven") ? 0 : str_eq(status, "mismatch") ? 1 : 4;
    }
    json_free(report);
    xfree(repo);
    xfree(helper);
    return rc;
}

int cmd_audit(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    const char *signers = NULL;
    const struct flag flags[] = {
        CMD_COMMON_FLAGS(common),
        {"signers", 0, FLAG_STRING, &signers, "FILE",
         "check the runs' signatures against allowed signers"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *target = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &target, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "audit FILE|FOLDER|DIGEST [options]",
                        "Says where the bytes came from: every stage back to the sources, with "
                        "config, code\nand programs, and checks all that says so. Exit status: 0 "
                        "proven, 1 mismatch, 4 cannot tell.",
                        flags, n_flags);
    if (n != 1)
        return err_set(e, ERR_CONFIG, "audit: expected a file, a folder or a SHA-256");
    rc = cmd_begin(&common, c->term, e);
    if (rc == 0)
        rc = cmd_need_file("--signers", signers, CMD_EXPECTED_SIGNERS, e);
    return rc < 0 ? rc : audit(c, &common, target, signers, e);
}
