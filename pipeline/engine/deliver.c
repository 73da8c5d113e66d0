#include "pipeline/engine/deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

/* What an earlier run has delivered and nobody has changed is an object: it can be had back. */
static int is_kept(struct store *s, const char *path, bool *kept, struct err *e)
{
    struct stat st;
    struct content_id id;
    struct err why = {0};
    *kept = false;
    if (lstat(path, &st) != 0) {
        *kept = errno == ENOENT;
        return *kept ? 0 : err_set_errno(e, errno, "%s: cannot read its type", path);
    }
    if (S_ISLNK(st.st_mode))
        return 0;
    int rc = store_hash_source(s, path, &id, NULL, NULL, &why);
    if (rc == 0)
        *kept = store_has(s, id.hex);
    else if (rc == ERR_IO)
        return err_set(e, ERR_IO, "%s", why.text);
    return 0;
}

#define NAMES_MAX 1000

/* To a name that is free, or EEXIST. NFS knows no flags. An overlay moves no folder of a lower
 * layer, as in a container whose image has it: it is copied. 0 or errno. */
static int move(const char *path, const char *to)
{
    struct stat st;
    struct err why = {0};
    if (renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EXDEV)
        return errno;
    if (lstat(to, &st) == 0)
        return EEXIST;
    if (rename(path, to) == 0)
        return 0;
    if (errno != EXDEV)
        return errno;
    if (file_copy_tree(path, to, &why) == 0 && file_sync_tree(to, &why) == 0)
        return file_remove_tree(path, &why) == 0 ? 0 : EBUSY;
    return file_remove_tree(to, &why) == 0 ? EXDEV : EBUSY;
}

/* The first name that is free: NAME.before, NAME.before-2, ... */
static int move_aside(const char *path, char **moved, struct err *e)
{
    char *to = xasprintf("%s.before", path);
    int problem = EEXIST;
    for (int i = 2; problem == EEXIST && i <= NAMES_MAX; i++) {
        problem = move(path, to);
        if (problem != EEXIST)
            break;
        xfree(to);
        to = xasprintf("%s.before-%d", path, i);
    }
    int rc = problem == 0 ? 0
                          : err_set_errno(e, problem,
                                          "%s: it is not what a run has made, and cannot be "
                                          "renamed to %s",
                                          path, to);
    if (rc == 0)
        *moved = to;
    else
        xfree(to);
    return rc;
}

int deliver_one(const struct plan *p, const struct delivery *d, const char *out_root,
                struct delivered *out, struct err *e)
{
    const struct action_output *o = plan_output(p, d->i_instance, d->i_output);
    CHECK(o);
    char *path = deliver_path(d, out_root);
    *out = (struct delivered){0};
    int rc = 0;
    bool same = store_is_at(p->store, o->id.hex, o->is_folder, path);
    if (!same) {
        struct content_id id = deliver_id(p, d, out_root);
        rc = owed_add(store_home(p->store), p->graph->manifest->name, id.hex, true, e);
        if (rc == 0)
            rc = file_make_parents(path, e);
        bool kept = true;
        if (rc == 0)
            rc = is_kept(p->store, path, &kept, e);
        if (rc == 0 && !kept)
            rc = move_aside(path, &out->moved, e);
    }
    /* Also when it is the same: it removes what a killed run left beside it. */
    if (rc == 0)
        rc = store_copy_out(p->store, o->id.hex, o->is_folder, path, e);
    out->written = rc == 0 && !same;
    if (rc < 0)
        rc = err_wrap(e, "delivering %s", path);
    xfree(path);
    return rc;
}
