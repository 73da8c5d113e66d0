#ifndef FMFORGE_ENGINE_GRAPH_DOT_H
#define FMFORGE_ENGINE_GRAPH_DOT_H

/*
 * What is made from what: stages, the files and toolkit facets that they read, the packages that
 * are delivered. The document:
 *
 *   {"schema":"fmforge.graph/1","name","nodes":[{"id","type":"stage"|"source"|"delivery","label","run"?,
 *    "status"?:"cached"|"run"}],"edges":[{"from","to","type":"input"|"needs"|"deliver","label"}]}
 *
 * The label of an input edge is the port that it enters; `needs` waits for gates and hands nothing
 * on. DOT: https://graphviz.org/doc/info/lang.html
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/plan.h"

struct json *graph_to_json(const struct plan *p); /* caller frees */
void graph_to_dot(const struct json *graph, struct buf *out);

#endif
