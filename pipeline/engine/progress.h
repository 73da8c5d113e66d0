#ifndef FMFORGE_ENGINE_PROGRESS_H
#define FMFORGE_ENGINE_PROGRESS_H

/*
 * The progress line, from the last progress event of each running stage. On a terminal it is drawn
 * at most five times a second, and erased before anything else is printed. In a file it is a line
 * of its own: when no stage has begun or ended for 10 seconds, then for 20, 40, up to 5 minutes.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/json.h"
#include "pipeline/engine/term.h"

struct progress {
    const struct term *term;
    bool drawn;
    double last_ms; /* of the last line */
    double wait_ms; /* from there to the next one */
};

struct progress_item {
    const char *name;
    const char *events; /* path of the stage's events file */
    double started_ms;
};

void progress_init(struct progress *p, const struct term *term);
/* In so many milliseconds there is something to draw. */
int progress_due(const struct progress *p);
/* Draws when it is time to: "[2/9] adapter 41 % step 120 | draft ...". */
void progress_draw(struct progress *p, size_t n_done, size_t n_all,
                   const struct progress_item *items, size_t n_items);
void progress_erase(struct progress *p);
/* A stage has begun or ended: in a file the next line is 10 seconds away again. */
void progress_news(struct progress *p);
/* The newest progress event of a stage's events file, NULL when there is none. Caller frees. */
struct json *progress_last(const char *events);

#endif
