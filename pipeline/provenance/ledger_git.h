#ifndef FMFORGE_PROVENANCE_LEDGER_GIT_H
#define FMFORGE_PROVENANCE_LEDGER_GIT_H

/*
 * Git, as far as the ledger needs it. ledger_git.c is the only file that knows libgit2; no
 * configuration of the user or the system is read. One process, one repository, one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/provenance/run_files.h"

struct git_repo; /* opaque */

#define GIT_HEX 40

struct git_commit_info {
    char id[GIT_HEX + 1];
    char tree[GIT_HEX + 1];
    char parent[GIT_HEX + 1]; /* "" for the first */
    char *ref;                /* "refs/prov/x" */
    char *message;            /* without the last newline */
    int64_t time;             /* Unix seconds */
};

struct git_commits {
    struct git_commit_info *items;
    size_t n_items;
};

struct git_entry {
    char *path;
    char blob[GIT_HEX + 1];
};

struct git_entries {
    struct git_entry *items; /* sorted by path bytes */
    size_t n_items;
};

/* Starts libgit2; once per process. */
void git_start(void);

/* ERR_MISSING when there is no repository; with `make` a bare one is made. */
int git_repo_open(const char *path, bool make, struct git_repo **out, struct err *e) MUST_USE;
void git_repo_close(struct git_repo *r); /* NULL is fine */

struct git_new_commit {
    const char *ref;
    const struct run_files *files; /* sorted */
    const char *message;
    int64_t time;         /* Unix seconds */
    const char *sign_key; /* of ssh_sign (ledger_ssh.h); NULL: unsigned */
};

/* Writes one object; hex is its id. What is damaged in its place is moved away; notes gets a line.
 */
int git_repo_put_blob(struct git_repo *r, const void *bytes, size_t n_bytes, char hex[GIT_HEX + 1],
                      struct buf *notes, struct err *e) MUST_USE;

struct git_new_entry {
    char *name;
    bool is_folder; /* a tree, else a blob */
    char hex[GIT_HEX + 1];
};
int git_repo_put_tree(struct git_repo *r, const struct git_new_entry *entries, size_t n_entries,
                      char hex[GIT_HEX + 1], struct buf *notes, struct err *e) MUST_USE;

/* Makes the commit and moves its ref to it. Waits for other writers. notes gets a line for a stale
 * lock file that was removed. When it cannot be signed there is no commit. */
int git_repo_commit(struct git_repo *r, const struct git_new_commit *asked,
                    char commit[GIT_HEX + 1], struct buf *notes, struct err *e) MUST_USE;

/* Commits of one ref, or of every ref below refs/prov/ (NULL), newest first; max 0 = all. */
int git_repo_log(struct git_repo *r, const char *ref, size_t max, struct git_commits *out,
                 struct err *e) MUST_USE;
void git_commits_release(struct git_commits *c);
/* Newest first; within a ref the order stays, whatever the times say. */
void git_commits_sort(struct git_commits *c);
/* Room for one more; borrowed until the next. */
struct git_commit_info *git_commits_add(struct git_commits *c);
/* A commit's signature, "" when it has none, and the bytes that it is of: the commit without that
 * header. Both initialised by the caller, cleared first. */
int git_repo_signature(struct git_repo *r, const char *commit, struct buf *bytes,
                       struct buf *signature, struct err *e) MUST_USE;

/* The files of a commit; `commit` may be an abbreviation of at least 6 digits. info may be NULL;
 * info's texts are freed with git_commit_info_release. */
int git_repo_files(struct git_repo *r, const char *commit, struct git_commit_info *info,
                   struct git_entries *out, struct err *e) MUST_USE;
void git_commit_info_release(struct git_commit_info *info);
void git_entries_release(struct git_entries *l);
void git_entries_sort(struct git_entries *l); /* by path bytes */
/* One file of a commit. ERR_MISSING when it has no such path. */
int git_repo_blob_at(struct git_repo *r, const char *commit, const char *path,
                     char blob[GIT_HEX + 1], struct err *e) MUST_USE;
/* The verified bytes of a blob. The message names the object and its file. */
int git_repo_blob(struct git_repo *r, const char *blob, struct buf *out, struct err *e) MUST_USE;

/* Parts of a check (ledger_check.h). */
struct git_ids {
    struct {
        char hex[GIT_HEX + 1];
    } * ids;
    size_t n_ids;
};
int git_repo_ids(struct git_repo *r, struct git_ids *out, struct err *e) MUST_USE;
void git_ids_release(struct git_ids *ids);
/* Any object: its type ("blob", "tree", "commit", ...) and verified bytes. A missing object that
 * it names is a line of `damage`. */
int git_repo_object(struct git_repo *r, const char *hex, const char **type, struct buf *out,
                    struct buf *damage, struct err *e) MUST_USE;
int git_repo_check_refs(struct git_repo *r, uint64_t *n_refs, struct buf *damage,
                        struct err *e) MUST_USE;

/* The work tree around a path. */
struct git_source {
    char commit[GIT_HEX + 1];
    char *branch;  /* NULL: detached */
    char *root;    /* of the work tree, with a slash at the end */
    char **dirty;  /* changed tracked and untracked not ignored paths, sorted */
    bool *deleted; /* for each: it is not there any more */
    size_t n_dirty;
};
/* ERR_MISSING with the reason when there is nothing to say. */
int git_source_read(const char *path, struct git_source *out, struct err *e) MUST_USE;
/* Sorts `dirty`, and looks which of it is gone. */
void git_source_order(struct git_source *s);
void git_source_release(struct git_source *s);

#endif
