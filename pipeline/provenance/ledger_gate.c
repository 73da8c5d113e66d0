#include "pipeline/provenance/ledger_gate.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

char *ledger_parent(const char *repo)
{
    const char *base = file_base_name(repo);
    return base == repo ? xstrdup(".") : xstrndup(repo, (size_t)(base - repo));
}

int ledger_gate(const char *repo, int *fd, struct err *e)
{
    char *parent = ledger_parent(repo);
    int rc = 0;
    *fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || file_lock(*fd) != 0)
        rc = err_set_errno(e, errno, "%s: cannot lock", parent);
    xfree(parent);
    return rc;
}

void ledger_remove_lock(const char *repo, const char *ref, struct buf *notes)
{
    char *lock = xasprintf("%s/%s.lock", repo, ref);
    struct stat st;
    if (stat(lock, &st) == 0 && unlink(lock) == 0)
        buf_printf(notes, "removed %s, left by a killed program %ld s ago\n", lock,
                   (long)(time(NULL) - st.st_mtime));
    xfree(lock);
}
