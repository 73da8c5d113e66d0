#ifndef FMFORGE_ENGINE_JOB_H
#define FMFORGE_ENGINE_JOB_H

/*
 * One execution of a stage: an attempt folder in the store's tmp/, a child process with an empty
 * environment that can read its inputs and write its outputs only (sandbox.h), and afterwards
 * either a published action with its statement or a recorded failure. The folder work/<key>/
 * survives a kill and is removed once the key is published, or when an input was written since.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/utsname.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/engine/sandbox.h"
#include "pipeline/engine/session.h"
#include "pipeline/engine/watch.h"

/* What the machine is, for statements. */
struct job_host {
    bool is_known;
    struct utsname uname; /* "" where the system does not say */
    char cpu[128];
};

/* What all jobs of a run share. Borrowed. */
struct job_env {
    struct session *session;
    const char *kernels; /* "auto", or what --kernels says */
    int threads_each;
    const char *helper;     /* fmforge-ledger */
    const char *invocation; /* unique text of this run */
    struct json *source;    /* of ledger_source; filled by the first job, owned by the run */
    struct job_host host;   /* filled by the first job */
    struct content_id manifest_id;
    struct content_id builder_id; /* of fmforge-engine */
    struct sandbox_kernel sandbox;
};

struct job {
    size_t i;        /* the instance */
    pid_t pid;       /* 0 when it has ended */
    bool has_ended;  /* and is to be finished */
    int wait_status; /* then */
    int pipe_fd;     /* stdout and stderr of the child */
    int lock_fd;
    struct buf log;
    bool log_was_cut;
    struct buf inputs, programs; /* their state before it began (job_inputs.h) */
    char *attempt, *work, *events;
    char *command; /* to run it by hand */
    char *note;    /* what people are told beside its start or its result; or NULL */
    struct sandbox sandbox;
    struct watch watch;
    int64_t retries; /* tries of this run before this one */
    double started_ms, finished_ms;
    long long started_unix_ms;
    struct rusage usage;
};

/* The lock of a key, without waiting: *fd stays -1 when another process has it. */
int job_try_lock(struct store *s, const char *key_hex, int *fd, struct err *e) MUST_USE;
/* The process that has taken the lock of a key, 0 where the system does not say. */
pid_t job_lock_holder(const struct store *s, const char *key_hex);

/* Starts the child; takes lock_fd. Release also after an error. */
int job_start(struct job_env *env, size_t i, int lock_fd, struct job *out, struct err *e) MUST_USE;
/* Takes what the child has printed; false at its end. */
bool job_read(struct job *j);
/* The child has ended, just now; its pid may be another's from now on. */
void job_ended(struct job *j, int wait_status);
/* Publishes or records the failure; on success the plan's item is complete (cached). */
int job_finish(struct job_env *env, struct job *j, struct err *e) MUST_USE;
void job_release(struct job_env *env, struct job *j);

#endif
