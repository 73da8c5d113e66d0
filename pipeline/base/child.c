#include "pipeline/base/child.h"
#include "pipeline/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define N_KEPT 5 /* stdin, stdout, stderr, extra, and the pipe that tells why exec failed */

enum { AT_IN, AT_OUT, AT_NOTE, AT_EXTRA, AT_FAILURE };

/* ---- the environment ---- */

static bool is_dropped(const char *const *drop, const char *entry)
{
    size_t n_name = strcspn(entry, "=");
    for (size_t i = 0; drop != NULL && drop[i] != NULL; i++)
        if (strlen(drop[i]) == n_name && memcmp(drop[i], entry, n_name) == 0)
            return true;
    return false;
}

/* Ours without the dropped names, and the added ones. Texts are borrowed; xfree the array. */
static const char **make_environment(const struct child_spec *spec)
{
    size_t n = 0, n_add = 0, n_kept = 0;
    while (environ[n] != NULL)
        n++;
    while (spec->env_add != NULL && spec->env_add[n_add] != NULL)
        n_add++;
    const char **out = xalloc_array(n + n_add + 1, sizeof *out);
    for (size_t i = 0; i < n; i++)
        if (!is_dropped(spec->env_drop, environ[i]))
            out[n_kept++] = environ[i];
    for (size_t i = 0; i < n_add; i++)
        out[n_kept++] = spec->env_add[i];
    return out;
}

/* ---- starting ---- */

/* Between fork and exec. Never returns. */
_Noreturn static void become(const struct child_spec *spec, const char **environment,
                             const int fds[N_KEPT], pid_t parent)
{
    int sources[N_KEPT];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* the parent died in between */
    setsid();
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Out of the way first: the targets may be in use by the sources. */
    for (int i = 0; i < N_KEPT; i++)
        sources[i] = fds[i] >= 0 ? fcntl(fds[i], F_DUPFD, 16) : -1;
    for (int i = 0; i < N_KEPT; i++)
        if (sources[i] >= 0)
            dup2(sources[i], i);
        else
            close(i);
    fcntl(AT_FAILURE, F_SETFD, FD_CLOEXEC);
    close_range(N_KEPT, ~0U, 0);
    execvpe(spec->argv[0], (char *const *)spec->argv, (char *const *)environment);
    int number = errno;
    ssize_t n = write(AT_FAILURE, &number, sizeof number);
    (void)n;
    _exit(127);
}

/* A file in memory that holds the bytes, at its start. */
static int memory_file(const void *bytes, size_t n_bytes, int *fd, struct err *e)
{
    *fd = memfd_create("bytes", MFD_CLOEXEC);
    const char *at = bytes;
    for (size_t done = 0; *fd >= 0 && done < n_bytes;) {
        ssize_t n = write(*fd, at + done, n_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(e, errno, "a memory file cannot be written");
        done += (size_t)n;
    }
    if (*fd < 0 || lseek(*fd, 0, SEEK_SET) != 0)
        return err_set_errno(e, errno, "cannot make a memory file");
    return 0;
}

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Waits until the child has become the program, or could not. */
static int await_start(const char *program, int fd, struct err *e)
{
    int number = 0;
    ssize_t n;
    do
        n = read(fd, &number, sizeof number);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof number)
        return 0;
    if (number == ENOENT)
        return err_set(e, ERR_MISSING, "%s: there is no such program in PATH", program);
    return err_set_errno(e, number, "%s cannot be run", program);
}

/* ---- reading ---- */

/* Takes what is there; *fd is shut at its end. */
static int take(const char *program, int *fd, struct buf *out, struct err *e)
{
    char block[1 << 14];
    ssize_t n = read(*fd, block, sizeof block);
    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0)
        return err_set_errno(e, errno, "reading from %s", program);
    if (n == 0)
        shut(fd);
    else if (!buf_fits(out, (size_t)n))
        return err_set(e, ERR_LIMIT, "%s printed more than %zu bytes", program, out->max_bytes);
    else
        buf_add(out, block, (size_t)n);
    return 0;
}

static int too_late(const struct child_spec *spec, struct err *e)
{
    char limit[24];
    return err_set(e, ERR_LIMIT, "%s did not end within %s and was stopped", spec->argv[0],
                   str_format_seconds(spec->limit_ms / 1e3, limit));
}

static int read_both(const struct child_spec *spec, long long end_ms, int *out_fd, int *note_fd,
                     struct child_result *r, struct err *e)
{
    while (*out_fd >= 0 || *note_fd >= 0) {
        struct pollfd fds[2] = {{*out_fd, POLLIN, 0}, {*note_fd, POLLIN, 0}};
        long long left_ms = end_ms - clock_ms();
        int n = left_ms > 0 ? poll(fds, 2, (int)left_ms) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(e, errno, "waiting for %s", spec->argv[0]);
        if (n == 0)
            return too_late(spec, e);
        int rc = fds[0].revents ? take(spec->argv[0], out_fd, &r->out, e) : 0;
        if (rc == 0 && fds[1].revents)
            rc = take(spec->argv[0], note_fd, &r->note, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* It has shut both streams: it ends now, or it is late. */
static int await_end(const struct child_spec *spec, long long end_ms, pid_t child, int *status,
                     struct err *e)
{
    for (;;) {
        pid_t n = waitpid(child, status, WNOHANG);
        if (n == child)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_set_errno(e, errno, "waiting for %s", spec->argv[0]);
        if (clock_ms() >= end_ms)
            return too_late(spec, e);
        usleep(500);
    }
}

/* ---- whole ---- */

struct ends {
    int in, extra, out[2], note[2], failure[2];
};

static int open_ends(const struct child_spec *spec, struct ends *p, struct err *e)
{
    int rc = 0;
    *p = (struct ends){-1, -1, {-1, -1}, {-1, -1}, {-1, -1}};
    if (spec->input != NULL)
        rc = memory_file(spec->input, spec->n_input_bytes, &p->in, e);
    else if ((p->in = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        rc = err_set_errno(e, errno, "/dev/null: cannot open");
    if (rc == 0 && spec->extra != NULL)
        rc = memory_file(spec->extra, spec->n_extra_bytes, &p->extra, e);
    if (rc == 0 && (pipe2(p->out, O_CLOEXEC) != 0 || pipe2(p->note, O_CLOEXEC) != 0 ||
                    pipe2(p->failure, O_CLOEXEC) != 0))
        rc = err_set_errno(e, errno, "cannot make a pipe for %s", spec->argv[0]);
    return rc;
}

static void shut_ends(struct ends *p)
{
    shut(&p->in);
    shut(&p->extra);
    for (int i = 0; i < 2; i++) {
        shut(&p->out[i]);
        shut(&p->note[i]);
        shut(&p->failure[i]);
    }
}

int child_run(const struct child_spec *spec, struct child_result *out, struct err *e)
{
    struct ends p;
    buf_init(&out->out, CHILD_PRINT_BYTES_MAX);
    buf_init(&out->note, CHILD_PRINT_BYTES_MAX);
    out->status = 0;
    int rc = open_ends(spec, &p, e);
    const char **environment = make_environment(spec);
    pid_t parent = getpid();
    pid_t child = rc == 0 ? fork() : -1;
    if (child == 0) {
        const int fds[N_KEPT] = {p.in, p.out[1], p.note[1], p.extra, p.failure[1]};
        become(spec, environment, fds, parent);
    }
    if (rc == 0 && child < 0)
        rc = err_set_errno(e, errno, "cannot start a process for %s", spec->argv[0]);
    if (child > 0) {
        shut(&p.out[1]);
        shut(&p.note[1]);
        shut(&p.failure[1]);
        long long end_ms = clock_ms() + spec->limit_ms;
        rc = await_start(spec->argv[0], p.failure[0], e);
        if (rc == 0)
            rc = read_both(spec, end_ms, &p.out[0], &p.note[0], out, e);
        if (rc == 0)
            rc = await_end(spec, end_ms, child, &out->status, e);
        if (rc != 0) {
            kill(-child, SIGKILL); /* its session: also what it has started */
            while (waitpid(child, &out->status, 0) < 0 && errno == EINTR)
                continue;
        }
    }
    xfree(environment);
    shut_ends(&p);
    return rc;
}

void child_result_release(struct child_result *r)
{
    buf_release(&r->out);
    buf_release(&r->note);
}
