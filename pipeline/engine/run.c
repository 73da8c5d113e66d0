#include "pipeline/engine/run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/thread.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/judge.h"
#include "pipeline/engine/run_events.h"
#include "pipeline/engine/run_remote.h"
#include "pipeline/engine/run_state.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/provenance/ledger_client.h"

#define LOCK_POLL_MS 50
#define TICK_MS 200
#define GC_POLL_MS 20
/* What a power cut may cost: no stage that took long, and hardly more than this of short ones. */
#define SYNC_STAGE_S 1.0
#define SYNC_EVERY_MS 5000.0

static bool has_result(const struct run *r, size_t i)
{
    return r->done[i];
}

static bool is_final(const struct run *r, size_t i)
{
    enum run_status s = r->items[i].status;
    return s != RUN_WAITING && s != RUN_RUNNING && s != RUN_FETCHING;
}

/* ------------------------------------------------------------------------------- gates */

/* Judges instance i once it and what it is compared with are final. */
static int judge_when_ready(struct run *r, size_t i, struct err *e)
{
    const struct instance *n = r->session->graph.instances[i];
    struct run_item *item = &r->items[i];
    if (item->judged || !has_result(r, i))
        return 0;
    for (size_t g = 0; g < n->n_gates; g++)
        if (n->gates[g].type == GATE_STAGE && !is_final(r, n->gates[g].i_other))
            return 0;
    item->judged = true;
    item->held = true;
    if (n->n_gates == 0)
        return 0;
    size_t n_before = json_count(r->gates);
    int rc =
        judge_instance(&r->session->plan, i, r->done, r->gates, &r->gate_table, &item->held, e);
    run_events_gates(r, n_before);
    if (!item->held)
        r->n_gates_failed++;
    return rc;
}

static int judge_all(struct run *r, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < r->session->graph.n_instances && rc == 0; i++)
        rc = judge_when_ready(r, i, e);
    return rc;
}

/* ---------------------------------------------------------------------------- schedule */

static void block(struct run *r, size_t i, bool by_gate, char *why)
{
    struct run_item *item = &r->items[i];
    item->status = RUN_BLOCKED;
    item->by_gate = by_gate;
    xfree(item->why);
    item->why = why;
    r->n_blocked++;
    run_events_settled(r, i);
}

/* True when everything before i is final and good; blocks i when something is not. */
static bool is_startable(struct run *r, size_t i)
{
    const struct instance *n = r->session->graph.instances[i];
    for (size_t k = 0; k < n->n_inputs; k++) {
        if (n->inputs[k].source != SOURCE_STAGE)
            continue;
        size_t from = n->inputs[k].producer;
        if (!is_final(r, from))
            return false;
        if (has_result(r, from))
            continue;
        block(r, i, r->items[from].by_gate,
              xasprintf("%s has no result", r->session->graph.instances[from]->name));
        return false;
    }
    for (size_t k = 0; k < n->n_needs; k++) {
        size_t from = n->needs[k];
        const char *name = r->session->graph.instances[from]->name;
        if (!is_final(r, from) || (has_result(r, from) && !r->items[from].judged))
            return false;
        if (!has_result(r, from))
            block(r, i, r->items[from].by_gate, xasprintf("%s has no result", name));
        else if (!r->items[from].held)
            block(r, i, true, xasprintf("a gate of %s does not hold", name));
        else
            continue;
        return false;
    }
    return true;
}

static void take_result(struct run *r, size_t i, enum run_status status)
{
    r->items[i].status = status;
    r->done[i] = true;
    r->n_executed += status == RUN_EXECUTED;
    if (status == RUN_REUSED)
        run_events_settled(r, i);
}

static void fail_item(struct run *r, size_t i, const char *reason)
{
    r->items[i].status = RUN_FAILED;
    xfree(r->items[i].reason);
    r->items[i].reason = xstrdup(reason);
    r->n_failed++;
}

/* One that could not be started. */
static void fail_start(struct run *r, size_t i, const char *reason)
{
    fail_item(r, i, reason);
    run_events_settled(r, i);
    term_notef(r->term, "%s: failed: %s\n", r->session->graph.instances[i]->name, reason);
}

/* Its own inputs as they are now: one that cannot be read fails this instance, not the run. */
static int resolve(struct run *r, size_t i, struct err *e)
{
    const struct plan_item *item = &r->session->plan.items[i];
    struct content_id before = item->key;
    struct err cause = {0};
    int rc = plan_resolve(&r->session->plan, i, &cause);
    if (rc < 0 && r->interrupts > 0) /* it may have waited for gc */
        return err_set(e, cause.code, "%s", cause.text);
    if (rc < 0) {
        fail_start(r, i, cause.text);
        return 0;
    }
    if (item->cached || !str_eq(item->key.hex, before.hex)) {
        xfree(r->items[i].why);
        r->items[i].why = plan_why(&r->session->plan, i);
    }
    return 0;
}

static void say_note(struct run *r, struct job *j)
{
    if (j->note)
        term_notef(r->term, "%s: %s\n", r->session->graph.instances[j->i]->name, j->note);
    xfree(j->note);
    j->note = NULL;
}

/* Who is waited for may have been suspended, or left behind: it is named. */
static void say_waiting(struct run *r, size_t i)
{
    const char *name = r->session->graph.instances[i]->name;
    pid_t pid = job_lock_holder(r->session->store, r->session->plan.items[i].key.hex);
    if (pid > 0)
        term_notef(r->term, "%s: another run is making it, process %d; waiting\n", name, (int)pid);
    else
        term_notef(r->term, "%s: another run is making it; waiting\n", name);
}

/* Starts instance i, or takes the result that another process has published meanwhile. */
static int launch(struct run *r, size_t i, struct err *e)
{
    struct run_item *item = &r->items[i];
    struct plan *plan = &r->session->plan;
    int lock_fd = -1;
    int rc = job_try_lock(r->session->store, plan->items[i].key.hex, &lock_fd, e);
    if (rc < 0)
        return rc;
    if (lock_fd < 0) {
        /* Two instances of this run may have one recipe. */
        bool own = run_remote_asks_for(r, plan->items[i].key.hex);
        for (size_t k = 0; k < r->n_running; k++)
            own = own || str_eq(plan->items[r->jobs[k].i].key.hex, plan->items[i].key.hex);
        r->waits_for_lock = true;
        if (!item->said_waiting && !own)
            say_waiting(r, i);
        item->said_waiting = true;
        return 0;
    }
    const struct content_id locked = plan->items[i].key;
    rc = resolve(r, i, e);
    bool is_other = !str_eq(plan->items[i].key.hex, locked.hex);
    if (rc < 0 || item->status == RUN_FAILED || plan->items[i].cached || is_other ||
        r->interrupts > 0) {
        store_unlock(lock_fd);
        if (rc == 0 && plan->items[i].cached)
            take_result(r, i, RUN_REUSED);
        else if (is_other) /* an input was edited since the plan: the next pass locks its new key */
            r->waits_for_lock = true;
        return rc;
    }
    if (run_remote_ask(r, i, lock_fd))
        return 0;
    struct job *j = &r->jobs[r->n_running];
    struct err cause = {0};
    if (r->env.sandbox.abi == 0 && !r->said_sandbox)
        term_notef(r->term, "stages run without a sandbox (%s): what they read is not checked\n",
                   r->env.sandbox.text);
    r->said_sandbox = true;
    int started = job_start(&r->env, i, lock_fd, j, &cause);
    j->retries = item->retries;
    say_note(r, j);
    if (started < 0) {
        job_release(&r->env, j);
        fail_start(r, i, cause.text);
        return 0;
    }
    item->status = RUN_RUNNING;
    r->n_running++;
    run_events_launched(r, j);
    progress_news(&r->progress);
    if (r->interrupts > 0) { /* while it was started */
        watch_interrupt(&j->watch, clock_ms());
        watch_stop(j->pid, SIGTERM);
    }
    return 0;
}

/* One pass over the instances: blocks, reuses and starts what can be. *moved: call again. */
static int advance(struct run *r, bool *moved, struct err *e)
{
    struct plan *plan = &r->session->plan;
    *moved = false;
    r->waits_for_lock = false;
    int rc = 0;
    for (size_t i = 0; i < r->session->graph.n_instances && rc == 0; i++) {
        struct run_item *item = &r->items[i];
        if (item->status != RUN_WAITING)
            continue;
        if (!is_startable(r, i)) {
            *moved |= item->status == RUN_BLOCKED;
            continue;
        }
        if (!plan->items[i].has_key) {
            rc = resolve(r, i, e);
            if (rc < 0)
                return rc;
            CHECK(plan->items[i].has_key || item->status == RUN_FAILED);
        }
        if (plan->items[i].cached)
            take_result(r, i, RUN_REUSED);
        else if (item->status == RUN_WAITING && r->interrupts == 0 &&
                 r->n_running < (size_t)r->options->jobs)
            rc = launch(r, i, e);
        *moved |= is_final(r, i);
        if (rc == 0 && is_final(r, i))
            rc = judge_all(r, e);
    }
    return rc;
}

/* ------------------------------------------------------------------------------- children */

/* Another try helps against what does not come from the stage's inputs: a wrong config (2) stays
 * wrong. */
static bool may_retry(const struct run *r, const struct job *j)
{
    bool is_config = WIFEXITED(j->wait_status) && WEXITSTATUS(j->wait_status) == 2;
    return j->wait_status != 0 && !is_config && r->interrupts == 0 &&
           r->items[j->i].retries < j->watch.limits.retries;
}

/* Waiting for the disk after every short stage would take longer than they do; on a slow disk a
 * sync waits until it is a tenth of the time at most. */
static int sync_results(struct run *r, double seconds, struct err *e)
{
    double now = clock_ms(), since = now - r->synced_ms, least = 10 * r->sync_took_ms;
    bool is_long = seconds >= SYNC_STAGE_S && seconds * 1e3 >= least;
    if (!is_long && (since < SYNC_EVERY_MS || since < least))
        return 0;
    int rc = store_sync(r->session->store, e);
    r->synced_ms = clock_ms();
    r->sync_took_ms = r->synced_ms - now;
    return rc;
}

static void end_job(struct run *r, size_t i_job)
{
    struct job *j = &r->jobs[i_job];
    size_t i = j->i;
    struct err cause = {0};
    progress_erase(&r->progress);
    while (job_read(j) && j->pipe_fd >= 0) {
        struct pollfd p = {j->pipe_fd, POLLIN, 0};
        if (poll(&p, 1, 0) <= 0)
            break; /* a grandchild holds the pipe: it is not waited for */
    }
    int rc = job_finish(&r->env, j, &cause);
    r->items[i].seconds = (j->finished_ms - j->started_ms) / 1e3;
    if (rc == 0)
        rc = sync_results(r, r->items[i].seconds, &cause);
    bool stopped = r->interrupts > 0 && j->wait_status != 0;
    if (rc < 0 && may_retry(r, j)) {
        r->items[i].status = RUN_WAITING;
        r->items[i].retries++;
        run_report_stage(r, j, cause.text);
    } else if (rc == 0) {
        take_result(r, i, RUN_EXECUTED);
        run_report_stage(r, j, NULL);
        say_note(r, j);
        run_remote_made(r, i);
    } else {
        fail_item(r, i, stopped ? "interrupted" : cause.text);
        run_report_stage(r, j, r->items[i].reason);
    }
    job_release(&r->env, j);
    r->jobs[i_job] = r->jobs[--r->n_running];
    progress_news(&r->progress);
}

static bool is_alive(const struct job *j)
{
    return j->pid > 0;
}

/* Who has ended, from now on: it passes no limit any more, and its time is not that of what is done
 * before it is finished. */
static void mark_ended(struct run *r)
{
    for (size_t k = 0; k < r->n_running; k++) {
        struct job *j = &r->jobs[k];
        int status = 0;
        pid_t pid = is_alive(j) ? wait4(j->pid, &status, WNOHANG, &j->usage) : 0;
        if (pid <= 0)
            continue;
        kill(-pid, SIGKILL); /* whoever is left of its group could still write to what it made */
        job_ended(j, status);
    }
}

static void reap(struct run *r)
{
    mark_ended(r);
    for (size_t k = 0; k < r->n_running;)
        if (r->jobs[k].has_ended)
            end_job(r, k);
        else
            k++;
}

/* The first signal tells the stages to save what they have; the third kills. Who presses Ctrl-C is
 * there to press it again; after any other signal a stage has its grace. */
static void on_interrupt(struct run *r, int number)
{
    r->interrupts++;
    progress_erase(&r->progress);
    if (r->interrupts == 1)
        term_note(r->term,
                  r->n_running == 0
                      ? "interrupted: no stage of this run is running; a second signal gives "
                        "up what else it waits for\n"
                      : "interrupted: waiting for the running stages to save their work; "
                        "two more signals kill them\n");
    for (size_t k = 0; k < r->n_running; k++) {
        struct job *j = &r->jobs[k];
        if (!is_alive(j))
            continue;
        if (r->interrupts >= 3)
            kill(-j->pid, SIGKILL);
        else
            watch_stop(j->pid, number);
        if (number != SIGINT)
            watch_interrupt(&j->watch, clock_ms());
    }
}

static void draw(struct run *r)
{
    run_events_progress(r);
    struct progress_item *items = xalloc_array(r->n_running, sizeof *items);
    size_t n_done = 0;
    for (size_t i = 0; i < r->session->graph.n_instances; i++)
        n_done += is_final(r, i);
    for (size_t k = 0; k < r->n_running; k++) {
        items[k].name = r->session->graph.instances[r->jobs[k].i]->name;
        items[k].events = r->jobs[k].events;
        items[k].started_ms = r->jobs[k].started_ms;
    }
    progress_draw(&r->progress, n_done, r->session->graph.n_instances, items, r->n_running);
    xfree(items);
}

/* Stops what passes its limits; returns in how many milliseconds to look again, -1 when never. */
static int watch_all(struct run *r)
{
    int next = -1;
    for (size_t k = 0; k < r->n_running; k++) {
        struct job *j = &r->jobs[k];
        if (!is_alive(j))
            continue;
        int ms = watch_look(&j->watch, j->pid, j->started_ms, clock_ms());
        if (ms >= 0 && (next < 0 || ms < next))
            next = ms;
    }
    return next;
}

/* Waits until a child prints or ends, a signal comes, the remote answers (where that is to be
 * seen), or it is time to look again, so many milliseconds at most (-1: any). */
static void take_events(struct run *r, int timeout, bool remote)
{
    mark_ended(r);
    struct pollfd *fds = xalloc_array(r->n_running + 3, sizeof *fds);
    nfds_t n = 0;
    fds[n++] = (struct pollfd){r->signal_fd, POLLIN, 0};
    for (size_t k = 0; k < r->n_running; k++)
        fds[n++] = (struct pollfd){is_alive(&r->jobs[k]) ? r->jobs[k].pipe_fd : -1, POLLIN, 0};
    int look = watch_all(r);
    if (look >= 0 && (timeout < 0 || look < timeout))
        timeout = look;
    if (remote)
        n += run_remote_poll(r, fds + n, &timeout);
    if (poll(fds, n, timeout) > 0) {
        struct signalfd_siginfo info;
        while ((fds[0].revents & POLLIN) &&
               read(r->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
            if (info.ssi_signo != SIGCHLD)
                on_interrupt(r, (int)info.ssi_signo);
        for (size_t k = 0; k < r->n_running; k++)
            if (fds[k + 1].revents && !job_read(&r->jobs[k])) {
                close(r->jobs[k].pipe_fd); /* its end is near; SIGCHLD says when */
                r->jobs[k].pipe_fd = -1;
            }
    }
    xfree(fds);
}

static void wait_events(struct run *r)
{
    int timeout = r->tended                   ? 0
                  : r->waits_for_lock         ? LOCK_POLL_MS
                  : r->term->note_is_terminal ? TICK_MS
                  : r->options->events        ? TICK_MS
                                              : progress_due(&r->progress);
    r->tended = false;
    take_events(r, timeout, true);
    reap(r);
    if (r->interrupts > 0)
        run_remote_drop(r);
    run_remote_take(r);
    draw(r);
}

/* What the store calls meanwhile (store_on_wait): limits and signals count all the same, and pipes
 * do not fill. A second signal gives up what is to be stored. */
static bool tend(struct run *r, int wait_ms)
{
    progress_erase(&r->progress);
    r->tended = true;
    take_events(r, wait_ms, false);
    return r->interrupts < 2;
}

static bool tend_while_gc(void *context)
{
    struct run *r = context;
    if (!r->said_gc) {
        progress_erase(&r->progress);
        term_note(r->term, "gc removes from this store: waiting for it\n");
    }
    r->said_gc = true;
    return tend(r, GC_POLL_MS);
}

static bool tend_while_storing(void *context)
{
    return tend(context, 0);
}

static int schedule(struct run *r, struct err *e)
{
    int rc = 0;
    while (rc == 0) {
        bool moved = false;
        rc = advance(r, &moved, e);
        if (rc == 0 && moved)
            continue;
        if (rc == 0 && r->n_running == 0 && !run_remote_waits(r) &&
            (!r->waits_for_lock || r->interrupts > 0))
            return 0;
        if (rc == 0) {
            wait_events(r);
            rc = judge_all(r, e);
        }
    }
    while (r->n_running > 0) /* nothing new starts, but no child is left behind */
        wait_events(r);
    return rc;
}

/* ---------------------------------------------------------------------------------- whole */

static int open_run(struct run *r, struct session *s, const struct run_options *o,
                    const struct term *term, double started_ms, struct err *e)
{
    memset(r, 0, sizeof *r);
    r->session = s;
    r->options = o;
    r->term = term;
    r->started_ms = started_ms;
    r->synced_ms = started_ms;
    r->started_unix_ms = clock_unix_ms();
    size_t n = s->graph.n_instances;
    r->items = xalloc_array(n, sizeof *r->items);
    r->done = xalloc_array(n, sizeof *r->done);
    r->delivered = xalloc_array(s->graph.n_deliveries, sizeof *r->delivered);
    r->jobs = xalloc_array((size_t)o->jobs, sizeof *r->jobs);
    r->gates = json_new_array();
    r->deliveries = json_new_array();
    buf_init(&r->gate_table, BUF_MAX_DEFAULT);
    progress_init(&r->progress, term);
    for (size_t i = 0; i < n; i++)
        r->items[i].why = plan_why(&s->plan, i);
    r->helper = file_join(o->program_folder, "fmforge-ledger");
    r->invocation = xasprintf("%lld-%d", r->started_unix_ms, (int)getpid());
    int threads = o->threads > 0 ? o->threads : thread_cpus();
    r->env.session = s;
    r->env.kernels = o->kernels;
    r->env.threads_each = threads > o->jobs ? threads / o->jobs : 1;
    r->env.helper = r->helper;
    int rc = sandbox_look(&r->env.sandbox, e);
    r->env.invocation = r->invocation;
    r->env.manifest_id = sha256_of(s->manifest.doc.source, s->manifest.doc.source_bytes);
    run_remote_open(r);
    char *program = file_join(o->program_folder, "fmforge-engine");
    if (rc == 0)
        rc = store_hash_source(s->store, program, &r->env.builder_id, NULL, NULL, e);
    xfree(program);
    return rc;
}

static void close_run(struct run *r)
{
    run_remote_close(r);
    for (size_t i = 0; i < r->session->graph.n_instances; i++) {
        xfree(r->items[i].why);
        xfree(r->items[i].reason);
    }
    json_free(r->env.source);
    sandbox_kernel_release(&r->env.sandbox);
    json_free(r->gates);
    json_free(r->deliveries);
    buf_release(&r->gate_table);
    run_files_release(&r->recorded);
    xfree(r->items);
    xfree(r->done);
    xfree(r->delivered);
    xfree(r->jobs);
    xfree(r->helper);
    xfree(r->invocation);
    xfree(r->page.path);
}

static int execute(struct run *r, struct err *e)
{
    sigset_t watched, before;
    struct sigaction hangup;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGCHLD);
    /* Below nohup it is ignored; of a blocked signal we would hear all the same. */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&watched, SIGHUP);
    sigprocmask(SIG_BLOCK, &watched, &before);
    r->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    int rc = r->signal_fd < 0 ? err_set_errno(e, errno, "cannot watch for signals") : 0;
    store_on_wait(r->session->store, tend_while_gc, tend_while_storing, r);
    if (rc == 0)
        rc = schedule(r, e);
    store_on_wait(r->session->store, NULL, NULL, NULL);
    progress_erase(&r->progress);
    if (r->signal_fd >= 0)
        close(r->signal_fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int run_session(struct session *s, const struct run_options *o, const struct term *term,
                double started_ms, struct err *e)
{
    struct run r;
    char commit[COMMIT_HEX + 1] = "";
    int rc = open_run(&r, s, o, term, started_ms, e);
    if (rc == 0)
        rc = graph_refuse_around(&s->graph, o->out_root, e);
    if (rc == 0)
        rc = graph_refuse_around(&s->graph, o->reports_root, e);
    if (rc == 0)
        run_events_started(&r);
    if (rc == 0)
        rc = run_try_key(&r, e);
    if (rc == 0)
        rc = run_try_folders(&r, e);
    if (rc == 0)
        session_say_remarks(s, term);
    if (rc == 0)
        rc = execute(&r, e);
    if (rc == 0) /* before anything outside the store says that it is made */
        rc = store_sync(s->store, e);
    if (rc == 0)
        run_deliver(&r);
    if (rc == 0)
        rc = run_keep_record(&r, commit, e);
    if (rc == 0 && r.recorded.n_items > 0)
        run_draw_page(&r, commit);
    struct err memo = {0}; /* what was hashed is worth keeping, also after an error */
    if (store_flush_memo(s->store, &memo) < 0 && rc == 0)
        rc = err_set(e, memo.code, "%s", memo.text);
    if (rc == 0)
        rc = run_report_end(&r, commit);
    else
        run_events_error(o->events, e);
    run_remote_end(&r);
    if (o->commit)
        memcpy(o->commit, commit, sizeof commit);
    if (o->has_page)
        *o->has_page = r.page.path != NULL;
    close_run(&r);
    return rc;
}
