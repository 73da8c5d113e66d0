#include "pipeline/provenance/ledger_incoming.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
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

int incoming_sync(const char *repo, int sync_fd, struct err *e)
{
    return syncfs(sync_fd) == 0 ? 0 : err_set_errno(e, errno, "%s: cannot sync", repo);
}

bool incoming_has(const char *folder, const char *hex)
{
    char *path = xasprintf("%s/%.2s/%s", folder, hex, hex + 2);
    bool has = file_exists(path);
    xfree(path);
    return has;
}

/* relative: "xx/..." */
static int move(const char *repo, const char *folder, const char *relative, struct err *e)
{
    char *from = file_join(folder, relative);
    char *to = xasprintf("%s/objects/%s", repo, relative);
    int rc = 0;
    int problem = rename(from, to) == 0 ? 0 : errno;
    if (problem == ENOENT) {
        rc = file_make_parents(to, e);
        problem = rc != 0 || rename(from, to) == 0 ? 0 : errno;
    }
    if (problem != 0)
        rc = err_set_errno(e, problem, "%s: cannot rename to it", to);
    xfree(to);
    xfree(from);
    return rc;
}

int incoming_move(const char *repo, const char *folder, const char *hex, struct err *e)
{
    char *relative = xasprintf("%.2s/%s", hex, hex + 2);
    int rc = incoming_has(folder, hex) ? move(repo, folder, relative, e) : 0;
    xfree(relative);
    return rc;
}

int incoming_move_rest(const char *repo, const char *folder, struct err *e)
{
    struct file_list files = {0};
    int rc = file_list_folder(folder, &files, e);
    for (size_t i = 0; i < files.n_paths && rc == 0; i++)
        rc = move(repo, folder, files.paths[i], e);
    file_list_release(&files);
    return rc == 0 ? file_remove_tree(folder, e) : rc;
}
