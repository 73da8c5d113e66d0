/* fmforge cat: the bytes of an object of the store, whatever its form. */

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/store/store.h"

static void print(void *context, const void *bytes, size_t n_bytes)
{
    const struct term *term = context;
    term->out(bytes, n_bytes);
}

static int cat(const struct cmd_context *c, const struct cmd_common *common, const char *id,
               int64_t offset, int64_t n_bytes, struct err *e)
{
    struct term term = *c->term;
    const struct zfile_sink to = {print, &term};
    struct store *s = NULL;
    int rc = store_open_read(common->home, &s, e);
    if (rc == 0)
        rc = n_bytes < 0 ? store_print(s, id, &to, e)
                         : store_print_range(s, id, (uint64_t)offset, (uint64_t)n_bytes, &to, e);
    store_close(s);
    return rc;
}

int cmd_cat(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct cmd_common common = CMD_COMMON_INIT;
    int64_t offset = 0, n_bytes = -1;
    const struct flag flags[] = {
        CMD_PLACE_FLAGS(common),
        {"offset", 0, FLAG_INT, &offset, "N", "with --bytes: from byte N on (0)"},
        {"bytes", 0, FLAG_INT, &n_bytes, "N", "print N bytes only"},
    };
    const size_t n_flags = sizeof flags / sizeof flags[0];
    const char *id = NULL;
    size_t n = 0;
    bool help = false;
    int rc = flag_parse(argc, argv, flags, n_flags, &id, 1, &n, &help, e);
    if (rc < 0)
        return rc;
    if (help)
        return cmd_help(c, "cat ID [options]",
                        "Prints the bytes of the object with this SHA-256; of a folder, its "
                        "listing. They are\nverified: exit status 1 says that what came out is not "
                        "it. With --bytes little more than\nthese is read, and only their own "
                        "checksums are compared.",
                        flags, n_flags);
    if (n == 1 && str_starts(id, "sha256:")) /* as audit takes it and records write it */
        id += strlen("sha256:");
    if (n != 1 || !str_is_hex(id, SHA256_HEX))
        return err_set(e, ERR_CONFIG, "cat: expected an id: 64 lower-case hex digits%s%s",
                       n == 1 ? ", found " : "", n == 1 ? id : "");
    if (common.json)
        return err_set(e, ERR_CONFIG, "cat: it prints bytes: there is no --json");
    if (offset < 0 || n_bytes < -1)
        return err_set(e, ERR_CONFIG, "cat: --offset and --bytes: expected 0 or more");
    if (offset > 0 && n_bytes < 0)
        return err_set(e, ERR_CONFIG, "cat: --offset: expected --bytes with it");
    rc = cmd_begin(&common, c->term, e);
    return rc < 0 ? rc : cat(c, &common, id, offset, n_bytes, e);
}
