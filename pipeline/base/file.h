#ifndef FMFORGE_BASE_FILE_H
#define FMFORGE_BASE_FILE_H

/*
 * Files. Every write is checked to the end (write, close, rename, and fsync where it is said).
 * Messages name the path. A file that was not synced is there for every process, whatever happens
 * to this one; only a power cut, or a crash of the system, can lose or tear it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* Reads a whole regular file into out (initialised by the caller, cleared first).
 * ERR_MISSING when absent, ERR_LIMIT above max_bytes. */
int file_read(const char *path, uint64_t max_bytes, struct buf *out, struct err *e) MUST_USE;

/* Publishes bytes at path: temporary beside it, fsync, rename, fsync of the folder. Mode as given,
 * e.g. 0644. Parents must exist. */
int file_publish(const char *path, const void *bytes, size_t n_bytes, unsigned mode,
                 struct err *e) MUST_USE;
/* The same without the two fsyncs: whole or not there after a kill. */
int file_replace(const char *path, const void *bytes, size_t n_bytes, unsigned mode,
                 struct err *e) MUST_USE;
/* Writes a plain new file (a stage's output), not synced; replaces an existing one. */
int file_write(const char *path, const void *bytes, size_t n_bytes, struct err *e) MUST_USE;
/* The same, read-only from the start; ERR_IO when there is one of the name. */
int file_write_read_only(const char *path, const void *bytes, size_t n_bytes,
                         struct err *e) MUST_USE;
/* Appends one line with O_APPEND in one write. `sync`: waits until it is on the disk. */
int file_append_line(const char *path, const char *line, bool sync, struct err *e) MUST_USE;

/* A stream for writing large outputs. close checks everything; only close_synced fsyncs. */
struct file_out {
    FILE *stream;
    char *path;
    uint64_t n_bytes;
    int problem; /* errno of the first write that failed; 0 = none */
};
int file_out_open(struct file_out *f, const char *path, struct err *e) MUST_USE;
/* Errors are remembered and reported by close. */
void file_out_add(struct file_out *f, const void *bytes, size_t n_bytes);
/* What was added may go to the disk from now on, so that close has less to wait for. */
void file_out_start(const struct file_out *f);
void file_start_writing(int fd);
int file_out_close(struct file_out *f, struct err *e) MUST_USE;
int file_out_close_synced(struct file_out *f, struct err *e) MUST_USE;
void file_out_abandon(struct file_out *f); /* closes and removes; safe on zeroed */

/* A file mapped read-only. Zero bytes long files map to bytes = NULL. */
struct file_map {
    const unsigned char *bytes;
    size_t n_bytes;
};
int file_map_open(struct file_map *m, const char *path, struct err *e) MUST_USE;
void file_map_close(struct file_map *m); /* safe on zeroed */

bool file_exists(const char *path);
bool file_is_folder(const char *path);
bool file_is_ours(const char *path); /* is there, and of this user */
int file_size(const char *path, uint64_t *n_bytes, struct err *e) MUST_USE;

/* Makes the folder and its parents (0755). Existing is fine. */
int file_make_folder(const char *path, struct err *e) MUST_USE;
/* Makes the parents of a file path. */
int file_make_parents(const char *path, struct err *e) MUST_USE;
/* The path without links, "." and "..", as far as it exists; caller xfrees. */
char *file_real_path(const char *path);
/* Could a file be made there? ERR_CONFIG: the nearest of its folders that exists is none, or cannot
 * be written to. */
int file_can_make(const char *path, struct err *e) MUST_USE;
/* Removes a file or a folder with all below it (also read-only ones); absent is fine. */
int file_remove_tree(const char *path, struct err *e) MUST_USE;
/* Copies a file or folder; regular files only. Destination must not exist. Not synced. */
int file_copy_tree(const char *from, const char *to, struct err *e) MUST_USE;
/* fsyncs a file, or a folder and all below it; not the folder that it is in. */
int file_sync_tree(const char *path, struct err *e) MUST_USE;
/* First of all in a program: a closed descriptor of 0, 1 and 2 becomes /dev/null, for reading, so
 * that no file gets that number and what is printed; printing fails, and is reported. */
void file_fill_streams(void);
/* Waits for the exclusive lock (flock) of an open file, also when a signal comes; -1 and errno. */
int file_lock(int fd) MUST_USE;
int file_sync_folder(const char *path, struct err *e) MUST_USE;

/* Regular files below a folder as relative paths, sorted by bytes. Symlinks and special files are
 * ERR_FORMAT with their path. Released by file_list_release. */
struct file_list {
    char **paths;
    size_t n_paths;
};
int file_list_folder(const char *path, struct file_list *out, struct err *e) MUST_USE;
/* Names of a folder's own entries, of any kind, sorted by bytes. */
int file_list_names(const char *path, struct file_list *out, struct err *e) MUST_USE;
void file_list_release(struct file_list *l);

/* dir/name in new memory (xfree). */
char *file_join(const char *dir, const char *name);
/* Last component, borrowed. */
const char *file_base_name(const char *path);

#endif
