/* Apart from hold.c: who only looks needs nothing else of a store. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"

#define STEP_MS 10
#define SAY_AFTER_MS 1000

int hold_wait(int fd, const char *home)
{
    int how = LOCK_SH | LOCK_NB;
    for (int ms = 0; flock(fd, how) != 0; ms += STEP_MS) {
        if (errno != EINTR && errno != EWOULDBLOCK)
            return -1;
        if (ms == SAY_AFTER_MS) {
            dprintf(STDERR_FILENO, "fmforge: gc removes from %s: waiting for it\n", home);
            how = LOCK_SH;
        } else if (ms < SAY_AFTER_MS) {
            usleep(STEP_MS * 1000);
        }
    }
    return 0;
}

int hold_gate(const char *home)
{
    char *path = file_join(home, "locks/gc");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && hold_wait(fd, home) != 0) {
        close(fd);
        fd = -1;
    }
    xfree(path);
    return fd;
}
