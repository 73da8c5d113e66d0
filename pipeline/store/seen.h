#ifndef FMFORGE_STORE_SEEN_H
#define FMFORGE_STORE_SEEN_H

/*
 * Paths, and what was there: enough to tell later, by one stat each, that nothing of it changed.
 *
 * A set is collected *after* its files were read, so each must be older than the moment before the
 * first of them was opened: what changed since then, or within one tick of the clock before it,
 * spoils the set (is_sound); a tick of file systems that keep whole seconds is two of them. From
 * then on equal device, inode, mode, links, size, mtime and ctime mean the same bytes, of a folder
 * the same names. Of a path that is absent its nearest folder must be that old.
 *
 * Packed, in the order of the paths:
 *
 *   entry: u8 kind; u16 bytes that the path shares with the one before; u16 bytes of the rest;
 *          SEEN_SELF and SEEN_TARGET: u64 dev, ino, size; i64 mtime_ns, ctime_ns; u16 mode;
 *          u16 links, at most 65535; rest
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"

enum seen_kind {
    SEEN_SELF = 'S',    /* the path's own state, of a symbolic link too */
    SEEN_TARGET = 'T',  /* what it leads to */
    SEEN_PRESENT = '+', /* anything is there */
    SEEN_ABSENT = '-',  /* nothing is there */
};

/* A set larger than this is not worth it: looking at it takes as long as a run without it. */
#define SEEN_PATHS_MAX 200000

struct seen_path {
    char *path;
    enum seen_kind kind;
};

struct seen {
    struct seen_path *paths;
    size_t n_paths;
    char **trees; /* that were added already */
    size_t n_trees;
    int64_t began_ns;
    bool is_sound; /* false for good once a path cannot be relied on */
};

/* Nanoseconds of the clock that file times come from. */
int64_t seen_clock_ns(void);

/* A set of files that may be of any age, and any number of them: it tells what was written later,
 * not what was written at this very moment. */
#define SEEN_ANY_AGE INT64_MAX
/* began_ns: seen_clock_ns before anything was read; or SEEN_ANY_AGE. */
void seen_init(struct seen *s, int64_t began_ns);
void seen_release(struct seen *s); /* safe on zeroed */

void seen_add(struct seen *s, enum seen_kind kind, const char *path);
/* A file, or a folder with all below it. */
void seen_add_tree(struct seen *s, const char *path);

/* Looks at every path once and appends the packed form. False (and nothing of use in out) when the
 * set is not sound. */
bool seen_pack(struct seen *s, struct buf *out);
/* Is everything as it was? False also for bytes that are no packed set. */
bool seen_same(const void *bytes, size_t n_bytes);

/* What has to be equal. */
enum seen_rule {
    SEEN_EXACT,
    /* But for a file's ctime where its permissions or links are others: another name (a backup by
     * hard links) or chmod has moved it, and nothing was written. */
    SEEN_UNWRITTEN,
    SEEN_IN_PLACE, /* nor device and inode: a restart of the system may number them anew */
    SEEN_COPIED,   /* nor ctime and permissions: a copy that kept its times (cp -a) is the same */
};
/* The same by a rule, and `changed` (LIMIT_PATH_BYTES) is the first path that is not as it was. */
bool seen_same_by(enum seen_rule rule, const void *bytes, size_t n_bytes, char *changed);

#endif
