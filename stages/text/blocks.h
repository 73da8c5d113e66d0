#ifndef FMFORGE_TEXT_BLOCKS_H
#define FMFORGE_TEXT_BLOCKS_H

/*
 * A report: {"blocks": [block, ...]}, canonical JSON. The engine draws blocks and knows no metric.
 *
 *   text    {"type","title","text"}
 *   table   {"type","title","columns":[text],"rows":[[cell]]}; a cell is text or a number
 *   series  {"type","title","x_label","y_label","lines":[{"name","x":[number],"y":[number]}]}
 *   pairs   {"type","title","columns":[text],"rows":[[text]]}: texts to read side by side
 *   matrix  {"type","title","rows":[text],"columns":[text],"values":[[number]]}
 */

#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

struct json *blocks_new(void); /* an empty report; the caller frees it */
/* Adds a block and returns it, borrowed from the report. */
struct json *blocks_add(struct json *report, const char *type, const char *title);
void blocks_add_text(struct json *report, const char *title, const char *text);
/* A table or pairs block; columns: NULL-terminated. Returns the rows, borrowed. */
struct json *blocks_add_table(struct json *report, const char *type, const char *title,
                              const char *const *columns);
/* A new row of a table, borrowed; cells are appended to it. */
struct json *blocks_row(struct json *rows);

int blocks_save(const struct json *report, const char *path, struct err *e) MUST_USE;

#endif
