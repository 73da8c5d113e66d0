/* fmforge bom, fmforge card: what the record says of a package, in the forms of others. */

#include "pipeline/base/file.h"
#include "pipeline/base/release.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/job.h"
#include "pipeline/provenance/bom.h"
#include "pipeline/provenance/model_card.h"

typedef int write_function(const struct origin *o, struct buf *out, struct err *e);

static int write_bom(const struct origin *o, struct buf *out, struct err *e)
{
    (void)e;
    struct json *root = bom_make(o, FMFORGE_VERSION);
    json_write_pretty(root, 2, out);
    json_free(root);
    return 0;
}

static int print(const struct cmd_context *c, const struct cmd_common *common, const char *target,
                 write_function *form, struct err *e)
{
    char *helper = file_join(c->program_folder, "fmforge-ledger");
    char *repo = file_join(common->home, "ledger.git");
    struct ledger l = {helper, repo};
    struct origin o;
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    int rc = origin_find(&l, common->home, target, &o, e);
    if (rc == 0)
        rc = form(&o, &out, e);
    const struct json *open = rc == 0 ? json_items(o.audit, "unknowns") : NULL;
    if (rc == 0)
        term_out(c->term, buf_text(&out));
    if (open != NULL)
        term_notef(c->term, "not all of it can be checked: %s (fmforge audit says more)\n",
                   json_string(open));
    origin_release(&o);
    buf_release(&out);
    xfree(repo);
    xfree(helper);
    return rc;
}

static int describe(int argc, char **argv, const struct cmd_context *c, const char *text,
                    write_function *form, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    const struct flag flags[] = {
        CMD_PLACE_FLAGS(common),
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *target = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &target, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help) {
        char *usage = xasprintf("%s PACKAGE|DIGEST|RUN [options]", argv[0]);
        cmd_help(c, usage, text, flags, n_flags);
        xfree(usage);
        return 0;
    }
    if (n != 1)
        return err_set(e, ERR_CONFIG,
                       "%s: expected a package's folder, a SHA-256, or a run that delivered one "
                       "(last)",
                       argv[0]);
    rc = cmd_begin(&common, c->term, e);
    return rc < 0 ? rc : print(c, &common, target, form, e);
}

int cmd_bom(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    return describe(argc, argv, c,
                    "Prints the bill of materials of a package, or of anything else that a stage "
                    "made, as\nCycloneDX 1.6 JSON: the model with its card, the base it descends "
                    "from, data, hashes, and\nhow it was made. Of one record always the same "
                    "bytes. What an audit finds wrong is refused.",
                    write_bom, e);
}

int cmd_card(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    return describe(argc, argv, c,
                    "Prints the model card of a package or an adapter: Markdown, with the header "
                    "that the Hugging\nFace Hub reads. Of one record always the same bytes. What "
                    "an audit finds wrong is refused.",
                    model_card_write, e);
}
