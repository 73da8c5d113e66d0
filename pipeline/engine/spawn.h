#ifndef FMFORGE_ENGINE_SPAWN_H
#define FMFORGE_ENGINE_SPAWN_H

/*
 * Child processes. A child starts with an empty environment, default signals, stdin from
 * /dev/null, its own process group (so that Ctrl-C reaches it through us only), and no descriptor
 * but 0, 1, 2 and the lock it is told to keep. It is killed when this process dies. Where it is
 * given a sandbox (sandbox.h) it lives in it from before its first instruction.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

struct spawn_spec {
    const char *program;
    char *const *argv; /* NULL-terminated */
    int out_fd;        /* stdout */
    int note_fd;       /* stderr */
    int keep_fd;       /* a lock that lives as long as the child does; -1 none */
    int sandbox_fd;    /* ruleset of its sandbox; -1 none */
};

int spawn_start(const struct spawn_spec *spec, pid_t *pid, struct err *e) MUST_USE;

/* Runs to the end; stdout into out (initialised by the caller), at most max_bytes. A status other
 * than 0 is ERR_IO with the child's last words. */
int spawn_capture(const char *program, char *const *argv, size_t max_bytes, struct buf *out,
                  struct err *e) MUST_USE;

/* "exited with status 1", "was killed by signal 9 (Killed)" into text; returns it. */
char *spawn_status_text(int wait_status, char *text, size_t size);

/* What a manifest names of our environment; NULL without. Borrowed. */
const char *spawn_environment(const char *name);

#endif
