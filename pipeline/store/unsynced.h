#ifndef FMFORGE_STORE_UNSYNCED_H
#define FMFORGE_STORE_UNSYNCED_H

/*
 * What a power cut may have torn. Objects, raw copies and action records are published by temporary
 * and rename, so that a kill leaves each whole or absent; they are brought to the disk together, by
 * one syncfs (store_sync). Until then a file says that there is something to look after:
 *
 *   unsynced/<boot id>.<pid>-<n>   empty; its process has it locked (flock) while it lives
 *
 * It is on the disk before the first of those files can be, and goes when all of them are. So one
 * that is there means:
 *
 *   of this boot, locked    a process is at work: whoever relies on what it made syncs first
 *   of this boot, free      it was killed. All is whole in the page cache: the next sync is for it
 *   of another boot         the machine stopped meanwhile. Every object, record and raw copy that
 *                           is not clearly older is read and hashed before anything is looked up;
 *                           what is not whole goes to quarantine, and is made again
 *                           (unsynced_mend)
 *
 *   failed.<pid>-<n>        a sync failed: as of another boot, and no raw copy is trusted
 *
 * The stat memo, which stands for bytes, is written after the sync. Marks of what is owed (owed.h)
 * are made before the record that they are for: a journal does not keep the later of two and lose
 * the earlier.
 */

#include "pipeline/base/err.h"
#include "pipeline/store/object.h"

/* The clock of file times may have been set back by this much between the mark and the files. */
#define UNSYNCED_SLACK_S 3600

/* Makes this process's mark, unless it has one; before something is published. */
int unsynced_begin(struct objects *o, struct err *e) MUST_USE;
/* All that was published in this store is on the disk afterwards, by whomever; the marks of this
 * process and of dead ones go. Without a mark nothing is done. */
int unsynced_sync(struct objects *o, struct err *e) MUST_USE;
/* Looks after what a power cut has left, if there was one. Damage is in o->notes. */
int unsynced_mend(struct objects *o, struct err *e) MUST_USE;

#endif
