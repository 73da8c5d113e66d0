#ifndef FMFORGE_REPORT_GRAPH_SVG_H
#define FMFORGE_REPORT_GRAPH_SVG_H

/*
 * A block of type "graph": a directed graph without cycles as an inline SVG, drawn in its natural
 * size in a box that scrolls. Refused: two nodes of one id, an edge to a node that is not there,
 * a cycle, more nodes or edges than can be read on a page.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

#define GRAPH_NODES_MAX 200
#define GRAPH_EDGES_MAX 800

int graph_svg_write(const struct json *block, struct buf *out, struct err *e) MUST_USE;

#endif
