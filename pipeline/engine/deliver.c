#include "pipeline/engine/deliver.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/owed.h"

char *deliver_path(const struct delivery *d, const char *out_root)
{
    return file_join(out_root, d->path);
}

struct content_id deliver_id(const struct plan *p, const struct delivery *d, const char *out_root)
{
    char *path = deliver_path(d, out_root);
    char *text = xasprintf("%s  %s", plan_output(p, d->i_instance, d->i_output)->id.hex, path);
    struct content_id id = sha256_of(text, strlen(text));
    xfree(text);
    xfree(path);
    return id;
}

int deliver_one(const struct plan *p, const struct delivery *d, const char *out_root, bool *written,
                struct err *e)
{
    const struct action_output *o = plan_output(p, d->i_instance, d->i_output);
    CHECK(o);
    char *path = deliver_path(d, out_root);
    *written = false;
    int rc = 0;
    bool same = store_is_at(p->store, o->id.hex, o->is_folder, path);
    if (!same) {
        struct content_id id = deliver_id(p, d, out_root);
        rc = owed_add(store_home(p->store), p->graph->manifest->name, id.hex, true, e);
        if (rc == 0)
            rc = file_make_parents(path, e);
    }
    /* Also when it is the same: it removes what a killed run left beside it. */
    if (rc == 0)
        rc = store_copy_out(p->store, o->id.hex, o->is_folder, path, e);
    *written = rc == 0 && !same;
    if (rc < 0)
        rc = err_wrap(e, "delivering %s", path);
    xfree(path);
    return rc;
}
