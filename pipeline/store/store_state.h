#ifndef FMFORGE_STORE_STORE_STATE_H
#define FMFORGE_STORE_STORE_STATE_H

/* What the files of store.h share. */

#include "pipeline/store/memo.h"
#include "pipeline/store/object.h"
#include "pipeline/store/store.h"

struct store {
    char *home;
    struct objects objects;
    struct memo *memo; /* NULL until first needed */
};

/* A store that was removed while we worked must not come back without its version: ERR_IO. */
int store_check_there(const char *home, struct err *e) MUST_USE;

#endif
