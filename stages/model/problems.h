#ifndef FMFORGE_MODEL_PROBLEMS_H
#define FMFORGE_MODEL_PROBLEMS_H

/* What does not fit in a file of tensors, collected, so that one message has the list: the first
 * few by name, and the count of all. */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "stages/model/tensorfile.h"

#define PROBLEMS_LISTED 8

struct problems {
    struct buf text;
    int n;
};

void problems_init(struct problems *p);
/* "NAME WHAT", as in "a.weight is missing". */
void problems_add(struct problems *p, const char *name, const char *what);
/* "NAME is F32 [2, 3], expected EXPECTED". */
void problems_add_misfit(struct problems *p, const char *name, const struct tensor *found,
                         const char *expected);
/* Releases p. 0 when there is none, else ERR_FORMAT "3 tensors do not fit WHAT: LIST". */
int problems_end(struct problems *p, const char *what, struct err *e) MUST_USE;

#endif
