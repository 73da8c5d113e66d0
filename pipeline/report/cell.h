#ifndef FMFORGE_REPORT_CELL_H
#define FMFORGE_REPORT_CELL_H

/*
 * One value of a table, a fact or a tile: a text, a number, null, or an object
 * {"text" or "number", "tone", "code", "key", "link", "interval"}. Its element carries the exact
 * number (or the whole of a code) in data-value, and the key in data-key, so that a program can
 * check the page.
 */

#include <stdbool.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

enum cell_kind { CELL_NONE, CELL_TEXT, CELL_NUMBER };

struct cell {
    enum cell_kind kind;
    const char *text; /* CELL_TEXT */
    double number;    /* CELL_NUMBER */
    const char *tone; /* a class of the page, or NULL */
    const char *key;  /* or NULL */
    const char *link; /* or NULL: where a text leads to, a relative address */
    double low, high; /* of a number, where has_interval */
    bool has_interval;
    bool code; /* a text in monospace, cut to CELL_CODE_CHARACTERS */
};

#define CELL_CODE_CHARACTERS 12

/* All text is borrowed from v. ERR_FORMAT when v is no cell. */
int cell_read(const struct json *v, struct cell *out, struct err *e) MUST_USE;
/* The class of a tone; NULL for NULL and for a word that is no tone. */
const char *cell_tone(const char *tone);
/* Reads the optional "tone" of o. */
int cell_read_tone(const struct json *o, const char **out, struct err *e) MUST_USE;
/* <element class="..." data-value="..." data-key="...">...</element>; class may be NULL, and
 * attributes (may be "") are written as they are, with a space in front. */
void cell_write(const struct cell *c, const char *element, const char *attributes,
                const char *class_name, struct buf *out);

#endif
