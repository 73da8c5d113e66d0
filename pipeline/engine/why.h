#ifndef FMFORGE_ENGINE_WHY_H
#define FMFORGE_ENGINE_WHY_H

/*
 * Why a stage runs, or why it does not: the difference between the recipe it has now and that of
 * its newest recorded run, field by field, with the producer through which a changed input came.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/plan.h"

/* {"schema":1,"stage","run","status","key","last","why","changes":[{"field","old","new","from"}],
 *  "inputs":[..],"made"?,"failed":{..}?,"lost"?}; owned by the caller. */
struct json *why_to_json(const struct plan *p, size_t i);
/* The same for people. */
void why_to_text(const struct json *why, struct buf *out);

#endif
