#ifndef FMFORGE_ENGINE_STAGE_CONFIG_H
#define FMFORGE_ENGINE_STAGE_CONFIG_H

/*
 * The complete config of one stage: what the manifest says under `with`, typed and checked against
 * the stage's table of parameters, and every default written out.
 */

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/describe.h"
#include "pipeline/manifest/subst.h"

/* `with` may be NULL; `mark` is where the stage stands. *out is owned by the caller. */
int stage_config_build(const struct stage_desc *d, const struct doc_node *with,
                       struct yaml_mark mark, const struct subst_scope *scope, struct json **out,
                       struct err *e) MUST_USE;

/* One parameter from text; `quoted` text is never a number. *out is owned by the caller. The
 * message has no place: "parameter `rank`: expected ..., found ...". */
int stage_config_value(const struct desc_param *p, const char *text, bool quoted, struct json **out,
                       struct err *e) MUST_USE;

/* A parameter's value as text ("8", "1e-4", "cosine"); NULL when there is none. Caller xfrees. */
char *stage_config_text(const struct json *config, const char *name);

#endif
