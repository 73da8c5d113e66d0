#ifndef FMFORGE_ENGINE_REPORT_COMPARE_H
#define FMFORGE_ENGINE_REPORT_COMPARE_H

/* Sections of a run's page that put stages side by side. No metric is known by name. */

#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/store/store.h"

/* Stages that answered the same golden set. */
void report_add_golden(struct json *page, const struct run_record *r, struct store *s);
/* Stages that ran the same program on no golden set: their metrics, and their curves in one chart.
 */
void report_add_alike(struct json *page, const struct run_record *r, struct store *s);

#endif
