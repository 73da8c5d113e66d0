#ifndef FMFORGE_ENGINE_CHANGE_LIST_H
#define FMFORGE_ENGINE_CHANGE_LIST_H

/*
 * The difference of two recipes as JSON: [{"field","old","new","from"?}], null for what one of them
 * does not have; "from" is where a changed input comes from.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

/* Appends to list. inputs: the new one's, as plan_inputs_to_json writes them; NULL is none. */
int change_list_add(struct json *list, const char *old_recipe, const char *new_recipe,
                    const struct json *inputs, struct err *e) MUST_USE;
/* "  config.epochs: 2 -> 3" a line. */
void change_list_to_text(const struct json *list, struct buf *out);

#endif
