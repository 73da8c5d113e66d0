/* Apart from hold.c: who only looks needs nothing else of a store. */

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"

#define STEP_MS 10

static int lock_shared(int fd, int wait_ms, bool *busy)
{
    int how = wait_ms < 0 ? LOCK_SH : LOCK_SH | LOCK_NB;
    for (int ms = 0; flock(fd, how) != 0;) {
        *busy = errno == EWOULDBLOCK && ms >= wait_ms;
        if (*busy || (errno != EINTR && errno != EWOULDBLOCK))
            return -1;
        if (errno == EWOULDBLOCK) {
            usleep(STEP_MS * 1000);
            ms += STEP_MS;
        }
    }
    return 0;
}

int hold_gate(const char *home, int wait_ms, bool *busy)
{
    char *path = file_join(home, "locks/gc");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *busy = false;
    if (fd >= 0 && lock_shared(fd, wait_ms, busy) != 0) {
        close(fd);
        fd = -1;
    }
    xfree(path);
    return fd;
}
