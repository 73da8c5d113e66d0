#ifndef FMFORGE_INSPECT_SHEET_H
#define FMFORGE_INSPECT_SHEET_H

/* The facts as text for people: aligned columns, at most 100 wide but for long paths. */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"

/* Appends the sheet of what subject_facts says. */
void sheet_write(const struct json *facts, struct buf *out);

#endif
