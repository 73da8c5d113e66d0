#ifndef FMFORGE_ENGINE_RUN_STATE_H
#define FMFORGE_ENGINE_RUN_STATE_H

/* The state of one run, shared by run.c (scheduling), run_keep.c (what it leaves) and run_report.c
 * (what it says). */

#include "pipeline/engine/job.h"
#include "pipeline/engine/progress.h"
#include "pipeline/engine/report.h"
#include "pipeline/engine/run.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/run_files.h"

enum run_status {
    RUN_WAITING,
    RUN_RUNNING,
    RUN_EXECUTED,
    RUN_REUSED,
    RUN_FAILED,
    RUN_BLOCKED,  /* something it needs failed, or a gate before it */
    RUN_FETCHING, /* the shared cache is asked for it (run_remote.h) */
};

struct run_item {
    enum run_status status;
    char *why;       /* from the plan, or why it is blocked */
    char *reason;    /* of a failure */
    double seconds;  /* of the last try */
    int64_t retries; /* tries before it */
    bool judged, held, by_gate;
    bool said_waiting; /* for another process */
    double told_done;  /* of its last progress event */
};

struct run {
    struct session *session;
    const struct run_options *options;
    const struct term *term;
    struct job_env env;
    char *helper;
    char *invocation;
    struct run_item *items;
    bool *done; /* per instance: it has a result */
    bool *delivered;
    struct job *jobs;
    size_t n_running;
    struct progress progress;
    struct run_remote *remote; /* NULL: there is none */
    struct json *gates;
    struct json *deliveries;
    struct buf gate_table;
    struct run_files recorded; /* what its commit holds, or would if it had one */
    struct report_page page;   /* that was drawn; without a path: none */
    size_t n_executed, n_fetched, n_failed, n_blocked, n_written, n_not_written, n_gates_failed;
    int interrupts;
    double started_ms, synced_ms, sync_took_ms;
    double told_ms; /* when progress events were sent */
    long long started_unix_ms;
    bool waits_for_lock;
    int signal_fd;
    bool tended;       /* while gc had the store; the signal of a child that ended may be read */
    bool said_gc;      /* that it is waited for */
    bool said_sandbox; /* that there is none */
};

/* When there will be something to sign: can the key sign? Nothing is run when it cannot. */
int run_try_key(struct run *r, struct err *e) MUST_USE;
/* The same of the folders for deliveries and the page, when a stage is to be executed. */
int run_try_folders(struct run *r, struct err *e) MUST_USE;
/* Delivers what passed. What cannot be written is said and counted: the run is recorded all the
 * same. */
void run_deliver(struct run *r);
/* Ledger commit, or a line of runs.log, and what `why` compares with. commit is "" without one. */
int run_keep_record(struct run *r, char commit[COMMIT_HEX + 1], struct err *e) MUST_USE;
/* Draws the page of what was recorded, or of what would have been (commit: ""); what goes wrong is
 * said and counted. */
void run_draw_page(struct run *r, const char *commit);

/* One stage's printed output, in one piece, with its name. */
void run_report_stage(struct run *r, const struct job *j, const char *outcome);
/* run.json; owned by the caller. */
struct json *run_to_json(const struct run *r);
/* Gate table, deliveries, the last line; returns the exit status. */
int run_report_end(struct run *r, const char *commit);

#endif
