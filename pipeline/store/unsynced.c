#include "pipeline/store/unsynced.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/action.h"

#define FOLDER "unsynced"
#define FAILED "failed."
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_BYTES 36

/* "failed" where it cannot be read: then a mark that was left is never taken for one of this boot.
 */
static char *boot_prefix(void)
{
    struct buf b;
    struct err ignored = {0};
    buf_init(&b, 4096);
    bool known = file_read(BOOT_ID, 256, &b, &ignored) == 0 && b.n_bytes >= BOOT_ID_BYTES;
    char *prefix = known ? xasprintf("%.*s.", BOOT_ID_BYTES, buf_text(&b)) : xstrdup(FAILED);
    buf_release(&b);
    return prefix;
}

static int list_marks(const struct objects *o, struct file_list *names, struct err *e)
{
    char *folder = file_join(o->home, FOLDER);
    int rc = file_is_folder(folder) ? file_list_names(folder, names, e) : 0;
    xfree(folder);
    return rc;
}

static char *mark_path(const struct objects *o, const char *name)
{
    return xasprintf("%s/" FOLDER "/%s", o->home, name);
}

/* A descriptor with the lock of a mark whose process is gone; negative when it lives, or went. */
static int lock_dead(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* ---- making one ---- */

static int make_mark(struct objects *o, const char *prefix, struct err *e)
{
    for (unsigned n = 0; o->mark == NULL; n++) {
        char *name = xasprintf("%s%ld-%u", prefix, (long)getpid(), n);
        char *path = mark_path(o, name);
        xfree(name);
        o->mark_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (o->mark_fd >= 0) {
            o->mark = path;
            break;
        }
        int rc = errno == EEXIST ? 0 : err_set_errno(e, errno, "%s: cannot create", path);
        xfree(path);
        if (rc != 0)
            return rc;
    }
    if (file_lock(o->mark_fd) != 0)
        return err_set_errno(e, errno, "%s: cannot lock", o->mark);
    return 0;
}

static int sync_mark(struct objects *o, const char *folder, bool is_new, struct err *e)
{
    if (fsync(o->mark_fd) != 0)
        return err_set_errno(e, errno, "%s: cannot sync", o->mark);
    int rc = file_sync_folder(folder, e);
    return rc == 0 && is_new ? file_sync_folder(o->home, e) : rc;
}

static void drop_mark(struct objects *o)
{
    if (o->mark_fd >= 0)
        close(o->mark_fd);
    xfree(o->mark);
    o->mark = NULL;
    o->mark_fd = -1;
}

int unsynced_begin(struct objects *o, struct err *e)
{
    if (o->mark != NULL)
        return 0;
    int gate = -1;
    char *folder = file_join(o->home, FOLDER);
    char *prefix = boot_prefix();
    bool is_new = !file_is_folder(folder);
    int rc = file_make_folder(folder, e);
    if (rc == 0 && o->sync_fd < 0) { /* before the first write: it reports errors from here on */
        o->sync_fd = open(o->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (o->sync_fd < 0)
            rc = err_set_errno(e, errno, "%s: cannot open", o->home);
    }
    if (rc == 0) /* nobody sees a mark before its lock is held */
        rc = objects_gate(o, &gate, e);
    if (rc == 0)
        rc = make_mark(o, prefix, e);
    if (gate >= 0)
        close(gate);
    if (rc == 0)
        rc = sync_mark(o, folder, is_new, e);
    if (rc != 0 && o->mark != NULL) {
        unlink(o->mark);
        drop_mark(o);
    }
    xfree(prefix);
    xfree(folder);
    return rc;
}

/* ---- syncing ---- */

struct dead {
    char *path;
    int fd;
};

/* Their files were published before their locks were found free, and so before the sync. */
static size_t take_dead(const struct objects *o, const struct file_list *names, struct dead *dead)
{
    size_t n = 0;
    char *prefix = boot_prefix();
    for (size_t i = 0; i < names->n_paths; i++) {
        char *path = mark_path(o, names->paths[i]);
        bool own = o->mark != NULL && str_eq(path, o->mark);
        int fd = own || !str_starts(names->paths[i], prefix) ? -1 : lock_dead(path);
        if (fd >= 0)
            dead[n++] = (struct dead){path, fd};
        else
            xfree(path);
    }
    xfree(prefix);
    return n;
}

/* What is on the disk is unknown now, and the kernel does not say it twice. */
static void spoil(struct objects *o)
{
    if (o->mark == NULL)
        return;
    char *name = xasprintf(FAILED "%s", strrchr(o->mark, '.') + 1);
    char *path = mark_path(o, name);
    if (rename(o->mark, path) != 0)
        errno = 0; /* of this boot it stays: the next sync is for it */
    xfree(path);
    xfree(name);
    drop_mark(o);
}

static int sync_all(struct objects *o, struct err *e)
{
    if (o->sync_fd < 0)
        o->sync_fd = open(o->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->sync_fd < 0)
        return err_set_errno(e, errno, "%s: cannot open", o->home);
    if (syncfs(o->sync_fd) == 0)
        return 0;
    int rc = err_set_errno(e, errno, "%s: what was made cannot be brought to the disk", o->home);
    o->sync_failed = true;
    spoil(o);
    return rc;
}

/* The marks of dead processes, locked. Under the gate: a mark that is being made is none. */
static int find_dead(struct objects *o, struct dead **dead, size_t *n_dead, struct err *e)
{
    struct file_list names = {0};
    int gate = -1;
    int rc = list_marks(o, &names, e);
    if (rc == 0 && names.n_paths > 0)
        rc = objects_gate(o, &gate, e);
    file_list_release(&names);
    if (rc == 0)
        rc = list_marks(o, &names, e);
    if (rc == 0) {
        *dead = xalloc_array(names.n_paths, sizeof **dead);
        *n_dead = take_dead(o, &names, *dead);
    }
    if (gate >= 0)
        close(gate);
    file_list_release(&names);
    return rc;
}

int unsynced_sync(struct objects *o, struct err *e)
{
    struct dead *dead = NULL;
    size_t n_dead = 0;
    if (o->sync_failed)
        return err_set(e, ERR_IO, "%s: a sync has failed: what was made may not be on the disk",
                       o->home);
    int rc = o->read_only ? 0 : find_dead(o, &dead, &n_dead, e);
    if (rc == 0 && (o->mark != NULL || n_dead > 0))
        rc = sync_all(o, e);
    for (size_t i = 0; i < n_dead; i++) {
        if (rc == 0 && unlink(dead[i].path) != 0 && errno != ENOENT)
            rc = err_set_errno(e, errno, "%s: cannot remove", dead[i].path);
        close(dead[i].fd);
        xfree(dead[i].path);
    }
    if (rc == 0 && o->mark != NULL) {
        if (unlink(o->mark) != 0)
            rc = err_set_errno(e, errno, "%s: cannot remove", o->mark);
        drop_mark(o);
    }
    xfree(dead);
    return rc;
}

/* ---- after a power cut ---- */

/* What the page cache still has may never have reached the disk. */
static void forget_pages(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static void look_at_object(struct objects *o, const char *path, const char *name)
{
    forget_pages(path);
    struct err damaged = {0}; /* what is not whole is in quarantine and in o->notes */
    char id[SHA256_HEX + 1];
    const char *suffix = sha256_id_of_name(name, id);
    if (suffix != NULL && (str_eq(suffix, OBJECT_ZST) || str_eq(suffix, OBJECT_PLANES)) &&
        objects_check(o, id, NULL, &damaged) == ERR_IO)
        buf_printf(&o->notes, "%s: %s\n", path, damaged.text);
}

static void look_at_action(struct objects *o, const char *path, const char *name)
{
    forget_pages(path);
    struct buf b;
    struct action a;
    struct err why = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = str_is_hex(name, SHA256_HEX) ? file_read(path, LIMIT_JSON_BYTES, &b, &why) : 0;
    if (rc == 0 && str_is_hex(name, SHA256_HEX))
        rc = action_parse(buf_text(&b), b.n_bytes, name, &a, &why);
    if (rc == ERR_FORMAT || rc == ERR_LIMIT) {
        err_wrap(&why, "action record %s is damaged", name);
        objects_quarantine(o, path, why.text);
    }
    buf_release(&b);
}

/* A copy can be made again from its objects at any time, and after a failed sync is. */
static void remove_raw(struct objects *o, const char *path, const char *name)
{
    struct err why = {0};
    (void)name;
    if (file_remove_tree(path, &why) != 0)
        buf_printf(&o->notes, "%s\n", why.text);
}

static void look_at_raw(struct objects *o, const char *path, const char *name)
{
    struct content_id found = {{0}};
    struct err why = {0};
    if (sha256_path(path, &found, NULL, &why) == 0 && strncmp(found.hex, name, SHA256_HEX) == 0)
        return;
    buf_printf(&o->notes, "raw copy %s is damaged; removed\n", path);
    if (file_remove_tree(path, &why) != 0)
        buf_printf(&o->notes, "%s\n", why.text);
}

static bool is_younger(const char *path, int64_t since)
{
    struct stat st;
    return lstat(path, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
           (st.st_mtime >= since || st.st_ctime >= since);
}

typedef void look_function(struct objects *o, const char *path, const char *name);

static int look_in(struct objects *o, const char *folder, int64_t since, look_function *look,
                   struct err *e)
{
    struct file_list names = {0};
    int rc = file_is_folder(folder) ? file_list_names(folder, &names, e) : 0;
    for (size_t i = 0; i < names.n_paths; i++) {
        char *path = file_join(folder, names.paths[i]);
        if (strlen(names.paths[i]) >= SHA256_HEX && is_younger(path, since))
            look(o, path, names.paths[i]);
        xfree(path);
    }
    file_list_release(&names);
    return rc;
}

/* Every file of home/<kind>/xx/ that is not older than `since`. */
static int look_at_all(struct objects *o, const char *kind, int64_t since, look_function *look,
                       struct err *e)
{
    char *root = file_join(o->home, kind);
    struct file_list folders = {0};
    int rc = file_list_names(root, &folders, e);
    for (size_t i = 0; i < folders.n_paths && rc == 0; i++) {
        char *folder = file_join(root, folders.paths[i]);
        rc = look_in(o, folder, since, look, e);
        xfree(folder);
    }
    file_list_release(&folders);
    xfree(root);
    return rc;
}

static int mend_one(struct objects *o, const char *path, struct err *e)
{
    struct stat st;
    int fd = lock_dead(path); /* a locked one is of another machine that is at work */
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    int64_t since = (int64_t)st.st_mtime - UNSYNCED_SLACK_S;
    int rc = look_at_all(o, "objects", since, look_at_object, e);
    if (rc == 0)
        rc = look_at_all(o, "actions", since, look_at_action, e);
    if (rc == 0)
        rc = look_at_all(o, "raw", since,
                         str_starts(file_base_name(path), FAILED) ? remove_raw : look_at_raw, e);
    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = err_set_errno(e, errno, "%s: cannot remove", path);
    close(fd);
    return rc;
}

/* Where the boot is not known every mark is. */
static bool is_of_other_boot(const char *name, const char *prefix)
{
    return !str_starts(name, prefix) || str_eq(prefix, FAILED);
}

static bool has_other_boot(const struct file_list *names, const char *prefix)
{
    for (size_t i = 0; i < names->n_paths; i++)
        if (is_of_other_boot(names->paths[i], prefix))
            return true;
    return false;
}

/* One looks; whoever comes meanwhile waits until it is done. */
static int mend_all(struct objects *o, const char *prefix, struct err *e)
{
    char *path = file_join(o->home, "locks/mend");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    int rc = 0;
    if (fd < 0 || file_lock(fd) != 0)
        rc = err_set_errno(e, errno, "%s: cannot lock", path);
    struct file_list names = {0};
    if (rc == 0)
        rc = list_marks(o, &names, e);
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        char *mark = mark_path(o, names.paths[i]);
        if (is_of_other_boot(names.paths[i], prefix))
            rc = mend_one(o, mark, e);
        xfree(mark);
    }
    file_list_release(&names);
    if (fd >= 0)
        close(fd);
    xfree(path);
    return rc;
}

int unsynced_mend(struct objects *o, struct err *e)
{
    struct file_list names = {0};
    int rc = list_marks(o, &names, e);
    if (rc == 0 && names.n_paths > 0) {
        char *prefix = boot_prefix();
        if (has_other_boot(&names, prefix))
            rc = mend_all(o, prefix, e);
        xfree(prefix);
    }
    file_list_release(&names);
    return rc;
}
