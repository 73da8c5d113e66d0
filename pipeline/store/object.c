#include "pipeline/store/object.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/packed.h"
#include "pipeline/store/store.h"
#include "pipeline/store/unsynced.h"
#include "pipeline/store/version.h"

void objects_open(struct objects *o, const char *home, bool read_only)
{
    *o = (struct objects){.home = xstrdup(home),
                          .read_only = read_only,
                          .session_fd = -1,
                          .held_fd = -1,
                          .gc_fd = -1,
                          .mark_fd = -1,
                          .sync_fd = -1};
    buf_init(&o->notes, (size_t)1 << 24);
    buf_init(&o->held, BUF_MAX_DEFAULT);
}

void objects_close(struct objects *o)
{
    struct err ignored = {0}; /* what stays is removed by the next writer */
    if (o->session != NULL && file_remove_tree(o->session, &ignored) != 0)
        errno = 0;
    const int fds[] = {o->session_fd, o->held_fd, o->gc_fd, o->mark_fd, o->sync_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    zcoder_close(o->coder);
    xfree(o->session);
    xfree(o->mark);
    xfree(o->home);
    buf_release(&o->notes);
    buf_release(&o->held);
    *o = (struct objects){
        .session_fd = -1, .held_fd = -1, .gc_fd = -1, .mark_fd = -1, .sync_fd = -1};
}

char *objects_path(const struct objects *o, const char *kind, const char *id_hex,
                   const char *suffix)
{
    CHECK(str_is_hex(id_hex, SHA256_HEX));
    return xasprintf("%s/%s/%.2s/%s%s", o->home, kind, id_hex, id_hex, suffix);
}

/* Calls f for temporary folders whose process is gone: their lock is free. */
static void each_dead(const char *tmp, objects_dead_function *f, void *context)
{
    DIR *dir = opendir(tmp);
    if (dir == NULL)
        return;
    struct dirent *entry = NULL;
    while ((entry = readdir(dir)) != NULL) {
        if (!str_starts(entry->d_name, "s-"))
            continue;
        char *folder = file_join(tmp, entry->d_name);
        char *lock = file_join(folder, "lock");
        int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            f(context, folder);
        if (fd >= 0)
            close(fd);
        xfree(lock);
        xfree(folder);
    }
    closedir(dir);
}

static void remove_dead(void *context, const char *folder)
{
    struct err ignored = {0};
    (void)context;
    if (file_remove_tree(folder, &ignored) != 0)
        errno = 0;
}

/* locks/tmp: no sweep sees a folder before its lock is held. */
int objects_gate(const struct objects *o, int *gate, struct err *e)
{
    char *path = file_join(o->home, "locks/tmp");
    int rc = 0;
    *gate = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*gate < 0 || file_lock(*gate) != 0)
        rc = err_set_errno(e, errno, "%s: cannot lock", path);
    xfree(path);
    return rc;
}

int objects_each_dead(struct objects *o, objects_dead_function *f, void *context, struct err *e)
{
    int gate = -1;
    char *tmp = file_join(o->home, "tmp");
    int rc = objects_gate(o, &gate, e);
    if (rc == 0)
        each_dead(tmp, f, context);
    if (gate >= 0)
        close(gate);
    xfree(tmp);
    return rc;
}

int objects_tidy(struct objects *o, struct err *e)
{
    return o->session != NULL ? 0 : objects_each_dead(o, remove_dead, NULL, e);
}

int objects_session(struct objects *o, struct err *e)
{
    char *tmp = file_join(o->home, "tmp");
    char *folder = NULL;
    char *lock = NULL;
    int fd = -1, gate = -1;
    int rc = objects_gate(o, &gate, e);
    if (rc != 0)
        goto out;
    each_dead(tmp, remove_dead, NULL);
    for (unsigned n = 0; folder == NULL; n++) {
        folder = xasprintf("%s/s-%ld-%u", tmp, (long)getpid(), n);
        if (mkdir(folder, 0755) == 0)
            break;
        if (errno != EEXIST) {
            rc = err_set_errno(e, errno, "%s: cannot make the folder", folder);
            goto out;
        }
        xfree(folder);
        folder = NULL;
    }
    lock = file_join(folder, "lock");
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || file_lock(fd) != 0) {
        rc = err_set_errno(e, errno, "%s: cannot lock", lock);
        goto out;
    }
    o->session = folder;
    o->session_fd = fd;
    folder = NULL;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    if (gate >= 0)
        close(gate);
    xfree(lock);
    xfree(folder);
    xfree(tmp);
    return rc;
}

int objects_temporary(struct objects *o, char **path, struct err *e)
{
    if (o->session == NULL) {
        int rc = objects_session(o, e);
        if (rc != 0)
            return rc;
    }
    *path = xasprintf("%s/%u", o->session, o->n_temporaries++);
    return 0;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    CHECK(slash != NULL);
    return xstrndup(path, (size_t)(slash - path));
}

/* rename or link, 0 or -1 and errno. The folder of `to` is seldom not there yet. */
typedef int name_function(const char *from, const char *to);

static int give_name(name_function *name, const char *from, const char *to)
{
    if (name(from, to) == 0)
        return 0;
    if (errno != ENOENT)
        return -1;
    struct err why = {0};
    char *parent = folder_of(to);
    int rc = file_make_folder(parent, &why), problem = errno;
    xfree(parent);
    errno = problem;
    return rc != 0 ? -1 : name(from, to);
}

int objects_publish(struct objects *o, const char *from, const char *to, bool is_folder,
                    struct err *e)
{
    int rc = unsynced_begin(o, e);
    if (rc != 0 || give_name(rename, from, to) == 0)
        return rc;
    if (is_folder && (errno == ENOTEMPTY || errno == EEXIST))
        return file_remove_tree(from, e);
    return err_set_errno(e, errno, "%s: cannot rename to it", to);
}

int objects_publish_raw(struct objects *o, const char *from, const char *to, bool is_folder,
                        struct err *e)
{
    if (is_folder)
        return objects_publish(o, from, to, true, e);
    int rc = unsynced_begin(o, e);
    if (rc != 0)
        return rc;
    if (give_name(link, from, to) != 0 && errno != EEXIST) /* no links on this file system */
        return objects_publish(o, from, to, false, e);
    return unlink(from) == 0 ? 0 : err_set_errno(e, errno, "%s: cannot remove", from);
}

void objects_quarantine(struct objects *o, const char *path, const char *what)
{
    if (o->read_only) {
        buf_printf(&o->notes, "%s\n", what);
        return;
    }
    struct err e = {0};
    char *to = NULL;
    char *folder = file_join(o->home, "quarantine");
    int rc = file_make_folder(folder, &e);
    for (unsigned n = 0; to == NULL && n < 10000; n++) {
        to = xasprintf("%s/%s.%u", folder, file_base_name(path), n);
        struct stat st;
        if (lstat(to, &st) == 0) {
            xfree(to);
            to = NULL;
        }
    }
    if (rc == 0 && to != NULL && rename(path, to) == 0)
        buf_printf(&o->notes, "%s; moved to %s, it will be made again\n", what, to);
    else
        buf_printf(&o->notes, "%s; it cannot be moved to %s: %s\n", what, folder, strerror(errno));
    xfree(to);
    xfree(folder);
}

/* The other form of `suffix`. */
static const char *other_suffix(const char *suffix)
{
    return str_eq(suffix, OBJECT_PLANES) ? OBJECT_ZST : OBJECT_PLANES;
}

char *objects_file(const struct objects *o, const char *id_hex)
{
    char *path = objects_path(o, "objects", id_hex, OBJECT_ZST);
    if (file_exists(path))
        return path;
    xfree(path);
    return objects_path(o, "objects", id_hex, OBJECT_PLANES);
}

bool objects_has(const struct objects *o, const char *id_hex)
{
    char *path = objects_path(o, "objects", id_hex, OBJECT_ZST);
    bool has = file_exists(path);
    xfree(path);
    if (!has) {
        path = objects_path(o, "objects", id_hex, OBJECT_PLANES);
        has = file_exists(path);
        xfree(path);
    }
    return has;
}

/* Puts a packed file in its place. There is one form of an object at a time: when the other one is
 * there and good, it stays. */
static int publish_object(struct objects *o, const char *temporary, const struct packed *p,
                          struct err *e)
{
    const char *suffix = p->is_planes ? OBJECT_PLANES : OBJECT_ZST;
    char *to = objects_path(o, "objects", p->id.hex, suffix);
    char *other = objects_path(o, "objects", p->id.hex, other_suffix(suffix));
    struct err damaged = {0};
    int rc = hold_add(o, HOLD_OBJECT, p->id.hex, e);
    if (rc == 0 && file_exists(other) && objects_unpack(o, p->id.hex, NULL, NULL, &damaged) == 0) {
        if (unlink(temporary) != 0)
            rc = err_set_errno(e, errno, "%s: cannot remove", temporary);
    } else if (rc == 0) {
        rc = p->is_planes ? version_raise(o->home, e) : 0;
        if (rc == 0)
            rc = objects_publish(o, temporary, to, false, e);
    }
    xfree(other);
    xfree(to);
    return rc;
}

/* A file in our own temporary folder that nothing else has a name for is a stage's output: it
 * becomes the raw copy itself. -1 when it has to be copied. */
static int link_raw(const struct objects *o, const char *path, const char *raw)
{
    struct stat st;
    size_t n = o->session == NULL ? 0 : strlen(o->session);
    if (n == 0 || strncmp(path, o->session, n) != 0 || path[n] != '/')
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
        link(path, raw) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What is small is read whole, so that what the store has is not packed once more. *done: it was
 * one. */
static int put_small(struct objects *o, const char *path, bool *done, struct content_id *id,
                     uint64_t *n_bytes, struct err *e)
{
    struct stat before, after;
    struct buf b;
    *done =
        stat(path, &before) == 0 && S_ISREG(before.st_mode) && before.st_size <= OBJECT_SMALL_BYTES;
    if (!*done)
        return 0;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = file_read(path, BUF_MAX_DEFAULT - 1, &b, e);
    if (rc == 0 &&
        (stat(path, &after) != 0 || after.st_size != before.st_size ||
         b.n_bytes != (size_t)before.st_size || after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
         after.st_mtim.tv_nsec != before.st_mtim.tv_nsec))
        rc = err_set(e, ERR_IO, "%s: changed while it was stored", path);
    if (rc == 0)
        rc = objects_put_bytes(o, buf_text(&b), b.n_bytes, id, e);
    if (rc == 0 && n_bytes != NULL)
        *n_bytes = b.n_bytes;
    buf_release(&b);
    return rc;
}

int objects_put_file(struct objects *o, const char *path, const char *raw, struct content_id *id,
                     uint64_t *n_bytes, struct err *e)
{
    bool done = false;
    int small = raw == NULL ? put_small(o, path, &done, id, n_bytes, e) : 0;
    if (done || small != 0)
        return small;
    char *temporary = NULL;
    struct packed p;
    int fd = raw == NULL ? -1 : link_raw(o, path, raw);
    int rc = objects_temporary(o, &temporary, e);
    if (fd >= 0)
        file_start_writing(fd);
    const struct packed_order order = {
        path, temporary, fd >= 0 ? NULL : raw, STORE_OBJECT_BYTES_MAX, o->on_work, o->wait_context};
    if (rc == 0)
        rc = packed_write(&order, &p, e);
    if (rc == 0 && raw != NULL && chmod(raw, 0444) != 0)
        rc = err_set_errno(e, errno, "%s: cannot make read-only", raw);
    if (rc == 0)
        rc = publish_object(o, temporary, &p, e);
    if (rc != 0 && temporary != NULL)
        unlink(temporary);
    if (rc == 0) {
        *id = p.id;
        if (n_bytes != NULL)
            *n_bytes = p.n_bytes;
    }
    if (fd >= 0)
        close(fd);
    xfree(temporary);
    return rc;
}

int objects_put_bytes(struct objects *o, const void *bytes, size_t n_bytes, struct content_id *id,
                      struct err *e)
{
    struct packed p = {.id = sha256_of(bytes, n_bytes), .n_bytes = n_bytes};
    char *temporary = NULL;
    int rc = hold_add(o, HOLD_OBJECT, p.id.hex, e);
    if (rc == 0 && objects_has(o, p.id.hex)) {
        struct err ignored = {0};
        if (objects_unpack(o, p.id.hex, NULL, NULL, &ignored) == 0)
            goto out;
    }
    if (rc == 0)
        rc = objects_temporary(o, &temporary, e);
    if (rc == 0 && o->coder == NULL)
        o->coder = zcoder_open();
    if (rc == 0)
        rc = packed_write_bytes(o->coder, bytes, n_bytes, temporary, e);
    if (rc == 0)
        rc = publish_object(o, temporary, &p, e);
    if (rc != 0 && temporary != NULL)
        unlink(temporary);
out:
    if (rc == 0)
        *id = p.id;
    xfree(temporary);
    return rc;
}

/* Turns a failed or wrong read into "object ID is damaged", and moves the object away. */
static int judge(struct objects *o, const char *id_hex, const char *path, int rc,
                 const struct content_id *found, struct err *e)
{
    if (rc == 0 && str_eq(found->hex, id_hex))
        return 0;
    if (rc == 0)
        rc = err_set(e, ERR_FORMAT, "%s: its bytes have the SHA-256 %s", path, found->hex);
    if (rc == ERR_MISSING)
        return err_wrap(e, "object %s is not in the store", id_hex);
    if (rc != ERR_FORMAT)
        return err_wrap(e, "object %s", id_hex);
    rc = err_wrap(e, "object %s is damaged", id_hex);
    objects_quarantine(o, path, e->text);
    return rc;
}

/* packed_read through judge. */
static int read_object(struct objects *o, const char *id_hex, uint64_t max_bytes,
                       const struct zfile_sink *sink, uint64_t *n_bytes, struct err *e)
{
    char *path = objects_path(o, "objects", id_hex, OBJECT_ZST);
    struct packed p = {.n_bytes = 0};
    struct err first = {0};
    int rc = packed_read(path, max_bytes, false, sink, &p, &first);
    if (rc == ERR_MISSING) { /* most are of this form: the other one is looked for only now */
        xfree(path);
        path = objects_file(o, id_hex);
        rc = packed_read(path, max_bytes, false, sink, &p, e);
    } else if (rc != 0) {
        *e = first;
    }
    rc = judge(o, id_hex, path, rc, &p.id, e);
    if (rc == 0 && n_bytes != NULL)
        *n_bytes = p.n_bytes;
    xfree(path);
    return rc;
}

static void add_to_buf(void *context, const void *bytes, size_t n_bytes)
{
    buf_add(context, bytes, n_bytes);
}

static void add_to_file(void *context, const void *bytes, size_t n_bytes)
{
    file_out_add(context, bytes, n_bytes);
    file_out_start(context);
}

int objects_read(struct objects *o, const char *id_hex, uint64_t max_bytes, struct buf *out,
                 struct err *e)
{
    struct zfile_sink sink = {add_to_buf, out};
    uint64_t room = out->max_bytes - 1;
    buf_clear(out);
    return read_object(o, id_hex, max_bytes < room ? max_bytes : room, &sink, NULL, e);
}

int objects_unpack(struct objects *o, const char *id_hex, const char *to, uint64_t *n_bytes,
                   struct err *e)
{
    struct file_out out = {0};
    struct zfile_sink sink = {add_to_file, &out};
    int rc = to == NULL ? 0 : file_out_open(&out, to, e);
    if (rc != 0)
        return rc;
    rc = read_object(o, id_hex, STORE_OBJECT_BYTES_MAX, to == NULL ? NULL : &sink, n_bytes, e);
    if (rc == 0 && to != NULL) {
        rc = file_out_close(&out, e);
        if (rc != 0)
            unlink(to);
    }
    file_out_abandon(&out);
    return rc;
}

int objects_check_file(struct objects *o, const char *path, const char *id_hex, uint64_t *n_bytes,
                       struct err *e)
{
    struct packed p = {.n_bytes = 0};
    int rc = packed_read(path, STORE_OBJECT_BYTES_MAX, true, NULL, &p, e);
    rc = judge(o, id_hex, path, rc, &p.id, e);
    if (rc == 0 && n_bytes != NULL)
        *n_bytes = p.n_bytes;
    return rc;
}

int objects_check(struct objects *o, const char *id_hex, uint64_t *n_bytes, struct err *e)
{
    char *zst = objects_path(o, "objects", id_hex, OBJECT_ZST);
    char *planes = objects_path(o, "objects", id_hex, OBJECT_PLANES);
    bool is_split = file_exists(planes);
    int rc = is_split && !file_exists(zst) ? 0 : objects_check_file(o, zst, id_hex, n_bytes, e);
    if (rc == 0 && is_split)
        rc = objects_check_file(o, planes, id_hex, n_bytes, e);
    xfree(planes);
    xfree(zst);
    return rc;
}

int objects_print(struct objects *o, const char *id_hex, const struct zfile_sink *sink,
                  struct err *e)
{
    return read_object(o, id_hex, STORE_OBJECT_BYTES_MAX, sink, NULL, e);
}

int objects_print_range(struct objects *o, const char *id_hex, uint64_t offset, uint64_t n_bytes,
                        const struct zfile_sink *sink, struct err *e)
{
    char *path = objects_file(o, id_hex);
    int rc = packed_read_range(path, offset, n_bytes, sink, e);
    struct content_id same = {{0}};
    memcpy(same.hex, id_hex, SHA256_HEX);
    rc = judge(o, id_hex, path, rc, &same, e);
    xfree(path);
    return rc;
}
