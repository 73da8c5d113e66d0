#ifndef FMFORGE_ENGINE_RUN_EVENTS_H
#define FMFORGE_ENGINE_RUN_EVENTS_H

/*
 * What a run tells its event stream (event_stream.h); nothing when it has none. Names and fields:
 * pipeline/schema/event.schema.json.
 */

#include "pipeline/engine/run_state.h"

/* run_started, and stage_planned for every instance with what it is expected to take. */
void run_events_started(struct run *r);
/* stage_cached, stage_blocked, or stage_failed of one that could not be started. */
void run_events_settled(struct run *r, size_t i);
void run_events_launched(struct run *r, const struct job *j);
/* stage_finished, stage_failed or, when it will be tried again, stage_retried. */
void run_events_ended(struct run *r, const struct job *j, const char *outcome);
/* stage_progress of each running stage that went on, once a second. */
void run_events_progress(struct run *r);
/* The gates behind the first n_before of r->gates. */
void run_events_gates(struct run *r, size_t n_before);
/* delivered (item of run.json), or not: then why. Takes item. */
void run_events_delivery(struct run *r, struct json *item, const char *problem);
void run_events_recorded(struct run *r, const char *commit);
void run_events_finished(struct run *r, const char *status, int exit_status);
/* run_skipped: what skip_without names is not there. */
void run_events_skipped(struct event_stream *s, const struct session *session);
/* run_finished of one that ended with an error; also of one that never began. */
void run_events_error(struct event_stream *s, const struct err *e);

#endif
