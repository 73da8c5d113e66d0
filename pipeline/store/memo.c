#include "pipeline/store/memo.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/file_time.h"
#include "pipeline/store/seen.h"

#define MAGIC "FMMEMO01"
#define HEADER_BYTES 24
#define ENTRY_BYTES 76 /* without the path */

struct entry {
    char *path;
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
    struct content_id id;
    bool used; /* asked for since open */
};

struct memo {
    char *path;
    struct entry *entries;
    size_t n_entries;
    size_t *slots; /* open addressing; i_entry + 1, 0 = free; n_slots is a power of two */
    size_t n_slots;
    bool changed;
    uint64_t n_misses;
    void (*on_large)(const void *context, const char *path, uint64_t n_bytes);
    const void *large_context;
};

static size_t hash_path(const char *path)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 1099511628211u;
    return (size_t)h;
}

static size_t find_slot(const struct memo *m, const char *path)
{
    size_t i = hash_path(path) & (m->n_slots - 1);
    while (m->slots[i] != 0 && !str_eq(m->entries[m->slots[i] - 1].path, path))
        i = (i + 1) & (m->n_slots - 1);
    return i;
}

static void grow_slots(struct memo *m)
{
    xfree(m->slots);
    m->n_slots = m->n_slots == 0 ? 256 : m->n_slots * 2;
    m->slots = xalloc_array(m->n_slots, sizeof *m->slots);
    for (size_t i = 0; i < m->n_entries; i++)
        m->slots[find_slot(m, m->entries[i].path)] = i + 1;
}

/* The entry of a path, made when absent. */
static struct entry *entry_of(struct memo *m, const char *path, size_t path_bytes)
{
    if (m->n_entries * 2 >= m->n_slots)
        grow_slots(m);
    char *name = xstrndup(path, path_bytes);
    size_t i = find_slot(m, name);
    if (m->slots[i] != 0) {
        xfree(name);
        return &m->entries[m->slots[i] - 1];
    }
    if ((m->n_entries & (m->n_entries - 1)) == 0)
        m->entries = xrealloc_array(m->entries, m->n_entries == 0 ? 1 : m->n_entries * 2,
                                    sizeof *m->entries);
    struct entry *entry = &m->entries[m->n_entries++];
    *entry = (struct entry){.path = name};
    m->slots[i] = m->n_entries;
    return entry;
}

static bool is_sound(const struct buf *b)
{
    if (b->n_bytes < HEADER_BYTES + SHA256_BYTES || memcmp(b->bytes, MAGIC, 8) != 0 ||
        bytes_get_u64(b->bytes + 8) != b->n_bytes - HEADER_BYTES - SHA256_BYTES)
        return false;
    struct content_id want =
        sha256_from_raw((const unsigned char *)b->bytes + b->n_bytes - SHA256_BYTES);
    struct content_id found = sha256_of(b->bytes, b->n_bytes - SHA256_BYTES);
    return str_eq(want.hex, found.hex);
}

static void load(struct memo *m)
{
    struct buf b;
    struct err ignored = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    if (file_read(m->path, BUF_MAX_DEFAULT - 1, &b, &ignored) != 0 || !is_sound(&b)) {
        buf_release(&b);
        return;
    }
    const char *p = b.bytes + HEADER_BYTES;
    const char *end = b.bytes + b.n_bytes - SHA256_BYTES;
    while ((size_t)(end - p) >= ENTRY_BYTES) {
        size_t n_path = bytes_get_u32(p + 72);
        if (n_path > (size_t)(end - p) - ENTRY_BYTES)
            break;
        struct entry *entry = entry_of(m, p + ENTRY_BYTES, n_path);
        entry->dev = bytes_get_u64(p);
        entry->ino = bytes_get_u64(p + 8);
        entry->size = bytes_get_u64(p + 16);
        entry->mtime_ns = (int64_t)bytes_get_u64(p + 24);
        entry->ctime_ns = (int64_t)bytes_get_u64(p + 32);
        entry->id = sha256_from_raw((const unsigned char *)p + 40);
        p += ENTRY_BYTES + n_path;
    }
    buf_release(&b);
}

struct memo *memo_open(const char *path)
{
    struct memo *m = xalloc(sizeof *m);
    m->path = xstrdup(path);
    grow_slots(m);
    load(m);
    return m;
}

void memo_close(struct memo *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->n_entries; i++)
        xfree(m->entries[i].path);
    xfree(m->entries);
    xfree(m->slots);
    xfree(m->path);
    xfree(m);
}

void memo_on_large(struct memo *m,
                   void (*on_large)(const void *context, const char *path, uint64_t n_bytes),
                   const void *context)
{
    m->on_large = on_large;
    m->large_context = context;
}

static struct entry entry_from_stat(const struct stat *st)
{
    return (struct entry){.dev = (uint64_t)st->st_dev,
                          .ino = (uint64_t)st->st_ino,
                          .size = (uint64_t)st->st_size,
                          .mtime_ns = file_time_ns(st->st_mtim),
                          .ctime_ns = file_time_ns(st->st_ctim)};
}

static bool same_file(const struct entry *a, const struct entry *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static int stat_file(const char *path, struct entry *out, struct err *e)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return err_set(e, ERR_MISSING, "%s: no such file", path);
        return err_set_errno(e, errno, "%s: cannot read its state", path);
    }
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_FORMAT, "%s: not a regular file%s", path,
                       S_ISLNK(st.st_mode) ? " but a symbolic link: put a copy there (cp -L)" : "");
    *out = entry_from_stat(&st);
    return 0;
}

int memo_hash(struct memo *m, const char *path, struct content_id *id, uint64_t *n_bytes,
              struct err *e)
{
    struct entry before;
    int rc = stat_file(path, &before, e);
    if (rc != 0)
        return rc;
    size_t i_slot = find_slot(m, path);
    struct entry *known = m->slots[i_slot] == 0 ? NULL : &m->entries[m->slots[i_slot] - 1];
    if (known != NULL && same_file(known, &before)) {
        known->used = true;
        *id = known->id;
        if (n_bytes != NULL)
            *n_bytes = known->size;
        return 0;
    }
    int64_t began_ns = seen_clock_ns();
    struct entry after;
    m->n_misses++;
    if (before.size >= MEMO_LARGE_BYTES && m->on_large != NULL)
        m->on_large(m->large_context, path, before.size);
    rc = sha256_file(path, &before.id, NULL, e);
    if (rc == 0)
        rc = stat_file(path, &after, e);
    if (rc == 0 && !same_file(&before, &after))
        rc = err_set(e, ERR_IO, "%s: changed while it was read", path);
    if (rc != 0)
        return rc;
    *id = before.id;
    if (n_bytes != NULL)
        *n_bytes = before.size;
    if (!file_time_is_old(before.ctime_ns, began_ns))
        return 0; /* racy: could change again without a trace; an mtime may be set to any time */
    known = entry_of(m, path, strlen(path));
    char *name = known->path;
    *known = before;
    known->path = name;
    known->used = true;
    m->changed = true;
    return 0;
}

static void add_entry(struct buf *b, const struct entry *entry)
{
    unsigned char head[ENTRY_BYTES];
    size_t n_path = strlen(entry->path);
    bytes_put_u64(head, entry->dev);
    bytes_put_u64(head + 8, entry->ino);
    bytes_put_u64(head + 16, entry->size);
    bytes_put_u64(head + 24, (uint64_t)entry->mtime_ns);
    bytes_put_u64(head + 32, (uint64_t)entry->ctime_ns);
    sha256_to_raw(entry->id.hex, head + 40);
    bytes_put_u32(head + 72, (uint32_t)n_path);
    buf_add(b, head, sizeof head);
    buf_add(b, entry->path, n_path);
}

int memo_flush(struct memo *m, struct err *e)
{
    if (!m->changed)
        return 0;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    unsigned char header[HEADER_BYTES] = MAGIC;
    buf_add(&b, header, sizeof header);
    uint64_t count = 0;
    for (size_t i = 0; i < m->n_entries; i++) {
        if (!m->entries[i].used && m->n_entries > MEMO_ENTRIES_MAX)
            continue;
        add_entry(&b, &m->entries[i]);
        count++;
    }
    bytes_put_u64(b.bytes + 8, b.n_bytes - HEADER_BYTES);
    bytes_put_u64(b.bytes + 16, count);
    struct content_id sum = sha256_of(b.bytes, b.n_bytes);
    unsigned char raw[SHA256_BYTES];
    sha256_to_raw(sum.hex, raw);
    buf_add(&b, raw, sizeof raw);
    int rc = file_publish(m->path, b.bytes, b.n_bytes, 0644, e);
    buf_release(&b);
    if (rc == 0)
        m->changed = false;
    return rc;
}

uint64_t memo_misses(const struct memo *m)
{
    return m->n_misses;
}
