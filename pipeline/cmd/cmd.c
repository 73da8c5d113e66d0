#include "pipeline/cmd/cmd.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"

int cmd_enter(const struct cmd_common *common, struct err *e)
{
    if (common->folder && chdir(common->folder) != 0)
        return err_set(e, ERR_CONFIG, "-C %s: no such folder, or it cannot be entered",
                       common->folder);
    return 0;
}

int cmd_check_counts(int64_t jobs, int64_t threads, struct err *e)
{
    if (jobs < 1 || jobs > LIMIT_THREADS)
        return err_set(e, ERR_CONFIG, "-j: expected 1 to %d, found %lld", LIMIT_THREADS,
                       (long long)jobs);
    if (threads < 0 || threads > LIMIT_THREADS)
        return err_set(e, ERR_CONFIG, "--threads: expected 0 (one per CPU) to %d, found %lld",
                       LIMIT_THREADS, (long long)threads);
    return 0;
}

int cmd_need_file(const char *flag, const char *path, const char *expected, struct err *e)
{
    struct stat st;
    if (path == NULL)
        return 0;
    if (stat(path, &st) != 0)
        return err_set(e, ERR_CONFIG, "%s %s: %s; expected %s", flag, path,
                       errno == ENOENT ? "no such file" : strerror(errno), expected);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_CONFIG, "%s %s: %s; expected %s", flag, path,
                       S_ISDIR(st.st_mode) ? "a folder" : "no regular file", expected);
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

void cmd_say_skipped(const struct cmd_context *c, const struct session *s, bool as_json)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    char *reason = xasprintf("%s is not there", s->absent);
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
