#ifndef FMFORGE_ENGINE_REMOTE_LINK_H
#define FMFORGE_ENGINE_REMOTE_LINK_H

/*
 * One fmforge-remote, and the lines that go to it and come from it (store/remote_main.c has them).
 * No function here waits, but remote_link_close for the time that a process takes to end.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

struct remote_link {
    pid_t pid; /* 0: not started */
    int fd;
    struct buf in;
    bool ended; /* it has closed its side */
};

int remote_link_start(struct remote_link *l, const char *program, struct err *e) MUST_USE;
/* Sends one line; false when nobody takes it. */
bool remote_link_say(struct remote_link *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The next whole line that has come, without its newline, or NULL; caller xfrees. */
char *remote_link_line(struct remote_link *l);
/* Ends it; one that is busy is killed. Safe on zeroed and twice. */
void remote_link_close(struct remote_link *l);

#endif
