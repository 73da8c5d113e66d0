#ifndef FMFORGE_ENGINE_REPRODUCE_LAYOUT_H
#define FMFORGE_ENGINE_REPRODUCE_LAYOUT_H

/*
 * A toolkit of a recorded run that was somebody else's folder, read by a layout
 * (manifest/layout.h): what makes it one again where the run is laid out. The record has the layout
 * and the toolkit.yaml of the version. What stages read of the folder are inputs like any other,
 * found by content; what a layout only looks at is made anew: the file that says the signature from
 * the record, and of a file that must be there and no stage reads an empty one.
 */

#include <stdbool.h>

#include "pipeline/base/err.h"
#include "pipeline/engine/reproduce.h"
#include "pipeline/provenance/runs.h"

/* Was `folder` of the manifest read by a layout in this run? */
bool reproduce_is_foreign(const struct run_record *r, const char *folder);
/* Writes layouts and versions to the shelf below `work`. *version: the folder of its version there,
 * as "configs/toolkits/afm-26.0.0" (caller xfrees), NULL when `unknown` got a text instead. */
int reproduce_put_shelf(const struct reproduction *p, const char *folder, char **version,
                        struct err *e) MUST_USE;
/* After the inputs lie below `work`: what the layout looks at and no stage reads. */
int reproduce_put_marks(const struct reproduction *p, const char *folder, const char *version,
                        struct err *e) MUST_USE;

#endif
