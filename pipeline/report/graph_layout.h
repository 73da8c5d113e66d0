#ifndef FMFORGE_REPORT_GRAPH_LAYOUT_H
#define FMFORGE_REPORT_GRAPH_LAYOUT_H

/*
 * Places the boxes of a directed graph without cycles in layers from left to right: a node stands
 * one layer behind the last of those that lead to it. An edge that passes layers gets a thin node
 * of its own in each of them, so that it finds a way between the boxes.
 */

#include <stdbool.h>
#include <stddef.h>

struct graph_node {
    double width, height; /* given for the real nodes */
    double x, y;          /* of the left upper corner */
    size_t layer;
    size_t place; /* from the top of its layer */
};

struct graph_edge {
    size_t from, to;   /* indexes of nodes */
    size_t first_thin; /* its thin nodes stand one behind the other, n_thin of them */
    size_t n_thin;
};

struct graph_layout {
    struct graph_node *nodes; /* n_real that are given, and then the thin ones */
    size_t n_real, n_nodes;
    struct graph_edge *edges;
    size_t n_edges;
    size_t n_layers;
    double width, height; /* of everything */
    /* Between neighbouring layers, [from, to]; for graph_layout_place alone. */
    size_t (*links)[2];
    size_t n_links;
};

/* Sets every node's layer; false when there is a cycle. */
bool graph_layout_layers(struct graph_layout *g);
/* Makes the thin nodes and places all of them. Behind graph_layout_layers; n_real > 0 (CHECK). */
void graph_layout_place(struct graph_layout *g);
void graph_layout_release(struct graph_layout *g);

#endif
