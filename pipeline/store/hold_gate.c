/* Apart from hold.c: who only looks needs nothing else of a store. */

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"

int hold_gate(const char *home)
{
    char *path = file_join(home, "locks/gc");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_SH) != 0) {
        if (errno == EINTR)
            continue;
        close(fd);
        fd = -1;
    }
    xfree(path);
    return fd;
}
