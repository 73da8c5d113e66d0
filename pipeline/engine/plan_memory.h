#ifndef FMFORGE_ENGINE_PLAN_MEMORY_H
#define FMFORGE_ENGINE_PLAN_MEMORY_H

/*
 * The plan of another base signature, without the graph. A run that found everything there keeps,
 * beside what it said (instant.h), each instance's recipe and where in it the signature's id is. As
 * long as all that the plan stands on is as it was, but for the 40 digits in toolkit.yaml, the new
 * recipes are the old ones with another id: hashing them and looking that no action has their keys
 * is the whole plan. Whatever else differs, the plan goes its whole way; both print the same.
 *
 * In a state file (store/state_file.h; the question ends with "plan"), behind u64 bytes of the
 * packed set and the set, counts and lengths u32, texts with their NUL:
 *
 *   toolkits: n; path, bytes of toolkit.yaml, place of the signature's digits in them
 *   instances: name, key, recipe, u64 milliseconds of its execution, n inputs: u8 's' or 'p', u32
 *              toolkit or producer, place of the id in the recipe, port, from
 */

#include <stdbool.h>

#include "pipeline/engine/instant.h"

struct run;
/* Of the same run that instant_keep is for. */
void plan_memory_keep(const struct run *r);
/* True when it could tell: the plan is printed. in->out_root is "out". */
bool plan_memory_tell(const struct instant *in, const struct term *term);

#endif
