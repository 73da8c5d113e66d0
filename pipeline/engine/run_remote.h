#ifndef FMFORGE_ENGINE_RUN_REMOTE_H
#define FMFORGE_ENGINE_RUN_REMOTE_H

/*
 * The shared cache of a run (`remote:` of the manifest). A stage that would start is asked for
 * first, by one fmforge-remote; what was made is sent by another. The run goes on meanwhile, and
 * nothing of it fails:
 *
 *   no answer in time     it is left alone for the rest of the run, one line says so
 *   a wrong answer        is refused with a line, and the stage runs
 *   slower than the work  it is left alone once it has cost the timeout more than it has saved
 *   not sent at the end   the run waits as long as `wait` says, then one line says what is missing
 *
 * What is private is neither asked for nor sent (privacy.h).
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

struct run;

/* Nothing is started yet. Without a remote, r->remote stays NULL and all else does nothing. */
void run_remote_open(struct run *r);
void run_remote_close(struct run *r);

/* Asks for instance i, whose key is locked by lock_fd: true when the answer is to be waited for
 * (RUN_FETCHING; the lock is taken). False: it is to be made here, now. */
bool run_remote_ask(struct run *r, size_t i, int lock_fd);
/* Is an answer waited for? */
bool run_remote_waits(const struct run *r);
/* Has one asked for this key? */
bool run_remote_asks_for(const struct run *r, const char *key_hex);
/* Descriptors to look at, 2 at most; returns how many. *timeout_ms becomes less when it is to be
 * looked at the clock earlier (-1: never). */
nfds_t run_remote_poll(const struct run *r, struct pollfd *fds, int *timeout_ms);
/* Takes the answers that have come. */
void run_remote_take(struct run *r);
/* Instance i has been made. */
void run_remote_made(struct run *r, size_t i);
/* No answer is waited for any more. */
void run_remote_drop(struct run *r);
/* Waits for what is being sent, as long as it may. */
void run_remote_end(struct run *r);

#endif
