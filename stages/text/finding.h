#ifndef FMFORGE_TEXT_FINDING_H
#define FMFORGE_TEXT_FINDING_H

/*
 * Something odd about the data, seen once or often: what, how often, and where it was seen first.
 * Findings are rows of a table in a stage's report, for people; none of them stops a stage.
 */

#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"

/* So many places are named. */
#define FINDING_PLACES_SHOWN 8

/* Columns of the table: finding, rows (or files), where. */
extern const char *const FINDING_COLUMNS[];

/* A finding that is being collected; zeroed at first. */
struct finding {
    uint64_t n;
    struct buf where; /* "3, 7, 9" */
};

/* Seen once more, at this place. */
void finding_add(struct finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The places, ", ..." behind when there are more; borrowed. Ends the collecting. */
const char *finding_where(struct finding *f);
/* Appends "name: what", how often and where to the table; nothing when it was never seen. Leaves
 * the finding zeroed. */
void finding_close(struct finding *f, const char *name, const char *what, struct json *table);
/* The same with a count of its own. */
void finding_put(struct json *table, const char *name, const char *what, uint64_t n,
                 const char *where);
/* Adds rows that were collected apart as a table "Findings" to a report, when there are any; frees
 * them. */
void finding_add_table(struct json *report, struct json *rows);
void finding_release(struct finding *f); /* safe on zeroed, safe twice */

#endif
