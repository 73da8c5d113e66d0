#include "pipeline/provenance/ledger_incoming.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

int incoming_open(const char *repo, char **folder, int *sync_fd, struct err *e)
{
    char *path = file_join(repo, "incoming");
    int rc = file_remove_tree(path, e);
    if (rc == 0)
        rc = file_make_folder(path, e);
    *sync_fd = open(repo, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && *sync_fd < 0)
        rc = err_set_errno(e, errno, "%s: cannot open", repo);
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

static int move_one(const char *repo, const char *folder, const char *hex, struct err *e)
{
    char *relative = xasprintf("%.2s/%s", hex, hex + 2);
    char *from = file_join(folder, relative);
    int rc = file_exists(from) ? move(repo, folder, relative, e) : 0;
    xfree(from);
    xfree(relative);
    return rc;
}

static int move_rest(const char *repo, const char *folder, struct err *e)
{
    struct file_list files = {0};
    int rc = file_list_folder(folder, &files, e);
    for (size_t i = 0; i < files.n_paths && rc == 0; i++)
        rc = move(repo, folder, files.paths[i], e);
    file_list_release(&files);
    return rc == 0 ? file_remove_tree(folder, e) : rc;
}

int incoming_take(const char *repo, const char *folder, int sync_fd, const struct git_ids *order,
                  struct err *e)
{
    if (!file_is_folder(folder)) /* it was done, and then the ref was busy */
        return 0;
    int rc = sync_all(repo, sync_fd, e);
    for (size_t i = 0; i < order->n_ids && rc == 0; i++)
        rc = move_one(repo, folder, order->ids[i].hex, e);
    if (rc == 0)
        rc = move_rest(repo, folder, e);
    return rc == 0 ? sync_all(repo, sync_fd, e) : rc;
}
