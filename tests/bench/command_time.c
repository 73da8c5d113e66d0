/*
 * command_time N COMMAND...: runs a command N times, its output to /dev/null, and prints the median
 * time from fork to exit in milliseconds, the most memory that it had resident in KiB, and the
 * median of the CPU time of it and its children in milliseconds, e.g. "1.42 3440 1.10". The program
 * is small, so that what fork shares with it does not count.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 1000

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double ms_of(struct timeval t)
{
    return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

/* The exit status of one run; negative when there was none. */
static int run(char **argv, double *ms, double *cpu_ms, long *rss_kib)
{
    double begin = now_ms();
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    int status = 0;
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status))
        return -1;
    *ms = now_ms() - begin;
    *cpu_ms = ms_of(usage.ru_utime) + ms_of(usage.ru_stime);
    *rss_kib = usage.ru_maxrss;
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    static double ms[RUNS_MAX], cpu_ms[RUNS_MAX];
    char *end = NULL;
    long n = argc > 2 ? strtol(argv[1], &end, 10) : 0;
    long rss_kib = 0;
    if (n < 1 || n > RUNS_MAX || *end != '\0') {
        fprintf(stderr, "usage: command_time N COMMAND...   (N from 1 to %d)\n", RUNS_MAX);
        return 2;
    }
    for (long i = 0; i < n; i++) {
        int status = run(argv + 2, &ms[i], &cpu_ms[i], &rss_kib);
        if (status != 0) {
            fprintf(stderr, "command_time: %s: exit status %d\n", argv[2], status);
            return 1;
        }
    }
    qsort(ms, (size_t)n, sizeof ms[0], by_size);
    qsort(cpu_ms, (size_t)n, sizeof cpu_ms[0], by_size);
    printf("%.2f %ld %.2f\n", ms[n / 2], rss_kib, cpu_ms[n / 2]);
    return 0;
}
