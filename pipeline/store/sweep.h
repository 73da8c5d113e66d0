#ifndef FMFORGE_STORE_SWEEP_H
#define FMFORGE_STORE_SWEEP_H

/*
 * The part of gc that knows the store: what is there, how much room it takes, and how it goes.
 * What is needed says the caller (provenance/gc.c) between sweep_open and sweep_run; what living
 * processes rely on (hold.h) is needed without being said.
 *
 * Order of removal: action records, and their folders synced; then everything that only they named.
 * Files are unlinked, folders first renamed into tmp/. So after a kill at any point no record names
 * what is gone, and no folder is half there. Names that fmforge does not make are left alone.
 *
 * Bytes are those of the files' disk blocks, as du counts them; folders are not counted.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/store/action.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/id_set.h"
#include "pipeline/store/object.h"

enum sweep_kind {
    SWEEP_ACTIONS,
    SWEEP_OBJECTS,
    SWEEP_RAW,
    SWEEP_WORK,
    SWEEP_LOGS,
    SWEEP_FAILED,
    SWEEP_TMP,
    SWEEP_QUARANTINE,
    SWEEP_KINDS,
};

struct sweep_count {
    uint64_t n_removed, removed_bytes, n_kept, kept_bytes;
};

struct sweep {
    struct objects objects;
    bool remove;           /* false: only count */
    int64_t since;         /* Unix seconds: what was made from then on is needed */
    int64_t work_since;    /* checkpoints of unfinished keys, likewise */
    uint64_t budget_bytes; /* of the whole store; UINT64_MAX: none */
    struct held held;      /* of living processes */
    struct id_set keys;    /* needed action keys, held ones too */
    struct id_set needed;  /* needed objects */
    uint64_t other_bytes;  /* ledger, descriptions and the like: never removed */
    struct sweep_count counts[SWEEP_KINDS];
};

/* "actions", "objects", ... */
const char *sweep_kind_name(enum sweep_kind k);

/* ERR_MISSING or ERR_CONFIG when there is no store of this version. With `remove`, sweep_lock must
 * follow. since and work_since are 0 and there is no budget. */
int sweep_open(struct sweep *s, const char *home, bool remove, struct err *e) MUST_USE;
/* Waits for readers; *locked stays false when there are some and `wait` is false. */
int sweep_lock(struct sweep *s, bool wait, bool *locked, struct err *e) MUST_USE;
void sweep_close(struct sweep *s); /* safe on zeroed */

/* The lists of living processes become needed keys. The ledger and the rest of what says what is
 * needed are read after it: a process that ends in between has its things there or here. */
int sweep_held(struct sweep *s, struct err *e) MUST_USE;
/* The actions made from `since` on become needed keys. */
int sweep_look(struct sweep *s, struct err *e) MUST_USE;

/* *found is false when there is no such record, or a damaged one; one that cannot be read is
 * ERR_IO. */
int sweep_action(const struct sweep *s, const char *key_hex, struct action *out, bool *found,
                 struct err *e) MUST_USE;
/* An object is needed; of a folder its files too, as far as its listing can be read. */
int sweep_need(struct sweep *s, const char *id_hex, bool is_folder, struct err *e) MUST_USE;
/* Bytes of an object that is needed; ERR_MISSING, ERR_FORMAT. */
int sweep_read(struct sweep *s, const char *id_hex, uint64_t max_bytes, struct buf *out,
               struct err *e) MUST_USE;

/* Counts, and removes with `remove`. */
int sweep_run(struct sweep *s, struct err *e) MUST_USE;
/* What stays, and what goes or went. */
uint64_t sweep_kept_bytes(const struct sweep *s);
uint64_t sweep_removed_bytes(const struct sweep *s);

#endif
