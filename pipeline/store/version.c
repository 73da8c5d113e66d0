#include "pipeline/store/version.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define PREFIX "fmforge store "
#define OLD_TEXT "fmforge store 1\n"
#define TEXT_BYTES_MAX 64

static int read_version(const char *home, struct buf *text, struct err *e)
{
    char *path = file_join(home, "version");
    int rc = file_read(path, TEXT_BYTES_MAX, text, e);
    xfree(path);
    return rc;
}

int version_check(const char *home, struct err *e)
{
    struct buf b;
    buf_init(&b, 4096);
    int rc = read_version(home, &b, e);
    if (rc == 0 && !str_eq(buf_text(&b), STORE_VERSION_TEXT) && !str_eq(buf_text(&b), OLD_TEXT)) {
        size_t n = strcspn(buf_text(&b), "\n");
        if (str_starts(buf_text(&b), PREFIX))
            rc = err_set(e, ERR_CONFIG,
                         "%s: this is \"%.*s\", this program reads \"fmforge store 1\" and "
                         "\"fmforge store 2\": use the fmforge that made it, or another --home",
                         home, (int)n, buf_text(&b));
        else
            rc = err_set(e, ERR_CONFIG, "%s/version: damaged: it does not say \"fmforge store 2\"",
                         home);
    }
    buf_release(&b);
    return rc;
}

int version_raise(const char *home, struct err *e)
{
    struct buf b;
    buf_init(&b, 4096);
    int rc = read_version(home, &b, e);
    if (rc == 0 && str_eq(buf_text(&b), OLD_TEXT)) {
        char *path = file_join(home, "version");
        rc = file_publish(path, STORE_VERSION_TEXT, strlen(STORE_VERSION_TEXT), 0644, e);
        xfree(path);
    }
    buf_release(&b);
    return rc;
}
