/*
 * What a stage leaves undone since an optional input is not given, although the manifest has such a
 * thing: it gives another stage an input of the same kind. Which inputs these are the stages say
 * (`without` in stages/kit/stage.h). Remarks are in no recipe and stop nothing.
 */

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/graph.h"

static bool has_input(const struct instance *n, const struct desc_port *port)
{
    for (size_t k = 0; k < n->n_inputs; k++)
        if (n->inputs[k].port == port)
            return true;
    return false;
}

/* The first input of this kind that the manifest gives a stage; *of is that stage. */
static const struct graph_input *find_kind(const struct graph *g, const char *kind,
                                           const struct instance **of)
{
    for (size_t i = 0; i < g->n_instances; i++) {
        const struct instance *n = g->instances[i];
        for (size_t k = 0; n->stage && k < n->n_inputs; k++) {
            *of = n;
            if (str_eq(n->inputs[k].port->kind, kind))
                return &n->inputs[k];
        }
    }
    return NULL;
}

/* As it can be written in a manifest; the caller xfrees. */
static char *written(const struct graph *g, const struct graph_input *in)
{
    if (in->facet)
        return xasprintf("toolkit.%s", file_base_name(in->facet));
    if (in->source != SOURCE_STAGE)
        return xstrdup(in->path ? in->path : "...");
    const struct instance *p = g->instances[in->producer];
    return xasprintf("%s.%s", p->stage_name, p->desc->outs[in->i_output].name);
}

char *graph_remark(const struct graph *g, size_t i)
{
    const struct instance *n = g->instances[i], *other = NULL;
    for (size_t k = 0; n->stage && k < n->desc->n_ins; k++) {
        const struct desc_port *port = &n->desc->ins[k];
        if (port->without[0] == '\0' || has_input(n, port))
            continue;
        const struct graph_input *in = find_kind(g, port->kind, &other);
        if (!in)
            continue;
        char *value = written(g, in);
        char *text =
            xasprintf("has no input %s: %s; write `%s: %s`, as %s has it, below its inputs",
                      port->name, port->without, port->name, value, other->stage_name);
        xfree(value);
        return text;
    }
    return NULL;
}

/* Is it the first instance of its stage? */
static bool is_first(const struct graph *g, size_t i)
{
    size_t first = 0;
    while (!str_eq(g->instances[first]->stage_name, g->instances[i]->stage_name))
        first++;
    return first == i;
}

void graph_remarks(const struct graph *g, struct buf *out)
{
    for (size_t i = 0; i < g->n_instances; i++) {
        char *text = graph_remark(g, i);
        if (text && is_first(g, i))
            buf_printf(out, "remark: %s %s\n", g->instances[i]->stage_name, text);
        xfree(text);
    }
}
