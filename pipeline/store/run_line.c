#include "pipeline/store/run_line.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

static bool is_plain(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == '"' || *text == '\\')
            return false;
    return true;
}

int run_line_add(const struct run_line *l, const char *home, bool sync, struct err *e)
{
    CHECK(is_plain(l->name) && is_plain(l->started));
    CHECK(is_plain(l->status) && is_plain(l->manifest));
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b,
               "{\"manifest\":\"%s\",\"name\":\"%s\",\"stages\":%llu,\"started\":\"%s\","
               "\"status\":\"%s\"}",
               l->manifest, l->name, (unsigned long long)l->n_stages, l->started, l->status);
    char *path = file_join(home, "runs.log");
    int rc = file_append_line(path, buf_text(&b), sync, e);
    xfree(path);
    buf_release(&b);
    return rc;
}
