/* Where the inputs of an instance come from. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/graph.h"
#include "pipeline/engine/stage_config.h"
#include "pipeline/manifest/subst.h"

static int fail(const struct graph_input *in, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(const struct graph_input *in, struct err *e, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return doc_fail(in->doc, in->mark, e, "input `%s`: %s", in->port->name, text);
}

/* Which output of a producer: the named one, its only one, or the only one of the port's kind. */
static int pick_output(const struct stage_desc *desc, const char *from, const char *output,
                       struct graph_input *in, struct err *e)
{
    const char *names[DESC_PORTS_MAX];
    size_t n_fitting = 0, fitting = 0;
    for (size_t i = 0; i < desc->n_outs; i++) {
        names[i] = desc->outs[i].name;
        if (str_eq(desc->outs[i].kind, in->port->kind)) {
            n_fitting++;
            fitting = i;
        }
    }
    char hint[160];
    if (!output && desc->n_outs != 1 && n_fitting != 1)
        return fail(in, e, "%s has %zu outputs; say which: %s.%s", from, desc->n_outs, from,
                    desc->n_outs ? names[n_fitting ? fitting : 0] : "?");
    size_t i = 0;
    if (output)
        while (i < desc->n_outs && !str_eq(names[i], output))
            i++;
    else
        i = n_fitting == 1 ? fitting : 0;
    if (i == desc->n_outs)
        return fail(in, e, "%s has no output `%s`%s (for a file write ./%s.%s)", from, output,
                    doc_hint(output, names, desc->n_outs, hint, sizeof hint), from, output);
    if (!str_eq(desc->outs[i].kind, in->port->kind))
        return fail(in, e, "expected %s, found %s.%s, which is %s", in->port->kind, from,
                    desc->outs[i].name, desc->outs[i].kind);
    in->i_output = i;
    return 0;
}

static int from_stage(struct graph *g, const struct instance *n, const struct manifest_stage *s,
                      const char *output, struct graph_input *in, struct err *e)
{
    in->source = SOURCE_STAGE;
    in->producer = graph_match(g, s->name, n);
    CHECK(in->producer != GRAPH_NONE); /* n has the axes of all its inputs */
    return pick_output(g->instances[in->producer]->desc, s->name, output, in, e);
}

/* f: the facet of t that needs the path, or NULL. */
static int take_path(struct graph_input *in, char *path, const struct toolkit_dir *t,
                     const struct facet *f, struct err *e)
{
    in->source = SOURCE_PATH;
    in->path = path;
    if (file_exists(path) || file_is_folder(path))
        return 0;
    if (!f)
        return fail(in, e, "no such file or folder: %s", path);
    char *text = toolkit_dir_missing(t, f, path);
    int rc = fail(in, e, "%s", text);
    xfree(text);
    return rc;
}

/* The instance that makes a facet, made when it is first asked for. */
static int facet_instance(struct graph *g, const struct instance *n, const struct facet *f,
                          size_t *index, struct err *e)
{
    struct toolkit_dir *t = &g->toolkits[n->i_toolkit];
    char *stage_name = xasprintf("toolkit.%s", f->name);
    char *name = xasprintf("%s[toolkit=%s]", stage_name, t->label);
    for (size_t i = 0; i < g->n_instances; i++) {
        if (!str_eq(g->instances[i]->name, name))
            continue;
        xfree(stage_name);
        xfree(name);
        *index = i;
        return 0;
    }
    xfree(stage_name);
    struct instance *made = xalloc(sizeof *made);
    made->name = name;
    made->stage_name = f->name;
    made->axes = 1u << GRAPH_TOOLKIT_BIT;
    made->i_toolkit = n->i_toolkit;
    struct subst_scope scope;
    graph_scope(g, made, &scope);
    int rc = graph_kind(g, &t->doc, doc_get(f->node, "run"), &made->desc, e);
    if (rc == 0)
        rc = stage_config_build(made->desc, doc_get(f->node, "with"), f->mark, &scope,
                                &made->config, e);
    if (rc == 0 && ++g->facet_depth > TOOLKIT_FACETS_MAX)
        rc = doc_fail(&t->doc, f->mark, e, "facet `%s` needs itself", f->name);
    if (rc == 0)
        rc = graph_inputs(g, made, doc_get(f->node, "inputs"), f->mark, t->folder, e);
    g->facet_depth--;
    *index = graph_append(g, made); /* also after an error: the graph owns and frees it */
    return rc;
}

static int from_choice(struct graph *g, const struct instance *n, const struct facet *f,
                       const char *choice, struct graph_input *in, struct err *e)
{
    const struct toolkit_dir *t = &g->toolkits[n->i_toolkit];
    char *choices = toolkit_dir_choices(f);
    char *parameter = choice ? xstrdup(choice) : stage_config_text(n->config, f->by);
    char *path = parameter ? toolkit_dir_choice(t, f, parameter) : NULL;
    int rc = 0;
    if (!parameter)
        rc = fail(in, e,
                  "facet `%s` is chosen by the parameter `%s`, which stage %s does not have; write "
                  "toolkit.%s.X with X one of %s",
                  f->name, f->by, n->desc->name, f->name, choices);
    else if (!path)
        rc = fail(in, e, "toolkit %s has no %s for %s %s; it has %s", t->label, f->name, f->by,
                  parameter, choices);
    else
        rc = take_path(in, path, t, f, e);
    xfree(parameter);
    xfree(choices);
    return rc;
}

/* "toolkit.NAME" or "toolkit.NAME.CHOICE"; text is behind "toolkit.". */
static int from_toolkit(struct graph *g, const struct instance *n, const char *text,
                        struct graph_input *in, struct err *e)
{
    const struct toolkit_dir *t = &g->toolkits[n->i_toolkit];
    size_t length = strcspn(text, ".");
    char *name = xstrndup(text, length);
    const char *choice = text[length] ? text + length + 1 : NULL;
    const struct facet *f = toolkit_dir_facet(t, name);
    const char *names[TOOLKIT_FACETS_MAX];
    size_t n_names = toolkit_dir_names(t, names);
    char hint[160];
    int rc = 0;
    if (!f)
        rc = fail(in, e, "toolkit %s has no facet `%s`%s", t->label, name,
                  doc_hint(name, names, n_names, hint, sizeof hint));
    else if (choice && f->type != FACET_CHOICE)
        rc = fail(in, e, "facet `%s` of toolkit %s is one thing: there is nothing to choose", name,
                  t->label);
    xfree(name);
    if (rc < 0)
        return rc;
    in->facet = xasprintf("%s/%s", t->label, f->name);
    in->is_private = f->is_private;
    if (f->type == FACET_VALUE) {
        in->source = SOURCE_VALUE;
        in->value = f->value;
        return 0;
    }
    if (f->type == FACET_PATH)
        return take_path(in, xstrdup(f->path), t, f, e);
    if (f->type == FACET_CHOICE)
        return from_choice(g, n, f, choice, in, e);
    in->source = SOURCE_STAGE;
    rc = facet_instance(g, n, f, &in->producer, e);
    if (rc < 0)
        return rc;
    return pick_output(g->instances[in->producer]->desc, f->name, NULL, in, e);
}

int graph_facet(struct graph *g, size_t i_toolkit, struct graph_input *in, struct err *e)
{
    const struct facet *f = toolkit_dir_facet(&g->toolkits[i_toolkit], in->port->name);
    struct instance asking = {
        .stage_name = in->port->name, .axes = 1u << GRAPH_TOOLKIT_BIT, .i_toolkit = i_toolkit};
    CHECK(f != NULL && f->type == FACET_STAGE);
    in->doc = &g->toolkits[i_toolkit].doc;
    in->mark = f->mark;
    return from_toolkit(g, &asking, in->port->name, in, e);
}

/* Behind the error of an input that was read as a stage's: a file or folder may have been meant. */
static int name_file(int rc, const char *text, struct err *e)
{
    size_t used = strlen(e->text);
    if (rc < 0 && file_exists(text) && !strstr(e->text, "write ./"))
        snprintf(e->text + used, sizeof e->text - used, "; for the file or folder %s write ./%s",
                 text, text);
    return rc;
}

static int resolve(struct graph *g, const struct instance *n, const struct doc_node *node,
                   const char *folder, struct graph_input *in, struct err *e)
{
    struct subst_scope scope;
    graph_scope(g, n, &scope);
    in->doc = scope.doc;
    in->mark = node->mark;
    char *text = NULL;
    bool quoted = false;
    const char *output = NULL;
    const struct manifest_stage *stage = folder ? NULL : graph_stage_of(g, node->text, &output);
    int rc = subst_text(&scope, node, &text, &quoted, e);
    if (rc < 0)
        return rc;
    if (*text == '\0')
        rc = fail(in, e, "expected a path, stage.output or toolkit.facet, found nothing");
    else if (str_starts(node->text, "toolkit."))
        rc = from_toolkit(g, n, text + strlen("toolkit."), in, e);
    else if (stage)
        rc = name_file(from_stage(g, n, stage, output, in, e), text, e);
    else if (folder && *text != '/')
        rc = take_path(in, file_join(folder, text), &g->toolkits[n->i_toolkit],
                       toolkit_dir_facet(&g->toolkits[n->i_toolkit], n->stage_name), e);
    else
        rc = take_path(in, xstrdup(text), NULL, NULL, e);
    /* A word with a dot that is no file was most likely meant as a stage. */
    if (rc < 0 && in->path && !in->facet && in->source == SOURCE_PATH && !folder &&
        !strchr(text, '/')) {
        const char **names = xalloc_array(g->manifest->n_stages + 1, sizeof *names);
        for (size_t i = 0; i < g->manifest->n_stages; i++)
            names[i] = g->manifest->stages[i].name;
        names[g->manifest->n_stages] = "toolkit";
        char *word = xstrndup(text, strcspn(text, "."));
        char hint[160];
        doc_hint(word, names, g->manifest->n_stages + 1, hint, sizeof hint);
        size_t used = strlen(e->text);
        snprintf(e->text + used, sizeof e->text - used, ", and no stage of that name%s", hint);
        xfree(word);
        xfree(names);
    }
    xfree(text);
    return rc;
}

int graph_inputs(struct graph *g, struct instance *n, const struct doc_node *inputs,
                 struct yaml_mark mark, const char *folder, struct err *e)
{
    const struct stage_desc *d = n->desc;
    struct subst_scope scope;
    graph_scope(g, n, &scope);
    n->inputs = xalloc_array(d->n_ins, sizeof *n->inputs);
    for (const struct doc_node *node = inputs ? inputs->first : NULL; node; node = node->next) {
        const struct desc_port *port = stage_desc_in(d, node->key);
        if (!port) {
            const char *names[DESC_PORTS_MAX];
            for (size_t i = 0; i < d->n_ins; i++)
                names[i] = d->ins[i].name;
            char hint[160];
            return doc_fail(scope.doc, node->key_mark, e, "stage %s has no input `%s`%s", d->name,
                            node->key, doc_hint(node->key, names, d->n_ins, hint, sizeof hint));
        }
        struct graph_input *in = &n->inputs[n->n_inputs++];
        in->port = port;
        int rc = resolve(g, n, node, folder, in, e);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < d->n_ins; i++)
        if (d->ins[i].required && !doc_get(inputs, d->ins[i].name))
            return doc_fail(scope.doc, mark, e, "stage %s needs the input `%s` (%s)%s%s", d->name,
                            d->ins[i].name, d->ins[i].kind, *d->ins[i].help ? ": " : "",
                            d->ins[i].help);
    return 0;
}
