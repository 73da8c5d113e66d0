/*
 * A library for LD_PRELOAD: the Nth allocation of one program fails, also those of its libraries
 * and of libc. For tests of the engine; fault_calls.c does the same to file calls.
 *
 *   FAULT_PROGRAM  name of the program, as /proc/PID/comm has it: others are left alone
 *   FAULT_AT       which allocation, from 1; 0: none fails, and FAULT_LOG gets "calls N" at the end
 *   FAULT_ON       if given, all after it fail too: the memory is used up
 *   FAULT_LOG      gets one line, "CALL BYTES", when the first one has failed
 *
 * Not with a sanitizer, which brings its own malloc.
 */

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The allocator itself, by the names that glibc keeps for those who replace malloc. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static bool ours, stays;
static long at;
static atomic_long n_calls;
static const char *log_path;

__attribute__((constructor)) static void prepare(void)
{
    const char *program = getenv("FAULT_PROGRAM"), *which = getenv("FAULT_AT");
    log_path = getenv("FAULT_LOG");
    if (!program || !which || strcmp(program_invocation_short_name, program) != 0)
        return;
    stays = getenv("FAULT_ON") != NULL;
    at = strtol(which, NULL, 10);
    ours = true;
}

static void say(const char *call, size_t n)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s %zu\n", call, n);
    long fd = log_path
                  ? syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND, 0644)
                  : -1;
    if (fd >= 0) {
        syscall(SYS_write, (int)fd, line, (size_t)length);
        syscall(SYS_close, (int)fd);
    }
}

__attribute__((destructor)) static void count(void)
{
    if (ours && at == 0)
        say("calls", (size_t)n_calls);
}

static bool fails(const char *call, size_t bytes)
{
    if (!ours)
        return false;
    long n = atomic_fetch_add(&n_calls, 1) + 1;
    if (at == 0 || n < at || (n > at && !stays))
        return false;
    if (n == at)
        say(call, bytes);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes)
{
    return fails("malloc", bytes) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    return fails("calloc", n * bytes) ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    return fails("realloc", bytes) ? NULL : __libc_realloc(p, bytes);
}

void *reallocarray(void *p, size_t n, size_t bytes)
{
    size_t all = 0;
    if (__builtin_mul_overflow(n, bytes, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return fails("reallocarray", all) ? NULL : __libc_realloc(p, all);
}

void *memalign(size_t alignment, size_t bytes)
{
    return fails("memalign", bytes) ? NULL : __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails("aligned_alloc", bytes) ? NULL : __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    if (fails("posix_memalign", bytes))
        return ENOMEM;
    *out = __libc_memalign(alignment, bytes);
    return *out != NULL ? 0 : ENOMEM;
}
