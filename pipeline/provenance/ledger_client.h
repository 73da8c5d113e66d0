#ifndef FMFORGE_PROVENANCE_LEDGER_CLIENT_H
#define FMFORGE_PROVENANCE_LEDGER_CLIENT_H

/*
 * The ledger as fmforge sees it: every call runs the helper program fmforge-ledger, which alone
 * knows libgit2. Answers are JSON trees that the caller frees with json_free. A failing helper's
 * message becomes the error.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/run_files.h"

#define COMMIT_HEX 40 /* digits of a commit's id */

/* Where the ledger is. */
struct ledger {
    const char *helper; /* fmforge-ledger */
    const char *repo;   /* .fmforge/ledger.git */
};

/* What an ended helper has printed as its answer, or its failure as an error: its message, the
 * first line of its stderr (a file), or how it ended. status is as waitpid gives it. Used by every
 * call.
 */
int ledger_answer(const struct buf *out, int status, int err_fd, struct json **answer,
                  struct err *e) MUST_USE;

struct ledger_entry {
    const char *ref;               /* "refs/prov/<name>" */
    const struct run_files *files; /* sorted */
    const char *message;
    int64_t time;         /* Unix seconds */
    const char *sign_key; /* SSH key (ledger_ssh.h says which); NULL: unsigned */
};

/* Commits an entry (the repository is made when absent); the parent is the ref's last commit.
 * commit gets COMMIT_HEX digits. When it cannot be signed nothing is committed. */
int ledger_commit(const struct ledger *l, const struct ledger_entry *entry,
                  char commit[COMMIT_HEX + 1], struct err *e) MUST_USE;
/* Can this key sign now? Makes a signature of nothing that matters. */
int ledger_try_key(const char *helper, const char *sign_key, struct err *e) MUST_USE;
/* Who has signed which run, by a list of signers (ssh-keygen(1), ALLOWED SIGNERS); commit NULL: all
 * runs. {"signatures":[{"commit","ref","time","state":"good"|"unsigned"|"bad","by"?,"key"?,
 * "reason"?}]}; ref is "" for one run. */
int ledger_signatures(const struct ledger *l, const char *signers, const char *commit,
                      struct json **out, struct err *e) MUST_USE;

/* Newest first, of one ref ("refs/prov/x") or of all (NULL); max 0 = all:
 * {"commits":[{"commit","ref","time","message","parent"?}]}. No repository: an empty list. */
int ledger_log(const struct ledger *l, const char *ref, int64_t max, struct json **out,
               struct err *e) MUST_USE;
/* The bytes of one file of a commit (an abbreviation of at least 6 digits will do). */
int ledger_cat(const struct ledger *l, const char *commit, const char *path, struct buf *out,
               struct err *e) MUST_USE;
/* {"commit","time","message","parent"?,"files":[{"path","blob","bytes","text"}]}, with "hex"
 * instead of "text" when it is not UTF-8. A file that cannot be read has "damage" instead. */
int ledger_show(const struct ledger *l, const char *commit, struct json **out,
                struct err *e) MUST_USE;
/* Newest commit whose artifacts.sha256 lists the digest (or, with path, that path). Found:
 * {"commit","ref","time","digest","path","where":"artifact"|"output"|"input"}; not found: {}. */
int ledger_find_digest(const struct ledger *l, const char *id_hex, struct json **out,
                       struct err *e) MUST_USE;
int ledger_find_path(const struct ledger *l, const char *path, struct json **out,
                     struct err *e) MUST_USE;
/* The source code around `path`: {"commit","branch"?,"dirty":[{"path","sha256"?,"unhashed"?}],
 * "dirty_total":N} or {"unavailable":"reason"}. dirty: changed tracked files and submodules, and
 * what is untracked and not ignored; with neither hash nor a reason for none it is deleted. */
int ledger_source(const char *helper, const char *path, struct json **out, struct err *e) MUST_USE;
/* Reads and verifies every object and ref: {"objects":N,"commits":N,"refs":N,"damage":["..."]}. */
int ledger_check(const struct ledger *l, struct json **out, struct err *e) MUST_USE;

#endif
