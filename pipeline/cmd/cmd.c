#include "pipeline/cmd/cmd.h"

#include <errno.h>
#include <unistd.h>

#include "pipeline/base/buf.h"

int cmd_enter(const struct cmd_common *common, struct err *e)
{
    if (common->folder && chdir(common->folder) != 0)
        return err_set(e, ERR_CONFIG, "-C %s: no such folder, or it cannot be entered",
                       common->folder);
    return 0;
}

int cmd_help(const struct cmd_context *c, const char *usage, const char *text,
             const struct flag *flags, size_t n_flags)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b, "usage: fmforge %s\n\n%s\n\n", usage, text);
    flag_help(flags, n_flags, &b);
    term_out(c->term, buf_text(&b));
    buf_release(&b);
    return 0;
}
