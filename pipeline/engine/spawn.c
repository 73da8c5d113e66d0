#include "pipeline/engine/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/str.h"
#include "pipeline/engine/sandbox.h"

#define KEPT_FD 3

/* What a child that could not start tells its parent. */
struct failure {
    int number; /* errno */
    bool in_sandbox;
};

_Noreturn static void give_up(int fd, int number, bool in_sandbox)
{
    struct failure f;
    memset(&f, 0, sizeof f);
    f.number = number;
    f.in_sandbox = in_sandbox;
    ssize_t n = write(fd, &f, sizeof f);
    (void)n;
    _exit(127);
}

/* Between vfork and exec: system calls only, and nothing of the parent's memory but what is only
 * read. Never returns. */
_Noreturn static void become(const struct spawn_spec *spec, pid_t parent, int failure_fd)
{
    static char *const empty[] = {NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* the parent died in between */
    setpgid(0, 0);
    struct sigaction normal;
    memset(&normal, 0, sizeof normal);
    normal.sa_handler = SIG_DFL;
    for (int n = 1; n < NSIG; n++)
        sigaction(n, &normal, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Out of the way first: the targets 0 to 4 may be in use by the sources. */
    int null_fd = open("/dev/null", O_RDONLY);
    int refused = spec->sandbox_fd >= 0 ? sandbox_enter(spec->sandbox_fd) : 0;
    if (refused != 0)
        give_up(failure_fd, refused, true);
    int sources[5] = {null_fd, spec->out_fd, spec->note_fd, spec->keep_fd, failure_fd};
    for (int i = 0; i < 5; i++)
        if (sources[i] >= 0)
            sources[i] = fcntl(sources[i], F_DUPFD, 16);
    for (int i = 0; i < 3; i++)
        dup2(sources[i], i);
    if (sources[3] >= 0)
        dup2(sources[3], KEPT_FD);
    else
        close(KEPT_FD);
    dup2(sources[4], KEPT_FD + 1);
    fcntl(KEPT_FD + 1, F_SETFD, FD_CLOEXEC);
    close_range(KEPT_FD + 2, ~0U, 0);
    execve(spec->program, spec->argv, empty);
    give_up(KEPT_FD + 1, errno, false);
}

/* A child begins with its parent's peak of memory as its own (execve keeps ru_maxrss): what the
 * engine once had would be written down as what a small stage took; what it has now still is. Where
 * the kernel does not know how (Linux before 4.0, no /proc), nothing is forgotten. */
static void forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, "5", 1);
    (void)n;
    close(fd);
}

int spawn_start(const struct spawn_spec *spec, pid_t *pid, struct err *e)
{
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) != 0)
        return err_set_errno(e, errno, "cannot make a pipe for %s", spec->program);
    pid_t parent = getpid();
    forget_peak();
    /* Copying the page tables of an engine with a thousand stages takes as long as a short stage.
     */
    pid_t child = vfork();
    if (child == 0)
        become(spec, parent, failure[1]);
    int fork_errno = errno;
    close(failure[1]);
    if (child < 0) {
        close(failure[0]);
        return err_set_errno(e, fork_errno, "cannot start %s", spec->program);
    }
    setpgid(child, child); /* both sides: whoever comes first */
    struct failure why;
    ssize_t n;
    do
        n = read(failure[0], &why, sizeof why);
    while (n < 0 && errno == EINTR);
    close(failure[0]);
    if (n == (ssize_t)sizeof why) {
        waitpid(child, NULL, 0);
        return err_set_errno(e, why.number,
                             why.in_sandbox ? "cannot put %s into its sandbox" : "cannot run %s",
                             spec->program);
    }
    *pid = child;
    return 0;
}

char *spawn_status_text(int wait_status, char *text, size_t size)
{
    if (WIFSIGNALED(wait_status))
        snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else
        snprintf(text, size, "exited with status %d", WEXITSTATUS(wait_status));
    return text;
}

/* What a child left in a memory file, without the newlines at its end. */
static void read_notes(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
}

static int collect(int fd, const char *program, size_t max_bytes, struct buf *out, struct err *e)
{
    char chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(e, errno, "reading from %s", program);
        if (n == 0)
            return 0;
        if (out->n_bytes + (size_t)n > max_bytes)
            return err_set(e, ERR_LIMIT, "%s prints more than %zu bytes", program, max_bytes);
        buf_add(out, chunk, (size_t)n);
    }
}

int spawn_capture(const char *program, char *const *argv, size_t max_bytes, struct buf *out,
                  struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_errno(e, errno, "cannot make a pipe for %s", program);
    int notes = memfd_create("notes", MFD_CLOEXEC);
    struct spawn_spec spec = {program, argv, ends[1], notes, -1, -1};
    pid_t pid = 0;
    int rc = notes < 0 ? err_set_errno(e, errno, "cannot make a memory file")
                       : spawn_start(&spec, &pid, e);
    close(ends[1]);
    if (rc == 0)
        rc = collect(ends[0], program, max_bytes, out, e);
    close(ends[0]);
    int status = 0;
    if (pid > 0) {
        if (rc < 0)
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (rc == 0 && status != 0) {
        char text[128];
        char words[512];
        read_notes(notes, words, sizeof words);
        rc = err_set(e, ERR_IO, "%s %s%s%s", program, spawn_status_text(status, text, sizeof text),
                     words[0] ? ": " : "", words);
    }
    if (notes >= 0)
        close(notes);
    return rc;
}

const char *spawn_environment(const char *name)
{
    size_t n = strlen(name);
    for (char **entry = environ; *entry != NULL; entry++)
        if (strncmp(*entry, name, n) == 0 && (*entry)[n] == '=')
            return *entry + n + 1;
    return NULL;
}
