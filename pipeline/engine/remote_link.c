#include "pipeline/engine/remote_link.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/spawn.h"

#define LINE_BYTES_MAX 65536
#define END_MS 1000

int remote_link_start(struct remote_link *l, const char *program, struct err *e)
{
    int ends[2];
    if (access(program, X_OK) != 0)
        return err_set_errno(e, errno, "%s", program);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return err_set_errno(e, errno, "cannot make a socket for %s", program);
    char *argv[] = {(char *)program, NULL};
    struct spawn_spec spec = {program, argv, STDERR_FILENO, STDERR_FILENO, ends[1], -1};
    int rc = spawn_start(&spec, &l->pid, e);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        l->pid = 0;
        return rc;
    }
    l->fd = ends[0];
    l->ended = false;
    buf_init(&l->in, LINE_BYTES_MAX);
    return 0;
}

/* One request is under way at a time, so a line always fits into the socket. */
bool remote_link_say(struct remote_link *l, const char *format, ...)
{
    struct buf b;
    va_list args;
    buf_init(&b, LINE_BYTES_MAX);
    va_start(args, format);
    buf_vprintf(&b, format, args);
    va_end(args);
    buf_add_char(&b, '\n');
    ssize_t n = send(l->fd, b.bytes, b.n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    bool ok = n == (ssize_t)b.n_bytes;
    buf_release(&b);
    return ok;
}

char *remote_link_line(struct remote_link *l)
{
    char block[4096];
    while (!l->ended) {
        ssize_t n = recv(l->fd, block, sizeof block, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        l->ended = n <= 0 || !buf_fits(&l->in, (size_t)n);
        if (!l->ended)
            buf_add(&l->in, block, (size_t)n);
    }
    const char *text = buf_text(&l->in), *end = strchr(text, '\n');
    if (end == NULL)
        return NULL;
    char *line = xstrndup(text, (size_t)(end - text));
    size_t n_rest = l->in.n_bytes - (size_t)(end - text) - 1;
    memmove(l->in.bytes, end + 1, n_rest + 1);
    l->in.n_bytes = n_rest;
    return line;
}

void remote_link_close(struct remote_link *l)
{
    if (l->pid == 0)
        return;
    close(l->fd);
    double end_ms = clock_ms() + (l->ended ? 0 : END_MS);
    pid_t n;
    while ((n = waitpid(l->pid, NULL, WNOHANG)) == 0 && clock_ms() < end_ms)
        usleep(1000);
    if (n == 0) {
        kill(l->pid, SIGKILL);
        while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    buf_release(&l->in);
    memset(l, 0, sizeof *l);
}
