#include "pipeline/engine/event_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/clock.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/provenance/statement.h"

#define LAST_WAIT_MS 1000.0

struct event_stream {
    char *path;
    int fd;                /* -1 once it takes nothing any more */
    bool is_file, is_held; /* held: open for reading too */
    struct buf waiting;    /* whole lines; the first may have gone in part */
    int64_t n_told, n_lost;
    struct err problem;
};

/* A description of our own, so that O_NONBLOCK reaches nobody who shares this one. A file keeps the
 * description: it has the position. */
static int open_standard_output(void)
{
    struct stat st;
    int fd = -1;
    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
        fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

/* A pipe whose reader comes later is held open for reading, too: that is no reason to wait. */
static int open_path(const char *path, bool *is_held)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0644);
    *is_held = fd < 0 && errno == ENXIO;
    return *is_held ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : fd;
}

int event_stream_open(const char *path, struct event_stream **out, struct err *e)
{
    struct stat st;
    bool standard = str_eq(path, "-"), is_held = false;
    int fd = standard ? open_standard_output() : open_path(path, &is_held);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int rc = err_set(e, ERR_CONFIG,
                         "--events %s: %s; expected a file or a named pipe that can be written, "
                         "or - for standard output",
                         path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    struct event_stream *s = xalloc(sizeof *s);
    *s = (struct event_stream){.path = xstrdup(standard ? "standard output" : path), .fd = fd};
    s->is_file = S_ISREG(st.st_mode);
    s->is_held = is_held;
    buf_init(&s->waiting, (size_t)LIMIT_EVENTS_BYTES);
    *out = s;
    return 0;
}

static void give_up(struct event_stream *s, const char *why)
{
    if (err_set(&s->problem, ERR_IO, "%s: %s", s->path, why) < 0)
        close(s->fd);
    s->fd = -1;
    buf_clear(&s->waiting);
}

/* A pipe that poll finds ready takes PIPE_BUF bytes without waiting. */
static bool is_ready(const struct event_stream *s, double until_ms)
{
    struct pollfd p = {s->fd, POLLOUT, 0};
    double wait_ms = s->is_file ? 0 : until_ms - clock_ms();
    return s->is_file || poll(&p, 1, wait_ms > 0 ? (int)wait_ms + 1 : 0) > 0;
}

/* Waits for its reader until then; 0: not at all. */
static void send_waiting(struct event_stream *s, double until_ms)
{
    size_t sent = 0;
    while (s->fd >= 0 && sent < s->waiting.n_bytes && is_ready(s, until_ms)) {
        size_t n = s->waiting.n_bytes - sent;
        n = s->is_file || n < PIPE_BUF ? n : PIPE_BUF;
        ssize_t written = write(s->fd, s->waiting.bytes + sent, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (written < 0) {
            give_up(s, errno == EPIPE ? "its reader is gone" : strerror(errno));
            return;
        }
        sent += (size_t)written;
    }
    if (s->fd < 0 || sent == 0)
        return;
    memmove(s->waiting.bytes, s->waiting.bytes + sent, s->waiting.n_bytes - sent + 1);
    s->waiting.n_bytes -= sent;
}

void event_stream_flush(struct event_stream *s)
{
    if (s != NULL)
        send_waiting(s, 0);
}

/* False when there is no room for the line: a line is never cut. */
static bool put_line(struct event_stream *s, const char *event, struct json *o)
{
    char when[25];
    struct buf line;
    buf_init(&line, BUF_MAX_DEFAULT);
    json_put_string(o, "schema", "fmforge.event/1");
    json_put_i64(o, "seq", s->n_told + 1);
    json_put_string(o, "time", clock_text(clock_unix_ms(), when));
    json_put_string(o, "event", event);
    json_write_canonical(o, &line);
    buf_add_char(&line, '\n');
    bool fits = s->waiting.n_bytes + line.n_bytes < (size_t)LIMIT_EVENTS_BYTES;
    if (fits)
        buf_add(&s->waiting, line.bytes, line.n_bytes);
    s->n_told += fits;
    buf_release(&line);
    return fits;
}

/* With much room only: one line for many. */
static void say_lost(struct event_stream *s, size_t room)
{
    if (s->waiting.n_bytes > (size_t)LIMIT_EVENTS_BYTES - room)
        return;
    struct json *o = json_new_object();
    json_put_i64(o, "events", s->n_lost);
    if (s->n_lost > 0 && put_line(s, "lost", o))
        s->n_lost = 0;
    json_free(o);
}

void event_stream_add(struct event_stream *s, const char *event, struct json *fields)
{
    struct json *o = fields != NULL ? fields : json_new_object();
    if (s != NULL && s->fd >= 0) {
        send_waiting(s, 0);
        if (s->fd >= 0)
            say_lost(s, (size_t)LIMIT_EVENTS_BYTES / 2);
        if (s->fd >= 0 && (s->n_lost > 0 || !put_line(s, event, o)))
            s->n_lost++;
        send_waiting(s, 0);
    }
    json_free(o);
}

/* In a pipe that we hold open ourselves it is lost when we end. */
static size_t n_unread(const struct event_stream *s)
{
    int n = 0;
    return s->is_held && ioctl(s->fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

bool event_stream_close(struct event_stream *s, struct err *problem)
{
    if (s == NULL)
        return true;
    double until = clock_ms() + LAST_WAIT_MS;
    if (s->fd >= 0)
        say_lost(s, 0);
    send_waiting(s, until);
    while (s->is_held && s->fd >= 0 && n_unread(s) > 0 && clock_ms() < until)
        usleep(1000);
    if (s->fd >= 0 && s->waiting.n_bytes + (size_t)s->n_lost + n_unread(s) > 0)
        give_up(s, "its reader did not take everything");
    if (s->fd >= 0 && close(s->fd) != 0 && s->problem.code == 0)
        err_set(&s->problem, ERR_IO, "%s: %s", s->path, strerror(errno));
    bool all = s->problem.code == 0;
    if (!all && problem != NULL)
        *problem = s->problem;
    buf_release(&s->waiting);
    xfree(s->path);
    xfree(s);
    return all;
}
