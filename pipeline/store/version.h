#ifndef FMFORGE_STORE_VERSION_H
#define FMFORGE_STORE_VERSION_H

/*
 * The file "version" of a store: one line. 1: each object is <id>.zst. 2: it may be <id>.planes,
 * which a program of version 1 does not know. A store of version 1 is read and written as it is; it
 * becomes one of version 2 with its first planes, and older programs then refuse it by this file.
 */

#include "pipeline/base/err.h"

#define STORE_VERSION_TEXT "fmforge store 2\n"

/* ERR_CONFIG for another version, or a damaged file. */
int version_check(const char *home, struct err *e) MUST_USE;
/* Makes it the newest, before something is written that older programs do not know. */
int version_raise(const char *home, struct err *e) MUST_USE;

#endif
