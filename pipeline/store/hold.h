#ifndef FMFORGE_STORE_HOLD_H
#define FMFORGE_STORE_HOLD_H

/*
 * What living processes rely on, so that gc may remove things while they work.
 *
 * A process that writes has a list, tmp/s-<pid>-<n>/held, one line each:
 *
 *   K <action key>       it has asked for this action, or makes it
 *   O <content id>       it has stored this object
 *   R <content id>       it reads this raw copy
 *
 * A line is written under the shared lock of locks/gc, *before* the process looks whether the thing
 * is there. gc holds that lock alone from reading the lists to its last removal: what a process has
 * found is in its list in time, or was looked for when gc had ended. The list counts while its
 * owner lives (tmp/s-.../lock). A process that has only found what it looked for makes no list yet:
 * it keeps the shared lock, and a run with nothing to do writes nothing. A reader (store_open_read)
 * has no list: it holds the shared lock until it closes. Locks are the kernel's and die with their
 * process. gc may work for minutes: a process with on_wait (store_on_wait) tries the lock now and
 * then and does what is to be done meanwhile.
 */

#include <stdbool.h>

#include "pipeline/base/err.h"
#include "pipeline/store/id_set.h"
#include "pipeline/store/object.h"

enum hold_kind { HOLD_ACTION = 'K', HOLD_OBJECT = 'O', HOLD_RAW = 'R' };

/* Adds a line to this process's list; nothing for a reader. Actions alone make no list. */
int hold_add(struct objects *o, enum hold_kind kind, const char *id_hex, struct err *e) MUST_USE;
/* Makes the list, when there are lines and it is not there, and gives the lock back: what follows
 * may take long. */
int hold_write(struct objects *o, struct err *e) MUST_USE;
/* The list counts until this process, or the program that it becomes, ends; objects_close leaves
 * it, and the next writer removes it then. */
int hold_leave(struct objects *o, struct err *e) MUST_USE;
/* So long gc is waited for without a word. */
#define HOLD_WORDLESS_MS 1000
/* The shared lock of whoever only looks, until the descriptor is closed; negative when there is no
 * lock file, and when gc still has it after wait_ms (*busy). A negative wait_ms: until gc has
 * ended. */
int hold_gate(const char *home, int wait_ms, bool *busy);
/* The same lock of a reader, until objects_close. A store whose gc never ran has no lock file:
 * nothing is locked then. */
void hold_reader(struct objects *o);
/* The lock of gc. *locked stays false when others work and `wait` is false. */
int hold_all(struct objects *o, bool wait, bool *locked, struct err *e) MUST_USE;

struct held {
    struct id_set keys, objects, raws;
};

/* The lists of all living processes, added to out. */
int hold_read(const char *home, struct held *out, struct err *e) MUST_USE;
void held_release(struct held *h); /* safe on zeroed */

/* Is the owner of a folder tmp/s-... alive? Its lock says it; a folder without one is dead. ERR_IO
 * when the lock cannot be read. */
int hold_is_alive(const char *session_folder, bool *alive, struct err *e) MUST_USE;

#endif
