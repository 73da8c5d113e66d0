#include "pipeline/report/graph_svg.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/report/block_read.h"
#include "pipeline/report/cell.h"
#include "pipeline/report/graph_layout.h"
#include "pipeline/report/html.h"

/* Widths as html_width counts them, sizes in pixels. A letter of a label is about 7 wide. */
#define LABEL_WIDTH_MAX 30
#define NOTE_WIDTH_MAX 36
#define LABEL_PIXELS 7.8
#define NOTE_PIXELS 6.6
#define BOX_PADDING 12
#define BOX_WIDTH_LEAST 84
#define BOX_HEIGHT 28
#define NOTE_HEIGHT 16

struct box {
    const char *id, *label, *tone, *note;
};

struct drawing {
    struct box *boxes;
    struct graph_layout layout;
};

static int read_box(const struct json *v, struct box *b, struct err *e)
{
    int rc = json_need_string(v, "id", &b->id, e);
    if (rc == 0)
        rc = block_maybe_text(v, "label", &b->label, e);
    if (rc == 0)
        rc = block_maybe_text(v, "note", &b->note, e);
    if (rc == 0)
        rc = cell_read_tone(v, &b->tone, e);
    if (rc == 0 && !*b->label)
        b->label = b->id;
    return rc;
}

/* Index of the node; the number of nodes when there is none. */
static size_t find_box(const struct drawing *d, const char *id)
{
    size_t i = 0;
    while (i < d->layout.n_real && !str_eq(d->boxes[i].id, id))
        i++;
    return i;
}

static void size_box(const struct box *b, struct graph_node *n)
{
    double label = fmin((double)html_width(b->label), LABEL_WIDTH_MAX) * LABEL_PIXELS;
    double note = fmin((double)html_width(b->note), NOTE_WIDTH_MAX) * NOTE_PIXELS;
    n->width = ceil(fmax(fmax(label, note) + 2 * BOX_PADDING, BOX_WIDTH_LEAST));
    n->height = BOX_HEIGHT + (*b->note ? NOTE_HEIGHT : 0);
}

static int read_nodes(const struct json *list, struct drawing *d, struct err *e)
{
    struct graph_layout *g = &d->layout;
    size_t n = json_count(list);
    if (n > GRAPH_NODES_MAX)
        return err_set(e, ERR_LIMIT, "%zu nodes; at most %d are drawn", n, GRAPH_NODES_MAX);
    d->boxes = xalloc_array(n, sizeof *d->boxes);
    g->nodes = xalloc_array(n, sizeof *g->nodes);
    for (const struct json *v = json_first(list); v; v = json_next(v)) {
        struct box b = {0};
        if (read_box(v, &b, e) < 0)
            return err_wrap(e, "node %zu", g->n_real + 1);
        if (find_box(d, b.id) < g->n_real)
            return err_set(e, ERR_FORMAT, "two nodes have the id \"%s\"", b.id);
        size_box(&b, &g->nodes[g->n_real]);
        d->boxes[g->n_real++] = b;
    }
    return 0;
}

static int read_end(const struct drawing *d, const struct json *v, size_t *out, struct err *e)
{
    int rc = block_is_text(v, e);
    if (rc < 0)
        return rc;
    *out = find_box(d, json_string(v));
    if (*out < d->layout.n_real)
        return 0;
    return err_set(e, ERR_FORMAT, "there is no node \"%s\"", json_string(v));
}

static int read_edges(const struct json *list, struct drawing *d, struct err *e)
{
    struct graph_layout *g = &d->layout;
    size_t n = json_count(list);
    if (n > GRAPH_EDGES_MAX)
        return err_set(e, ERR_LIMIT, "%zu edges; at most %d are drawn", n, GRAPH_EDGES_MAX);
    g->edges = xalloc_array(n, sizeof *g->edges);
    for (const struct json *v = json_first(list); v; v = json_next(v)) {
        struct graph_edge *edge = &g->edges[g->n_edges];
        int rc = read_end(d, json_first(v), &edge->from, e);
        if (rc == 0)
            rc = read_end(d, json_next(json_first(v)), &edge->to, e);
        if (rc < 0)
            return err_wrap(e, "edge %zu", g->n_edges + 1);
        g->n_edges++;
    }
    return 0;
}

static int drawing_read(const struct json *block, struct drawing *d, struct err *e)
{
    const struct json *nodes = NULL;
    const struct json *edges = NULL;
    int rc = json_need_array(block, "nodes", &nodes, e);
    if (rc == 0)
        rc = block_rows(block, "edges", 2, &edges, e);
    if (rc == 0)
        rc = read_nodes(nodes, d, e);
    if (rc == 0)
        rc = read_edges(edges, d, e);
    if (rc == 0 && !graph_layout_layers(&d->layout))
        rc = err_set(e, ERR_FORMAT, "the edges run in a cycle");
    return rc;
}

static void add_number(struct buf *out, double v)
{
    html_add_fixed(out, v, 1);
}

static void add_point(struct buf *out, const char *command, double x, double y)
{
    buf_add_text(out, command);
    add_number(out, x);
    buf_add_char(out, ' ');
    add_number(out, y);
}

static double middle(const struct graph_node *n)
{
    return n->y + n->height / 2;
}

/* From the right end of a to the left end of b, level at both. */
static void curve_write(const struct graph_node *a, const struct graph_node *b, double shorter,
                        struct buf *out)
{
    double x = a->x + a->width;
    double half = (b->x - x) / 2;
    add_point(out, "C", x + half, middle(a));
    add_point(out, " ", x + half, middle(b));
    add_point(out, " ", b->x - shorter, middle(b));
}

static void edge_write(const struct graph_layout *g, const struct graph_edge *edge, struct buf *out)
{
    const struct graph_node *a = &g->nodes[edge->from];
    const struct graph_node *to = &g->nodes[edge->to];
    buf_add_text(out, "<path class=\"edge\" d=\"");
    add_point(out, "M", a->x + a->width, middle(a));
    for (size_t i = 0; i < edge->n_thin; i++) {
        const struct graph_node *thin = &g->nodes[edge->first_thin + i];
        curve_write(a, thin, 0, out);
        add_point(out, "L", thin->x + thin->width, middle(thin));
        a = thin;
    }
    curve_write(a, to, 6, out);
    buf_add_text(out, "\"/><path class=\"arrow\" d=\"");
    add_point(out, "M", to->x, middle(to));
    buf_add_text(out, "l-8 -4v8z\"/>\n");
}

/* A text of at most `width`, "..." at its end where it was cut. */
static void words_write(const char *class_name, const char *text, size_t width, struct buf *out)
{
    bool fits = html_width(text) <= width;
    buf_printf(out, " class=\"%s\">", class_name);
    html_add_text_n(out, text, fits ? strlen(text) : html_cut(text, width - 1));
    buf_add_text(out, fits ? "</text>" : "\xE2\x80\xA6</text>");
}

static void words_at(double x, double y, struct buf *out)
{
    buf_add_text(out, "<text x=\"");
    add_number(out, x);
    buf_add_text(out, "\" y=\"");
    add_number(out, y);
    buf_add_char(out, '"');
}

static void box_write(const struct box *b, const struct graph_node *n, struct buf *out)
{
    buf_add_text(out, "<g");
    html_add_classes(out, "node", b->tone, NULL);
    html_add_attribute(out, "data-id", b->id);
    buf_add_text(out, "><title>");
    html_add_text(out, b->label);
    if (*b->note) {
        buf_add_text(out, ": ");
        html_add_text(out, b->note);
    }
    buf_add_text(out, "</title><rect rx=\"6\" x=\"");
    add_number(out, n->x);
    buf_add_text(out, "\" y=\"");
    add_number(out, n->y);
    buf_add_text(out, "\" width=\"");
    add_number(out, n->width);
    buf_add_text(out, "\" height=\"");
    add_number(out, n->height);
    buf_add_text(out, "\"/>");
    words_at(n->x + BOX_PADDING, n->y + 18.5, out);
    words_write("label", b->label, LABEL_WIDTH_MAX, out);
    if (*b->note) {
        words_at(n->x + BOX_PADDING, n->y + 34.5, out);
        words_write("small", b->note, NOTE_WIDTH_MAX, out);
    }
    buf_add_text(out, "</g>\n");
}

static void drawing_write(const struct drawing *d, const char *title, struct buf *out)
{
    const struct graph_layout *g = &d->layout;
    int width = (int)ceil(g->width), height = (int)ceil(g->height);
    buf_printf(out,
               "<figure class=\"scroll\">\n<svg class=\"graph\" role=\"img\" width=\"%d\" "
               "height=\"%d\" viewBox=\"0 0 %d %d\"><title>",
               width, height, width, height);
    html_add_text(out, *title ? title : "graph");
    buf_add_text(out, "</title>\n");
    for (size_t i = 0; i < g->n_edges; i++)
        edge_write(g, &g->edges[i], out);
    for (size_t i = 0; i < g->n_real; i++)
        box_write(&d->boxes[i], &g->nodes[i], out);
    buf_add_text(out, "</svg>\n</figure>\n");
}

int graph_svg_write(const struct json *block, struct buf *out, struct err *e)
{
    struct drawing d = {0};
    const char *title = "";
    int rc = drawing_read(block, &d, e);
    if (rc == 0)
        rc = block_maybe_text(block, "title", &title, e);
    if (rc == 0 && d.layout.n_real == 0) {
        buf_add_text(out, "<p class=\"note\">no nodes</p>\n");
    } else if (rc == 0) {
        graph_layout_place(&d.layout);
        drawing_write(&d, title, out);
    }
    graph_layout_release(&d.layout);
    xfree(d.boxes);
    return rc;
}
