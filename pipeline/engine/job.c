#include "pipeline/engine/job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/job_inputs.h"
#include "pipeline/engine/job_statement.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/store/owed.h"

/* Outputs of a stage that wait in its attempt folder for the end of the run. */
#define LEFT_BYTES_MAX ((uint64_t)64 << 10)

int job_try_lock(struct store *s, const char *key_hex, int *fd, struct err *e)
{
    char *relative = xasprintf("locks/%s", key_hex);
    char *path = store_path(s, relative);
    int rc = 0;
    *fd = -1;
    int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (opened < 0) {
        rc = err_set_errno(e, errno, "%s: cannot open the lock", path);
    } else if (flock(opened, LOCK_EX | LOCK_NB) == 0) {
        *fd = opened;
    } else {
        if (errno != EWOULDBLOCK && errno != EINTR)
            rc = err_set_errno(e, errno, "%s: cannot lock", path);
        close(opened);
    }
    xfree(path);
    xfree(relative);
    return rc;
}

pid_t job_lock_holder(const struct store *s, const char *key_hex)
{
    struct stat st;
    char line[256];
    int64_t pid = 0;
    char *relative = xasprintf("locks/%s", key_hex);
    char *path = store_path(s, relative);
    char *inode = stat(path, &st) == 0 ? xasprintf(":%llu ", (unsigned long long)st.st_ino) : NULL;
    FILE *f = inode ? fopen("/proc/locks", "re") : NULL; /* 1: FLOCK  ADVISORY  WRITE 42 08:01:7 */
    while (f && pid <= 0 && fgets(line, sizeof line, f)) {
        char *write = strstr(line, "WRITE ");
        if (!write || !strstr(line, "FLOCK") || strstr(line, "->") || !strstr(write, inode))
            continue;
        write += strlen("WRITE ");
        write[strcspn(write, " ")] = '\0';
        if (!str_to_i64(write, &pid) || pid > INT_MAX)
            pid = 0;
    }
    if (f)
        fclose(f);
    xfree(inode);
    xfree(path);
    xfree(relative);
    return pid > 0 ? (pid_t)pid : 0;
}

/* ------------------------------------------------------------------------------- start */

/* The path that the stage reads for one input; caller xfrees. */
static int input_path(struct job_env *env, const struct graph_input *in,
                      const struct plan_input *known, char **path, struct err *e)
{
    struct store *s = env->session->store;
    if (in->source == SOURCE_PATH) {
        *path = xstrdup(in->path);
        return 0;
    }
    struct content_id id = known->id;
    int rc = 0;
    if (in->source == SOURCE_VALUE)
        rc = store_put_bytes(s, in->value, strlen(in->value), &id, e);
    return rc < 0 ? rc : store_raw(s, id.hex, known->is_folder, path, e);
}

/* The child's argument list: owned texts, NULL at the end. */
struct arguments {
    char *items[16 + 2 * (2 * DESC_PORTS_MAX)];
    size_t n;
};

static void argument(struct arguments *a, char *text)
{
    a->items[a->n++] = text;
}

static void option(struct arguments *a, const char *name, char *value)
{
    argument(a, xstrdup(name));
    argument(a, value);
}

static void arguments_release(struct arguments *a)
{
    for (size_t i = 0; i < a->n; i++)
        xfree(a->items[i]);
}

static char *out_path(const struct job *j, const char *name)
{
    char *folder = file_join(j->attempt, "out");
    char *path = file_join(folder, name);
    xfree(folder);
    return path;
}

/* The sandbox lets the stage read what its arguments name, and nothing else. */
static int fill_arguments(struct job_env *env, struct job *j, const char *config,
                          struct arguments *a, struct err *e)
{
    const struct instance *n = env->session->graph.instances[j->i];
    const struct plan_item *item = &env->session->plan.items[j->i];
    argument(a, xstrdup(n->desc->program));
    option(a, "--config", xstrdup(config));
    for (size_t i = 0; i < n->n_inputs; i++) {
        char *path = NULL;
        int rc = input_path(env, &n->inputs[i], &item->inputs[i], &path, e);
        if (rc == 0) {
            option(a, "--in", xasprintf("%s=%s", n->inputs[i].port->name, path));
            rc = sandbox_allow(&j->sandbox, SANDBOX_READ, path, e);
        }
        xfree(path);
        if (rc < 0)
            return err_wrap(e, "input %s", n->inputs[i].port->name);
    }
    for (size_t i = 0; i < n->desc->n_outs; i++) {
        char *path = out_path(j, n->desc->outs[i].name);
        option(a, "--out", xasprintf("%s=%s", n->desc->outs[i].name, path));
        xfree(path);
    }
    option(a, "--work", xstrdup(j->work));
    option(a, "--events", xstrdup(j->events));
    option(a, "--threads", xasprintf("%d", env->threads_each));
    if (!str_eq(env->kernels, "auto"))
        option(a, "--kernels", xstrdup(env->kernels));
    return 0;
}

/* The config lies beside the work folder, so that a failed stage can be run by hand. */
static int write_config(struct job_env *env, const struct job *j, char **path, struct err *e)
{
    *path = xasprintf("%s.json", j->work);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(env->session->graph.instances[j->i]->config, &b);
    int rc = file_write(*path, b.bytes, b.n_bytes, e);
    buf_release(&b);
    return rc;
}

static int make_folders(struct job_env *env, struct job *j, struct err *e)
{
    struct store *s = env->session->store;
    const struct plan_item *item = &env->session->plan.items[j->i];
    char *relative = xasprintf("work/%s", item->key.hex);
    j->work = store_path(s, relative);
    xfree(relative);
    int rc = store_temporary(s, &j->attempt, e);
    if (rc < 0)
        return rc;
    j->events = file_join(j->attempt, "events.jsonl");
    char *outs = file_join(j->attempt, "out");
    rc = file_make_folder(j->attempt, e);
    if (rc == 0)
        rc = file_make_folder(outs, e);
    xfree(outs);
    return rc < 0 ? rc : file_make_folder(j->work, e);
}

static int open_sandbox(struct job_env *env, struct job *j, const char *config, struct err *e)
{
    const struct instance *n = env->session->graph.instances[j->i];
    int rc = sandbox_open(&j->sandbox, env->sandbox.abi, e);
    if (rc == 0)
        rc = sandbox_allow_program(&j->sandbox, &env->sandbox, n->desc->program, e);
    for (size_t i = 0; i < n->desc->n_libraries && rc == 0; i++)
        rc = sandbox_allow(&j->sandbox, SANDBOX_EXECUTE, n->desc->libraries[i].path, e);
    if (rc == 0)
        rc = sandbox_allow(&j->sandbox, SANDBOX_READ, config, e);
    if (rc == 0)
        rc = sandbox_allow(&j->sandbox, SANDBOX_WRITE, j->attempt, e);
    return rc < 0 ? rc : sandbox_allow(&j->sandbox, SANDBOX_WRITE, j->work, e);
}

static int launch(struct job *j, const struct arguments *a, struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_errno(e, errno, "cannot make a pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    struct spawn_spec spec = {a->items[0], a->items, ends[1], ends[1], j->lock_fd, j->sandbox.fd};
    int rc = spawn_start(&spec, &j->pid, e);
    close(ends[1]);
    sandbox_close(&j->sandbox); /* the child has its own hold on it */
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    j->pipe_fd = ends[0];
    return 0;
}

int job_start(struct job_env *env, size_t i, int lock_fd, struct job *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    out->i = i;
    out->pipe_fd = -1;
    out->lock_fd = lock_fd;
    out->sandbox.fd = -1;
    const struct manifest_stage *stage = env->session->graph.instances[i]->stage;
    watch_init(&out->watch, stage ? &stage->limits : NULL);
    buf_init(&out->log, BUF_MAX_DEFAULT);
    buf_init(&out->inputs, BUF_MAX_DEFAULT);
    buf_init(&out->programs, BUF_MAX_DEFAULT);
    const struct plan_item *item = &env->session->plan.items[i];
    struct content_id id;
    struct arguments a = {{NULL}, 0};
    char *config = NULL;
    int rc = make_folders(env, out, e);
    if (rc == 0)
        rc = job_inputs_look(env, out, e);
    if (rc == 0 && out->watch.limits.memory_bytes > 0 && watch_memory(getpid()) == 0)
        rc = err_set(e, ERR_IO,
                     "limits.memory: /proc/PID/status does not say here what a process "
                     "holds (RssAnon): leave the limit out");
    if (rc == 0)
        rc = store_put_bytes(env->session->store, item->recipe.bytes, item->recipe.n_bytes, &id, e);
    if (rc == 0)
        rc = write_config(env, out, &config, e);
    if (rc == 0)
        rc = open_sandbox(env, out, config, e);
    if (rc == 0)
        rc = fill_arguments(env, out, config, &a, e);
    struct buf command;
    buf_init(&command, BUF_MAX_DEFAULT);
    for (size_t k = 0; k < a.n; k++)
        buf_printf(&command, "%s%s", k ? " " : "", a.items[k]);
    out->command = buf_steal(&command);
    out->started_ms = clock_ms();
    out->started_unix_ms = clock_unix_ms();
    if (rc == 0)
        rc = launch(out, &a, e);
    xfree(config);
    arguments_release(&a);
    return rc;
}

bool job_read(struct job *j)
{
    char chunk[16384];
    for (;;) {
        ssize_t n = read(j->pipe_fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        if (n == 0)
            return false;
        size_t room = (size_t)LIMIT_LOG_BYTES - j->log.n_bytes;
        size_t kept = (size_t)n < room ? (size_t)n : room;
        buf_add(&j->log, chunk, kept);
        j->log_was_cut |= kept < (size_t)n;
    }
}

/* ------------------------------------------------------------------------------ finish */

/* Of a folder in the store, which is seldom not there yet. */
static int replace_in(const struct store *s, const char *folder, const char *path,
                      const struct buf *b, struct err *e)
{
    struct err absent = {0};
    if (file_replace(path, b->bytes, b->n_bytes, 0644, &absent) == 0)
        return 0;
    int rc = store_make_folder(s, folder, e);
    return rc == 0 ? file_replace(path, b->bytes, b->n_bytes, 0644, e) : rc;
}

static int keep_log(struct job_env *env, struct job *j, struct content_id *id, struct err *e)
{
    const struct plan_item *item = &env->session->plan.items[j->i];
    char *relative = xasprintf("logs/%s.log", item->key.hex);
    char *path = store_path(env->session->store, relative);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (j->log_was_cut)
        buf_printf(&j->log, "\n(cut here: LIMIT_LOG_BYTES, %llu)\n",
                   (unsigned long long)LIMIT_LOG_BYTES);
    buf_printf(&b, "$ %s\n", j->command);
    buf_add(&b, j->log.bytes, j->log.n_bytes);
    int rc = replace_in(env->session->store, "logs", path, &b, e);
    if (rc == 0 && j->log.n_bytes > 0)
        rc = store_put_bytes(env->session->store, j->log.bytes, j->log.n_bytes, id, e);
    buf_release(&b);
    xfree(path);
    xfree(relative);
    return rc;
}

static int store_outputs(struct job_env *env, const struct job *j, struct action *a, struct err *e)
{
    const struct instance *n = env->session->graph.instances[j->i];
    for (size_t i = 0; i < n->desc->n_outs; i++) {
        const struct desc_port *port = &n->desc->outs[i];
        struct action_output *o = &a->outputs[a->n_outputs++];
        char *path = out_path(j, port->name);
        int rc = 0;
        if (!file_exists(path) && !file_is_folder(path))
            rc = err_set(e, ERR_IO, "it ended well but made no output `%s`", port->name);
        if (rc == 0)
            rc = store_put_path(env->session->store, path, &o->id, &o->is_folder, &o->n_bytes, e);
        xfree(path);
        if (rc < 0)
            return rc;
        snprintf(o->name, sizeof o->name, "%s", port->name);
        snprintf(o->kind, sizeof o->kind, "%s", port->kind);
    }
    return 0;
}

static char *failed_path(struct job_env *env, const struct job *j)
{
    char *relative = xasprintf("failed/%s.json", env->session->plan.items[j->i].key.hex);
    char *path = store_path(env->session->store, relative);
    xfree(relative);
    return path;
}

static int publish(struct job_env *env, struct job *j, struct err *e)
{
    struct store *s = env->session->store;
    struct plan_item *item = &env->session->plan.items[j->i];
    const struct instance *n = env->session->graph.instances[j->i];
    struct action a;
    memset(&a, 0, sizeof a);
    a.key = item->key;
    snprintf(a.stage, sizeof a.stage, "%s", n->desc->name);
    struct content_id log = {{0}};
    int rc = keep_log(env, j, &log, e);
    if (rc == 0)
        rc = store_outputs(env, j, &a, e);
    if (rc == 0)
        rc = job_inputs_keep(env, j, e);
    if (rc == 0) { /* after the outputs were read: the last moment at which it matters */
        rc = job_inputs_check(env, j, e);
        struct err left = {0};
        if (rc < 0 && file_remove_tree(j->work, &left) < 0) /* its checkpoints are as doubtful */
            rc = err_wrap(e, "%s", left.text);
    }
    if (rc == 0)
        rc = job_statement(env, j, &a, log.hex[0] ? log.hex : NULL, &a.statement, e);
    if (rc == 0) /* so that it is recorded even if this process ends before its run does */
        rc = owed_add(store_home(s), env->session->manifest.name, a.key.hex, false, e);
    if (rc == 0)
        rc = store_action_put(s, &a, e);
    if (rc < 0)
        return rc;
    item->action = a;
    item->cached = true;
    char *config = xasprintf("%s.json", j->work);
    char *seen = job_inputs_path(j);
    char *failed = failed_path(env, j);
    struct err ignored = {0}; /* leftovers cost room only */
    if (file_remove_tree(j->work, &ignored) < 0 || file_remove_tree(config, &ignored) < 0 ||
        file_remove_tree(seen, &ignored) < 0 || file_remove_tree(failed, &ignored) < 0)
        ignored.text[0] = '\0';
    xfree(failed);
    xfree(seen);
    xfree(config);
    return 0;
}

/* The stage's own last line says most: where it is long, what it begins with and what it ends with.
 */
static char *last_line(const struct job *j)
{
    enum { END_BYTES = 150 };
    const char *text = buf_text(&j->log);
    size_t end = j->log.n_bytes;
    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
        end--;
    size_t start = end;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    if (end - start <= 2 * END_BYTES)
        return xstrndup(text + start, end - start);
    size_t last = end - END_BYTES;
    while (((unsigned char)text[last] & 0xC0) == 0x80) /* not within a letter of UTF-8 */
        last++;
    return xasprintf("%.*s ... %.*s", (int)str_utf8_prefix(text + start, END_BYTES), text + start,
                     (int)(end - last), text + last);
}

static void record_failure(struct job_env *env, const struct job *j, const char *reason)
{
    struct json *o = json_new_object();
    char *path = failed_path(env, j);
    size_t valid = str_utf8_prefix(reason, strlen(reason));
    char *clean = xstrndup(reason, valid);
    json_put_i64(o, "schema", 1);
    json_put_string(o, "stage", env->session->graph.instances[j->i]->name);
    json_put_string(o, "reason", clean);
    json_put_i64(o, "unix_ms", clock_unix_ms());
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(o, &b);
    struct err ignored = {0}; /* only an explanation is lost */
    if (replace_in(env->session->store, "failed", path, &b, &ignored) < 0)
        ignored.text[0] = '\0';
    buf_release(&b);
    json_free(o);
    xfree(clean);
    xfree(path);
}

/* A stage sees only that it may not: whose rule it met is added here. */
static const char *sandbox_hint(const struct job_env *env, const struct job *j)
{
    const char *log = buf_text(&j->log);
    bool refused = strstr(log, strerror(EACCES)) || strstr(log, strerror(EPERM)) ||
                   strstr(log, strerror(EXDEV));
    if (env->sandbox.abi == 0 || !refused)
        return "";
    return " (a stage runs in a sandbox: it may read its declared inputs, write its outputs and "
           "touch nothing else)";
}

/* Why a stage that ran did not end well: its limit, how it ended, its last words, whose rule. */
static int failure(const struct job_env *env, const struct job *j, struct err *e)
{
    struct buf b;
    char status[128];
    char *words = last_line(j);
    buf_init(&b, BUF_MAX_DEFAULT);
    watch_to_text(&j->watch, &b);
    int rc = err_set(e, ERR_IO, "%s%sstage-%s %s%s%s%s%s", buf_text(&b), b.n_bytes ? " (" : "",
                     env->session->graph.instances[j->i]->desc->name,
                     spawn_status_text(j->wait_status, status, sizeof status), *words ? ": " : "",
                     words, b.n_bytes ? ")" : "", sandbox_hint(env, j));
    xfree(words);
    buf_release(&b);
    return rc;
}

void job_ended(struct job *j, int wait_status)
{
    j->pid = 0;
    j->has_ended = true;
    j->wait_status = wait_status;
    j->finished_ms = clock_ms();
}

int job_finish(struct job_env *env, struct job *j, struct err *e)
{
    int rc = 0;
    if (j->wait_status == 0) {
        rc = publish(env, j, e);
        if (rc < 0)
            record_failure(env, j, e->text);
        return rc;
    }
    struct content_id unused;
    struct err ignored = {0};
    if (keep_log(env, j, &unused, &ignored) < 0)
        ignored.text[0] = '\0';
    rc = failure(env, j, e);
    record_failure(env, j, e->text);
    return rc;
}

/* What is small is left to the end of the run, when the store's temporary folder goes as a whole: a
 * file system that has just taken back inodes is slow to give new ones. */
static void leave_attempt(const struct job_env *env, struct job *j)
{
    uint64_t n_bytes = 0;
    struct err ignored = {0};
    const struct action *a = &env->session->plan.items[j->i].action;
    bool is_made = env->session->plan.items[j->i].cached;
    for (size_t i = 0; is_made && i < a->n_outputs; i++)
        n_bytes += a->outputs[i].n_bytes;
    bool stays = is_made && n_bytes <= LEFT_BYTES_MAX;
    if (j->attempt && !stays && file_remove_tree(j->attempt, &ignored) < 0)
        ignored.text[0] = '\0'; /* it goes with the rest */
}

void job_release(struct job_env *env, struct job *j)
{
    leave_attempt(env, j);
    if (j->pipe_fd >= 0)
        close(j->pipe_fd);
    store_unlock(j->lock_fd);
    sandbox_close(&j->sandbox);
    buf_release(&j->log);
    buf_release(&j->inputs);
    buf_release(&j->programs);
    xfree(j->attempt);
    xfree(j->work);
    xfree(j->events);
    xfree(j->command);
    xfree(j->note);
    memset(j, 0, sizeof *j);
    j->pipe_fd = -1;
    j->lock_fd = -1;
    j->sandbox.fd = -1;
}
