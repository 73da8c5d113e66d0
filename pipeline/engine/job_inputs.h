#ifndef FMFORGE_ENGINE_JOB_INPUTS_H
#define FMFORGE_ENGINE_JOB_INPUTS_H

/*
 * What a stage reads that is not in the store: the files that the manifest names, its program and
 * its libraries. Somebody may write them while it runs, and put them back before it ends: then
 * their bytes are those of its key again, and what it has read is not. So they count as unchanged
 * only when the state of each file (store/seen.h) is what it was before the stage began.
 *
 * A checkpoint was made from them, too, and a run that is killed checks nothing. Beside its folder
 * work/<key>/ lies what the inputs were when the first stage began that wrote to it,
 * work/<key>.seen:
 *
 *   "FMSEEN01" | u64 inode of work/<key> | packed set | SHA-256 of all before, in hex
 *
 * The next start compares. Devices and inodes may be numbered anew by a restart of the system, and
 * where the folder itself has another inode the project was copied: then size and mtime count.
 * A folder without this file, or with another, is removed: its checkpoints may be those of other
 * inputs. It is not synced: a power cut soon after the start costs what that stage has done.
 */

#include "pipeline/base/err.h"
#include "pipeline/engine/job.h"

/* Before the stage begins, with its folders: looks at all of it. The program and the libraries must
 * be those that the key names. Empties the work folder, with a note, when it may not be used. */
int job_inputs_look(struct job_env *env, struct job *j, struct err *e) MUST_USE;
/* After its outputs were read: is it all unchanged? */
int job_inputs_check(struct job_env *env, const struct job *j, struct err *e) MUST_USE;
/* work/<key>.seen; caller xfrees. */
char *job_inputs_path(const struct job *j);
/* What the manifest names is kept, too, so that a run can be made again when its sources are gone
 * from where they were; not what is larger than LIMIT_KEPT_INPUT_BYTES. It is no part of the
 * result: a source that cannot be kept is a note. */
int job_inputs_keep(struct job_env *env, struct job *j, struct err *e) MUST_USE;

#endif
