#include "pipeline/report/graph_layout.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"

/* In pixels. */
#define LAYER_GAP 56
#define NODE_GAP 16
#define THIN_HEIGHT 8
#define MARGIN 4
#define SWEEPS 12

bool graph_layout_layers(struct graph_layout *g)
{
    size_t *n_before = xalloc_array(g->n_real, sizeof *n_before);
    size_t *ready = xalloc_array(g->n_real, sizeof *ready);
    size_t n_ready = 0, n_done = 0;
    for (size_t i = 0; i < g->n_edges; i++)
        n_before[g->edges[i].to]++;
    for (size_t i = 0; i < g->n_real; i++) {
        g->nodes[i].layer = 0;
        if (n_before[i] == 0)
            ready[n_ready++] = i;
    }
    g->n_layers = 0;
    while (n_done < n_ready) {
        size_t i = ready[n_done++];
        if (g->nodes[i].layer >= g->n_layers)
            g->n_layers = g->nodes[i].layer + 1;
        for (size_t k = 0; k < g->n_edges; k++) {
            if (g->edges[k].from != i)
                continue;
            size_t to = g->edges[k].to;
            if (g->nodes[to].layer < g->nodes[i].layer + 1)
                g->nodes[to].layer = g->nodes[i].layer + 1;
            if (--n_before[to] == 0)
                ready[n_ready++] = to;
        }
    }
    xfree(n_before);
    xfree(ready);
    return n_done == g->n_real;
}

/* What nothing leads to stands right in front of what needs it, not at the far left. */
static void pull_sources(struct graph_layout *g)
{
    for (size_t i = 0; i < g->n_real; i++) {
        size_t least = g->n_layers;
        bool is_source = true;
        for (size_t k = 0; k < g->n_edges; k++) {
            is_source = is_source && g->edges[k].to != i;
            if (g->edges[k].from == i && g->nodes[g->edges[k].to].layer < least)
                least = g->nodes[g->edges[k].to].layer;
        }
        if (is_source && least < g->n_layers)
            g->nodes[i].layer = least - 1;
    }
}

static void add_link(struct graph_layout *g, size_t from, size_t to)
{
    g->links[g->n_links][0] = from;
    g->links[g->n_links][1] = to;
    g->n_links++;
}

static void make_thin(struct graph_layout *g)
{
    size_t n_thin = 0;
    for (size_t i = 0; i < g->n_edges; i++) {
        struct graph_edge *edge = &g->edges[i];
        CHECK(g->nodes[edge->from].layer < g->nodes[edge->to].layer);
        edge->n_thin = g->nodes[edge->to].layer - g->nodes[edge->from].layer - 1;
        edge->first_thin = g->n_real + n_thin;
        n_thin += edge->n_thin;
    }
    g->n_nodes = size_add(g->n_real, n_thin);
    g->nodes = xrealloc_array(g->nodes, g->n_nodes, sizeof *g->nodes);
    memset(g->nodes + g->n_real, 0, n_thin * sizeof *g->nodes);
    g->links = xalloc_array(size_add(g->n_edges, n_thin), sizeof *g->links);
    for (size_t i = 0; i < g->n_edges; i++) {
        const struct graph_edge *edge = &g->edges[i];
        size_t last = edge->from;
        for (size_t k = 0; k < edge->n_thin; k++) {
            struct graph_node *thin = &g->nodes[edge->first_thin + k];
            thin->layer = g->nodes[edge->from].layer + 1 + k;
            thin->height = THIN_HEIGHT;
            add_link(g, last, edge->first_thin + k);
            last = edge->first_thin + k;
        }
        add_link(g, last, edge->to);
    }
}

/* The nodes of all layers, each layer from the top: layer l is nodes[starts[l]..starts[l + 1]]. */
struct ranks {
    size_t *starts;
    size_t *nodes;
    double *wish;    /* of each node: where its neighbours want it */
    size_t *n_asked; /* of each node: by how many neighbours */
};

static void ranks_init(struct ranks *r, struct graph_layout *g)
{
    r->starts = xalloc_array(size_add(g->n_layers, 1), sizeof *r->starts);
    r->nodes = xalloc_array(g->n_nodes, sizeof *r->nodes);
    r->wish = xalloc_array(g->n_nodes, sizeof *r->wish);
    r->n_asked = xalloc_array(g->n_nodes, sizeof *r->n_asked);
    size_t n = 0;
    for (size_t layer = 0; layer < g->n_layers; layer++) {
        r->starts[layer] = n;
        for (size_t i = 0; i < g->n_nodes; i++) {
            if (g->nodes[i].layer != layer)
                continue;
            g->nodes[i].place = n - r->starts[layer];
            r->nodes[n++] = i;
        }
    }
    r->starts[g->n_layers] = n;
    CHECK(n == g->n_nodes);
}

static void ranks_release(struct ranks *r)
{
    xfree(r->starts);
    xfree(r->nodes);
    xfree(r->wish);
    xfree(r->n_asked);
}

static double middle(const struct graph_node *n)
{
    return n->y + n->height / 2;
}

enum side { FROM_LEFT = 1, FROM_RIGHT = 2 };

/* Mean of the places (or of the middles) of the neighbours on these sides; else its own. */
static void ask_neighbours(struct ranks *r, const struct graph_layout *g, unsigned sides,
                           bool by_place)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        r->wish[i] = 0;
        r->n_asked[i] = 0;
    }
    for (size_t i = 0; i < g->n_links; i++) {
        size_t from = g->links[i][0], to = g->links[i][1];
        const struct graph_node *a = &g->nodes[from], *b = &g->nodes[to];
        if (sides & FROM_LEFT) {
            r->wish[to] += by_place ? (double)a->place : middle(a);
            r->n_asked[to]++;
        }
        if (sides & FROM_RIGHT) {
            r->wish[from] += by_place ? (double)b->place : middle(b);
            r->n_asked[from]++;
        }
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (r->n_asked[i] > 0)
            r->wish[i] /= (double)r->n_asked[i];
        else
            r->wish[i] = by_place ? (double)g->nodes[i].place : middle(&g->nodes[i]);
    }
}

struct wished {
    double wish;
    size_t place, node;
};

static int by_wish(const void *a, const void *b)
{
    const struct wished *x = a, *y = b;
    if (x->wish != y->wish)
        return x->wish < y->wish ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void order_layer(struct ranks *r, struct graph_layout *g, size_t layer)
{
    size_t start = r->starts[layer], n = r->starts[layer + 1] - start;
    struct wished *list = xalloc_array(n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        size_t node = r->nodes[start + i];
        list[i] = (struct wished){r->wish[node], g->nodes[node].place, node};
    }
    qsort(list, n, sizeof *list, by_wish);
    for (size_t i = 0; i < n; i++) {
        r->nodes[start + i] = list[i].node;
        g->nodes[list[i].node].place = i;
    }
    xfree(list);
}

static double distance(const struct graph_node *a, const struct graph_node *b)
{
    return (a->height + b->height) / 2 + NODE_GAP;
}

/*
 * Middles as near to their wishes as their order and distances allow (least squares): with the
 * distances taken off it is a regression to a rising sequence, solved by pooling neighbours that
 * stand in the wrong order.
 */
static void settle_layer(const struct ranks *r, struct graph_layout *g, size_t layer)
{
    size_t start = r->starts[layer], n = r->starts[layer + 1] - start;
    struct pool {
        double sum, weight;
        size_t n;
    } *pools = xalloc_array(n, sizeof *pools);
    size_t n_pools = 0;
    double offset = 0;
    for (size_t i = 0; i < n; i++) {
        const struct graph_node *node = &g->nodes[r->nodes[start + i]];
        if (i > 0)
            offset += distance(&g->nodes[r->nodes[start + i - 1]], node);
        double weight = r->nodes[start + i] < g->n_real ? 1 : 2; /* edges rather straight */
        double wish = r->wish[r->nodes[start + i]] - offset;
        pools[n_pools++] = (struct pool){wish * weight, weight, 1};
        while (n_pools > 1 && pools[n_pools - 2].sum / pools[n_pools - 2].weight >
                                  pools[n_pools - 1].sum / pools[n_pools - 1].weight) {
            n_pools--;
            pools[n_pools - 1].sum += pools[n_pools].sum;
            pools[n_pools - 1].weight += pools[n_pools].weight;
            pools[n_pools - 1].n += pools[n_pools].n;
        }
    }
    offset = 0;
    for (size_t p = 0, i = 0; p < n_pools; p++) {
        for (size_t k = 0; k < pools[p].n; k++, i++) {
            struct graph_node *node = &g->nodes[r->nodes[start + i]];
            if (i > 0)
                offset += distance(&g->nodes[r->nodes[start + i - 1]], node);
            node->y = pools[p].sum / pools[p].weight + offset - node->height / 2;
        }
    }
    xfree(pools);
}

/* One layer at a time, so that each takes what the one before has become. */
static void sweep(struct ranks *r, struct graph_layout *g, unsigned sides, bool by_place)
{
    for (size_t k = 0; k < g->n_layers; k++) {
        size_t layer = sides == FROM_RIGHT ? g->n_layers - 1 - k : k;
        ask_neighbours(r, g, sides, by_place);
        if (by_place)
            order_layer(r, g, layer);
        else
            settle_layer(r, g, layer);
    }
}

static void set_columns(struct graph_layout *g)
{
    double x = MARGIN;
    for (size_t layer = 0; layer < g->n_layers; layer++) {
        double widest = 0;
        for (size_t i = 0; i < g->n_real; i++)
            if (g->nodes[i].layer == layer && g->nodes[i].width > widest)
                widest = g->nodes[i].width;
        for (size_t i = 0; i < g->n_nodes; i++) {
            if (g->nodes[i].layer != layer)
                continue;
            g->nodes[i].x = x;
            g->nodes[i].width = widest;
        }
        x += widest + LAYER_GAP;
    }
    g->width = x - LAYER_GAP + MARGIN;
}

static void move_to_top(struct graph_layout *g)
{
    double top = g->nodes[0].y, bottom = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        top = g->nodes[i].y < top ? g->nodes[i].y : top;
    for (size_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i].y += MARGIN - top;
        double end = g->nodes[i].y + g->nodes[i].height;
        bottom = end > bottom ? end : bottom;
    }
    g->height = bottom + MARGIN;
}

void graph_layout_place(struct graph_layout *g)
{
    CHECK(g->n_real > 0);
    pull_sources(g);
    make_thin(g);
    struct ranks r;
    ranks_init(&r, g);
    for (int i = 0; i < SWEEPS; i++)
        sweep(&r, g, i % 2 ? FROM_RIGHT : FROM_LEFT, true);
    for (int i = 0; i < SWEEPS; i++)
        sweep(&r, g, i % 2 ? FROM_RIGHT : FROM_LEFT, false);
    sweep(&r, g, FROM_LEFT | FROM_RIGHT, false);
    set_columns(g);
    move_to_top(g);
    ranks_release(&r);
}

void graph_layout_release(struct graph_layout *g)
{
    xfree(g->nodes);
    xfree(g->edges);
    xfree(g->links);
    memset(g, 0, sizeof *g);
}
