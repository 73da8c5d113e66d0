/*
 * probe: a stage for tests of the engine. It copies its input to its output, and on the way does
 * one thing that a stage should not, or needs time, memory or several tries.
 */

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"

#define INPUT_BYTES_MAX ((uint64_t)1 << 30)
#define EATEN_STEP ((size_t)4 << 20)

struct probe_config {
    int does;
    const char *path;
    int64_t n;
};

static const char *const DOES[] = {"copy", "read",    "list",   "write", "link", "remove",
                                   "bind", "connect", "signal", "steps", "hang", "eat",
                                   "map",  "fail",    "die",    "early", "late", NULL};
enum does {
    DO_COPY,
    DO_READ,    /* the file at path */
    DO_LIST,    /* the folder at path */
    DO_WRITE,   /* the file at path */
    DO_LINK,    /* the input, into the attempt folder */
    DO_REMOVE,  /* the file at path */
    DO_BIND,    /* TCP port n */
    DO_CONNECT, /* to TCP port n */
    DO_SIGNAL,  /* to the engine */
    DO_STEPS,   /* n times 50 ms, from a checkpoint on */
    DO_HANG,    /* n times 50 ms, whatever signal comes */
    DO_EAT,     /* n MiB, 4 at a time, and 20 ms for each */
    DO_MAP,     /* reads the input `more` mapped, and n times 50 ms */
    DO_FAIL,    /* n times, then no more */
    DO_DIE,     /* n times by SIGKILL, then no more */
    DO_EARLY,   /* its output is what it reads after 0.4 s; that is a checkpoint, then n times 50 ms
                 */
    DO_LATE,    /* fails after n times 50 ms */
};

#define AT(member) offsetof(struct probe_config, member)
static const struct param PARAMS[] = {
    {"does", PARAM_CHOICE, AT(does), "copy", 0, 0, DOES, "", "What it does beside copying."},
    {"path", PARAM_TEXT, AT(path), "", 0, 0, NULL, "", "A path for it."},
    {"n", PARAM_INT, AT(n), "0", 0, 1e9, NULL, "", "A number for it."},
};

static const struct stage_port INS[] = {
    {"text", "text", true, "What is copied."},
    {"more", "text", false, "Makes a stage wait for another; what is mapped."},
    {"also", "text", false, "Is there, and not looked at."},
};

static const struct stage_port OUTS[] = {
    {"text", "text", true, "The copy."},
    {"folder", "text", true, "A folder with the copy twice."},
};

static const struct stage_spec SPEC = {
    .name = "probe",
    .summary = "Copies a file, and tests the engine.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct probe_config),
};

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int use_port(int64_t port, bool binds, struct err *e)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = fd < 0  ? -1
             : binds ? bind(fd, (struct sockaddr *)&to, sizeof to)
                     : connect(fd, (struct sockaddr *)&to, sizeof to);
    if (rc != 0)
        rc = err_set_errno(e, errno, "%s 127.0.0.1:%d", binds ? "binding" : "connecting to",
                           (int)port);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* A number in the work folder, which outlives a try. */
static int64_t count_read(const char *path)
{
    struct buf b;
    struct err ignored = {0};
    int64_t n = 0;
    buf_init(&b, 64);
    if (file_read(path, 32, &b, &ignored) < 0 || !str_to_i64(buf_text(&b), &n))
        n = 0;
    buf_release(&b);
    return n;
}

static int count_write(const char *path, int64_t n, struct err *e)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n);
    return file_publish(path, text, strlen(text), 0644, e);
}

static int take_steps(const struct stage_run *r, const char *count, int64_t n, struct err *e)
{
    for (int64_t done = count_read(count); done < n; done++) {
        if (stage_interrupted()) {
            int rc = count_write(count, done, e);
            return rc < 0 ? rc : err_set(e, ERR_IO, "interrupted");
        }
        stage_progress(r, "step", (double)done, (double)n);
        pause_ms(50);
    }
    stage_say(r, "began at step %lld", (long long)count_read(count));
    return 0;
}

static int eat(int64_t n_mib, struct err *e)
{
    for (int64_t i = 0; i < n_mib; i += 4) {
        char *p =
            mmap(NULL, EATEN_STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return err_set_errno(e, errno, "cannot take memory");
        memset(p, 1, EATEN_STEP);
        if (stage_interrupted())
            return err_set(e, ERR_IO, "interrupted");
        pause_ms(20);
    }
    return 0;
}

static int map_and_wait(const char *path, int64_t n, struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, path, e);
    if (rc < 0)
        return rc;
    size_t sum = 0;
    for (size_t i = 0; i < m.n_bytes; i += 4096)
        sum += ((const unsigned char *)m.bytes)[i];
    for (int64_t i = 0; i < n; i++)
        pause_ms(50);
    file_map_close(&m);
    return sum == 1 ? err_set(e, ERR_FORMAT, "not the file of the test") : 0;
}

static int try_again(const char *count, int64_t n, bool dies, struct err *e)
{
    int64_t tries = count_read(count) + 1;
    int rc = count_write(count, tries, e);
    if (rc < 0 || tries > n)
        return rc;
    if (dies)
        raise(SIGKILL);
    return err_set(e, ERR_IO, "try %lld fails", (long long)tries);
}

static int read_early(const struct stage_run *r, int64_t n, struct err *e)
{
    struct buf b;
    char *early = file_join(r->work, "early");
    buf_init(&b, INPUT_BYTES_MAX);
    int rc = 0;
    if (file_exists(early)) {
        stage_say(r, "goes on");
    } else {
        pause_ms(400);
        rc = file_read(stage_in(r, "text"), INPUT_BYTES_MAX, &b, e);
        if (rc == 0)
            rc = file_publish(early, b.bytes, b.n_bytes, 0644, e);
    }
    for (int64_t i = 0; i < n && rc == 0; i++) {
        if (stage_interrupted())
            rc = err_set(e, ERR_IO, "interrupted");
        pause_ms(50);
    }
    buf_release(&b);
    xfree(early);
    return rc;
}

static int misbehave(const struct stage_run *r, const struct probe_config *c, struct err *e)
{
    struct buf b;
    struct file_list names = {0};
    char *count = file_join(r->work, "count");
    char *other = xasprintf("%s.link", stage_out(r, "text"));
    int rc = 0;
    buf_init(&b, BUF_MAX_DEFAULT);
    switch ((enum does)c->does) {
    case DO_COPY:
        break;
    case DO_READ:
        rc = file_read(c->path, INPUT_BYTES_MAX, &b, e);
        break;
    case DO_LIST:
        rc = file_list_names(c->path, &names, e);
        break;
    case DO_WRITE:
        rc = file_write(c->path, "x", 1, e);
        break;
    case DO_LINK:
        if (link(stage_in(r, "text"), other) != 0)
            rc = err_set_errno(e, errno, "%s: cannot link to it", stage_in(r, "text"));
        break;
    case DO_REMOVE:
        rc = file_remove_tree(c->path, e);
        break;
    case DO_BIND:
    case DO_CONNECT:
        rc = use_port(c->n, c->does == DO_BIND, e);
        break;
    case DO_SIGNAL:
        if (kill(getppid(), SIGINT) != 0)
            rc = err_set_errno(e, errno, "a signal to the engine");
        break;
    case DO_STEPS:
        rc = take_steps(r, count, c->n, e);
        break;
    case DO_HANG:
        for (int64_t i = 0; i < c->n; i++)
            pause_ms(50);
        break;
    case DO_LATE:
        for (int64_t i = 0; i < c->n; i++)
            pause_ms(50);
        rc = err_set(e, ERR_IO, "too late");
        break;
    case DO_EAT:
        rc = eat(c->n, e);
        break;
    case DO_MAP:
        rc = map_and_wait(stage_in(r, "more"), c->n, e);
        break;
    case DO_FAIL:
    case DO_DIE:
        rc = try_again(count, c->n, c->does == DO_DIE, e);
        break;
    case DO_EARLY:
        rc = read_early(r, c->n, e);
        break;
    }
    file_list_release(&names);
    buf_release(&b);
    xfree(other);
    xfree(count);
    return rc;
}

static int run(const struct stage_run *r, struct err *e)
{
    struct buf b;
    buf_init(&b, INPUT_BYTES_MAX);
    int rc = misbehave(r, r->config, e);
    const struct probe_config *c = r->config;
    char *early = file_join(r->work, "early");
    if (rc == 0)
        rc = file_read(c->does == DO_EARLY ? early : stage_in(r, "text"), INPUT_BYTES_MAX, &b, e);
    xfree(early);
    if (rc == 0)
        rc = file_write(stage_out(r, "text"), b.bytes, b.n_bytes, e);
    static const char *const names[] = {"a.txt", "below/b.txt"};
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        char *path = file_join(stage_out(r, "folder"), names[i]);
        rc = file_make_parents(path, e);
        if (rc == 0)
            rc = file_write(path, b.bytes, b.n_bytes, e);
        xfree(path);
    }
    buf_release(&b);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
