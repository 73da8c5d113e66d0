#include "pipeline/cmd/cmd.h"

#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"

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

int cmd_begin(const struct cmd_common *common, const struct term *term, struct err *e)
{
    bool busy = false;
    int rc = cmd_enter(common, e);
    int fd = rc == 0 ? hold_gate(common->home, HOLD_WORDLESS_MS, &busy) : -1;
    if (busy) {
        term_notef(term, "gc removes from %s: waiting for it\n", common->home);
        fd = hold_gate(common->home, -1, &busy);
    }
    if (fd >= 0)
        close(fd); /* what opens the store takes it again */
    return rc;
}

void cmd_say_skipped(const struct cmd_context *c, const struct session *s, bool as_json)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    char *reason = session_absent_text(s);
    if (as_json) {
        struct json *root = json_new_object();
        json_put_string(root, "schema", "fmforge.skipped/1");
        json_put_string(root, "name", s->manifest.name);
        json_put_string(root, "status", "skipped");
        json_put_string(root, "reason", reason);
        json_put(root, "stages", json_new_array());
        json_write_pretty(root, 2, &b);
        json_free(root);
    } else {
        buf_printf(&b, "%s: skipped: %s (skip_without in %s)\n", s->manifest.name, reason,
                   s->manifest.doc.path);
    }
    term_out(c->term, buf_text(&b));
    xfree(reason);
    buf_release(&b);
}
