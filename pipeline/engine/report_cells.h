#ifndef FMFORGE_ENGINE_REPORT_CELLS_H
#define FMFORGE_ENGINE_REPORT_CELLS_H

/* Small parts of page documents (pipeline/report/page.h), all owned by the caller until they are
 * given to a parent. */

#include "pipeline/base/json.h"

/* The tone of a status or verdict: "good", "bad", "muted" or "warn". */
const char *report_tone(const char *status);
/* The status of a recorded stage for people: one that was asked to stop has not failed. */
const char *report_stage_status(const struct json *stage);
struct json *report_cell_code(const char *hash); /* NULL: an empty cell */
struct json *report_cell_tone(const char *text, const char *tone);
/* key: "quality[rank=8]/team_match": which number of the ledger this is. */
struct json *report_cell_number(double v, const char *key);
struct json *report_cell_text(const char *text); /* any bytes; NULL: an empty cell */

/* A fact of the page's head. */
void page_add_fact(struct json *page, const char *name, struct json *cell);
/* What a reader should look at; section: the id of the section that it is about. */
void page_add_notice(struct json *page, const char *name, const char *text, const char *tone,
                     const char *section);
/* A section; returns its blocks, borrowed. note may be NULL. */
struct json *page_add_section(struct json *page, const char *id, const char *title, bool open,
                              const char *note);
/* A table block; columns NULL-terminated. Returns its rows, borrowed. */
struct json *page_add_table(struct json *blocks, const char *title, const char *const *columns);
struct json *page_add_row(struct json *rows); /* borrowed */
void page_add_text(struct json *blocks, const char *title, const char *text);

#endif
