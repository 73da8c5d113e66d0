#include "pipeline/store/owed.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

/* A pipeline's name has no dot. */
static char *mark_path(const char *home, const char *name, const char *id_hex)
{
    return id_hex != NULL ? xasprintf("%s/owed/%s.%s", home, name, id_hex)
                          : xasprintf("%s/owed/%s", home, name);
}

int owed_add(const char *home, const char *name, const char *id_hex, bool sync, struct err *e)
{
    char *path = mark_path(home, name, id_hex);
    struct err absent = {0}; /* the folder: of the first mark of a store */
    bool done = file_exists(path) || (!sync && file_write(path, "", 0, &absent) == 0);
    int rc = done ? 0 : file_make_parents(path, e);
    if (rc == 0 && !done)
        rc = sync ? file_publish(path, "", 0, 0644, e) : file_write(path, "", 0, e);
    xfree(path);
    return rc;
}

bool owed_has(const char *home, const char *name, const char *id_hex)
{
    char *path = mark_path(home, name, id_hex);
    bool owed = file_exists(path);
    xfree(path);
    return owed;
}

bool owed_any(const char *home, const char *name)
{
    char *folder = file_join(home, "owed"), *prefix = xasprintf("%s.", name);
    struct file_list names = {0};
    struct err ignored = {0};
    bool any = false;
    if (file_is_folder(folder) && file_list_names(folder, &names, &ignored) < 0)
        any = true; /* what cannot be read may hold one */
    for (size_t i = 0; i < names.n_paths && !any; i++)
        any = str_eq(names.paths[i], name) || str_starts(names.paths[i], prefix);
    file_list_release(&names);
    xfree(prefix);
    xfree(folder);
    return any;
}

int owed_settle(const char *home, const char *name, const char *id_hex, struct err *e)
{
    char *path = mark_path(home, name, id_hex);
    int rc = file_remove_tree(path, e);
    xfree(path);
    return rc;
}

static int read_mark(const char *path, int64_t from, struct id_set *keys, int64_t *since,
                     struct err *e)
{
    struct stat st;
    if (lstat(path, &st) != 0) /* it may have been settled meanwhile */
        return errno == ENOENT ? 0 : err_set_errno(e, errno, "%s: cannot read", path);
    if (st.st_mtime < from)
        return 0;
    const char *dot = strchr(file_base_name(path), '.');
    if (dot != NULL && str_is_hex(dot + 1, SHA256_HEX))
        id_set_add(keys, dot + 1);
    else if (dot == NULL && st.st_mtime < *since)
        *since = st.st_mtime;
    return 0;
}

int owed_read(const char *home, int64_t from, struct id_set *keys, int64_t *since, struct err *e)
{
    char *folder = file_join(home, "owed");
    struct file_list names = {0};
    int rc = file_is_folder(folder) ? file_list_names(folder, &names, e) : 0;
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        char *path = file_join(folder, names.paths[i]);
        rc = read_mark(path, from, keys, since, e);
        xfree(path);
    }
    file_list_release(&names);
    xfree(folder);
    return rc;
}
