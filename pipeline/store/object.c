#include "pipeline/store/object.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/store.h"
#include "pipeline/store/unsynced.h"

/* Levels measured on weights and on JSONL: fast where nothing is gained by more. */
#define LEVEL_BINARY 1
#define LEVEL_TEXT 3
#define SAMPLE_BYTES 4096

/* Behind its zstd frame an object has a skippable frame (readers of zstd pass over it) with the
 * SHA-256 of all bytes before: some bits of a frame mean nothing to the decoder, and a flipped one
 * is to be found all the same. It is checked by objects_check only. */
#define SEAL_MAGIC 0x184D2A5Bu
#define SEAL_BYTES 72 /* u32 magic, u32 64, 64 hex digits */

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
    if (*gate < 0 || flock(*gate, LOCK_EX) != 0)
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
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
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

int objects_publish(struct objects *o, const char *from, const char *to, bool is_folder,
                    struct err *e)
{
    char *parent = folder_of(to);
    int rc = unsynced_begin(o, e);
    if (rc == 0 && !file_is_folder(parent))
        rc = file_make_folder(parent, e);
    xfree(parent);
    if (rc != 0)
        return rc;
    if (!is_folder && chmod(from, 0444) != 0)
        return err_set_errno(e, errno, "%s: cannot make read-only", from);
    if (rename(from, to) == 0)
        return 0;
    if (is_folder && (errno == ENOTEMPTY || errno == EEXIST))
        return file_remove_tree(from, e);
    return err_set_errno(e, errno, "%s: cannot rename to it", to);
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

static int level_for(const char *path, int *level, struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, path, e);
    if (rc != 0)
        return rc;
    size_t n = m.n_bytes < SAMPLE_BYTES ? m.n_bytes : SAMPLE_BYTES;
    const char *text = (const char *)m.bytes;
    bool is_text = n == 0 || (memchr(text, 0, n) == NULL && str_utf8_prefix(text, n) + 3 >= n);
    *level = is_text ? LEVEL_TEXT : LEVEL_BINARY;
    file_map_close(&m);
    return 0;
}

/* Appends the seal to a packed file. */
static int seal(const char *path, struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, path, e);
    if (rc != 0)
        return rc;
    struct content_id id = sha256_of(m.bytes, m.n_bytes);
    file_map_close(&m);
    char bytes[SEAL_BYTES];
    bytes_put_u32(bytes, SEAL_MAGIC);
    bytes_put_u32(bytes + 4, SHA256_HEX);
    memcpy(bytes + 8, id.hex, SHA256_HEX);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    int problem = fd < 0 ? errno : 0;
    ssize_t n = fd < 0 ? 0 : write(fd, bytes, sizeof bytes);
    if (problem == 0 && n != (ssize_t)sizeof bytes)
        problem = n < 0 ? errno : ENOSPC;
    if (fd >= 0 && close(fd) != 0 && problem == 0)
        problem = errno;
    return problem == 0 ? 0 : err_set_errno(e, problem, "%s: cannot write", path);
}

/* ERR_FORMAT when there is a seal and it is another. */
static int check_seal(const char *path, struct err *e)
{
    struct file_map m;
    int rc = file_map_open(&m, path, e);
    if (rc != 0)
        return rc;
    size_t n = m.n_bytes < SEAL_BYTES ? 0 : m.n_bytes - SEAL_BYTES;
    /* Any skippable frame of this size: the decoder does not mind a wrong last digit. */
    if (n > 0 && (bytes_get_u32(m.bytes + n) & ~15u) == (SEAL_MAGIC & ~15u)) {
        struct content_id id = sha256_of(m.bytes, n);
        if (bytes_get_u32(m.bytes + n) != SEAL_MAGIC ||
            memcmp(id.hex, m.bytes + n + 8, SHA256_HEX) != 0)
            rc = err_set(e, ERR_FORMAT, "%s: its bytes are not those that were written", path);
    }
    file_map_close(&m);
    return rc;
}

int objects_put_file(struct objects *o, const char *path, struct content_id *id, uint64_t *n_bytes,
                     struct err *e)
{
    char *temporary = NULL;
    char *to = NULL;
    int level = 0;
    int rc = level_for(path, &level, e);
    if (rc == 0)
        rc = objects_temporary(o, &temporary, e);
    if (rc == 0)
        rc = zfile_pack(path, temporary, level, id, n_bytes, e);
    if (rc == 0)
        rc = seal(temporary, e);
    if (rc == 0)
        rc = hold_add(o, HOLD_OBJECT, id->hex, e);
    if (rc == 0) {
        to = objects_path(o, "objects", id->hex, ".zst");
        rc = objects_publish(o, temporary, to, false, e);
    }
    if (rc != 0 && temporary != NULL)
        unlink(temporary);
    xfree(to);
    xfree(temporary);
    return rc;
}

int objects_put_bytes(struct objects *o, const void *bytes, size_t n_bytes, struct content_id *id,
                      struct err *e)
{
    struct content_id found = sha256_of(bytes, n_bytes);
    char *to = objects_path(o, "objects", found.hex, ".zst");
    char *temporary = NULL;
    int rc = hold_add(o, HOLD_OBJECT, found.hex, e);
    if (rc == 0 && file_exists(to)) {
        struct err ignored = {0};
        if (objects_unpack(o, found.hex, NULL, NULL, &ignored) == 0)
            goto out;
    }
    if (rc == 0)
        rc = objects_temporary(o, &temporary, e);
    if (rc == 0)
        rc = zfile_pack_bytes(bytes, n_bytes, temporary, LEVEL_TEXT, e);
    if (rc == 0)
        rc = seal(temporary, e);
    if (rc == 0)
        rc = objects_publish(o, temporary, to, false, e);
    if (rc != 0 && temporary != NULL)
        unlink(temporary);
out:
    if (rc == 0)
        *id = found;
    xfree(temporary);
    xfree(to);
    return rc;
}

bool objects_has(const struct objects *o, const char *id_hex)
{
    char *path = objects_path(o, "objects", id_hex, ".zst");
    bool has = file_exists(path);
    xfree(path);
    return has;
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
    rc = err_wrap(e, "object %s is damaged", id_hex);
    if (rc == ERR_FORMAT)
        objects_quarantine(o, path, e->text);
    return rc;
}

int objects_read(struct objects *o, const char *id_hex, uint64_t max_bytes, struct buf *out,
                 struct err *e)
{
    char *path = objects_path(o, "objects", id_hex, ".zst");
    struct content_id found = {{0}};
    int rc = zfile_read(path, max_bytes, out, e);
    if (rc == 0)
        found = sha256_of(buf_text(out), out->n_bytes);
    rc = judge(o, id_hex, path, rc, &found, e);
    xfree(path);
    return rc;
}

int objects_unpack(struct objects *o, const char *id_hex, const char *to, uint64_t *n_bytes,
                   struct err *e)
{
    char *path = objects_path(o, "objects", id_hex, ".zst");
    struct content_id found = {{0}};
    int rc = zfile_unpack(path, to, STORE_OBJECT_BYTES_MAX, &found, n_bytes, e);
    bool written = rc == 0;
    rc = judge(o, id_hex, path, rc, &found, e);
    if (rc != 0 && written && to != NULL)
        unlink(to);
    xfree(path);
    return rc;
}

int objects_check(struct objects *o, const char *id_hex, uint64_t *n_bytes, struct err *e)
{
    int rc = objects_unpack(o, id_hex, NULL, n_bytes, e);
    if (rc != 0)
        return rc;
    char *path = objects_path(o, "objects", id_hex, ".zst");
    struct content_id same = {{0}};
    memcpy(same.hex, id_hex, SHA256_HEX);
    rc = judge(o, id_hex, path, check_seal(path, e), &same, e);
    xfree(path);
    return rc;
}

static bool path_is_safe(const char *path, size_t n)
{
    if (n == 0 || path[0] == '/')
        return false;
    size_t start = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        size_t part = i - start;
        if (part == 0 || (part == 1 && path[start] == '.') ||
            (part == 2 && path[start] == '.' && path[start + 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

bool listing_next(const char **cursor, struct content_id *id, const char **path, size_t *n_path)
{
    const char *line = *cursor;
    const char *end = strchr(line, '\n');
    if (end == NULL || end - line < SHA256_HEX + 3 || line[SHA256_HEX] != ' ' ||
        line[SHA256_HEX + 1] != ' ')
        return false;
    memcpy(id->hex, line, SHA256_HEX);
    id->hex[SHA256_HEX] = '\0';
    *path = line + SHA256_HEX + 2;
    *n_path = (size_t)(end - *path);
    if (!str_is_hex(id->hex, SHA256_HEX) || !path_is_safe(*path, *n_path))
        return false;
    *cursor = end + 1;
    return true;
}
