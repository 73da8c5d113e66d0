#ifndef FMFORGE_ENGINE_WATCH_H
#define FMFORGE_ENGINE_WATCH_H

/*
 * Watches a running stage against its limits. One that passes a limit gets SIGTERM, on which it
 * saves what it has and ends; after its grace SIGKILL. One that takes a quarter more memory than
 * its limit is killed at once.
 *
 * Memory is what the kernel cannot take back without swapping: resident anonymous and shared pages
 * and swapped ones (RssAnon, RssShmem, VmSwap of /proc/PID/status, looked at ten times a second).
 * RLIMIT_AS would count mapped weights and reserved addresses, ru_maxrss mapped weights: neither
 * is used up, and a stage that maps a base of 1 GB does not take 1 GB.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pipeline/base/buf.h"
#include "pipeline/manifest/stage_limits.h"

/* WATCH_INTERRUPT is none of its own: the run is to end. */
enum watch_limit { WATCH_NONE, WATCH_SECONDS, WATCH_MEMORY, WATCH_INTERRUPT };

struct watch {
    struct stage_limits limits;
    enum watch_limit passed; /* the first one that it passed */
    double passed_ms;        /* when, on clock_ms */
    double seconds;          /* measured then */
    uint64_t memory_bytes;   /* the most that was measured */
    bool killed;
};

/* limits NULL: none. */
void watch_init(struct watch *w, const struct stage_limits *limits);
/* Looks at the child, signals its process group where a limit is passed; returns in how many
 * milliseconds to look again, -1 when never. */
int watch_look(struct watch *w, pid_t pid, double started_ms, double now_ms);
/* The run was told to end, and so the child: from now on it has its grace. */
void watch_interrupt(struct watch *w, double now_ms);
/* Tells a child and its group to end, by SIGTERM or SIGINT, which stages know; also one that is
 * suspended. */
void watch_stop(pid_t pid, int number);
/* Adds which limit was passed, its value and what was measured; nothing when none was. */
void watch_to_text(const struct watch *w, struct buf *out);

/* Bytes that a process holds, 0 when it is gone. */
uint64_t watch_memory(pid_t pid);

#endif
