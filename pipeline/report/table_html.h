#ifndef FMFORGE_REPORT_TABLE_HTML_H
#define FMFORGE_REPORT_TABLE_HTML_H

/*
 * A block of type "table". A column of numbers alone (and of cells that say nothing) is set to the
 * right; a column of short texts is not broken; a wide table scrolls in its own box.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

int table_write(const struct json *block, struct buf *out, struct err *e) MUST_USE;

#endif
