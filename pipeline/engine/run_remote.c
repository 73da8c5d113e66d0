#include "pipeline/engine/run_remote.h"

#include <string.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/privacy.h"
#include "pipeline/engine/remote_check.h"
#include "pipeline/engine/remote_link.h"
#include "pipeline/engine/run_events.h"
#include "pipeline/engine/run_state.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/store/owed.h"

/* The helper keeps its own times; this one is for a helper that hangs. */
#define SLACK_MS 60000.0
#define SAY_WAITING_MS 500.0

_Static_assert(REMOTE_URL_BYTES < ACTION_ORIGIN_BYTES, "a url fits into a record");

struct queue {
    size_t *items; /* instances; room for all */
    size_t first, end;
};

struct run_remote {
    const struct remote_spec *spec;
    char *url, *program;
    bool is_off, no_more_sends;
    struct privacy privacy; /* graph NULL until needed */
    bool *asked, *refused;
    int *lock_fds;
    struct remote_link fetcher;
    struct queue to_fetch; /* the first one's answer is waited for */
    struct remote_claim claim;
    bool has_claim;          /* its objects are waited for */
    double began_ms, due_ms; /* of the request, and when it is given up */
    double spent_ms, saved_ms;
    struct remote_link sender;
    struct queue to_send; /* likewise */
};

static bool is_empty(const struct queue *q)
{
    return q->first == q->end;
}

void run_remote_open(struct run *r)
{
    const struct remote_spec *spec = &r->session->manifest.remote;
    size_t n = r->session->graph.n_instances;
    if (!spec->url || r->options->alone)
        return;
    struct run_remote *m = xalloc(sizeof *m);
    m->spec = spec;
    m->url = xstrndup(spec->url, (size_t)spec->n_url);
    m->program = file_join(r->options->program_folder, "fmforge-remote");
    m->asked = xalloc_array(n, sizeof *m->asked);
    m->refused = xalloc_array(n, sizeof *m->refused);
    m->lock_fds = xalloc_array(n, sizeof *m->lock_fds);
    m->to_fetch.items = xalloc_array(n, sizeof(size_t));
    m->to_send.items = xalloc_array(n, sizeof(size_t));
    m->no_more_sends = !spec->writes;
    r->remote = m;
}

void run_remote_close(struct run *r)
{
    struct run_remote *m = r->remote;
    if (!m)
        return;
    remote_link_close(&m->fetcher);
    remote_link_close(&m->sender);
    privacy_release(&m->privacy);
    xfree(m->to_fetch.items);
    xfree(m->to_send.items);
    xfree(m->lock_fds);
    xfree(m->asked);
    xfree(m->refused);
    xfree(m->program);
    xfree(m->url);
    xfree(m);
    r->remote = NULL;
}

/* ------------------------------------------------------------------------------- fetching */

/* Whoever is waited for is to be made here. */
static void give_back(struct run *r)
{
    struct run_remote *m = r->remote;
    for (struct queue *q = &m->to_fetch; !is_empty(q); q->first++) {
        size_t i = q->items[q->first];
        store_unlock(m->lock_fds[i]);
        r->items[i].status = RUN_WAITING;
    }
    m->has_claim = false;
}

static void turn_off(struct run *r, const char *reason)
{
    struct run_remote *m = r->remote;
    if (!m->is_off)
        term_notef(r->term, "remote: %s; left alone for the rest of this run\n", reason);
    m->is_off = m->no_more_sends = true;
    m->to_send.first = m->to_send.end;
    give_back(r);
}

/* "~/x" is in the user's home folder; NULL stays. Caller xfrees. */
static char *real_path(const char *path)
{
    const char *home = path && str_starts(path, "~/") ? spawn_environment("HOME") : NULL;
    return home ? file_join(home, path + 2) : path ? xstrdup(path) : NULL;
}

static bool say_setting(struct remote_link *l, const char *name, const char *value)
{
    return !value || (!strchr(value, '\n') && remote_link_say(l, "set %s %s", name, value));
}

/* The login is looked up now, so that what is wrong with it is said by its name. */
static int start(struct run *r, struct remote_link *l, struct err *e)
{
    struct run_remote *m = r->remote;
    const struct remote_spec *s = m->spec;
    const char *token = s->token ? spawn_environment(s->token) : NULL;
    if (s->token && (!token || !*token))
        return err_set(e, ERR_CONFIG, "%s:%d: remote `token`: the environment has no %s",
                       r->session->manifest.doc.path, s->mark.line, s->token);
    int rc = remote_link_start(l, m->program, e);
    if (rc < 0)
        return rc;
    char *ca = real_path(s->ca), *netrc = real_path(s->netrc);
    if (!say_setting(l, "home", store_home(r->session->store)) || !say_setting(l, "url", m->url) ||
        !remote_link_say(l, "set timeout %d", (int)s->timeout_seconds) ||
        !say_setting(l, "ca", ca) || !say_setting(l, "netrc", netrc) ||
        !say_setting(l, "token", token))
        rc = err_set(e, ERR_IO, "%s does not take its settings", m->program);
    xfree(ca);
    xfree(netrc);
    return rc;
}

/* Sends the request for the first of the queue; limit_ms: what the helper allows itself. */
static bool request(struct run *r, const char *line, double limit_ms)
{
    struct run_remote *m = r->remote;
    m->began_ms = clock_ms();
    m->due_ms = m->began_ms + limit_ms + SLACK_MS;
    return remote_link_say(&m->fetcher, "%s", line);
}

static bool ask_record(struct run *r)
{
    struct run_remote *m = r->remote;
    const struct plan_item *item = &r->session->plan.items[m->to_fetch.items[m->to_fetch.first]];
    char *line = xasprintf("record %s", item->key.hex);
    m->has_claim = false;
    bool ok = request(r, line, 2e3 * (double)m->spec->timeout_seconds);
    xfree(line);
    return ok;
}

/* Slower than this is no cache, whatever making it is said to have cost. */
#define BYTES_PER_MS_LEAST 256.0

static double slowest_ms(const struct run_remote *m)
{
    double n_bytes = 0;
    for (size_t k = 0; k < m->claim.action.n_outputs; k++)
        n_bytes += (double)m->claim.action.outputs[k].n_bytes;
    return 2e3 * (double)m->spec->timeout_seconds + n_bytes / BYTES_PER_MS_LEAST;
}

/* As long as making it took, and what the account still has. */
static bool ask_objects(struct run *r)
{
    struct run_remote *m = r->remote;
    double limit_ms = 1e3 * m->claim.wall_seconds + 1e3 * (double)m->spec->timeout_seconds +
                      m->saved_ms - m->spent_ms;
    limit_ms = limit_ms > 0 ? limit_ms : 0;
    limit_ms = limit_ms < slowest_ms(m) ? limit_ms : slowest_ms(m);
    char *line = xasprintf("objects %s %lld %s", m->claim.action.key.hex, (long long)limit_ms,
                           m->claim.log.hex[0] ? m->claim.log.hex : "-");
    m->has_claim = true;
    m->spent_ms += clock_ms() - m->began_ms;
    bool ok = request(r, line, limit_ms);
    xfree(line);
    return ok;
}

bool run_remote_ask(struct run *r, size_t i, int lock_fd)
{
    struct run_remote *m = r->remote;
    if (!m || m->is_off || m->asked[i])
        return false;
    m->asked[i] = true;
    if (!m->privacy.graph)
        privacy_open(&m->privacy, &r->session->graph);
    if (m->privacy.is_private[i])
        return false;
    struct err e = {0};
    if (m->fetcher.pid == 0 && start(r, &m->fetcher, &e) < 0) {
        turn_off(r, e.text);
        return false;
    }
    bool was_empty = is_empty(&m->to_fetch);
    m->to_fetch.items[m->to_fetch.end++] = i;
    if (was_empty && !ask_record(r)) {
        m->to_fetch.end--;
        turn_off(r, "fmforge-remote has ended");
        return false;
    }
    m->lock_fds[i] = lock_fd;
    r->items[i].status = RUN_FETCHING;
    return true;
}

bool run_remote_waits(const struct run *r)
{
    return r->remote && !is_empty(&r->remote->to_fetch);
}

bool run_remote_asks_for(const struct run *r, const char *key_hex)
{
    const struct queue *q = r->remote ? &r->remote->to_fetch : NULL;
    bool found = false;
    for (size_t k = q ? q->first : 0; q && k < q->end && !found; k++)
        found = str_eq(r->session->plan.items[q->items[k]].key.hex, key_hex);
    return found;
}

/* The first of the queue has its answer; the next one is asked for. */
static void next(struct run *r, enum run_status status)
{
    struct run_remote *m = r->remote;
    size_t i = m->to_fetch.items[m->to_fetch.first++];
    store_unlock(m->lock_fds[i]);
    r->items[i].status = status;
    m->spent_ms += clock_ms() - m->began_ms;
    m->saved_ms += status == RUN_REUSED ? 1e3 * m->claim.wall_seconds : 0;
    m->has_claim = false;
    if (m->spent_ms - m->saved_ms > 1e3 * (double)m->spec->timeout_seconds) {
        char cost[24];
        char *reason = xasprintf("%s has cost %s more than it has saved (remote `timeout`)", m->url,
                                 str_format_seconds((m->spent_ms - m->saved_ms) / 1e3, cost));
        turn_off(r, reason);
        xfree(reason);
    } else if (!is_empty(&m->to_fetch) && !ask_record(r)) {
        turn_off(r, "fmforge-remote has ended");
    }
}

static void refuse(struct run *r, const char *reason)
{
    size_t i = r->remote->to_fetch.items[r->remote->to_fetch.first];
    term_notef(r->term, "%s: not taken from the remote: %s\n", r->session->graph.instances[i]->name,
               reason);
    r->remote->refused[i] = true;
    next(r, RUN_WAITING);
}

/* Everything is in the store: from here on it is a result like any other. */
static int publish(struct run *r, size_t i, struct err *e)
{
    struct run_remote *m = r->remote;
    struct session *s = r->session;
    struct plan_item *item = &s->plan.items[i];
    struct content_id id;
    memcpy(m->claim.action.origin, m->url, strlen(m->url) + 1);
    int rc = store_put_bytes(s->store, item->recipe.bytes, item->recipe.n_bytes, &id, e);
    if (rc == 0)
        rc = owed_add(store_home(s->store), s->manifest.name, item->key.hex, false, e);
    if (rc == 0)
        rc = store_action_put(s->store, &m->claim.action, e);
    if (rc == 0)
        rc = plan_resolve(&s->plan, i, e);
    if (rc == 0 && !item->cached)
        rc = err_set(e, ERR_MISSING, "it is gone again");
    return rc;
}

static void take_result(struct run *r)
{
    struct run_remote *m = r->remote;
    size_t i = m->to_fetch.items[m->to_fetch.first];
    struct run_item *item = &r->items[i];
    struct err e = {0};
    if (publish(r, i, &e) < 0) {
        refuse(r, e.text);
        return;
    }
    char seconds[24];
    term_notef(r->term, "%s: fetched from %s in %s (%s)\n", r->session->graph.instances[i]->name,
               m->url, str_format_seconds((clock_ms() - m->began_ms) / 1e3, seconds), item->why);
    xfree(item->why);
    item->why = xasprintf(PLAN_WHY_FETCHED "%s", m->url);
    r->done[i] = true;
    r->n_fetched++;
    next(r, RUN_REUSED);
    run_events_settled(r, i);
}

static const char *behind_word(const char *line)
{
    size_t n = strcspn(line, " ");
    return line[n] ? line + n + 1 : line;
}

/* Text behind "what KEY ". */
static const char *behind_key(const char *line)
{
    size_t n = strcspn(line, " ");
    return strlen(line) > n + 1 + SHA256_HEX + 1 ? line + n + 1 + SHA256_HEX + 1 : "";
}

static void take_answer(struct run *r, const char *line)
{
    struct run_remote *m = r->remote;
    struct err e = {0};
    if (is_empty(&m->to_fetch))
        return;
    size_t i = m->to_fetch.items[m->to_fetch.first];
    if (str_starts(line, "absent ") && !m->has_claim)
        next(r, RUN_WAITING);
    else if (str_starts(line, "refused ") || str_starts(line, "late "))
        refuse(r, behind_key(line));
    else if (str_starts(line, "have ") && m->has_claim)
        take_result(r);
    else if (!str_starts(line, "found ") || m->has_claim)
        turn_off(r, behind_word(line));
    else if (remote_check(&r->session->plan, i, behind_key(line), &m->claim, &e) < 0)
        refuse(r, e.text);
    else if (!ask_objects(r))
        turn_off(r, "fmforge-remote has ended");
}

/* -------------------------------------------------------------------------------- sending */

static bool send_first(struct run *r)
{
    struct run_remote *m = r->remote;
    struct err e = {0};
    size_t i = m->to_send.items[m->to_send.first];
    const struct plan_item *item = &r->session->plan.items[i];
    struct content_id log = remote_log(r->session->store, &item->action);
    if (m->sender.pid == 0 && start(r, &m->sender, &e) < 0) {
        turn_off(r, e.text);
        return false;
    }
    /* What was wrong there is put right. */
    return remote_link_say(&m->sender, "%s %s %s", m->refused[i] ? "replace" : "send",
                           item->key.hex, log.hex[0] ? log.hex : "-");
}

void run_remote_made(struct run *r, size_t i)
{
    struct run_remote *m = r->remote;
    if (!m || m->no_more_sends || !privacy_may_leave(&m->privacy, &r->session->plan, i))
        return;
    bool was_empty = is_empty(&m->to_send);
    m->to_send.items[m->to_send.end++] = i;
    if (was_empty && !send_first(r))
        turn_off(r, "fmforge-remote has ended");
}

static void take_sent(struct run *r, const char *line)
{
    struct run_remote *m = r->remote;
    if (is_empty(&m->to_send))
        return;
    size_t i = m->to_send.items[m->to_send.first++];
    if (str_starts(line, "shut ")) {
        term_notef(r->term, "remote: %s; nothing is sent to it in this run\n", behind_word(line));
        m->no_more_sends = true;
        m->to_send.first = m->to_send.end;
        return;
    }
    if (str_starts(line, "refused "))
        term_notef(r->term, "%s: not sent to the remote: %s\n",
                   r->session->graph.instances[i]->name, behind_key(line));
    else if (!str_starts(line, "sent "))
        turn_off(r, behind_word(line));
    if (!is_empty(&m->to_send) && !send_first(r))
        turn_off(r, "fmforge-remote has ended");
}

/* ----------------------------------------------------------------------------------- both */

nfds_t run_remote_poll(const struct run *r, struct pollfd *fds, int *timeout_ms)
{
    const struct run_remote *m = r->remote;
    nfds_t n = 0;
    if (m && !is_empty(&m->to_fetch)) {
        double left_ms = m->due_ms - clock_ms();
        int ms = left_ms > 0 ? (int)(left_ms < 1e6 ? left_ms : 1e6) + 1 : 0;
        if (*timeout_ms < 0 || ms < *timeout_ms)
            *timeout_ms = ms;
        fds[n++] = (struct pollfd){m->fetcher.fd, POLLIN, 0};
    }
    if (m && !is_empty(&m->to_send))
        fds[n++] = (struct pollfd){m->sender.fd, POLLIN, 0};
    return n;
}

void run_remote_take(struct run *r)
{
    struct run_remote *m = r->remote;
    char *line;
    if (!m)
        return;
    while (m->fetcher.pid && (line = remote_link_line(&m->fetcher)) != NULL) {
        progress_erase(&r->progress);
        take_answer(r, line);
        xfree(line);
    }
    while (m->sender.pid && (line = remote_link_line(&m->sender)) != NULL) {
        progress_erase(&r->progress);
        take_sent(r, line);
        xfree(line);
    }
    if (!is_empty(&m->to_fetch) && clock_ms() >= m->due_ms) {
        m->fetcher.ended = true; /* it is not asked to end */
        turn_off(r, "fmforge-remote does not answer");
    }
    if ((m->fetcher.ended && !is_empty(&m->to_fetch)) ||
        (m->sender.ended && !is_empty(&m->to_send)))
        turn_off(r, "fmforge-remote has ended");
}

void run_remote_drop(struct run *r)
{
    struct run_remote *m = r->remote;
    if (!m)
        return;
    m->fetcher.ended |= !is_empty(&m->to_fetch); /* it is busy: killed, not waited for */
    m->is_off = true;
    give_back(r);
}

void run_remote_end(struct run *r)
{
    struct run_remote *m = r->remote;
    if (!m)
        return;
    if (!is_empty(&m->to_fetch)) /* the run has failed meanwhile */
        run_remote_drop(r);
    double began_ms = clock_ms();
    double end_ms = began_ms + 1e3 * (double)m->spec->wait_seconds;
    bool said = false;
    while (!is_empty(&m->to_send) && r->interrupts == 0 && clock_ms() < end_ms) {
        size_t n = m->to_send.end - m->to_send.first;
        double left_ms = end_ms - clock_ms();
        struct pollfd fd = {m->sender.fd, POLLIN, 0};
        if (!said && clock_ms() - began_ms >= SAY_WAITING_MS) {
            term_notef(r->term, "remote: sending %zu %s to %s, for %lld s at most\n", n,
                       n == 1 ? "result" : "results", m->url, (long long)m->spec->wait_seconds);
            said = true;
        }
        (void)poll(&fd, 1, (int)(said || left_ms < SAY_WAITING_MS ? left_ms + 1 : SAY_WAITING_MS));
        run_remote_take(r);
    }
    size_t n = m->to_send.end - m->to_send.first;
    if (n > 0 && r->interrupts == 0)
        term_notef(r->term, "remote: %zu %s not sent to %s within %lld s (remote `wait`)\n", n,
                   n == 1 ? "result was" : "results were", m->url,
                   (long long)m->spec->wait_seconds);
    m->sender.ended |= n > 0;
}
