#include "pipeline/engine/graph.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/stage_config.h"
#include "pipeline/manifest/subst.h"

#define TOOLKIT_AXIS (1u << GRAPH_TOOLKIT_BIT)

enum visit_state { NOT_SEEN, ON_TRAIL, DONE };

void graph_scope(const struct graph *g, const struct instance *n, struct subst_scope *out)
{
    memset(out, 0, sizeof *out);
    if (n->i_toolkit != GRAPH_NONE) {
        const struct toolkit_dir *t = &g->toolkits[n->i_toolkit];
        out->toolkit_label = t->label;
        out->toolkit_name = t->name;
        out->toolkit_version = t->version;
        out->doc = &t->doc;
    }
    if (!n->stage)
        return; /* a facet's stage knows its toolkit and nothing of the manifest */
    const struct manifest *m = g->manifest;
    out->doc = &m->doc;
    out->name = m->name;
    out->vars = m->vars;
    out->n_axes = m->n_axes;
    for (size_t i = 0; i < m->n_axes; i++) {
        out->axis_names[i] = m->axes[i].name;
        const struct doc_node *v = m->axes[i].values->first;
        for (size_t k = 0; k < n->picks[i]; k++)
            v = v->next;
        out->axis_values[i] = n->axes & (1u << i) ? v : NULL;
    }
}

const char *graph_axis_text(const struct graph *g, const struct instance *n, size_t i_axis)
{
    if (i_axis == GRAPH_TOOLKIT_BIT)
        return g->toolkits[n->i_toolkit].label;
    const struct doc_node *v = g->manifest->axes[i_axis].values->first;
    for (size_t k = 0; k < n->picks[i_axis]; k++)
        v = v->next;
    return v->text;
}

/* Axes sorted by name; the manifest's are sorted already, "toolkit" goes where it belongs. */
static void set_name(const struct graph *g, struct instance *n)
{
    const struct manifest *m = g->manifest;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add_text(&b, n->stage_name);
    char separator = '[';
    bool toolkit_due = (n->axes & TOOLKIT_AXIS) != 0;
    for (size_t i = 0; i <= m->n_axes; i++) {
        bool last = i == m->n_axes;
        if (toolkit_due && (last || strcmp(m->axes[i].name, "toolkit") > 0)) {
            buf_printf(&b, "%ctoolkit=%s", separator, graph_axis_text(g, n, GRAPH_TOOLKIT_BIT));
            separator = ',';
            toolkit_due = false;
        }
        if (!last && (n->axes & (1u << i))) {
            buf_printf(&b, "%c%s=%s", separator, m->axes[i].name, graph_axis_text(g, n, i));
            separator = ',';
        }
    }
    if (separator == ',')
        buf_add_char(&b, ']');
    n->name = buf_steal(&b);
}

size_t graph_append(struct graph *g, struct instance *n)
{
    g->instances = xrealloc_array(g->instances, g->n_instances + 1, sizeof(struct instance *));
    g->instances[g->n_instances] = n;
    return g->n_instances++;
}

size_t graph_match(const struct graph *g, const char *stage_name, const struct instance *n)
{
    for (size_t i = 0; i < g->n_instances; i++) {
        const struct instance *p = g->instances[i];
        if (!p->stage || !str_eq(p->stage_name, stage_name) || (p->axes & ~n->axes))
            continue;
        bool same = !(p->axes & TOOLKIT_AXIS) || p->i_toolkit == n->i_toolkit;
        for (size_t a = 0; a < g->manifest->n_axes; a++)
            same = same && (!(p->axes & (1u << a)) || p->picks[a] == n->picks[a]);
        if (same)
            return i;
    }
    return GRAPH_NONE;
}

const struct manifest_stage *graph_stage_of(const struct graph *g, const char *text,
                                            const char **output)
{
    *output = NULL;
    if (strchr(text, '/') || strchr(text, '$'))
        return NULL;
    const char *dot = strchr(text, '.');
    if (!dot)
        return manifest_stage(g->manifest, text);
    char *name = xstrndup(text, (size_t)(dot - text));
    const struct manifest_stage *s = manifest_stage(g->manifest, name);
    xfree(name);
    if (s)
        *output = dot + 1;
    return s;
}

int graph_kind(struct graph *g, const struct yaml_doc *doc, const struct doc_node *run,
               const struct stage_desc **out, struct err *e)
{
    int rc = describe_find(g->describe, run->text, out, e);
    if (rc < 0)
        return rc;
    if (*out && (*out)->is_tool)
        return doc_fail(doc, run->mark, e, "`%s` is a tool: it prints and makes nothing",
                        run->text);
    if (*out)
        return 0;
    char **names = NULL;
    size_t n = describe_names(g->describe, &names);
    char hint[160];
    rc = doc_fail(doc, run->mark, e, "there is no kind of stage `%s` (no stage-%s in %s)%s",
                  run->text, run->text, g->describe->folder,
                  doc_hint(run->text, (const char *const *)names, n, hint, sizeof hint));
    for (size_t i = 0; i < n; i++)
        xfree(names[i]);
    xfree(names);
    return rc;
}

/* ------------------------------------------------------------------------- axes and order */

static int visit(struct graph *g, size_t i_stage, struct err *e);

static size_t stage_index(const struct graph *g, const struct manifest_stage *s)
{
    return (size_t)(s - g->manifest->stages);
}

/* Inputs of stages on the trail that are files too, which is what was meant most likely. */
static void add_file_hint(const struct graph *g, size_t from, struct buf *b)
{
    for (size_t i = from; i < g->n_trail; i++) {
        const struct doc_node *inputs = g->manifest->stages[g->trail[i]].inputs;
        for (const struct doc_node *n = inputs ? inputs->first : NULL; n; n = n->next) {
            const char *output = NULL;
            if (graph_stage_of(g, n->text, &output) && file_exists(n->text))
                buf_printf(b, "; for the file or folder %s write ./%s", n->text, n->text);
        }
    }
}

static int fail_cycle(struct graph *g, size_t i_stage, struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    size_t from = 0;
    while (g->trail[from] != i_stage)
        from++;
    for (size_t i = from; i < g->n_trail; i++)
        buf_printf(&b, "%s -> ", g->manifest->stages[g->trail[i]].name);
    const struct manifest_stage *s = &g->manifest->stages[i_stage];
    buf_printf(&b, "%s (each needs the next)", s->name);
    add_file_hint(g, from, &b);
    int rc = doc_fail(&g->manifest->doc, s->mark, e, "cycle: %s", buf_text(&b));
    buf_release(&b);
    return rc;
}

static void add_axes_of_text(const struct graph *g, const char *text, unsigned *axes)
{
    if (subst_uses(text, "toolkit"))
        *axes |= TOOLKIT_AXIS;
    for (size_t i = 0; i < g->manifest->n_axes; i++)
        if (subst_uses(text, g->manifest->axes[i].name))
            *axes |= 1u << i;
}

static void add_axes_of(const struct graph *g, const struct doc_node *part, unsigned *axes)
{
    for (const struct doc_node *n = part ? part->first : NULL; n; n = n->next)
        add_axes_of_text(g, n->text, axes);
}

static int visit_inputs(struct graph *g, const struct manifest_stage *s, unsigned *axes,
                        struct err *e)
{
    for (const struct doc_node *n = s->inputs ? s->inputs->first : NULL; n; n = n->next) {
        const char *output = NULL;
        const struct manifest_stage *from = graph_stage_of(g, n->text, &output);
        if (str_starts(n->text, "toolkit."))
            *axes |= TOOLKIT_AXIS;
        if (!from)
            continue;
        int rc = visit(g, stage_index(g, from), e);
        if (rc < 0)
            return rc;
        *axes |= g->stage_axes[stage_index(g, from)];
    }
    return 0;
}

/* Needs and stages that gates name come first, but give no axes. */
static int visit_others(struct graph *g, const struct manifest_stage *s, struct err *e)
{
    int rc = 0;
    for (const struct doc_node *n = s->needs ? s->needs->first : NULL; n && rc == 0; n = n->next)
        rc = visit(g, stage_index(g, manifest_stage(g->manifest, n->text)), e);
    for (const struct doc_node *n = s->gates ? s->gates->first : NULL; n && rc == 0; n = n->next) {
        struct gate gate;
        rc = gate_parse(&g->manifest->doc, n, n->text, &gate, e);
        const struct manifest_stage *other =
            rc == 0 && gate.type == GATE_STAGE ? manifest_stage(g->manifest, gate.stage) : NULL;
        if (rc == 0 && gate.type == GATE_STAGE && !other)
            rc = doc_fail(&g->manifest->doc, n->mark, e, "gate `%s`: there is no stage `%s`",
                          n->text, gate.stage);
        if (rc == 0 && other)
            rc = visit(g, stage_index(g, other), e);
        gate_release(&gate);
    }
    return rc;
}

static int expand(struct graph *g, size_t i_stage, struct err *e);

/* Depth first: what a stage needs is expanded before it. */
static int visit(struct graph *g, size_t i_stage, struct err *e)
{
    const struct manifest_stage *s = &g->manifest->stages[i_stage];
    if (g->stage_state[i_stage] == DONE)
        return 0;
    if (g->stage_state[i_stage] == ON_TRAIL)
        return fail_cycle(g, i_stage, e);
    g->stage_state[i_stage] = ON_TRAIL;
    g->trail[g->n_trail++] = i_stage;
    unsigned axes = 0;
    add_axes_of(g, s->inputs, &axes);
    add_axes_of(g, s->with, &axes);
    add_axes_of(g, s->gates, &axes);
    int rc = visit_inputs(g, s, &axes, e);
    if (rc == 0)
        rc = visit_others(g, s, e);
    if (rc == 0 && (axes & TOOLKIT_AXIS) && g->n_toolkits == 0)
        rc = doc_fail(&g->manifest->doc, s->mark, e,
                      "stage %s names a facet of the toolkit, but the manifest has no `toolkits`",
                      s->name);
    g->stage_axes[i_stage] = axes;
    if (rc == 0)
        rc = expand(g, i_stage, e);
    g->n_trail--;
    g->stage_state[i_stage] = DONE;
    return rc;
}

/* ---------------------------------------------------------------------------- instances */

static int instance_gates(struct graph *g, struct instance *n, struct err *e)
{
    const struct doc_node *gates = n->stage->gates;
    if (!gates)
        return 0;
    struct subst_scope scope;
    graph_scope(g, n, &scope);
    n->gates = xalloc_array(gates->n_items, sizeof *n->gates);
    int rc = 0;
    for (const struct doc_node *t = gates->first; t && rc == 0; t = t->next) {
        char *text = NULL;
        bool quoted = false;
        rc = subst_text(&scope, t, &text, &quoted, e);
        if (rc < 0)
            return rc;
        struct gate *gate = &n->gates[n->n_gates++];
        rc = gate_parse(&g->manifest->doc, t, text, gate, e);
        xfree(text);
        if (rc < 0 || gate->type != GATE_STAGE)
            continue;
        gate->i_other = graph_match(g, gate->stage, n);
        if (gate->i_other == GRAPH_NONE)
            rc = doc_fail(&g->manifest->doc, t->mark, e,
                          "gate `%s`: %s has axes that %s has not, so there is no one to compare "
                          "with",
                          t->text, gate->stage, n->stage_name);
    }
    bool has_metrics = false;
    for (size_t i = 0; i < n->desc->n_outs; i++)
        has_metrics |= str_eq(n->desc->outs[i].kind, "metrics");
    if (rc == 0 && !has_metrics)
        rc = doc_fail(&g->manifest->doc, gates->mark, e,
                      "stage %s (%s) has gates but no output of kind metrics", n->stage_name,
                      n->desc->name);
    return rc;
}

/* Every instance of a needed stage that does not differ in an axis that both have. */
static void instance_needs(struct graph *g, struct instance *n)
{
    const struct doc_node *needs = n->stage->needs;
    for (const struct doc_node *t = needs ? needs->first : NULL; t; t = t->next) {
        for (size_t i = 0; i < g->n_instances; i++) {
            const struct instance *p = g->instances[i];
            unsigned both = p->axes & n->axes;
            bool fits = p->stage && str_eq(p->stage_name, t->text);
            fits = fits && (!(both & TOOLKIT_AXIS) || p->i_toolkit == n->i_toolkit);
            for (size_t a = 0; a < g->manifest->n_axes; a++)
                fits = fits && (!(both & (1u << a)) || p->picks[a] == n->picks[a]);
            if (!fits)
                continue;
            n->needs = xrealloc_array(n->needs, n->n_needs + 1, sizeof(size_t));
            n->needs[n->n_needs++] = i;
        }
    }
}

static void instance_free(struct instance *n)
{
    for (size_t i = 0; i < n->n_inputs; i++) {
        xfree(n->inputs[i].path);
        xfree(n->inputs[i].facet);
    }
    for (size_t i = 0; i < n->n_gates; i++)
        gate_release(&n->gates[i]);
    xfree(n->gates);
    xfree(n->needs);
    xfree(n->inputs);
    json_free(n->config);
    xfree(n->name);
    xfree(n);
}

static int build(struct graph *g, struct instance *n, struct err *e)
{
    struct subst_scope scope;
    set_name(g, n);
    graph_scope(g, n, &scope);
    int rc = stage_config_build(n->desc, n->stage->with, n->stage->mark, &scope, &n->config, e);
    if (rc == 0)
        rc = graph_inputs(g, n, n->stage->inputs, n->stage->mark, NULL, e);
    if (rc == 0)
        rc = instance_gates(g, n, e);
    if (rc == 0)
        instance_needs(g, n);
    return rc;
}

/* The next combination of picks; false after the last. Rightmost axis fastest, toolkit slowest. */
static bool next_pick(const struct graph *g, unsigned axes, size_t *picks, size_t *i_toolkit)
{
    for (size_t a = g->manifest->n_axes; a-- > 0;) {
        if (!(axes & (1u << a)))
            continue;
        if (++picks[a] < g->manifest->axes[a].values->n_items)
            return true;
        picks[a] = 0;
    }
    return (axes & TOOLKIT_AXIS) && ++*i_toolkit < g->n_toolkits;
}

static int expand(struct graph *g, size_t i_stage, struct err *e)
{
    const struct manifest_stage *s = &g->manifest->stages[i_stage];
    unsigned axes = g->stage_axes[i_stage];
    const struct stage_desc *desc = NULL;
    int rc = graph_kind(g, &g->manifest->doc, s->run, &desc, e);
    size_t picks[LIMIT_AXES] = {0};
    size_t i_toolkit = axes & TOOLKIT_AXIS ? 0 : GRAPH_NONE;
    bool more = rc == 0;
    while (more) {
        if (g->n_instances >= LIMIT_STAGES)
            return doc_fail(&g->manifest->doc, s->mark, e,
                            "with the instances of %s there are more than %d stages", s->name,
                            LIMIT_STAGES);
        struct instance *n = xalloc(sizeof *n);
        n->stage = s;
        n->stage_name = s->name;
        n->desc = desc;
        n->axes = axes;
        memcpy(n->picks, picks, sizeof picks);
        n->i_toolkit = i_toolkit;
        rc = build(g, n, e);
        if (rc < 0) {
            instance_free(n);
            return rc;
        }
        graph_append(g, n);
        more = next_pick(g, axes, picks, &i_toolkit);
    }
    return rc;
}

/* ------------------------------------------------------------------------------- whole */

static int open_toolkits(struct graph *g, struct err *e)
{
    const struct doc_node *list = g->manifest->toolkits;
    if (!list)
        return 0;
    const struct doc_node *first = list->type == DOC_SCALAR ? list : list->first;
    size_t n = list->type == DOC_SCALAR ? 1 : list->n_items;
    if (n > GRAPH_TOOLKITS_MAX)
        return doc_fail(&g->manifest->doc, list->mark, e, "more than %d toolkits",
                        GRAPH_TOOLKITS_MAX);
    g->toolkits = xalloc_array(n, sizeof *g->toolkits);
    int rc = 0;
    for (const struct doc_node *t = n ? first : NULL; t && rc == 0;
         t = list->type == DOC_SCALAR ? NULL : t->next) {
        struct toolkit_dir *k = &g->toolkits[g->n_toolkits++];
        struct err cause = {0};
        if (toolkit_dir_open(k, t->text, &cause) < 0)
            rc = str_starts(cause.text, t->text)
                     ? doc_fail(&g->manifest->doc, t->mark, e, "toolkit: %s", cause.text)
                     : doc_fail(&g->manifest->doc, t->mark, e, "toolkit %s: %s", t->text,
                                cause.text);
        for (size_t i = 0; i + 1 < g->n_toolkits && rc == 0; i++)
            if (str_eq(g->toolkits[i].label, k->label))
                rc = doc_fail(&g->manifest->doc, t->mark, e,
                              "two toolkits are %s: %s and %s; each needs its own version",
                              k->label, g->toolkits[i].folder, k->folder);
    }
    return rc;
}

int graph_open(struct graph *g, const struct manifest *m, struct describe *d, struct err *e)
{
    memset(g, 0, sizeof *g);
    g->manifest = m;
    g->describe = d;
    g->stage_axes = xalloc_array(m->n_stages, sizeof *g->stage_axes);
    g->stage_state = xalloc_array(m->n_stages, sizeof *g->stage_state);
    g->trail = xalloc_array(m->n_stages, sizeof *g->trail);
    int rc = open_toolkits(g, e);
    for (size_t i = 0; i < m->n_stages && rc == 0; i++)
        rc = visit(g, i, e);
    if (rc == 0)
        rc = graph_check(g, e);
    if (rc == 0)
        rc = graph_deliveries(g, e);
    return rc;
}

void graph_release(struct graph *g)
{
    for (size_t i = 0; i < g->n_instances; i++)
        instance_free(g->instances[i]);
    for (size_t i = 0; i < g->n_toolkits; i++)
        toolkit_dir_release(&g->toolkits[i]);
    for (size_t i = 0; i < g->n_deliveries; i++)
        xfree(g->deliveries[i].path);
    xfree(g->deliveries);
    xfree(g->instances);
    xfree(g->toolkits);
    xfree(g->stage_axes);
    xfree(g->stage_state);
    xfree(g->trail);
    memset(g, 0, sizeof *g);
}

/* Is "rank=8" among the axes "[rank=8,toolkit=nano-1.0]"? */
static bool has_axis(const char *axes, const char *axis, size_t n_axis)
{
    while (*axes == '[' || *axes == ',') {
        axes++;
        size_t n = strcspn(axes, ",]");
        if (n == n_axis && strncmp(axes, axis, n) == 0)
            return true;
        axes += n;
    }
    return false;
}

/* "adapter[rank=8]" is adapter[rank=8,toolkit=nano-1.0] and others. */
static bool is_called(const char *name, const char *wanted)
{
    size_t n = strcspn(wanted, "[");
    if (strncmp(name, wanted, n) != 0 || (name[n] != '[' && name[n] != '\0'))
        return false;
    const char *axis = wanted + n;
    while (*axis == '[' || *axis == ',') {
        axis++;
        size_t n_axis = strcspn(axis, ",]");
        if (!has_axis(name + n, axis, n_axis))
            return false;
        axis += n_axis;
    }
    return str_eq(axis, wanted[n] ? "]" : "");
}

int graph_find(const struct graph *g, const char *name, size_t *index, struct err *e)
{
    size_t n_found = 0, n_names = 0;
    size_t n_stage = strcspn(name, "[");
    const char *example = NULL; /* an instance of the stage with other axes */
    const char **names = xalloc_array(2 * g->n_instances, sizeof *names);
    for (size_t i = 0; i < g->n_instances; i++) {
        const struct instance *n = g->instances[i];
        names[n_names++] = n->name;
        names[n_names++] = n->stage_name;
        if (!example && strlen(n->stage_name) == n_stage &&
            strncmp(n->stage_name, name, n_stage) == 0)
            example = n->name;
        if (str_eq(n->name, name)) { /* the whole name is that of one, however others go on */
            *index = i;
            n_found = 1;
            break;
        }
        if (is_called(n->name, name) && n_found++ == 0)
            *index = i;
    }
    int rc = 0;
    char hint[160];
    if (n_found == 0 && example)
        rc = err_set(e, ERR_CONFIG, "%s has no `%s`; it has e.g. '%s'", g->manifest->doc.path, name,
                     example);
    else if (n_found == 0)
        rc = err_set(e, ERR_CONFIG, "%s has no stage `%s`%s", g->manifest->doc.path, name,
                     doc_hint(name, names, n_names, hint, sizeof hint));
    else if (n_found > 1)
        rc = err_set(e, ERR_CONFIG, "%s has %zu stages `%s`; name one, e.g. '%s'",
                     g->manifest->doc.path, n_found, name, g->instances[*index]->name);
    xfree(names);
    return rc;
}
