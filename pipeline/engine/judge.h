#ifndef FMFORGE_ENGINE_JUDGE_H
#define FMFORGE_ENGINE_JUDGE_H

/* Judges the gates of finished instances on their metrics, and prints the table. */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/plan.h"

/* The metrics of one finished instance: all its outputs of kind metrics in one object. *out is NULL
 * when it has none; owned by the caller. */
int judge_metrics(const struct plan *p, size_t i, struct json **out, struct err *e) MUST_USE;

/*
 * Judges every gate of instance i, appends {"stage","gate","metric","value","bound","verdict",
 * "note"} to `records` and lines for people to `table`. others_done[k]: instance k has a result.
 * *held is false when one fails.
 */
int judge_instance(const struct plan *p, size_t i, const bool *others_done, struct json *records,
                   struct buf *table, bool *held, struct err *e) MUST_USE;

/* Such records for people, each line after `indent`: those of one instance, or, without a name, all
 * that do not hold. Those of run.json are the same. */
void judge_records_to_text(const struct json *records, const char *instance, const char *indent,
                           struct buf *out);

#endif
