#ifndef FMFORGE_MANIFEST_SUBST_H
#define FMFORGE_MANIFEST_SUBST_H

/*
 * $ in scalars of a manifest: $name, $toolkit (name-version), $toolkit.name, $toolkit.version, the
 * keys of vars and the axes of matrix, also as ${rank}. $$ is a dollar sign, and so is a $ before
 * anything that is no letter. Values are taken as they are: nothing is expanded twice.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/limits.h"
#include "pipeline/manifest/yaml_doc.h"

/* What the names stand for. All borrowed. */
struct subst_scope {
    const struct yaml_doc *doc; /* where the scalars are: for messages */
    const char *name;           /* $name; NULL: not known here */
    const struct doc_node *vars;
    const char *axis_names[LIMIT_AXES];
    const struct doc_node *axis_values[LIMIT_AXES]; /* NULL: this axis is not chosen here */
    size_t n_axes;
    const char *toolkit_label, *toolkit_name, *toolkit_version; /* NULL: no toolkit here */
};

/* The expanded text (caller xfrees). *quoted: as written, or that of the variable when the whole
 * scalar is one name. Unknown names are ERR_CONFIG with the nearest. */
int subst_text(const struct subst_scope *s, const struct doc_node *scalar, char **out, bool *quoted,
               struct err *e) MUST_USE;

/* Whether the text uses the name: "rank", or "toolkit" for any of its three forms. */
bool subst_uses(const char *text, const char *name);

#endif
