#include "pipeline/store/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/store.h"

#define BLOCK_BYTES 512 /* of st_blocks, whatever the file system uses */
#define LEFT_SECONDS 3600

static const char *const kind_names[SWEEP_KINDS] = {"actions", "objects", "raw", "work",
                                                    "logs",    "failed",  "tmp", "quarantine"};

const char *sweep_kind_name(enum sweep_kind k)
{
    return kind_names[k];
}

/* ---- what is there ---- */

static uint64_t disk_bytes(const struct stat *st)
{
    return (uint64_t)st->st_blocks * BLOCK_BYTES;
}

/* Blocks of all files at and below a path; what vanishes meanwhile counts nothing. *newest gets
 * the last time at which something in it was written, when not NULL. */
static uint64_t tree_bytes(const char *path, int64_t *newest)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return 0;
    if (newest != NULL && st.st_mtime > *newest)
        *newest = st.st_mtime;
    if (!S_ISDIR(st.st_mode))
        return disk_bytes(&st);
    struct file_list names = {0};
    struct err ignored = {0};
    uint64_t sum = 0;
    if (file_list_names(path, &names, &ignored) == 0)
        for (size_t i = 0; i < names.n_paths; i++) {
            char *full = file_join(path, names.paths[i]);
            sum += tree_bytes(full, newest);
            xfree(full);
        }
    file_list_release(&names);
    return sum;
}

/* Calls visit for every entry of home/kind ("work"), or of its folders ("objects"). */
typedef int visit_function(struct sweep *s, const char *path, const char *name, struct err *e);

static int each_name(struct sweep *s, const char *folder, visit_function *visit, struct err *e)
{
    struct file_list names = {0};
    if (!file_is_folder(folder))
        return 0;
    int rc = file_list_names(folder, &names, e);
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        char *path = file_join(folder, names.paths[i]);
        rc = visit(s, path, names.paths[i], e);
        xfree(path);
    }
    file_list_release(&names);
    return rc;
}

static int each_in(struct sweep *s, const char *kind, bool nested, visit_function *visit,
                   struct err *e)
{
    char *root = file_join(s->objects.home, kind);
    struct file_list folders = {0};
    int rc = 0;
    if (!nested)
        rc = each_name(s, root, visit, e);
    else if (file_is_folder(root))
        rc = file_list_names(root, &folders, e);
    for (size_t i = 0; i < folders.n_paths && rc == 0; i++) {
        char *folder = file_join(root, folders.paths[i]);
        rc = each_name(s, folder, visit, e);
        xfree(folder);
    }
    file_list_release(&folders);
    xfree(root);
    return rc;
}

/* ---- opening ---- */

int sweep_open(struct sweep *s, const char *home, bool remove, struct err *e)
{
    *s = (struct sweep){.remove = remove, .budget_bytes = UINT64_MAX};
    int rc = store_check_home(home, e);
    if (rc != 0)
        return rc;
    objects_open(&s->objects, home, true); /* nothing is quarantined here */
    if (!remove)
        hold_reader(&s->objects);
    return 0;
}

int sweep_lock(struct sweep *s, bool wait, bool *locked, struct err *e)
{
    return hold_all(&s->objects, wait, locked, e);
}

void sweep_close(struct sweep *s)
{
    if (s->objects.home != NULL)
        objects_close(&s->objects);
    held_release(&s->held);
    id_set_release(&s->keys);
    id_set_release(&s->needed);
    *s = (struct sweep){0};
}

/* ---- what is needed ---- */

static int look_at_action(struct sweep *s, const char *path, const char *name, struct err *e)
{
    char key[SHA256_HEX + 1];
    const char *suffix = sha256_id_of_name(name, key);
    struct stat st;
    (void)e;
    if (suffix != NULL && *suffix == '\0' && lstat(path, &st) == 0 && st.st_mtime >= s->since)
        id_set_add(&s->keys, key);
    return 0;
}

int sweep_held(struct sweep *s, struct err *e)
{
    int rc = hold_read(s->objects.home, &s->held, e);
    for (size_t i = 0; i < s->held.keys.n_slots && rc == 0; i++) {
        char key[SHA256_HEX + 1];
        if (id_set_at(&s->held.keys, i, key))
            id_set_add(&s->keys, key);
    }
    return rc;
}

int sweep_look(struct sweep *s, struct err *e)
{
    return each_in(s, "actions", true, look_at_action, e);
}

int sweep_action(const struct sweep *s, const char *key_hex, struct action *out, bool *found,
                 struct err *e)
{
    char *path = objects_path(&s->objects, "actions", key_hex, "");
    struct buf b;
    struct err why = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = file_read(path, LIMIT_JSON_BYTES, &b, &why);
    *found = rc == 0 && action_parse(buf_text(&b), b.n_bytes, key_hex, out, &why) == 0;
    rc = rc == ERR_IO ? err_set(e, ERR_IO, "action %s: %s", key_hex, why.text) : 0;
    buf_release(&b);
    xfree(path);
    return rc;
}

int sweep_read(struct sweep *s, const char *id_hex, uint64_t max_bytes, struct buf *out,
               struct err *e)
{
    return objects_read(&s->objects, id_hex, max_bytes, out, e);
}

int sweep_need(struct sweep *s, const char *id_hex, bool is_folder, struct err *e)
{
    if (!id_set_add(&s->needed, id_hex) && !is_folder)
        return 0;
    if (!is_folder || !objects_has(&s->objects, id_hex))
        return 0;
    struct buf listing;
    struct err why = {0};
    buf_init(&listing, BUF_MAX_DEFAULT);
    int rc = objects_read(&s->objects, id_hex, BUF_MAX_DEFAULT, &listing, &why);
    if (rc == ERR_MISSING || rc == ERR_FORMAT || rc == ERR_LIMIT)
        rc = 0; /* damaged, or no listing: then it names nothing */
    else if (rc != 0)
        rc = err_set(e, why.code, "%s", why.text);
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (listing_next(&cursor, &id, &name, &n_name))
        id_set_add(&s->needed, id.hex);
    buf_release(&listing);
    return rc;
}

/* ---- removal ---- */

static void count(struct sweep *s, enum sweep_kind k, bool kept, uint64_t n_bytes)
{
    struct sweep_count *c = &s->counts[k];
    *(kept ? &c->n_kept : &c->n_removed) += 1;
    *(kept ? &c->kept_bytes : &c->removed_bytes) += n_bytes;
}

/* A folder goes as a whole: a kill leaves it where it was, or in tmp/. What an overlay cannot move,
 * a folder of a lower layer, goes piece by piece: whoever reads a raw copy hashes it. */
static int take_away(struct sweep *s, const char *path, struct err *e)
{
    if (!file_is_folder(path))
        return file_remove_tree(path, e);
    char *to = NULL;
    int rc = objects_temporary(&s->objects, &to, e);
    struct stat st; /* a folder that is not ours to write cannot be moved */
    if (rc == 0 && lstat(path, &st) == 0 && (st.st_mode & 0200) == 0)
        (void)chmod(path, 0700);
    bool moved = rc == 0 && rename(path, to) == 0;
    if (rc == 0 && !moved && errno != EXDEV)
        rc = err_set_errno(e, errno, "%s: cannot be moved to %s", path, to);
    if (rc == 0)
        rc = file_remove_tree(moved ? to : path, e);
    xfree(to);
    return rc;
}

/* Counts one entry, and removes it when it is not kept. */
static int settle(struct sweep *s, enum sweep_kind k, const char *path, bool kept, struct err *e)
{
    uint64_t n_bytes = tree_bytes(path, NULL);
    int rc = kept || !s->remove ? 0 : take_away(s, path, e);
    if (rc == 0)
        count(s, k, kept, n_bytes);
    return rc;
}

static int settle_action(struct sweep *s, const char *path, const char *name, struct err *e)
{
    char key[SHA256_HEX + 1];
    const char *suffix = sha256_id_of_name(name, key);
    if (suffix == NULL || *suffix != '\0')
        return 0;
    return settle(s, SWEEP_ACTIONS, path, id_set_has(&s->keys, key), e);
}

/* So that no power cut brings a record back whose objects are gone. */
static int sync_actions(struct sweep *s, struct err *e)
{
    char *root = file_join(s->objects.home, "actions");
    struct file_list folders = {0};
    int rc = file_list_names(root, &folders, e);
    for (size_t i = 0; i < folders.n_paths && rc == 0; i++) {
        char *folder = file_join(root, folders.paths[i]);
        if (file_is_folder(folder))
            rc = file_sync_folder(folder, e);
        xfree(folder);
    }
    file_list_release(&folders);
    xfree(root);
    return rc;
}

/* A key is the content id of its recipe. */
static bool object_is_needed(const struct sweep *s, const char *id)
{
    return id_set_has(&s->needed, id) || id_set_has(&s->keys, id) ||
           id_set_has(&s->held.objects, id);
}

static int settle_object(struct sweep *s, const char *path, const char *name, struct err *e)
{
    char id[SHA256_HEX + 1];
    const char *suffix = sha256_id_of_name(name, id);
    if (suffix == NULL || (!str_eq(suffix, OBJECT_ZST) && !str_eq(suffix, OBJECT_PLANES)))
        return 0;
    return settle(s, SWEEP_OBJECTS, path, object_is_needed(s, id), e);
}

static int settle_raw(struct sweep *s, const char *path, const char *name, struct err *e)
{
    char id[SHA256_HEX + 1];
    const char *suffix = sha256_id_of_name(name, id);
    if (suffix == NULL || (*suffix != '\0' && !str_eq(suffix, ".d")))
        return 0;
    return settle(s, SWEEP_RAW, path, id_set_has(&s->held.raws, id) || object_is_needed(s, id), e);
}

/* Does a stage hold the key? Its lock outlives an engine that was killed. Asked last: while it is
 * tried, a run takes the key for one that another makes. */
static bool key_is_locked(const struct sweep *s, const char *key)
{
    char *locks = file_join(s->objects.home, "locks");
    char *path = file_join(locks, key);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    xfree(path);
    xfree(locks);
    return locked;
}

/* Checkpoints are worth nothing once the key is published; before that they are worth hours, and no
 * commit names the run that made them. */
static int settle_work(struct sweep *s, const char *path, const char *name, struct err *e)
{
    char key[SHA256_HEX + 1];
    struct action made;
    int64_t newest = 0;
    bool published = false;
    if (sha256_id_of_name(name, key) == NULL)
        return 0;
    int rc = sweep_action(s, key, &made, &published, e);
    if (rc != 0)
        return rc;
    char *folder = xstrndup(path, strlen(path) - strlen(name) + SHA256_HEX);
    (void)tree_bytes(path, &newest);
    (void)tree_bytes(folder, &newest); /* what lies beside it is worth as much */
    xfree(folder);
    bool wanted = newest >= s->work_since || newest >= s->since || id_set_has(&s->keys, key);
    bool kept = (wanted && !published) || id_set_has(&s->held.keys, key) || key_is_locked(s, key);
    return settle(s, SWEEP_WORK, path, kept, e);
}

/* logs/<key>.log and failed/<key>.json, and what a kill left of writing one. */
static int settle_text(struct sweep *s, const char *path, const char *name, struct err *e)
{
    char key[SHA256_HEX + 1];
    struct stat st;
    const char *suffix = sha256_id_of_name(name, key);
    bool is_log = suffix != NULL && str_starts(suffix, ".log");
    if (suffix == NULL || (!is_log && !str_starts(suffix, ".json")) || lstat(path, &st) != 0)
        return 0;
    bool kept = st.st_mtime >= s->since || id_set_has(&s->keys, key);
    return settle(s, is_log ? SWEEP_LOGS : SWEEP_FAILED, path, kept, e);
}

/* A damaged file is kept for a look until the next recorded run (its move changed ctime). */
static int settle_quarantine(struct sweep *s, const char *path, const char *name, struct err *e)
{
    struct stat st;
    (void)name;
    if (lstat(path, &st) != 0)
        return 0;
    return settle(s, SWEEP_QUARANTINE, path, st.st_ctime >= s->since, e);
}

/* Folders of dead processes, under the lock that keeps new ones from appearing. */
struct dead_folders {
    struct sweep *s;
    struct err *e;
    int rc;
};

static void settle_dead(void *context, const char *folder)
{
    struct dead_folders *d = context;
    uint64_t n_bytes = tree_bytes(folder, NULL);
    if (d->rc == 0 && d->s->remove)
        d->rc = file_remove_tree(folder, d->e);
    if (d->rc == 0)
        count(d->s, SWEEP_TMP, false, n_bytes);
}

static int count_session(struct sweep *s, const char *path, const char *name, struct err *e)
{
    bool alive = true;
    int rc = str_starts(name, "s-") ? hold_is_alive(path, &alive, e) : 0;
    bool dead = !alive;
    if (rc == 0 && (!dead || !s->remove)) /* the dead ones are counted where they go */
        count(s, SWEEP_TMP, !dead, tree_bytes(path, NULL));
    return rc;
}

static int settle_tmp(struct sweep *s, struct err *e)
{
    struct dead_folders d = {s, e, 0};
    int rc = s->remove ? objects_each_dead(&s->objects, settle_dead, &d, e) : 0;
    if (rc == 0)
        rc = d.rc;
    return rc == 0 ? each_in(s, "tmp", false, count_session, e) : rc;
}

/* ---- raw copies for the budget ---- */

struct copy {
    char *path;
    uint64_t n_bytes;
    int64_t time;
};

struct copies {
    struct copy *items;
    size_t n_items;
};

static int oldest_first(const void *a, const void *b)
{
    const struct copy *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return strcmp(x->path, y->path);
}

static void collect_copies(struct sweep *s, struct copies *out)
{
    char *root = file_join(s->objects.home, "raw");
    struct file_list folders = {0};
    struct err ignored = {0};
    bool there = file_is_folder(root) && file_list_names(root, &folders, &ignored) == 0;
    for (size_t i = 0; there && i < folders.n_paths; i++) {
        char *folder = file_join(root, folders.paths[i]);
        struct file_list names = {0};
        if (!file_is_folder(folder) || file_list_names(folder, &names, &ignored) != 0)
            names.n_paths = 0;
        for (size_t k = 0; k < names.n_paths; k++) {
            char id[SHA256_HEX + 1];
            struct stat st;
            char *path = file_join(folder, names.paths[k]);
            if (sha256_id_of_name(names.paths[k], id) == NULL || id_set_has(&s->held.raws, id) ||
                !object_is_needed(s, id) || lstat(path, &st) != 0) {
                xfree(path);
                continue;
            }
            out->items = xrealloc_array(out->items, out->n_items + 1, sizeof *out->items);
            out->items[out->n_items++] = (struct copy){path, tree_bytes(path, NULL), st.st_mtime};
        }
        file_list_release(&names);
        xfree(folder);
    }
    file_list_release(&folders);
    xfree(root);
}

/* A raw copy is made again from its object when a stage needs it: it goes before anything that
 * would have to be computed. */
static int hold_budget(struct sweep *s, struct err *e)
{
    struct copies c = {0};
    int rc = 0;
    if (sweep_kept_bytes(s) > s->budget_bytes)
        collect_copies(s, &c);
    if (c.n_items > 0)
        qsort(c.items, c.n_items, sizeof *c.items, oldest_first);
    for (size_t i = 0; i < c.n_items; i++) {
        struct sweep_count *raw = &s->counts[SWEEP_RAW];
        if (rc == 0 && sweep_kept_bytes(s) > s->budget_bytes) {
            rc = s->remove ? take_away(s, c.items[i].path, e) : 0;
            if (rc == 0) {
                raw->n_kept--;
                raw->kept_bytes -= c.items[i].n_bytes;
                count(s, SWEEP_RAW, false, c.items[i].n_bytes);
            }
        }
        xfree(c.items[i].path);
    }
    xfree(c.items);
    return rc;
}

/* ---- the whole ---- */

/* What a kill has left of file_publish. Who writes such a file holds no lock, but not for long. */
static bool is_left(const char *path, const char *name)
{
    struct stat st;
    size_t n = strlen(name), n_mark = strlen(".tmp-XXXXXX");
    return n > n_mark && str_starts(name + n - n_mark, ".tmp-") && lstat(path, &st) == 0 &&
           S_ISREG(st.st_mode) && st.st_mtime < (int64_t)time(NULL) - LEFT_SECONDS;
}

static int count_small(struct sweep *s, const char *path, const char *name, struct err *e)
{
    if (is_left(path, name))
        return settle(s, SWEEP_TMP, path, false, e);
    s->other_bytes += tree_bytes(path, NULL);
    return 0;
}

static int count_other(struct sweep *s, const char *path, const char *name, struct err *e)
{
    static const char *const small[] = {"last", "state", "describe", "pins", "owed"};
    for (size_t k = 0; k < SWEEP_KINDS; k++)
        if (str_eq(name, kind_names[k]))
            return 0;
    for (size_t k = 0; k < sizeof small / sizeof small[0]; k++)
        if (str_eq(name, small[k]))
            return each_name(s, path, count_small, e);
    return count_small(s, path, name, e);
}

int sweep_run(struct sweep *s, struct err *e)
{
    int rc = each_name(s, s->objects.home, count_other, e);
    if (rc == 0)
        rc = each_in(s, "actions", true, settle_action, e);
    if (rc == 0 && s->remove && s->counts[SWEEP_ACTIONS].n_removed > 0)
        rc = sync_actions(s, e);
    if (rc == 0) /* needs no room on a full disk, and is first what makes some */
        rc = each_in(s, "objects", true, settle_object, e);
    if (rc == 0)
        rc = settle_tmp(s, e);
    if (rc == 0)
        rc = each_in(s, "raw", true, settle_raw, e);
    if (rc == 0)
        rc = each_in(s, "work", false, settle_work, e);
    if (rc == 0)
        rc = each_in(s, "logs", false, settle_text, e);
    if (rc == 0)
        rc = each_in(s, "failed", false, settle_text, e);
    if (rc == 0)
        rc = each_in(s, "quarantine", false, settle_quarantine, e);
    return rc == 0 ? hold_budget(s, e) : rc;
}

uint64_t sweep_kept_bytes(const struct sweep *s)
{
    uint64_t sum = s->other_bytes;
    for (size_t k = 0; k < SWEEP_KINDS; k++)
        sum += s->counts[k].kept_bytes;
    return sum;
}

uint64_t sweep_removed_bytes(const struct sweep *s)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < SWEEP_KINDS; k++)
        sum += s->counts[k].removed_bytes;
    return sum;
}
