#ifndef FMFORGE_ENGINE_KEY_H
#define FMFORGE_ENGINE_KEY_H

/* From an instance and the content ids of its inputs to its recipe (pipeline/provenance/recipe.h).
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/graph.h"
#include "pipeline/engine/plan.h"

/* Recipe bytes into out (initialised by the caller); the action key is their SHA-256. */
struct content_id key_of(const struct instance *n, const struct plan_input *inputs,
                         struct buf *out);

/* The numeric profile of a stage: {"portable":true}, or what its bytes depend on beside. Caller
 * owns. */
struct json *key_profile(const struct stage_desc *d);

#endif
