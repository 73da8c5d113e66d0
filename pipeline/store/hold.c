#include "pipeline/store/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/store.h"

/* "K " and 64 digits and a newline. */
#define LINE_BYTES (SHA256_HEX + 3)
/* A run of LIMIT_STAGES stages with some hundred files each. */
#define HELD_BYTES_MAX ((uint64_t)1 << 30)

static int lock(int fd, int how)
{
    while (flock(fd, how) != 0)
        if (errno != EINTR)
            return -1;
    return 0;
}

/* Where someone has other things to do while gc works, the lock is tried now and then. */
static int lock_shared(const struct objects *o)
{
    while (o->on_wait != NULL && lock(o->gc_fd, LOCK_SH | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return -1;
        if (!o->on_wait(o->wait_context)) {
            errno = ECANCELED;
            return -1;
        }
    }
    return o->on_wait != NULL ? 0 : lock(o->gc_fd, LOCK_SH);
}

static int open_gate(struct objects *o, struct err *e)
{
    if (o->gc_fd >= 0)
        return 0;
    char *path = file_join(o->home, "locks/gc");
    o->gc_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    int rc = o->gc_fd < 0 ? err_set_errno(e, errno, "%s: cannot open the lock", path) : 0;
    xfree(path);
    return rc;
}

static int open_list(struct objects *o, struct err *e)
{
    int rc = o->session == NULL ? objects_session(o, e) : 0;
    if (rc != 0 || o->held_fd >= 0)
        return rc;
    char *path = file_join(o->session, "held");
    o->held_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (o->held_fd < 0)
        rc = err_set_errno(e, errno, "%s: cannot create", path);
    xfree(path);
    return rc;
}

/* Half a line would spoil the next one. */
static int write_lines(struct objects *o, const char *text, size_t n_bytes, struct err *e)
{
    ssize_t n = write(o->held_fd, text, n_bytes);
    if (n == (ssize_t)n_bytes)
        return 0;
    int rc = err_set_errno(e, n < 0 ? errno : ENOSPC, "%s/held: cannot write", o->session);
    off_t end = lseek(o->held_fd, 0, SEEK_END);
    if (n > 0 && end >= n && ftruncate(o->held_fd, end - n) != 0)
        rc = err_wrap(e, "a full disk");
    return rc;
}

int hold_write(struct objects *o, struct err *e)
{
    if (o->read_only || o->held.n_bytes == 0)
        return 0;
    int rc = open_list(o, e);
    if (rc == 0)
        rc = write_lines(o, o->held.bytes, o->held.n_bytes, e);
    if (rc == 0) {
        buf_clear(&o->held);
        (void)lock(o->gc_fd, LOCK_UN);
    }
    return rc;
}

static bool is_recent(const struct hold_recent *r, const char *line)
{
    for (size_t i = 0; i < HOLD_RECENT; i++)
        if (str_eq(r->lines[i], line))
            return true;
    return false;
}

int hold_add(struct objects *o, enum hold_kind kind, const char *id_hex, struct err *e)
{
    if (o->read_only)
        return 0;
    int rc = open_gate(o, e);
    if (rc != 0)
        return rc;
    char line[LINE_BYTES + 1];
    snprintf(line, sizeof line, "%c %s\n", (char)kind, id_hex);
    if (is_recent(&o->recent, line))
        return 0;
    if (o->held.n_bytes == 0 && lock_shared(o) != 0)
        return err_set_errno(e, errno, "%s/locks/gc: cannot lock", o->home);
    if (o->held_fd < 0 || o->held.n_bytes > 0) { /* the second: they could not be written */
        buf_add(&o->held, line, LINE_BYTES);
        return kind == HOLD_ACTION && o->held_fd < 0 ? 0 : hold_write(o, e);
    }
    rc = write_lines(o, line, LINE_BYTES, e);
    (void)lock(o->gc_fd, LOCK_UN);
    if (rc == 0)
        memcpy(o->recent.lines[o->recent.n++ % HOLD_RECENT], line, sizeof line);
    return rc;
}

int hold_leave(struct objects *o, struct err *e)
{
    int rc = hold_write(o, e);
    if (rc == 0 && o->session_fd >= 0 && fcntl(o->session_fd, F_SETFD, 0) != 0)
        rc = err_set_errno(e, errno, "%s/lock: cannot be left open", o->session);
    if (rc != 0 || o->session == NULL)
        return rc;
    o->session_fd = -1; /* the kernel closes it, and so gives the lock back */
    xfree(o->session);
    o->session = NULL;
    if (o->held_fd >= 0)
        close(o->held_fd);
    o->held_fd = -1;
    memset(&o->recent, 0, sizeof o->recent);
    return 0;
}

void hold_reader(struct objects *o)
{
    bool busy = false;
    o->gc_fd = hold_gate(o->home, -1, &busy);
}

int hold_all(struct objects *o, bool wait, bool *locked, struct err *e)
{
    int rc = open_gate(o, e);
    if (rc != 0)
        return rc;
    *locked = lock(o->gc_fd, LOCK_EX | (wait ? 0 : LOCK_NB)) == 0;
    if (!*locked && (wait || errno != EWOULDBLOCK))
        rc = err_set_errno(e, errno, "%s/locks/gc: cannot lock", o->home);
    return rc;
}

int hold_is_alive(const char *session_folder, bool *alive, struct err *e)
{
    char *path = file_join(session_folder, "lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;
    *alive = fd >= 0 && lock(fd, LOCK_SH | LOCK_NB) != 0;
    if (fd < 0 ? errno != ENOENT : *alive && errno != EWOULDBLOCK)
        rc = err_set_errno(e, errno, "%s: cannot be tried", path);
    if (fd >= 0)
        close(fd);
    xfree(path);
    return rc;
}

/* A line that is cut short is being written: its writer has not looked yet. */
static void add_lines(const char *text, struct held *out)
{
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        if (end - text != LINE_BYTES - 1)
            continue;
        char *id = xstrndup(text + 2, SHA256_HEX);
        if (str_is_hex(id, SHA256_HEX))
            id_set_add(text[0] == HOLD_ACTION ? &out->keys
                       : text[0] == HOLD_RAW  ? &out->raws
                                              : &out->objects,
                       id);
        xfree(id);
    }
}

static int read_list(const char *session_folder, struct held *out, struct err *e)
{
    char *path = file_join(session_folder, "held");
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    struct err why = {0};
    int rc = file_read(path, HELD_BYTES_MAX, &b, &why);
    if (rc == 0)
        add_lines(buf_text(&b), out);
    else if (rc != ERR_MISSING) /* it has asked for nothing yet, or has just ended */
        rc = err_set(e, why.code, "%s", why.text);
    else
        rc = 0;
    buf_release(&b);
    xfree(path);
    return rc;
}

int hold_read(const char *home, struct held *out, struct err *e)
{
    char *tmp = file_join(home, "tmp");
    struct file_list names = {0};
    int rc = file_list_names(tmp, &names, e);
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        char *folder = file_join(tmp, names.paths[i]);
        bool alive = false;
        if (str_starts(names.paths[i], "s-"))
            rc = hold_is_alive(folder, &alive, e);
        if (rc == 0 && alive)
            rc = read_list(folder, out, e);
        xfree(folder);
    }
    file_list_release(&names);
    xfree(tmp);
    return rc;
}

void held_release(struct held *h)
{
    id_set_release(&h->keys);
    id_set_release(&h->objects);
    id_set_release(&h->raws);
}
