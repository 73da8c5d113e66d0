#include "pipeline/provenance/ledger_client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define PROGRAM "fmforge-ledger"
#define ANSWER_BYTES_MAX ((size_t)1 << 30)
#define ARGS_MAX 16

/* What the child gets: stdout into `out`, stderr into a memory file, a run's files as stdin, its
 * message at descriptor 3. */
struct call {
    const char *program;
    const char *args[ARGS_MAX];
    size_t n_args;
    int files_fd, message_fd; /* or -1 */
};

static void add_arg(struct call *c, const char *flag, const char *value)
{
    if (value == NULL)
        return;
    c->args[c->n_args++] = flag;
    c->args[c->n_args++] = value;
}

_Noreturn static void become(const struct call *c, int out_fd, int err_fd)
{
    char *argv[ARGS_MAX + 2];
    memcpy(argv + 1, c->args, c->n_args * sizeof argv[0]);
    argv[0] = xstrdup(c->program);
    argv[c->n_args + 1] = NULL;
    int in_fd = c->files_fd >= 0 ? c->files_fd : open("/dev/null", O_RDONLY);
    if (in_fd >= 0 && dup2(in_fd, 0) == 0 && dup2(out_fd, 1) == 1 && dup2(err_fd, 2) == 2 &&
        (c->message_fd < 0 || c->message_fd == 3 || dup2(c->message_fd, 3) == 3))
        execv(c->program, argv);
    _exit(127);
}

static int read_all(int fd, struct buf *out, struct err *e)
{
    char block[1 << 16];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(e, errno, PROGRAM ": its answer cannot be read");
        if (!buf_fits(out, (size_t)n))
            return err_set(e, ERR_LIMIT, PROGRAM ": its answer is larger than %zu bytes",
                           ANSWER_BYTES_MAX);
        buf_add(out, block, (size_t)n);
    }
}

/* The first line of what the child wrote to stderr. */
static void first_line(int err_fd, char *out, size_t n_bytes)
{
    ssize_t n = pread(err_fd, out, n_bytes - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/* Makes the child's failure ours: its own JSON message, its stderr, or how it ended. */
static int failed(int status, const struct json *answer, int err_fd, struct err *e)
{
    char line[512];
    int64_t code = 0;
    const char *message = NULL;
    struct err ignored = {0};
    if (answer != NULL && json_need_string(answer, "error", &message, &ignored) == 0 &&
        json_need_i64(answer, "code", &code, &ignored) == 0 && code >= ERR_NOMEM && code <= ERR_IO)
        return err_set(e, (enum err_code)code, "ledger: %s", message);
    first_line(err_fd, line, sizeof line);
    if (WIFSIGNALED(status))
        return err_set(e, ERR_FORMAT,
                       "ledger: " PROGRAM " was ended by signal %d (%s): a damaged object can do "
                       "that, fmforge verify names it",
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(e, ERR_MISSING, "ledger: " PROGRAM " cannot be started: %s",
                       line[0] != '\0' ? line : "the program or one of its libraries is missing");
    return err_set(e, ERR_IO, "ledger: " PROGRAM " failed: %s",
                   line[0] != '\0' ? line : "no message");
}

int ledger_answer(const struct buf *out, int status, int err_fd, struct json **answer,
                  struct err *e)
{
    struct json *v = NULL;
    struct err unread = {0};
    int rc = json_parse(buf_text(out), out->n_bytes, &v, &unread);
    if (status != 0) {
        rc = failed(status, rc == 0 ? v : NULL, err_fd, e);
        json_free(v);
        return rc;
    }
    if (rc != 0 || json_type(v) != JSON_OBJECT) {
        json_free(v);
        return err_set(e, ERR_FORMAT, "ledger: " PROGRAM " answered with something else than JSON");
    }
    *answer = v;
    return 0;
}

static int run_with(const char *helper, struct call *c, struct json **answer, struct err *e)
{
    int ends[2] = {-1, -1};
    int status = 0;
    c->program = helper;
    int rc = 0;
    struct buf out;
    buf_init(&out, ANSWER_BYTES_MAX);
    int err_fd = memfd_create("stderr", MFD_CLOEXEC);
    if (err_fd < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        rc = err_set_errno(e, errno, PROGRAM ": cannot make a pipe");
        goto done;
    }
    pid_t child = fork();
    if (child < 0) {
        rc = err_set_errno(e, errno, PROGRAM ": cannot start a process");
        goto done;
    }
    if (child == 0)
        become(c, ends[1], err_fd);
    close(ends[1]);
    ends[1] = -1;
    rc = read_all(ends[0], &out, e);
    close(ends[0]);
    ends[0] = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (rc == 0)
        rc = ledger_answer(&out, status, err_fd, answer, e);
done:
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    if (err_fd >= 0)
        close(err_fd);
    buf_release(&out);
    return rc;
}

static struct call call_of(const char *verb)
{
    return (struct call){.args = {verb}, .n_args = 1, .files_fd = -1, .message_fd = -1};
}

/* Inherited; read from its beginning. */
static int memory_file(const char *name, const void *bytes, size_t n_bytes, int *fd, struct err *e)
{
    *fd = memfd_create(name, 0);
    int rc = *fd < 0 ? -1 : 0;
    const char *p = bytes;
    while (rc == 0 && n_bytes > 0) {
        ssize_t n = write(*fd, p, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            rc = -1;
        p += n > 0 ? n : 0;
        n_bytes -= n > 0 ? (size_t)n : 0;
    }
    if (rc == 0 && lseek(*fd, 0, SEEK_SET) != 0)
        rc = -1;
    return rc == 0 ? 0 : err_set_errno(e, errno, PROGRAM ": the %s cannot be handed over", name);
}

int ledger_commit(const struct ledger *l, const struct ledger_entry *entry,
                  char commit[COMMIT_HEX + 1], struct err *e)
{
    struct call c = call_of("commit");
    struct json *answer = NULL;
    const char *id = NULL;
    char *time_text = xasprintf("%lld", (long long)entry->time);
    add_arg(&c, "--repo", l->repo);
    add_arg(&c, "--ref", entry->ref);
    add_arg(&c, "--files", "/dev/fd/0");
    add_arg(&c, "--message-file", "/dev/fd/3");
    add_arg(&c, "--time", time_text);
    add_arg(&c, "--sign", entry->sign_key);
    struct buf files;
    buf_init(&files, RUN_FILES_BYTES_MAX);
    run_files_pack(entry->files, &files);
    int rc = memory_file("files", files.bytes, files.n_bytes, &c.files_fd, e);
    buf_release(&files);
    if (rc == 0)
        rc = memory_file("message", entry->message, strlen(entry->message), &c.message_fd, e);
    if (rc == 0)
        rc = run_with(l->helper, &c, &answer, e);
    if (rc == 0)
        rc = json_need_string(answer, "commit", &id, e);
    if (rc == 0 && !str_is_hex(id, COMMIT_HEX))
        rc = err_set(e, ERR_FORMAT, "ledger: \"%s\" is no commit", id);
    if (rc == 0)
        memcpy(commit, id, COMMIT_HEX + 1);
    if (c.files_fd >= 0)
        close(c.files_fd);
    if (c.message_fd >= 0)
        close(c.message_fd);
    json_free(answer);
    xfree(time_text);
    return rc;
}

int ledger_log(const struct ledger *l, const char *ref, int64_t max, struct json **out,
               struct err *e)
{
    if (!file_exists(l->repo)) {
        *out = json_new_object();
        json_put(*out, "commits", json_new_array());
        return 0;
    }
    struct call c = call_of("log");
    char *max_text = xasprintf("%lld", (long long)max);
    add_arg(&c, "--repo", l->repo);
    add_arg(&c, "--ref", ref);
    add_arg(&c, "--max", max_text);
    int rc = run_with(l->helper, &c, out, e);
    xfree(max_text);
    return rc;
}

/* The bytes of an answer's "text" or "hex". */
static int take_content(const struct json *v, struct buf *out, struct err *e)
{
    const char *text = NULL;
    buf_clear(out);
    if (json_get(v, "text") != NULL) {
        int rc = json_need_string(v, "text", &text, e);
        if (rc == 0)
            buf_add_text(out, text);
        return rc;
    }
    int rc = json_need_string(v, "hex", &text, e);
    size_t n = rc == 0 ? strlen(text) : 0;
    if (rc == 0 && !str_is_hex(text, n))
        rc = err_set(e, ERR_FORMAT, "ledger: \"hex\" is not hexadecimal");
    for (size_t i = 0; rc == 0 && i + 1 < n; i += 2)
        buf_add_char(out, (char)(str_hex_digit(text[i]) << 4 | str_hex_digit(text[i + 1])));
    return rc;
}

int ledger_cat(const struct ledger *l, const char *commit, const char *path, struct buf *out,
               struct err *e)
{
    struct call c = call_of("cat");
    struct json *answer = NULL;
    add_arg(&c, "--repo", l->repo);
    add_arg(&c, "--commit", commit);
    add_arg(&c, "--path", path);
    int rc = run_with(l->helper, &c, &answer, e);
    if (rc == 0)
        rc = take_content(answer, out, e);
    json_free(answer);
    return rc;
}

int ledger_show(const struct ledger *l, const char *commit, struct json **out, struct err *e)
{
    struct call c = call_of("show");
    add_arg(&c, "--repo", l->repo);
    add_arg(&c, "--commit", commit);
    return run_with(l->helper, &c, out, e);
}

static int find(const struct ledger *l, const char *flag, const char *value, struct json **out,
                struct err *e)
{
    if (!file_exists(l->repo)) {
        *out = json_new_object();
        return 0;
    }
    struct call c = call_of("find");
    add_arg(&c, "--repo", l->repo);
    add_arg(&c, flag, value);
    return run_with(l->helper, &c, out, e);
}

int ledger_find_digest(const struct ledger *l, const char *id_hex, struct json **out, struct err *e)
{
    return find(l, "--digest", id_hex, out, e);
}

int ledger_find_path(const struct ledger *l, const char *path, struct json **out, struct err *e)
{
    return find(l, "--path", path, out, e);
}

int ledger_source(const char *helper, const char *path, struct json **out, struct err *e)
{
    struct call c = call_of("source");
    add_arg(&c, "--path", path);
    return run_with(helper, &c, out, e);
}

int ledger_check(const struct ledger *l, struct json **out, struct err *e)
{
    struct call c = call_of("check");
    add_arg(&c, "--repo", l->repo);
    return run_with(l->helper, &c, out, e);
}

int ledger_try_key(const char *helper, const char *sign_key, struct err *e)
{
    struct call c = call_of("sign");
    struct json *answer = NULL;
    add_arg(&c, "--sign", sign_key);
    int rc = run_with(helper, &c, &answer, e);
    json_free(answer);
    return rc;
}

int ledger_signatures(const struct ledger *l, const char *signers, const char *commit,
                      struct json **out, struct err *e)
{
    struct call c = call_of("signatures");
    add_arg(&c, "--repo", l->repo);
    add_arg(&c, "--signers", signers);
    add_arg(&c, "--commit", commit);
    return run_with(l->helper, &c, out, e);
}
