#ifndef FMFORGE_ENGINE_EVENT_STREAM_H
#define FMFORGE_ENGINE_EVENT_STREAM_H

/*
 * What happens, one line of JSON each, for whoever watches: a file (it is appended to), a named
 * pipe, or standard output. Every line has
 *
 *   "schema":"fmforge.event/1", "seq" (from 1 on), "time" ("2026-01-31T12:00:00.000Z"), "event"
 *
 * and goes out at once. Who reads slowly or not at all never holds up what is told: what a pipe
 * does not take waits in memory, LIMIT_EVENTS_BYTES at most, then events are dropped and an event
 * `lost` says how many. A reader that is gone and a full disk end the stream, nothing else.
 * SIGPIPE has to be ignored.
 */

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

struct event_stream;

/* path: "-" is standard output. ERR_CONFIG when it cannot be opened for writing. */
int event_stream_open(const char *path, struct event_stream **out, struct err *e) MUST_USE;
/* Takes `fields` (an object, or NULL). A stream that is NULL takes it, too. */
void event_stream_add(struct event_stream *s, const char *event, struct json *fields);
/* Once more what has waited for its reader. */
void event_stream_flush(struct event_stream *s);
/* Gives a slow reader a second for the rest. False when not all was taken; `problem` then says why
 * (NULL: not wanted). Safe on NULL. */
bool event_stream_close(struct event_stream *s, struct err *problem);

#endif
