/*
 * A library for LD_PRELOAD: the Nth file call of one program fails. For tests of the engine.
 *
 *   FAULT_PROGRAM  name of the program, as /proc/PID/comm has it: others are left alone
 *   FAULT_AT       which call, from 1; 0: none fails, and FAULT_LOG gets "calls N" at the end
 *   FAULT_ERRNO    5 (EIO: any call), 28 (ENOSPC: calls that take room, and only they count), or 0:
 *                  at any call the program is killed with -9 instead
 *   FAULT_PATH     if given, only calls on paths that end with it count
 *   FAULT_LOG      gets one line, "CALL PATH", when the call has failed
 *
 * With FAULT_NO_LANDLOCK set the kernel has no Landlock, for a program that asks by syscall().
 *
 * Counted are calls on regular files and folders outside /proc, /sys, /etc, /lib and /usr.
 * A close that fails has closed, as on Linux.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool ours;
static long n_calls, at;
static int number;
static const char *log_path, *end;

__attribute__((constructor)) static void prepare(void)
{
    const char *program = getenv("FAULT_PROGRAM"), *which = getenv("FAULT_AT");
    const char *code = getenv("FAULT_ERRNO");
    log_path = getenv("FAULT_LOG");
    end = getenv("FAULT_PATH");
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    if (!program || !which || !code || strcmp(program_invocation_short_name, program) != 0)
        return;
    const char *file = strrchr(self, '/');
    if (file && strcmp(file, "/fmforge") == 0) /* the front, about to become the engine */
        return;
    ours = true;
    at = strtol(which, NULL, 10);
    number = (int)strtol(code, NULL, 10);
}

static void say(const char *call, const char *path)
{
    char line[4400];
    int n = snprintf(line, sizeof line, "%s %s\n", call, path);
    long fd = log_path
                  ? syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND, 0644)
                  : -1;
    if (fd >= 0) {
        syscall(SYS_write, (int)fd, line, (size_t)n);
        syscall(SYS_close, (int)fd);
    }
}

static bool is_ours(const char *path)
{
    static const char *const others[] = {"/memfd:",  "/proc/", "/sys/", "/dev/null",
                                         "/dev/fd/", "/etc/",  "/lib",  "/usr/"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strncmp(path, others[i], strlen(others[i])) == 0)
            return false;
    size_t n = strlen(path), n_end = end ? strlen(end) : 0;
    return n >= n_end && (n_end == 0 || strcmp(path + n - n_end, end) == 0);
}

__attribute__((destructor)) static void count(void)
{
    char text[24];
    snprintf(text, sizeof text, "%ld", n_calls);
    if (ours && at == 0)
        say("calls", text);
}

/* Does this call fail? Then errno is set and the log written. */
static bool fails(const char *call, const char *path, bool takes_room)
{
    if (!ours || !is_ours(path) || (number == ENOSPC && !takes_room))
        return false;
    n_calls++;
    if (n_calls != at)
        return false;
    say(call, path);
    if (number == 0)
        kill(getpid(), SIGKILL);
    errno = number;
    return true;
}

static bool fd_fails(const char *call, int fd, bool takes_room)
{
    char link[64], path[4096];
    struct stat st;
    if (!ours || fd <= 2 || fstat(fd, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return fails(call, path, takes_room);
}

#define REAL(type, name, ...)         \
    static type (*real)(__VA_ARGS__); \
    if (!real)                        \
    *(void **)(&real) = dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                                 \
    int name(const char *path, int flags, ...);                                    \
    int name(const char *path, int flags, ...)                                     \
    {                                                                              \
        REAL(int, name, const char *, int, ...);                                   \
        va_list args;                                                              \
        va_start(args, flags);                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;    \
        va_end(args);                                                              \
        return fails(#name, path, flags & O_CREAT) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                   \
    int name(int fd, const char *path, int flags, ...);                                \
    int name(int fd, const char *path, int flags, ...)                                 \
    {                                                                                  \
        REAL(int, name, int, const char *, int, ...);                                  \
        va_list args;                                                                  \
        va_start(args, flags);                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;        \
        va_end(args);                                                                  \
        return fails(#name, path, flags & O_CREAT) ? -1 : real(fd, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define BY_PATH(type, bad, name, takes_room, parameters, types, arguments, path) \
    type name parameters;                                                        \
    type name parameters                                                         \
    {                                                                            \
        static type(*real) types;                                                \
        if (!real)                                                               \
            *(void **)(&real) = dlsym(RTLD_NEXT, #name);                         \
        return fails(#name, path, takes_room) ? bad : real arguments;            \
    }
BY_PATH(int, -1, mkostemp, true, (char *path, int flags), (char *, int), (path, flags), path)
BY_PATH(int, -1, mkostemp64, true, (char *path, int flags), (char *, int), (path, flags), path)
BY_PATH(int, -1, rename, true, (const char *a, const char *b), (const char *, const char *), (a, b),
        b)
BY_PATH(int, -1, renameat, true, (int d, const char *a, int f, const char *b),
        (int, const char *, int, const char *), (d, a, f, b), b)
BY_PATH(int, -1, renameat2, true, (int d, const char *a, int f, const char *b, unsigned flags),
        (int, const char *, int, const char *, unsigned), (d, a, f, b, flags), b)
BY_PATH(int, -1, mkdir, true, (const char *path, mode_t mode), (const char *, mode_t), (path, mode),
        path)
BY_PATH(int, -1, link, true, (const char *a, const char *b), (const char *, const char *), (a, b),
        b)
BY_PATH(int, -1, unlink, false, (const char *path), (const char *), (path), path)
BY_PATH(int, -1, rmdir, false, (const char *path), (const char *), (path), path)
BY_PATH(int, -1, chmod, false, (const char *path, mode_t mode), (const char *, mode_t),
        (path, mode), path)
BY_PATH(DIR *, NULL, opendir, false, (const char *path), (const char *), (path), path)
BY_PATH(FILE *, NULL, fopen, strchr(mode, 'w') != NULL, (const char *path, const char *mode),
        (const char *, const char *), (path, mode), path)
BY_PATH(FILE *, NULL, fopen64, strchr(mode, 'w') != NULL, (const char *path, const char *mode),
        (const char *, const char *), (path, mode), path)

#define BY_FD(type, bad, name, takes_room, parameters, types, arguments, fd) \
    type name parameters;                                                    \
    type name parameters                                                     \
    {                                                                        \
        static type(*real) types;                                            \
        if (!real)                                                           \
            *(void **)(&real) = dlsym(RTLD_NEXT, #name);                     \
        return fd_fails(#name, fd, takes_room) ? bad : real arguments;       \
    }
BY_FD(ssize_t, -1, write, true, (int fd, const void *p, size_t n), (int, const void *, size_t),
      (fd, p, n), fd)
BY_FD(ssize_t, -1, pwrite, true, (int fd, const void *p, size_t n, off_t o),
      (int, const void *, size_t, off_t), (fd, p, n, o), fd)
BY_FD(ssize_t, -1, pwrite64, true, (int fd, const void *p, size_t n, off_t o),
      (int, const void *, size_t, off_t), (fd, p, n, o), fd)
BY_FD(ssize_t, -1, read, false, (int fd, void *p, size_t n), (int, void *, size_t), (fd, p, n), fd)
BY_FD(ssize_t, -1, pread, false, (int fd, void *p, size_t n, off_t o), (int, void *, size_t, off_t),
      (fd, p, n, o), fd)
BY_FD(int, -1, fsync, true, (int fd), (int), (fd), fd)
BY_FD(int, -1, fdatasync, true, (int fd), (int), (fd), fd)
BY_FD(int, -1, syncfs, true, (int fd), (int), (fd), fd)
BY_FD(int, -1, ftruncate, true, (int fd, off_t n), (int, off_t), (fd, n), fd)
BY_FD(int, -1, flock, false, (int fd, int what), (int, int), (fd, what), fd)
BY_FD(int, -1, fflush, true, (FILE * f), (FILE *), (f), f ? fileno(f) : -1)

long syscall(long which, ...)
{
    REAL(long, syscall, long, ...);
    long a[6];
    va_list args;
    va_start(args, which);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (which == SYS_landlock_create_ruleset && getenv("FAULT_NO_LANDLOCK")) {
        errno = ENOSYS;
        return -1;
    }
    return real(which, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int close(int fd)
{
    REAL(int, close, int);
    bool failed = fd_fails("close", fd, true);
    int problem = errno;
    int rc = real(fd);
    if (!failed)
        return rc;
    errno = problem;
    return -1;
}

int fclose(FILE *f)
{
    REAL(int, fclose, FILE *);
    bool failed = fd_fails("fclose", fileno(f), true);
    int problem = errno;
    int rc = real(f);
    if (!failed)
        return rc;
    errno = problem;
    return EOF;
}
