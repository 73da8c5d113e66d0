#ifndef FMFORGE_ENGINE_JOB_STATEMENT_H
#define FMFORGE_ENGINE_JOB_STATEMENT_H

/* Fills the statement (pipeline/provenance/statement.h) of one finished job and stores it. */

#include "pipeline/base/err.h"
#include "pipeline/engine/job.h"

int job_statement(struct job_env *env, const struct job *j, const struct action *a,
                  const char *log_id, struct content_id *id, struct err *e) MUST_USE;

/* The last event of an events file that is no progress: what the stage says about itself at its
 * end. NULL when there is none; lines that are no JSON object are passed over. Caller frees. */
struct json *job_final_event(const char *events);

#endif
