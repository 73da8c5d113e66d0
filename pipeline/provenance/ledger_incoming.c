#include "pipeline/provenance/ledger_incoming.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

int incoming_open(const char *repo, char **folder, struct err *e)
{
    char *path = file_join(repo, "incoming");
    int rc = file_remove_tree(path, e);
    if (rc == 0)
        rc = file_make_folder(path, e);
    if (rc == 0)
        *folder = path;
    else
        xfree(path);
    return rc;
}

static int sync_all(const char *repo, int sync_fd, struct err *e)
{
    return syncfs(sync_fd) == 0 ? 0 : err_set_errno(e, errno, "%s: cannot sync", repo);
}

static int move_all(const char *repo, const char *folder, struct err *e)
{
    struct file_list files = {0};
    int rc = file_list_folder(folder, &files, e);
    for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
        char *from = file_join(folder, files.paths[i]);
        char *to = xasprintf("%s/objects/%s", repo, files.paths[i]);
        bool moved = rename(from, to) == 0;
        if (!moved && errno == ENOENT)
            rc = file_make_parents(to, e);
        if (rc == 0 && !moved && rename(from, to) != 0)
            rc = err_set_errno(e, errno, "%s: cannot rename to it", to);
        xfree(from);
        xfree(to);
    }
    file_list_release(&files);
    return rc;
}

int incoming_take(const char *repo, const char *folder, int sync_fd, struct err *e)
{
    if (!file_is_folder(folder)) /* all of it was taken when its ref was busy */
        return 0;
    int rc = sync_all(repo, sync_fd, e);
    if (rc == 0)
        rc = move_all(repo, folder, e);
    if (rc == 0)
        rc = sync_all(repo, sync_fd, e);
    return rc == 0 ? file_remove_tree(folder, e) : rc;
}
