#ifndef FMFORGE_STORE_STORE_H
#define FMFORGE_STORE_STORE_H

/*
 * The store: everything fmforge keeps, one folder (.fmforge, elsewhere with --home).
 *
 *   version             "fmforge store 2\n" (version.h)
 *   objects/xx/<id>.zst zstd frames of the raw bytes, or of planes: <id>.planes (packed.h); id =
 *                       SHA-256 of the raw bytes; 0444
 *   raw/xx/<id>         evictable read-only copy of a file, raw/xx/<id>.d of a folder
 *   actions/xx/<key>    action records (action.h)
 *   work/<key>/         folders of running stages; logs/<key>.log; locks/; tmp/; quarantine/
 *   unsynced/           there is something that may not be on the disk yet (unsynced.h)
 *   memo                stat memo (memo.h)
 *   runs.log, ledger.git
 *
 * A folder artifact is its listing (sorted `sha256sum` lines), stored as an object whose id is the
 * folder's content id, and one object per file. Everything is published by temporary + rename, so a
 * kill leaves the store valid, and brought to the disk by store_sync: after it a power cut loses
 * nothing, and before it nothing that is not found and made again (unsynced.h). Who tells others of
 * a result (a commit, a delivery, a message) syncs first. Objects are verified when read:
 * a damaged one is moved to quarantine/ and the message names it; the action that made it is then
 * not found and is executed again. One thread uses one struct store; processes may share a folder.
 * gc (sweep.h) removes nothing that an open store has been given (hold.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/zfile.h"
#include "pipeline/store/action.h"
#include "pipeline/store/seen.h"

struct store; /* opaque: the folder */

/* Largest object or source file. The tensors of the full model are 1.1 GB. */
#define STORE_OBJECT_BYTES_MAX ((uint64_t)64 << 30)

/* Makes the folder when absent. ERR_CONFIG for a store of another version, or of another user, who
 * could put results there that were never made. store_open_read makes nothing and never writes (no
 * quarantine either): ERR_MISSING when there is no store. */
int store_open(const char *home, struct store **out, struct err *e) MUST_USE;
int store_open_read(const char *home, struct store **out, struct err *e) MUST_USE;
/* The same; *out is NULL, without an error, when there is no store. */
int store_open_present(const char *home, struct store **out, struct err *e) MUST_USE;
/* Is there a store of this version? Opens nothing. */
int store_check_home(const char *home, struct err *e) MUST_USE;
void store_close(struct store *s); /* NULL is fine; flush the memo before */
/* What the store has given stays, also after store_close, until this process ends, or the program
 * that it becomes (execve). */
int store_leave(struct store *s, struct err *e) MUST_USE;
const char *store_home(const struct store *s);
/* home/relative; caller xfrees. */
char *store_path(const struct store *s, const char *relative);
/* Makes home/name for what is written there by others; ERR_IO when the store was removed. */
int store_make_folder(const struct store *s, const char *name, struct err *e) MUST_USE;
/* on_wait: called again and again, instead of sleeping, while gc has the store and a function below
 * waits for it; waits a little itself. on_work: called now and then while one stores a large file.
 * When it returns false that function fails (ERR_IO). NULL: sleeps, stores. */
void store_on_wait(struct store *s, bool (*on_wait)(void *context), bool (*on_work)(void *context),
                   void *context);
/* Called before a file of 1 GiB or more is read for its hash (memo.h). */
void store_on_large(struct store *s,
                    void (*on_large)(const void *context, const char *path, uint64_t n_bytes),
                    const void *context);
/* What was found damaged and quarantined since open, one line each; "" when nothing. Borrowed. */
const char *store_notes(const struct store *s);
/* Removes what killed writers have left in tmp/, as the first of our own temporary files does. */
int store_tidy(struct store *s, struct err *e) MUST_USE;
/* A new path (nothing is there yet) in this process's own temporary folder, which store_close
 * removes and which the next writer removes after a kill. Caller xfrees. */
int store_temporary(struct store *s, char **path, struct err *e) MUST_USE;

/* Content id of a source file or folder through the stat memo. is_folder, n_bytes may be NULL. */
int store_hash_source(struct store *s, const char *path, struct content_id *id, bool *is_folder,
                      uint64_t *n_bytes, struct err *e) MUST_USE;
/* Syncs first. */
int store_flush_memo(struct store *s, struct err *e) MUST_USE;
/* Brings to the disk what was published and is not there yet, by this process or by others. */
int store_sync(struct store *s, struct err *e) MUST_USE;

/* Stores small bytes: recipes, statements, facet values. */
int store_put_bytes(struct store *s, const void *bytes, size_t n_bytes, struct content_id *id,
                    struct err *e) MUST_USE;
/* Stores a file or folder and leaves its raw copy. What lies below a store_temporary path becomes
 * that copy itself, read-only. is_folder, n_bytes may be NULL. ERR_IO when it
 * changes meanwhile. */
int store_put_path(struct store *s, const char *path, struct content_id *id, bool *is_folder,
                   uint64_t *n_bytes, struct err *e) MUST_USE;
/* Stores a file or folder without a raw copy: what came from elsewhere. n_bytes may be NULL. */
int store_put_object(struct store *s, const char *path, struct content_id *id, uint64_t *n_bytes,
                     struct err *e) MUST_USE;
bool store_has(const struct store *s, const char *id_hex);
/* An object, and a folder's files, stay until store_close if they are there: ask with store_has
 * afterwards. */
int store_hold(struct store *s, const char *id_hex, bool is_folder, struct err *e) MUST_USE;
/* Verified bytes of one object (of a folder: its listing). out is initialised by the caller. */
int store_get_bytes(struct store *s, const char *id_hex, uint64_t max_bytes, struct buf *out,
                    struct err *e) MUST_USE;
/* Gives an object's raw bytes to `to`, piece by piece; they are verified with the last one: after
 * an error what it got is to be thrown away. */
int store_print(struct store *s, const char *id_hex, const struct zfile_sink *to,
                struct err *e) MUST_USE;
/* n_bytes from `offset` on, unpacking little more than them: the SHA-256 is not compared. ERR_LIMIT
 * when the object ends before. */
int store_print_range(struct store *s, const char *id_hex, uint64_t offset, uint64_t n_bytes,
                      const struct zfile_sink *to, struct err *e) MUST_USE;
/* Reads and hashes an object, and its file's own bytes, in each form that is there: ERR_MISSING,
 * ERR_FORMAT (damaged; quarantined). store_check_file: one file of it. */
int store_check_object(struct store *s, const char *id_hex, uint64_t *n_bytes,
                       struct err *e) MUST_USE;
int store_check_file(struct store *s, const char *path, const char *id_hex, uint64_t *n_bytes,
                     struct err *e) MUST_USE;
/* Path of a read-only raw copy (file or folder), made from the objects when absent, re-hashed when
 * the memo does not know it; caller xfrees. */
int store_raw(struct store *s, const char *id_hex, bool is_folder, char **path,
              struct err *e) MUST_USE;
/* Is it there with these bytes? A link is not. */
bool store_is_at(struct store *s, const char *id_hex, bool is_folder, const char *path);
/* Verified copy to `to` (temporary beside it, then rename; replaces). Nothing is written when `to`
 * already holds these bytes. What a killed copy left is removed. Parents must exist. */
int store_copy_out(struct store *s, const char *id_hex, bool is_folder, const char *to,
                   struct err *e) MUST_USE;

/* *found is false when absent, damaged (then quarantined, see store_notes), or when an object of
 * its outputs is gone. */
int store_action_get(struct store *s, const char *key_hex, struct action *out, bool *found,
                     struct err *e) MUST_USE;
/* The folders of what store_action_get looks for, and the metrics themselves. */
void store_see(struct store *s, const struct action *a, struct seen *seen);
int store_action_put(struct store *s, const struct action *a, struct err *e) MUST_USE;

/* Kernel-released lock of one key; waits for it. The descriptor is not inherited. */
int store_lock(struct store *s, const char *key_hex, int *fd, struct err *e) MUST_USE;
void store_unlock(int fd); /* negative is fine */

#endif
