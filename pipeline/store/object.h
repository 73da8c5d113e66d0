#ifndef FMFORGE_STORE_OBJECT_H
#define FMFORGE_STORE_OBJECT_H

/*
 * The object part of a store folder (store.h): content-addressed files, the temporary folder of
 * this process, publishing, quarantine. Used by store.c only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"
#include "pipeline/store/listing.h"
#include "pipeline/store/packed.h"

/* The last lines of the list of what is held: an object is held when it is stored, and again by the
 * action that names it. */
#define HOLD_RECENT 8
struct hold_recent {
    char lines[HOLD_RECENT][SHA256_HEX + 4];
    unsigned n;
};

struct objects {
    char *home;
    bool read_only;
    char *session; /* home/tmp/s-<pid>-<n>, made at first use; NULL before */
    int session_fd;
    int held_fd, gc_fd;             /* hold.h; -1 until needed */
    bool (*on_wait)(void *context); /* hold.h; NULL: waiting sleeps */
    bool (*on_work)(void *context); /* packed.h; NULL: nobody asks */
    void *wait_context;
    struct hold_recent recent; /* lines that are in the list for certain */
    struct buf held; /* lines that are not in the list yet; the shared lock is held with them */
    char *mark; /* unsynced.h: what says that something is not on the disk yet; NULL: nothing is */
    int mark_fd, sync_fd; /* -1 until needed */
    bool sync_failed;     /* then nothing that this process made may be relied on */
    unsigned n_temporaries;
    struct zcoder *coder; /* of packed_write_bytes; NULL until needed */
    struct buf notes;     /* damage found, one line each */
};

void objects_open(struct objects *o, const char *home, bool read_only);
void objects_close(struct objects *o); /* removes the temporary folder */

/* home/<kind>/xx/<id><suffix>; caller xfrees. */
char *objects_path(const struct objects *o, const char *kind, const char *id_hex,
                   const char *suffix);
/* Makes the temporary folder of this process, and removes those of dead ones. */
int objects_session(struct objects *o, struct err *e) MUST_USE;
/* The lock under which temporary folders and marks are made and looked at; the caller closes. */
int objects_gate(const struct objects *o, int *gate, struct err *e) MUST_USE;
/* Called for each temporary folder whose process is gone, while no new one can be made. */
typedef void objects_dead_function(void *context, const char *folder);
int objects_each_dead(struct objects *o, objects_dead_function *f, void *context,
                      struct err *e) MUST_USE;
/* Removes the temporary folders of dead processes; done with the first of our own, too. */
int objects_tidy(struct objects *o, struct err *e) MUST_USE;
/* A new path in the temporary folder; caller xfrees. */
int objects_temporary(struct objects *o, char **path, struct err *e) MUST_USE;
/* Renames a finished file (read-only) or folder to `to`, making parents; on the disk it is
 * after unsynced_sync. A folder that is there already stays, and ours is removed. */
int objects_publish(struct objects *o, const char *from, const char *to, bool is_folder,
                    struct err *e) MUST_USE;
/* The same for a raw copy: a file that is there already stays, too: the sandbox of another
 * process's stage lets it read that very file. */
int objects_publish_raw(struct objects *o, const char *from, const char *to, bool is_folder,
                        struct err *e) MUST_USE;
/* Moves a damaged file out of the way and adds a note. */
void objects_quarantine(struct objects *o, const char *path, const char *what);

/* The names of an object: <id> and the suffix of its form (packed.h). */
#define OBJECT_ZST ".zst"
#define OBJECT_PLANES ".planes"
/* No raw copy is kept of an output of up to this many bytes before a stage asks for one. */
#define OBJECT_SMALL_BYTES (64 << 10)
/* Where an object is, or would be; caller xfrees. */
char *objects_file(const struct objects *o, const char *id_hex);

/* raw: a path where the same bytes will be, 0444 and on the disk after unsynced_sync: the file
 * itself, by another name, when it lies in our temporary folder, else a copy. NULL: none. After an
 * error it may be there. */
int objects_put_file(struct objects *o, const char *path, const char *raw, struct content_id *id,
                     uint64_t *n_bytes, struct err *e) MUST_USE;
int objects_put_bytes(struct objects *o, const void *bytes, size_t n_bytes, struct content_id *id,
                      struct err *e) MUST_USE;
bool objects_has(const struct objects *o, const char *id_hex);
int objects_read(struct objects *o, const char *id_hex, uint64_t max_bytes, struct buf *out,
                 struct err *e) MUST_USE;
/* Writes the verified raw bytes to `to` (a new file), or nowhere when NULL. */
int objects_unpack(struct objects *o, const char *id_hex, const char *to, uint64_t *n_bytes,
                   struct err *e) MUST_USE;
/* The object's raw bytes and its file's own bytes are what was written; of each form that is there,
 * or of this one. */
int objects_check(struct objects *o, const char *id_hex, uint64_t *n_bytes, struct err *e) MUST_USE;
int objects_check_file(struct objects *o, const char *path, const char *id_hex, uint64_t *n_bytes,
                       struct err *e) MUST_USE;
/* Raw bytes for the sink, as they are unpacked: what it got is wrong when an error follows. Of a
 * range only the frames' checksums are compared. */
int objects_print(struct objects *o, const char *id_hex, const struct zfile_sink *sink,
                  struct err *e) MUST_USE;
int objects_print_range(struct objects *o, const char *id_hex, uint64_t offset, uint64_t n_bytes,
                        const struct zfile_sink *sink, struct err *e) MUST_USE;

#endif
