#ifndef FMFORGE_MANIFEST_FOLDER_GLOB_H
#define FMFORGE_MANIFEST_FOLDER_GLOB_H

/*
 * One file of a folder by a pattern: parts with '/' between them, each a name or a pattern of the
 * shell (fnmatch: *, ?, [a-z]; a dot in front is matched by a dot alone). A pattern stands for one
 * file: two that fit are an error, not a choice. Nothing leads out of the folder: no "..", no
 * symbolic link in any part.
 */

#include <stdbool.h>

#include "pipeline/base/err.h"

/* Not empty, not absolute, no empty part, no "." and no "..". */
bool folder_glob_is_good(const char *glob);
/* *found: the path of the one regular file that fits, relative to folder (caller xfrees), or NULL
 * when there is none. ERR_CONFIG names a symbolic link, a folder or a special file in its place,
 * and the first two files that fit both. CHECKs that the glob is good. */
int folder_glob(const char *folder, const char *glob, char **found, struct err *e) MUST_USE;

#endif
