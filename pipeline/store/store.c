#include "pipeline/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/store_state.h"
#include "pipeline/store/unsynced.h"

/* ---- hashing through the memo ---- */

static struct memo *memo_of(struct store *s)
{
    if (s->memo == NULL) {
        char *path = store_path(s, "memo");
        s->memo = memo_open(path);
        xfree(path);
    }
    return s->memo;
}

void store_on_large(struct store *s,
                    void (*on_large)(const void *context, const char *path, uint64_t n_bytes),
                    const void *context)
{
    memo_on_large(memo_of(s), on_large, context);
}

static int hash_folder(struct store *s, const char *path, struct content_id *id, uint64_t *n_bytes,
                       struct err *e)
{
    struct file_list files = {0};
    int rc = file_list_folder(path, &files, e);
    if (rc != 0)
        return rc;
    struct buf listing;
    buf_init(&listing, BUF_MAX_DEFAULT);
    uint64_t total = 0;
    for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
        char *full = file_join(path, files.paths[i]);
        struct content_id one = {{0}};
        uint64_t size = 0;
        rc = memo_hash(memo_of(s), full, &one, &size, e);
        if (rc == 0)
            buf_printf(&listing, "%s  %s\n", one.hex, files.paths[i]);
        total += size;
        xfree(full);
    }
    if (rc == 0) {
        *id = sha256_of(buf_text(&listing), listing.n_bytes);
        *n_bytes = total;
    }
    buf_release(&listing);
    file_list_release(&files);
    return rc;
}

int store_hash_source(struct store *s, const char *path, struct content_id *id, bool *is_folder,
                      uint64_t *n_bytes, struct err *e)
{
    uint64_t size = 0;
    bool folder = file_is_folder(path);
    int rc =
        folder ? hash_folder(s, path, id, &size, e) : memo_hash(memo_of(s), path, id, &size, e);
    if (rc != 0)
        return rc;
    if (is_folder != NULL)
        *is_folder = folder;
    if (n_bytes != NULL)
        *n_bytes = size;
    return 0;
}

int store_sync(struct store *s, struct err *e)
{
    return unsynced_sync(&s->objects, e);
}

/* Its entries stand for bytes: they must not be on the disk before these are. */
int store_flush_memo(struct store *s, struct err *e)
{
    int rc = store_sync(s, e);
    if (rc != 0 || s->memo == NULL || s->objects.read_only)
        return rc;
    rc = store_check_there(s->home, e);
    return rc == 0 ? memo_flush(s->memo, e) : rc;
}

/* ---- raw copies ---- */

static char *raw_path(const struct store *s, const char *id_hex, bool is_folder)
{
    return objects_path(&s->objects, "raw", id_hex, is_folder ? ".d" : "");
}

/* *good: `path` is there and what it should be. A wrong or unreadable copy is removed with a note.
 */
static int look_at_raw(struct store *s, const char *path, const char *id_hex, bool *good,
                       struct err *e)
{
    struct stat st;
    *good = false;
    if (lstat(path, &st) != 0)
        return 0;
    struct err why = {0};
    struct content_id found = {{0}};
    int rc = store_hash_source(s, path, &found, NULL, NULL, &why);
    *good = rc == 0 && str_eq(found.hex, id_hex);
    if (*good)
        return 0;
    if (rc == 0)
        (void)err_set(&why, ERR_FORMAT, "its SHA-256 is %s", found.hex);
    if (file_remove_tree(path, e) != 0)
        return err_wrap(e, "raw copy %s is damaged (%s) and cannot be removed", path, why.text);
    buf_printf(&s->objects.notes, "raw copy %s is damaged: %s; made again\n", path, why.text);
    return 0;
}

/* Puts a copy that was written with its object, or is the stage's own file, in its place. */
static int keep_raw(struct store *s, const char *temporary, const struct content_id *id,
                    bool is_folder, struct err *e)
{
    char *to = raw_path(s, id->hex, is_folder);
    bool good = false;
    int rc = hold_add(&s->objects, HOLD_RAW, id->hex, e);
    if (rc == 0)
        rc = look_at_raw(s, to, id->hex, &good, e);
    if (rc == 0)
        rc = good ? file_remove_tree(temporary, e)
                  : objects_publish_raw(&s->objects, temporary, to, is_folder, e);
    xfree(to);
    return rc;
}

static int unpack_folder(struct store *s, const char *id_hex, const char *to, unsigned mode,
                         struct err *e)
{
    struct buf listing;
    buf_init(&listing, BUF_MAX_DEFAULT);
    int rc = objects_read(&s->objects, id_hex, BUF_MAX_DEFAULT, &listing, e);
    if (rc == 0 && mkdir(to, 0755) != 0)
        rc = err_set_errno(e, errno, "%s: cannot make the folder", to);
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (rc == 0 && listing_next(&cursor, &id, &name, &n_name)) {
        char *path = xasprintf("%s/%.*s", to, (int)n_name, name);
        rc = file_make_parents(path, e);
        if (rc == 0)
            rc = objects_unpack(&s->objects, id.hex, path, NULL, e);
        if (rc == 0 && chmod(path, (mode_t)mode) != 0)
            rc = err_set_errno(e, errno, "%s: cannot set its mode", path);
        xfree(path);
    }
    if (rc == 0 && *cursor != '\0')
        rc = err_set(e, ERR_FORMAT, "object %s is no folder listing", id_hex);
    buf_release(&listing);
    return rc;
}

int store_raw(struct store *s, const char *id_hex, bool is_folder, char **path, struct err *e)
{
    char *to = raw_path(s, id_hex, is_folder);
    char *temporary = NULL;
    bool good = false;
    int rc = hold_add(&s->objects, HOLD_RAW, id_hex, e);
    if (rc == 0)
        rc = look_at_raw(s, to, id_hex, &good, e);
    if (rc == 0 && !good) {
        rc = objects_temporary(&s->objects, &temporary, e);
        if (rc == 0)
            rc = is_folder ? unpack_folder(s, id_hex, temporary, 0444, e)
                           : objects_unpack(&s->objects, id_hex, temporary, NULL, e);
        if (rc == 0 && !is_folder && chmod(temporary, 0444) != 0)
            rc = err_set_errno(e, errno, "%s: cannot make read-only", temporary);
        if (rc == 0)
            rc = objects_publish_raw(&s->objects, temporary, to, is_folder, e);
    }
    if (rc == 0) {
        *path = to;
        to = NULL;
    }
    xfree(temporary);
    xfree(to);
    return rc;
}

/* ---- storing and reading ---- */

int store_put_bytes(struct store *s, const void *bytes, size_t n_bytes, struct content_id *id,
                    struct err *e)
{
    return objects_put_bytes(&s->objects, bytes, n_bytes, id, e);
}

/* raw: a folder that is made, with the same files; or NULL. */
static int put_folder(struct store *s, const char *path, const struct file_list *files,
                      const char *raw, struct content_id *id, uint64_t *n_bytes, struct err *e)
{
    struct buf listing;
    buf_init(&listing, BUF_MAX_DEFAULT);
    uint64_t total = 0;
    int rc = raw ? file_make_folder(raw, e) : 0;
    for (size_t i = 0; i < files->n_paths && rc == 0; i++) {
        char *full = file_join(path, files->paths[i]);
        char *copy = raw ? file_join(raw, files->paths[i]) : NULL;
        struct content_id one = {{0}};
        uint64_t size = 0;
        if (copy)
            rc = file_make_parents(copy, e);
        if (rc == 0)
            rc = objects_put_file(&s->objects, full, copy, &one, &size, e);
        if (rc == 0)
            buf_printf(&listing, "%s  %s\n", one.hex, files->paths[i]);
        total += size;
        xfree(copy);
        xfree(full);
    }
    if (rc == 0)
        rc = objects_put_bytes(&s->objects, buf_text(&listing), listing.n_bytes, id, e);
    *n_bytes = total;
    buf_release(&listing);
    return rc;
}

static bool is_small_folder(const char *path, const struct file_list *files)
{
    struct err ignored = {0};
    uint64_t sum = 0, size = 0;
    bool known = true;
    for (size_t i = 0; i < files->n_paths && known; i++) {
        char *full = file_join(path, files->paths[i]);
        known = file_size(full, &size, &ignored) == 0;
        sum += size;
        xfree(full);
    }
    return known && sum <= OBJECT_SMALL_BYTES;
}

int store_put_path(struct store *s, const char *path, struct content_id *id, bool *is_folder,
                   uint64_t *n_bytes, struct err *e)
{
    struct content_id found = {{0}};
    uint64_t size = 0;
    struct stat st;
    if (lstat(path, &st) != 0)
        memset(&st, 0, sizeof st); /* whoever opens it says why not */
    if (S_ISLNK(st.st_mode))
        return err_set(e, ERR_FORMAT, "%s: a symbolic link is not stored", path);
    bool folder = S_ISDIR(st.st_mode);
    char *raw = NULL;
    struct file_list files = {0};
    int rc = folder ? file_list_folder(path, &files, e) : 0;
    if (rc == 0 && (folder ? !is_small_folder(path, &files) : st.st_size > OBJECT_SMALL_BYTES))
        rc = objects_temporary(&s->objects, &raw, e);
    if (rc == 0)
        rc = folder ? put_folder(s, path, &files, raw, &found, &size, e)
                    : objects_put_file(&s->objects, path, raw, &found, &size, e);
    if (rc == 0 && raw != NULL)
        rc = keep_raw(s, raw, &found, folder, e);
    struct err ignored = {0};
    if (rc != 0 && raw != NULL && file_remove_tree(raw, &ignored) != 0)
        ignored.text[0] = '\0'; /* the temporary folder goes as a whole */
    xfree(raw);
    file_list_release(&files);
    if (rc != 0)
        return err_wrap(e, "storing %s", path);
    *id = found;
    if (is_folder != NULL)
        *is_folder = folder;
    if (n_bytes != NULL)
        *n_bytes = size;
    return 0;
}

int store_put_object(struct store *s, const char *path, struct content_id *id, uint64_t *n_bytes,
                     struct err *e)
{
    uint64_t size = 0;
    bool folder = file_is_folder(path);
    struct file_list files = {0};
    int rc = folder ? file_list_folder(path, &files, e) : 0;
    if (rc == 0)
        rc = folder ? put_folder(s, path, &files, NULL, id, &size, e)
                    : objects_put_file(&s->objects, path, NULL, id, &size, e);
    file_list_release(&files);
    if (n_bytes)
        *n_bytes = size;
    return rc < 0 ? err_wrap(e, "storing %s", path) : 0;
}

bool store_has(const struct store *s, const char *id_hex)
{
    return objects_has(&s->objects, id_hex);
}

int store_hold(struct store *s, const char *id_hex, bool is_folder, struct err *e)
{
    int rc = hold_add(&s->objects, HOLD_OBJECT, id_hex, e);
    if (rc != 0 || !is_folder || !objects_has(&s->objects, id_hex))
        return rc;
    struct buf listing;
    struct err damaged = {0}; /* it is found again when it is used */
    buf_init(&listing, BUF_MAX_DEFAULT);
    if (objects_read(&s->objects, id_hex, BUF_MAX_DEFAULT, &listing, &damaged) != 0)
        buf_clear(&listing);
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (rc == 0 && listing_next(&cursor, &id, &name, &n_name))
        rc = hold_add(&s->objects, HOLD_OBJECT, id.hex, e);
    buf_release(&listing);
    return rc;
}

int store_get_bytes(struct store *s, const char *id_hex, uint64_t max_bytes, struct buf *out,
                    struct err *e)
{
    return objects_read(&s->objects, id_hex, max_bytes, out, e);
}

int store_print(struct store *s, const char *id_hex, const struct zfile_sink *to, struct err *e)
{
    return objects_print(&s->objects, id_hex, to, e);
}

int store_print_range(struct store *s, const char *id_hex, uint64_t offset, uint64_t n_bytes,
                      const struct zfile_sink *to, struct err *e)
{
    return objects_print_range(&s->objects, id_hex, offset, n_bytes, to, e);
}

int store_check_object(struct store *s, const char *id_hex, uint64_t *n_bytes, struct err *e)
{
    return objects_check(&s->objects, id_hex, n_bytes, e);
}

int store_check_file(struct store *s, const char *path, const char *id_hex, uint64_t *n_bytes,
                     struct err *e)
{
    return objects_check_file(&s->objects, path, id_hex, n_bytes, e);
}

/* What a killed writer left beside a delivery that is whole. */
static int remove_left(struct store *s, const char *temporary, struct err *e)
{
    struct stat st;
    if (lstat(temporary, &st) != 0)
        return 0;
    int fd = -1;
    int rc = store_lock(s, "deliver", &fd, e);
    if (rc == 0)
        rc = file_remove_tree(temporary, e);
    store_unlock(fd);
    return rc;
}

/* Puts `temporary` where `to` is; an old folder is exchanged in one step, then removed. Not all
 * file systems can, and an overlay cannot with a folder of a lower layer (EXDEV). */
static int put_in_place(const char *temporary, const char *to, struct err *e)
{
    struct stat st;
    bool exchange = lstat(to, &st) == 0 && (S_ISDIR(st.st_mode) || file_is_folder(temporary));
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, to, exchange ? RENAME_EXCHANGE : 0) != 0) {
        bool unsupported = exchange && (errno == EINVAL || errno == ENOSYS || errno == EXDEV);
        if (!unsupported)
            return err_set_errno(e, errno, "%s: cannot put the new bytes there", to);
        int rc = file_remove_tree(to, e);
        if (rc == 0 && rename(temporary, to) != 0)
            rc = err_set_errno(e, errno, "%s: cannot put the new bytes there", to);
        return rc;
    }
    return exchange ? file_remove_tree(temporary, e) : 0;
}

bool store_is_at(struct store *s, const char *id_hex, bool is_folder, const char *path)
{
    struct stat st;
    struct err ignored = {0};
    struct content_id found = {{0}};
    return lstat(path, &st) == 0 && !S_ISLNK(st.st_mode) && S_ISDIR(st.st_mode) == is_folder &&
           store_hash_source(s, path, &found, NULL, NULL, &ignored) == 0 &&
           str_eq(found.hex, id_hex);
}

int store_copy_out(struct store *s, const char *id_hex, bool is_folder, const char *to,
                   struct err *e)
{
    char *target = xstrdup(to);
    for (size_t n = strlen(target); n > 1 && target[n - 1] == '/'; n--)
        target[n - 1] = '\0';
    const char *name = file_base_name(target);
    char *folder = name == target ? xstrdup(".") : xstrndup(target, (size_t)(name - target));
    char *temporary = xasprintf("%s/.%s.fmforge-part", folder, name);
    int fd = -1;
    int rc = 0;
    if (store_is_at(s, id_hex, is_folder, target)) {
        rc = remove_left(s, temporary, e);
        goto out;
    }
    /* One writer of deliveries at a time, so that a leftover part is known to be dead. */
    rc = store_lock(s, "deliver", &fd, e);
    if (rc == 0)
        rc = file_remove_tree(temporary, e);
    if (rc == 0)
        rc = is_folder ? unpack_folder(s, id_hex, temporary, 0644, e)
                       : objects_unpack(&s->objects, id_hex, temporary, NULL, e);
    if (rc == 0)
        rc = file_sync_tree(temporary, e);
    if (rc == 0)
        rc = put_in_place(temporary, target, e);
    if (rc == 0)
        rc = file_sync_folder(folder, e);
    if (rc != 0) {
        struct err ignored = {0};
        (void)!file_remove_tree(temporary, &ignored);
        err_wrap(e, "writing %s", to);
    }
    store_unlock(fd);
out:
    xfree(temporary);
    xfree(folder);
    xfree(target);
    return rc;
}

/* ---- actions ---- */

/* Objects that must be there for an action to be served: outputs, their files, the statement. */
static bool outputs_are_here(struct store *s, const struct action *a)
{
    bool here = a->statement.hex[0] == '\0' || objects_has(&s->objects, a->statement.hex);
    for (size_t i = 0; i < a->n_outputs && here; i++) {
        const char *id_hex = a->outputs[i].id.hex;
        here = objects_has(&s->objects, id_hex);
        if (!here || !a->outputs[i].is_folder)
            continue;
        struct buf listing;
        struct err ignored = {0};
        buf_init(&listing, BUF_MAX_DEFAULT);
        here = objects_read(&s->objects, id_hex, BUF_MAX_DEFAULT, &listing, &ignored) == 0;
        const char *cursor = buf_text(&listing);
        struct content_id id;
        const char *name = NULL;
        size_t n_name = 0;
        while (here && listing_next(&cursor, &id, &name, &n_name))
            here = objects_has(&s->objects, id.hex);
        here = here && *cursor == '\0';
        buf_release(&listing);
    }
    return here;
}

/* A folder's times say whether a file of it has gone, come or been replaced, and a thousand files
 * share a few hundred folders. What changes within a file is for verify, and for whoever reads it.
 */
static void see_file(const struct store *s, const char *kind, const char *id_hex, struct seen *seen)
{
    char *path = objects_path(&s->objects, kind, id_hex, "");
    *strrchr(path, '/') = '\0';
    seen_add(seen, SEEN_TARGET, path);
    xfree(path);
}

static void see_files(struct store *s, const char *id_hex, struct seen *seen)
{
    struct buf listing;
    struct err ignored = {0};
    buf_init(&listing, BUF_MAX_DEFAULT);
    if (objects_read(&s->objects, id_hex, BUF_MAX_DEFAULT, &listing, &ignored) < 0)
        seen->is_sound = false;
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (listing_next(&cursor, &id, &name, &n_name))
        see_file(s, "objects", id.hex, seen);
    buf_release(&listing);
}

void store_see(struct store *s, const struct action *a, struct seen *seen)
{
    see_file(s, "actions", a->key.hex, seen);
    if (a->statement.hex[0] != '\0')
        see_file(s, "objects", a->statement.hex, seen);
    for (size_t i = 0; i < a->n_outputs; i++) {
        const struct action_output *o = &a->outputs[i];
        see_file(s, "objects", o->id.hex, seen);
        if (o->is_folder)
            see_files(s, o->id.hex, seen);
        if (!str_eq(o->kind, "metrics")) /* gates were judged by them */
            continue;
        char *path = objects_file(&s->objects, o->id.hex);
        seen_add(seen, SEEN_SELF, path);
        xfree(path);
    }
}

int store_action_get(struct store *s, const char *key_hex, struct action *out, bool *found,
                     struct err *e)
{
    *found = false;
    char *path = objects_path(&s->objects, "actions", key_hex, "");
    struct buf b;
    struct err why = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = hold_add(&s->objects, HOLD_ACTION, key_hex, e);
    if (rc != 0)
        goto out;
    rc = file_read(path, LIMIT_JSON_BYTES, &b, &why);
    if (rc == 0)
        rc = action_parse(buf_text(&b), b.n_bytes, key_hex, out, &why);
    if (rc == 0) {
        *found = outputs_are_here(s, out);
    } else if (rc == ERR_IO) {
        rc = err_set(e, ERR_IO, "action %s: %s", key_hex, why.text);
    } else {
        if (rc != ERR_MISSING) {
            err_wrap(&why, "action record %s is damaged", key_hex);
            objects_quarantine(&s->objects, path, why.text);
        }
        rc = 0;
    }
    if (rc == 0 && !*found) /* something is to be made */
        rc = hold_write(&s->objects, e);
out:
    buf_release(&b);
    xfree(path);
    return rc;
}

int store_action_put(struct store *s, const struct action *a, struct err *e)
{
    char *path = objects_path(&s->objects, "actions", a->key.hex, "");
    char *temporary = NULL;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    action_write(a, &b);
    int rc = hold_add(&s->objects, HOLD_ACTION, a->key.hex, e);
    if (rc == 0)
        rc = objects_temporary(&s->objects, &temporary, e);
    if (rc == 0)
        rc = file_write_read_only(temporary, b.bytes, b.n_bytes, e);
    if (rc == 0)
        rc = objects_publish(&s->objects, temporary, path, false, e);
    if (rc != 0)
        err_wrap(e, "recording action %s", a->key.hex);
    buf_release(&b);
    xfree(temporary);
    xfree(path);
    return rc;
}

/* ---- locks ---- */

int store_lock(struct store *s, const char *key_hex, int *fd, struct err *e)
{
    char *path = xasprintf("%s/locks/%s", s->home, key_hex);
    int rc = 0;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0)
        rc = err_set_errno(e, errno, "%s: cannot open the lock", path);
    if (rc == 0 && file_lock(*fd) != 0)
        rc = err_set_errno(e, errno, "%s: cannot lock", path);
    if (rc != 0 && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    xfree(path);
    return rc;
}

void store_unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}
