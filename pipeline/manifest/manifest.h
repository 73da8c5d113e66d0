#ifndef FMFORGE_MANIFEST_MANIFEST_H
#define FMFORGE_MANIFEST_MANIFEST_H

/*
 * A manifest: what is to be made. The language is described in configs/README.md; here is its
 * form only. What needs the stages' descriptions (kinds, parameters, axes) is checked by the
 * engine's graph.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/limits.h"
#include "pipeline/manifest/remote_spec.h"
#include "pipeline/manifest/stage_limits.h"
#include "pipeline/manifest/yaml_doc.h"

struct manifest_axis {
    const char *name;
    const struct doc_node *values; /* a list of scalars, at least one, all different */
};

/* Absent parts are NULL. All nodes belong to the manifest's document. */
struct manifest_stage {
    const char *name;
    struct yaml_mark mark;
    const struct doc_node *run;    /* scalar: kind of stage */
    const struct doc_node *inputs; /* mapping port -> scalar */
    const struct doc_node *with;   /* mapping parameter -> scalar */
    const struct doc_node *gates;  /* list of scalars */
    const struct doc_node *needs;  /* list of scalars: stage names, all known */
    struct stage_limits limits;
};

struct manifest {
    struct yaml_doc doc;
    const char *name; /* a word */
    const char *description;
    const struct doc_node *toolkits;       /* list of scalars (folders), or one scalar, or NULL */
    const struct doc_node *vars;           /* mapping of scalars or NULL */
    struct manifest_axis axes[LIMIT_AXES]; /* matrix, sorted by name; toolkit is not among them */
    size_t n_axes;
    struct manifest_stage *stages;
    size_t n_stages;
    const struct doc_node *deliver;      /* mapping stage[.output] -> file name, or NULL */
    const struct doc_node *skip_without; /* list of scalars (paths) or NULL */
    struct remote_spec remote;           /* url NULL: none */
};

/* Reads a manifest; `sets` are "vars.seed=8" texts of the command line, applied in order. */
int manifest_open(struct manifest *m, const char *path, const char *const *sets, size_t n_sets,
                  struct err *e) MUST_USE;
void manifest_release(struct manifest *m); /* safe on zeroed */

/* NULL when there is none of that name. */
const struct manifest_stage *manifest_stage(const struct manifest *m, const char *name);

/* The first path of skip_without that is not there, or NULL: nothing of it can run. */
const char *manifest_absent(const struct manifest *m);

/* [A-Za-z0-9_.+-]+, not starting with '.': a value of an axis, a name of a toolkit, also in paths.
 */
bool manifest_is_label(const char *s);

#endif
