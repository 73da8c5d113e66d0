#ifndef FMFORGE_REPORT_BLOCK_HTML_H
#define FMFORGE_REPORT_BLOCK_HTML_H

/*
 * One block of a section, by its "type". page.h describes the types. A block of an unknown type,
 * or one that is not as described, becomes a small note that says why; it never spoils the page.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"

void block_write(const struct json *block, struct buf *out);

#endif
