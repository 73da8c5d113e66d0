#ifndef FMFORGE_ENGINE_REPORT_ORIGIN_H
#define FMFORGE_ENGINE_REPORT_ORIGIN_H

/* The report's last section: what was made from what, the sources and all that was made. */

#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"

void report_add_origin(struct json *page, const struct run_record *r);

#endif
