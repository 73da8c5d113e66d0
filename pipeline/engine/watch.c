#include "pipeline/engine/watch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/str.h"

#define LOOK_MS 100

void watch_init(struct watch *w, const struct stage_limits *limits)
{
    memset(w, 0, sizeof *w);
    if (limits)
        w->limits = *limits;
}

uint64_t watch_memory(pid_t pid)
{
    static const char *const names[] = {"RssAnon:", "RssShmem:", "VmSwap:"};
    char path[64], line[256];
    uint64_t total = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            uint64_t kib = 0;
            if (!str_starts(line, names[i]))
                continue;
            char *number = line + strlen(names[i]);
            number += strspn(number, " \t");
            number[strcspn(number, " \n")] = '\0';
            if (str_to_u64(number, &kib))
                total += kib * 1024;
        }
    }
    if (f)
        fclose(f);
    return total;
}

void watch_stop(pid_t pid, int number)
{
    kill(-pid, number == SIGINT ? SIGINT : SIGTERM);
    kill(-pid, SIGCONT);
}

void watch_interrupt(struct watch *w, double now_ms)
{
    if (w->passed != WATCH_NONE)
        return; /* its grace has begun */
    w->passed = WATCH_INTERRUPT;
    w->passed_ms = now_ms;
}

static void pass(struct watch *w, enum watch_limit which, pid_t pid, double started_ms,
                 double now_ms)
{
    w->passed = which;
    w->passed_ms = now_ms;
    w->seconds = (now_ms - started_ms) / 1e3;
    watch_stop(pid, SIGTERM);
}

static void slay(struct watch *w, pid_t pid)
{
    w->killed = true;
    kill(-pid, SIGKILL);
}

static int sooner(int a, double ms)
{
    int b = ms < 1 ? 1 : ms > 1e6 ? 1000000 : (int)ms + 1;
    return a < 0 || b < a ? b : a;
}

int watch_look(struct watch *w, pid_t pid, double started_ms, double now_ms)
{
    const struct stage_limits *l = &w->limits;
    int next = -1;
    if (w->killed)
        return next;
    if (l->memory_bytes > 0) {
        uint64_t now = watch_memory(pid);
        if (now > w->memory_bytes)
            w->memory_bytes = now;
        if (now > l->memory_bytes && w->passed == WATCH_NONE)
            pass(w, WATCH_MEMORY, pid, started_ms, now_ms);
        if (now > l->memory_bytes && now - l->memory_bytes > l->memory_bytes / 4) {
            w->passed = w->passed == WATCH_INTERRUPT ? WATCH_MEMORY : w->passed;
            slay(w, pid);
        }
        next = sooner(next, LOOK_MS);
    }
    if (l->seconds > 0 && w->passed == WATCH_NONE) {
        double left_ms = started_ms + (double)l->seconds * 1e3 - now_ms;
        if (left_ms > 0)
            next = sooner(next, left_ms);
        else
            pass(w, WATCH_SECONDS, pid, started_ms, now_ms);
    }
    if (w->passed != WATCH_NONE && !w->killed) {
        double left_ms = w->passed_ms + (double)l->grace_seconds * 1e3 - now_ms;
        if (left_ms > 0)
            next = sooner(next, left_ms);
        else
            slay(w, pid);
    }
    return w->killed ? -1 : next;
}

void watch_to_text(const struct watch *w, struct buf *out)
{
    char is[24], was[24];
    const char *joint = "; ";
    if (w->passed == WATCH_SECONDS)
        buf_printf(out, "it ran for %s, limits.seconds is %lld (%s)",
                   str_format_seconds(w->seconds, was), (long long)w->limits.seconds,
                   str_format_seconds((double)w->limits.seconds, is));
    else if (w->passed == WATCH_MEMORY)
        buf_printf(out, "it took %s of memory, limits.memory is %s",
                   str_format_bytes(w->memory_bytes, was),
                   str_format_bytes(w->limits.memory_bytes, is));
    else if (w->passed == WATCH_INTERRUPT && w->killed)
        joint = "";
    else
        return;
    if (w->killed && (w->passed != WATCH_MEMORY ||
                      w->memory_bytes - w->limits.memory_bytes <= w->limits.memory_bytes / 4))
        buf_printf(out, "%sit did not end in the %lld s of limits.grace and was killed", joint,
                   (long long)w->limits.grace_seconds);
    else
        buf_add_text(out, w->killed ? "; a quarter above it, it was killed" : "; it was stopped");
    buf_add_text(out, ", and the same command goes on from its last checkpoint");
}
