#ifndef FMFORGE_KIT_BLOCKS_H
#define FMFORGE_KIT_BLOCKS_H

/*
 * A report: {"blocks": [block, ...]}, canonical JSON. The engine draws blocks and knows no metric.
 *
 *   text    {"type","title","text"}
 *   table   {"type","title","columns":[text],"rows":[[cell]]}; a cell is text or a number
 *   series  {"type","title","x_label","y_label","lines":[{"name","x":[number],"y":[number]}]}
 *   pairs   {"type","title","columns":[text],"rows":[[text]]}: texts to read side by side
 *   matrix  {"type","title","rows":[text],"columns":[text],"values":[[number]]}
 *
 * A table with the title "Findings" (text/finding.h) is what is odd: its rows stand at the head of
 * the page, too. Where one has the columns "95 % from" and behind it the other end, they are shown
 * wherever the metric of the row's first cell stands beside that of other stages.
 */

#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/kit/stage.h"

struct json *blocks_new(void); /* an empty report; the caller frees it */
/* Adds a block and returns it, borrowed from the report. */
struct json *blocks_add(struct json *report, const char *type, const char *title);
void blocks_add_text(struct json *report, const char *title, const char *text);
/* A table or pairs block; columns: NULL-terminated. Returns the rows, borrowed. */
struct json *blocks_add_table(struct json *report, const char *type, const char *title,
                              const char *const *columns);
/* A new row of a table, borrowed; cells are appended to it. */
struct json *blocks_row(struct json *rows);

/* A table of what and value; returns the rows, borrowed. */
struct json *blocks_add_values(struct json *report, const char *title);
/* A row of it; takes the value. */
void blocks_value(struct json *rows, const char *what, struct json *value);
/* The same, a row for each member of a flat object of numbers. */
void blocks_add_numbers(struct json *report, const char *title, const struct json *numbers);

int blocks_save(const struct json *report, const char *path, struct err *e) MUST_USE;

/* Writes the outputs `port` (metrics) and "report" of a stage, where they are asked for, and frees
 * both trees. rc: of what came before; nothing is written and it is returned when it is not 0. */
int blocks_publish(const struct stage_run *run, const char *port, struct json *metrics,
                   struct json *report, int rc, struct err *e) MUST_USE;

#endif
