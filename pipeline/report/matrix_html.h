#ifndef FMFORGE_REPORT_MATRIX_HTML_H
#define FMFORGE_REPORT_MATRIX_HTML_H

/*
 * A block of type "matrix": counts of what was expected (rows) and what came (columns). A cell's
 * colour is its share of its row; where row and column have one name it is marked, and drawn in
 * another hue than the rest, so that mistakes stand out.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

int matrix_write(const struct json *block, struct buf *out, struct err *e) MUST_USE;

#endif
