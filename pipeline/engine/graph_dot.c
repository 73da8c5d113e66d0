#include "pipeline/engine/graph_dot.h"

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/provenance/statement.h"

static bool has_node(const struct json *nodes, const char *id)
{
    for (const struct json *n = json_first(nodes); n != NULL; n = json_next(n))
        if (str_eq(json_find_text(n, "id"), id))
            return true;
    return false;
}

/* NULL when there is one of this id already. Names may be paths, so any bytes. */
static struct json *add_node(struct json *nodes, const char *id, const char *type,
                             const char *label)
{
    struct json *o = json_new_object();
    json_put(o, "id", statement_text(id));
    if (has_node(nodes, json_find_text(o, "id"))) {
        json_free(o);
        return NULL;
    }
    json_put_string(o, "type", type);
    json_put(o, "label", statement_text(label));
    json_append(nodes, o);
    return o;
}

static void add_edge(struct json *edges, const char *from, const char *to, const char *type,
                     const char *label)
{
    struct json *o = json_new_object();
    json_put(o, "from", statement_text(from));
    json_put(o, "to", statement_text(to));
    json_put_string(o, "type", type);
    json_put_string(o, "label", label);
    json_append(edges, o);
}

static void add_instance(const struct plan *p, size_t i, struct json *nodes, struct json *edges)
{
    const struct instance *n = p->graph->instances[i];
    for (size_t k = 0; k < n->n_inputs; k++) {
        const struct graph_input *in = &n->inputs[k];
        char *from = plan_input_from(p->graph, in);
        char *id = in->source == SOURCE_STAGE ? xstrdup(p->graph->instances[in->producer]->name)
                                              : xasprintf("source %s", from);
        if (in->source != SOURCE_STAGE)
            (void)add_node(nodes, id, "source", from);
        add_edge(edges, id, n->name, "input", in->port->name);
        xfree(id);
        xfree(from);
    }
    for (size_t k = 0; k < n->n_needs; k++)
        add_edge(edges, p->graph->instances[n->needs[k]]->name, n->name, "needs", "");
    struct json *node = add_node(nodes, n->name, "stage", n->name);
    if (node != NULL) {
        json_put_string(node, "run", n->desc->name);
        json_put_string(node, "status", p->items[i].cached ? "cached" : "run");
    }
}

struct json *graph_to_json(const struct plan *p)
{
    const struct graph *g = p->graph;
    struct json *root = json_new_object(), *nodes = json_new_array(), *edges = json_new_array();
    json_put_string(root, "schema", "fmforge.graph/1");
    json_put_string(root, "name", g->manifest->name);
    for (size_t i = 0; i < g->n_instances; i++)
        add_instance(p, i, nodes, edges);
    for (size_t d = 0; d < g->n_deliveries; d++) {
        const struct delivery *one = &g->deliveries[d];
        const struct instance *n = g->instances[one->i_instance];
        char *id = xasprintf("delivery %s", one->path);
        (void)add_node(nodes, id, "delivery", one->path);
        add_edge(edges, n->name, id, "deliver", n->desc->outs[one->i_output].name);
        xfree(id);
    }
    json_put(root, "nodes", nodes);
    json_put(root, "edges", edges);
    return root;
}

/* A quoted DOT string: only the quote and the backslash are special in it. */
static void add_quoted(struct buf *out, const char *text)
{
    buf_add_char(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *text == '\n' ? ' ' : *text);
    }
    buf_add_char(out, '"');
}

static void node_to_dot(const struct json *n, struct buf *out)
{
    const char *type = json_find_text(n, "type"), *status = json_find_text(n, "status");
    buf_add_text(out, "    ");
    add_quoted(out, json_find_text(n, "id"));
    buf_add_text(out, " [label=");
    add_quoted(out, json_find_text(n, "label"));
    if (str_eq(type, "stage"))
        buf_printf(out, ", shape=box, style=filled, fillcolor=\"%s\", tooltip=\"%s, %s\"",
                   str_eq(status, "cached") ? "#d9ead3" : "#fff2cc", json_find_text(n, "run"),
                   status);
    else
        buf_printf(out, ", shape=%s", str_eq(type, "source") ? "note" : "folder");
    buf_add_text(out, "];\n");
}

void graph_to_dot(const struct json *graph, struct buf *out)
{
    buf_add_text(out, "digraph ");
    add_quoted(out, json_find_text(graph, "name"));
    buf_add_text(out, " {\n    rankdir=LR;\n    node [fontname=\"sans-serif\"];\n"
                      "    edge [fontname=\"sans-serif\", fontsize=10];\n");
    for (const struct json *n = json_items(graph, "nodes"); n != NULL; n = json_next(n))
        node_to_dot(n, out);
    for (const struct json *e = json_items(graph, "edges"); e != NULL; e = json_next(e)) {
        buf_add_text(out, "    ");
        add_quoted(out, json_find_text(e, "from"));
        buf_add_text(out, " -> ");
        add_quoted(out, json_find_text(e, "to"));
        buf_add_text(out, " [label=");
        add_quoted(out, json_find_text(e, "label"));
        buf_add_text(out,
                     str_eq(json_find_text(e, "type"), "needs") ? ", style=dashed];\n" : "];\n");
    }
    buf_add_text(out, "}\n");
}
