#ifndef FMFORGE_ENGINE_JOB_STATEMENT_H
#define FMFORGE_ENGINE_JOB_STATEMENT_H

/* Fills the statement (pipeline/provenance/statement.h) of one finished job and stores it. */

#include "pipeline/base/err.h"
#include "pipeline/engine/job.h"

int job_statement(struct job_env *env, const struct job *j, const struct action *a,
                  const char *log_id, struct content_id *id, struct err *e) MUST_USE;

#endif
