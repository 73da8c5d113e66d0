#ifndef FMFORGE_ENGINE_GRAPH_H
#define FMFORGE_ENGINE_GRAPH_H

/*
 * The graph: the manifest's stages multiplied by their axes, typed against what the stages say
 * about themselves. Everything that can be wrong without running anything is refused here.
 *
 * A stage has the axes of its inputs and those that its own texts name; what names no axis is one
 * instance. Instances stand in an order in which each comes after everything it needs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/base/sha256.h"
#include "pipeline/engine/describe.h"
#include "pipeline/engine/gates.h"
#include "pipeline/manifest/manifest.h"
#include "pipeline/manifest/toolkit_dir.h"

#define GRAPH_NONE SIZE_MAX
#define GRAPH_TOOLKITS_MAX 64

enum source_type { SOURCE_PATH, SOURCE_VALUE, SOURCE_STAGE };

struct graph_input {
    const struct desc_port *port;
    enum source_type source;
    char *path;        /* PATH: relative to the working directory */
    const char *value; /* VALUE: canonical JSON, borrowed from the toolkit */
    size_t producer;   /* STAGE: index of the instance */
    size_t i_output;   /* STAGE: which of its outputs */
    char *facet;       /* "nano-0.1/base" or NULL */
    bool is_private;
    const struct yaml_doc *doc; /* where it is written */
    struct yaml_mark mark;
};

struct instance {
    char *name; /* "quality[rank=8,toolkit=nano-0.1]" */
    const char *stage_name;
    const struct manifest_stage *stage; /* NULL: made for a toolkit's facet */
    const struct stage_desc *desc;
    unsigned axes;            /* bit i: manifest axis i; bit GRAPH_TOOLKIT_BIT: toolkit */
    size_t picks[LIMIT_AXES]; /* index into the values of each axis; 0 where it has none */
    size_t i_toolkit;         /* GRAPH_NONE without */
    struct json *config;
    struct graph_input *inputs;
    size_t n_inputs;
    size_t *needs; /* instances whose gates must hold first */
    size_t n_needs;
    struct gate *gates;
    size_t n_gates;
};

#define GRAPH_TOOLKIT_BIT 31u

struct delivery {
    size_t i_instance;
    size_t i_output;
    char *path; /* below the output root: "<name>/<toolkit>/rank=8/x.fmadapter" */
};

struct graph {
    const struct manifest *manifest;
    struct describe *describe;
    struct toolkit_dir *toolkits;
    size_t n_toolkits;
    struct instance **instances; /* in topological order */
    size_t n_instances;
    struct delivery *deliveries;
    size_t n_deliveries;
    /* While it is built: per manifest stage. */
    unsigned *stage_axes;
    unsigned char *stage_state;
    size_t *trail;
    size_t n_trail;
    int facet_depth; /* facets made by stages that need facets made by stages ... */
};

/* The manifest and the descriptions must outlive the graph. */
int graph_open(struct graph *g, const struct manifest *m, struct describe *d,
               struct err *e) MUST_USE;
void graph_release(struct graph *g); /* safe on zeroed */

/* By instance name, or by stage name and as many of its axes as name one instance only. ERR_CONFIG
 * names what there is. */
int graph_find(const struct graph *g, const char *name, size_t *index, struct err *e) MUST_USE;

/* A facet that a stage makes, asked for by the port in->port outside of any stage: appends the
 * instances that make it and fills *in (the caller xfrees in->facet). */
int graph_facet(struct graph *g, size_t i_toolkit, struct graph_input *in, struct err *e) MUST_USE;

/* What instance i leaves undone for want of an optional input, and what to write; NULL: nothing.
 * The caller xfrees. */
char *graph_remark(const struct graph *g, size_t i);
/* Appends them all, a line a stage. */
void graph_remarks(const struct graph *g, struct buf *out);

/* ERR_CONFIG for an input folder that holds `folder`, where runs write: it would never be the same
 * again. */
int graph_refuse_around(const struct graph *g, const char *folder, struct err *e) MUST_USE;

/* --- between graph.c, graph_input.c and graph_check.c --- */

struct subst_scope;
/* What $ means for an instance (or for a facet stage: the toolkit only). */
void graph_scope(const struct graph *g, const struct instance *n, struct subst_scope *out);
/* The value of an axis of an instance: its text. */
const char *graph_axis_text(const struct graph *g, const struct instance *n, size_t i_axis);
size_t graph_append(struct graph *g, struct instance *n);
/* The instance of a stage that fits n's axes; GRAPH_NONE when its axes are more than n's. */
size_t graph_match(const struct graph *g, const char *stage_name, const struct instance *n);
/* Fills n->inputs from a mapping; appends instances for facets that a stage makes. `folder` NULL
 * for the manifest, the toolkit's folder for a facet's stage. */
int graph_inputs(struct graph *g, struct instance *n, const struct doc_node *inputs,
                 struct yaml_mark mark, const char *folder, struct err *e) MUST_USE;
/* Is the input text a stage of the manifest (or stage.output)? NULL when not. *output is behind the
 * dot, or NULL. */
const struct manifest_stage *graph_stage_of(const struct graph *g, const char *text,
                                            const char **output);
/* Rules that only need the whole graph: names, ranks, signatures. */
int graph_check(struct graph *g, struct err *e) MUST_USE;
int graph_deliveries(struct graph *g, struct err *e) MUST_USE;
/* The kind of stage `name`, or ERR_CONFIG with the nearest. */
int graph_kind(struct graph *g, const struct yaml_doc *doc, const struct doc_node *run,
               const struct stage_desc **out, struct err *e) MUST_USE;

#endif
