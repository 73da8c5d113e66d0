#ifndef FMFORGE_REPORT_PAIRS_HTML_H
#define FMFORGE_REPORT_PAIRS_HTML_H

/*
 * A block of type "pairs": texts to read side by side. On a narrow screen each row becomes a card
 * of labelled lines. The column "same" is drawn as badges, where it says only yes or no. Behind the
 * first PAIRS_ROWS_SHOWN rows the others are folded away.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

#define PAIRS_ROWS_SHOWN 40

int pairs_write(const struct json *block, struct buf *out, struct err *e) MUST_USE;

#endif
