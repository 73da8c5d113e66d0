#include "pipeline/store/seen.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/thread.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/file_time.h"

#define HEAD_BYTES 5
#define STATE_BYTES 44

int64_t seen_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return file_time_ns(now);
}

void seen_init(struct seen *s, int64_t began_ns)
{
    memset(s, 0, sizeof *s);
    s->began_ns = began_ns;
    s->is_sound = true;
}

void seen_release(struct seen *s)
{
    for (size_t i = 0; i < s->n_paths; i++)
        xfree(s->paths[i].path);
    for (size_t i = 0; i < s->n_trees; i++)
        xfree(s->trees[i]);
    xfree(s->paths);
    xfree(s->trees);
    memset(s, 0, sizeof *s);
}

void seen_add(struct seen *s, enum seen_kind kind, const char *path)
{
    if ((s->n_paths >= SEEN_PATHS_MAX && s->began_ns != SEEN_ANY_AGE) ||
        strlen(path) >= LIMIT_PATH_BYTES)
        s->is_sound = false;
    if (!s->is_sound)
        return;
    if ((s->n_paths & (s->n_paths - 1)) == 0)
        s->paths = xrealloc_array(s->paths, s->n_paths == 0 ? 1 : s->n_paths * 2, sizeof *s->paths);
    s->paths[s->n_paths++] = (struct seen_path){xstrdup(path), kind};
}

/* Links are not followed: their own state is enough, since nothing below them is read. */
static void add_below(struct seen *s, const char *folder, int depth)
{
    DIR *dir = depth > LIMIT_FOLDER_DEPTH ? NULL : opendir(folder);
    s->is_sound = s->is_sound && dir != NULL;
    errno = 0;
    for (struct dirent *f = dir ? readdir(dir) : NULL; f && s->is_sound; f = readdir(dir)) {
        if (str_eq(f->d_name, ".") || str_eq(f->d_name, ".."))
            continue;
        char *path = file_join(folder, f->d_name);
        struct stat st;
        seen_add(s, SEEN_SELF, path);
        if (lstat(path, &st) != 0)
            s->is_sound = false;
        else if (S_ISDIR(st.st_mode))
            add_below(s, path, depth + 1);
        xfree(path);
        errno = 0;
    }
    s->is_sound = s->is_sound && errno == 0;
    if (dir)
        closedir(dir);
}

void seen_add_tree(struct seen *s, const char *path)
{
    for (size_t i = 0; i < s->n_trees; i++)
        if (str_eq(s->trees[i], path))
            return;
    if ((s->n_trees & (s->n_trees - 1)) == 0)
        s->trees = xrealloc_array(s->trees, s->n_trees == 0 ? 1 : s->n_trees * 2, sizeof *s->trees);
    s->trees[s->n_trees++] = xstrdup(path);
    bool is_folder = file_is_folder(path);
    seen_add(s, is_folder ? SEEN_TARGET : SEEN_SELF, path);
    if (is_folder)
        add_below(s, path, 0);
}

/* ------------------------------------------------------------------------------------ packing */

static void put_state(const struct stat *st, unsigned char out[STATE_BYTES])
{
    bytes_put_u64(out, (uint64_t)st->st_dev);
    bytes_put_u64(out + 8, (uint64_t)st->st_ino);
    bytes_put_u64(out + 16, (uint64_t)st->st_size);
    bytes_put_u64(out + 24, (uint64_t)file_time_ns(st->st_mtim));
    bytes_put_u64(out + 32, (uint64_t)file_time_ns(st->st_ctim));
    bytes_put_u16(out + 40, (uint16_t)st->st_mode);
    bytes_put_u16(out + 42, st->st_nlink < UINT16_MAX ? (uint16_t)st->st_nlink : UINT16_MAX);
}

static bool is_old(const struct seen *s, const struct stat *st)
{
    /* Every change sets it, also that of an mtime. */
    return file_time_is_old(file_time_ns(st->st_ctim), s->began_ns);
}

/* A path that appeared and went again meanwhile has left its trace in the folder it was in. */
static bool is_long_absent(const struct seen *s, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return false;
    char *above = xstrdup(path);
    bool found = false;
    for (char *slash; !found && (slash = strrchr(above, '/')) != NULL;) {
        *slash = '\0';
        found = *above != '\0' && stat(above, &st) == 0;
    }
    if (!found)
        found = stat(*path == '/' ? "/" : ".", &st) == 0;
    xfree(above);
    return found && is_old(s, &st);
}

static bool look(const struct seen *s, const struct seen_path *p, unsigned char state[STATE_BYTES])
{
    struct stat st;
    if (p->kind == SEEN_ABSENT)
        return is_long_absent(s, p->path);
    if ((p->kind == SEEN_SELF ? lstat(p->path, &st) : stat(p->path, &st)) != 0)
        return false;
    put_state(&st, state);
    return p->kind == SEEN_PRESENT || is_old(s, &st);
}

static int by_path(const void *a, const void *b)
{
    const struct seen_path *p = a, *q = b;
    int order = strcmp(p->path, q->path);
    return order != 0 ? order : (p->kind > q->kind) - (p->kind < q->kind);
}

static bool has_state(unsigned char kind)
{
    return kind == SEEN_SELF || kind == SEEN_TARGET;
}

static void add_entry(struct buf *out, const struct seen_path *p, const char *before,
                      const unsigned char state[STATE_BYTES])
{
    unsigned char head[HEAD_BYTES];
    size_t shared = 0;
    while (p->path[shared] && p->path[shared] == before[shared])
        shared++;
    size_t rest = strlen(p->path + shared);
    head[0] = (unsigned char)p->kind;
    bytes_put_u16(head + 1, (uint16_t)shared);
    bytes_put_u16(head + 3, (uint16_t)rest);
    buf_add(out, head, HEAD_BYTES);
    if (has_state(head[0]))
        buf_add(out, state, STATE_BYTES);
    buf_add(out, p->path + shared, rest);
}

bool seen_pack(struct seen *s, struct buf *out)
{
    if (s->n_paths > 0)
        qsort(s->paths, s->n_paths, sizeof *s->paths, by_path);
    const char *before = "";
    for (size_t i = 0; i < s->n_paths && s->is_sound; i++) {
        const struct seen_path *p = &s->paths[i];
        unsigned char state[STATE_BYTES];
        if (i > 0 && by_path(p, p - 1) == 0)
            continue;
        s->is_sound = look(s, p, state);
        add_entry(out, p, before, state);
        before = p->path;
    }
    return s->is_sound;
}

/* ----------------------------------------------------------------------------------- comparing */

/* A folder's size is not the same everywhere; what happens in it changes its times. */
static bool is_equal(enum seen_rule rule, const unsigned char *a, const unsigned char *b)
{
    uint16_t mode = bytes_get_u16(a + 40), other = bytes_get_u16(b + 40);
    if (rule == SEEN_EXACT)
        return memcmp(a, b, STATE_BYTES) == 0;
    bool in_place = memcmp(a, b, 16) == 0;
    bool same_kind = (mode & S_IFMT) == (other & S_IFMT);
    bool moved = S_ISREG(mode) && memcmp(a + 40, b + 40, 4) != 0; /* what moves a ctime, too */
    bool as_it_was = memcmp(a + 32, b + 32, 12) == 0 || moved;
    bool same = same_kind && (S_ISDIR(mode) || memcmp(a + 16, b + 16, 8) == 0) &&
                memcmp(a + 24, b + 24, 8) == 0;
    if (rule == SEEN_UNWRITTEN)
        return same && as_it_was && in_place;
    return same && (as_it_was || rule == SEEN_COPIED);
}

static bool is_same(enum seen_rule rule, unsigned char kind, const char *path,
                    const unsigned char *state)
{
    struct stat st;
    unsigned char now[STATE_BYTES];
    int found = kind == SEEN_SELF ? lstat(path, &st) : stat(path, &st);
    if (kind == SEEN_PRESENT)
        return found == 0;
    if (kind == SEEN_ABSENT)
        return found != 0 && (errno == ENOENT || errno == ENOTDIR);
    if (found != 0 || !has_state(kind))
        return false;
    put_state(&st, now);
    return is_equal(rule, now, state);
}

/* One entry after the other: each path is told by the one before. */
struct walk {
    const unsigned char *next, *end;
    size_t n_entries; /* passed, with the one it stands at */
    unsigned char kind;
    const unsigned char *state;
    size_t n_path;
    char path[LIMIT_PATH_BYTES];
};

/* False at the end, where next is end, and before an entry that is none. */
static bool step(struct walk *w)
{
    if ((size_t)(w->end - w->next) < HEAD_BYTES)
        return false;
    const unsigned char *head = w->next;
    size_t shared = bytes_get_u16(head + 1), rest = bytes_get_u16(head + 3);
    size_t n_state = has_state(head[0]) ? STATE_BYTES : 0;
    const unsigned char *state = head + HEAD_BYTES;
    if (shared > w->n_path || shared + rest >= sizeof w->path ||
        (size_t)(w->end - state) < n_state + rest)
        return false;
    memcpy(w->path + shared, state + n_state, rest);
    w->n_path = shared + rest;
    w->path[w->n_path] = '\0';
    w->kind = head[0];
    w->state = state;
    w->next = state + n_state + rest;
    w->n_entries++;
    return true;
}

/*
 * Threads walk over the whole set, which is quick, and look at the entries of the blocks that they
 * took, which is not. Blocks are taken in order, so that what comes before a change is looked at.
 */
#define BLOCK_ENTRIES 32
#define THREAD_BYTES 65536 /* looking at this much takes far longer than a thread to start */

struct comparison {
    enum seen_rule rule;
    const unsigned char *bytes;
    size_t n_bytes;
    atomic_size_t next_block;
    atomic_size_t first; /* entry that is not as it was; SIZE_MAX: none yet */
    struct walk *walks;  /* one of each thread; it stays where it found a change */
};

static void note_first(struct comparison *c, size_t i)
{
    size_t known = atomic_load(&c->first);
    while (i < known && !atomic_compare_exchange_weak(&c->first, &known, i)) {
    }
}

static void compare_blocks(void *context, size_t i_walk, int i_thread)
{
    struct comparison *c = context;
    struct walk *w = &c->walks[i_walk];
    (void)i_thread;
    w->next = c->bytes;
    w->end = c->bytes + c->n_bytes;
    for (;;) {
        size_t from = BLOCK_ENTRIES * atomic_fetch_add(&c->next_block, 1);
        if (from > atomic_load(&c->first))
            return;
        while (w->n_entries < from + BLOCK_ENTRIES) {
            bool there = step(w);
            if (!there && w->next == w->end)
                return;
            if (there && w->n_entries <= from)
                continue;
            if (there && is_same(c->rule, w->kind, w->path, w->state))
                continue;
            w->n_entries += !there;
            note_first(c, w->n_entries - 1);
            return;
        }
    }
}

bool seen_same(const void *bytes, size_t n_bytes)
{
    char path[LIMIT_PATH_BYTES];
    return seen_same_by(SEEN_EXACT, bytes, n_bytes, path);
}

bool seen_same_by(enum seen_rule rule, const void *bytes, size_t n_bytes, char *path)
{
    size_t n_cpus = n_bytes < 2 * THREAD_BYTES ? 1 : (size_t)thread_cpus();
    size_t n_walks = n_bytes / THREAD_BYTES < n_cpus ? n_bytes / THREAD_BYTES : n_cpus;
    n_walks = n_walks < 1 ? 1 : n_walks;
    struct comparison c = {.rule = rule, .bytes = bytes, .n_bytes = n_bytes, .first = SIZE_MAX};
    c.walks = xalloc_array(n_walks, sizeof *c.walks);
    struct thread_pool *pool = thread_pool_open((int)n_walks);
    thread_pool_run(pool, n_walks, compare_blocks, &c);
    thread_pool_close(pool);
    *path = '\0';
    for (size_t i = 0; i < n_walks && c.first != SIZE_MAX; i++)
        if (c.walks[i].n_entries == c.first + 1)
            memcpy(path, c.walks[i].path, c.walks[i].n_path + 1);
    xfree(c.walks);
    return c.first == SIZE_MAX;
}
