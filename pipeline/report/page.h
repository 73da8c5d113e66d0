#ifndef FMFORGE_REPORT_PAGE_H
#define FMFORGE_REPORT_PAGE_H

/*
 * One HTML page from one JSON document. The page holds everything it shows: no script, no font,
 * no image, nothing is loaded. It knows no metric, no stage and no file by name.
 *
 *   {"title", "subtitle",
 *    "status":   {"text", "tone"},
 *    "facts":    [{"name", "value": CELL}],                     a list below the title
 *    "tiles":    [{"name", "value": CELL, "note", "tone"}],     a few large figures
 *    "notices":  [{"name", "text", "tone", "section"}],         "What to look at", below the tiles;
 *                                                               the name leads to that section
 *    "sections": [{"id", "title", "note", "open": true, "blocks": [BLOCK]}]}
 *
 * Every member may be absent. A section with blocks that is not "open" is folded. An id keeps its
 * letters, digits, "-", "_" and "."; everything else becomes "-"; a second one of the same name
 * gets "-2".
 *
 *   CELL     text, number, null, or {"text" or "number", "tone", "code": true, "key", "link",
 *            "interval"}
 *   tone     good, bad, warn or muted
 *   code     a hash: cut to 12 characters, whole in title and data-value
 *   key      what a program finds the value by: data-key
 *   interval of a number: [low, high], where it would be with other rows, say
 *   link     of a text: a file beside or above the page, "../../task/index.html"
 *
 *   text     {"type","title","text"}
 *   table    {"type","title","columns":[text],"rows":[[CELL]]}
 *   series   {"type","title","x_label","y_label","log_y",
 *             "lines":[{"name","x":[number],"y":[number]}]}
 *   pairs    {"type","title","columns":[text],"rows":[[text]]}
 *   matrix   {"type","title","rows":[text],"columns":[text],"values":[[number]],
 *             "row_label","column_label"}
 *   graph    {"type","title","nodes":[{"id","label","tone","note"}],"edges":[["from","to"]]}
 *
 * Every number shown in a cell, a tile, a matrix, a legend or a table of values stands in an
 * element whose data-value is the exact JSON number; what is seen is rounded for people.
 * What is not as described becomes a visible note in its place; the page is always written.
 * The same document gives the same bytes, whatever the locale.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"

void page_write(const struct json *page, struct buf *out);

#endif
