/* Rules that need the whole graph: they are refused now, not after an hour of training. */

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/graph.h"
#include "pipeline/manifest/subst.h"

#define PACKAGE_END ".fmadapter"

/* The JSON behind a small input that is known before anything runs; NULL when it is not. */
static struct json *known_value(const struct graph_input *in)
{
    struct json *v = NULL;
    struct err ignored = {0};
    if (in->source == SOURCE_VALUE && json_parse(in->value, strlen(in->value), &v, &ignored) == 0)
        return v;
    uint64_t n_bytes = 0;
    if (in->source != SOURCE_PATH || file_is_folder(in->path) ||
        file_size(in->path, &n_bytes, &ignored) < 0 || n_bytes > ((uint64_t)1 << 20))
        return NULL;
    return json_read(in->path, &v, &ignored) == 0 ? v : NULL;
}

/* `rank` as a number, or as the text of a choice. 0 is any rank: what an import finds. */
static bool has_rank(const struct json *config, int64_t *rank)
{
    if (!str_to_i64(json_text(config, "rank"), rank))
        *rank = (int64_t)json_number_or(config, "rank", 0);
    return *rank > 0;
}

/* The rank an adapter was trained with: the nearest stage before it with a parameter `rank`. */
static const struct instance *ranked(const struct graph *g, const struct instance *n, int64_t *rank)
{
    for (size_t i = 0; i < n->n_inputs; i++) {
        const struct graph_input *in = &n->inputs[i];
        if (in->source != SOURCE_STAGE || !str_eq(in->port->kind, "adapter"))
            continue;
        const struct instance *p = g->instances[in->producer];
        if (has_rank(p->config, rank))
            return p;
        const struct instance *earlier = ranked(g, p, rank);
        if (earlier)
            return earlier;
    }
    return NULL;
}

static int check_rank(const struct graph *g, const struct instance *n, const struct graph_input *in,
                      struct err *e)
{
    struct json *rules = known_value(in);
    const struct json *wanted = json_get(rules, "lora_rank");
    int64_t rank = 0;
    const struct instance *p = ranked(g, n, &rank);
    int rc = 0;
    if (wanted && json_is_integer(wanted) && p && rank != (int64_t)json_number(wanted))
        rc = doc_fail(
            in->doc, in->mark, e,
            "%s would package an adapter of rank %lld (made by %s), but the export rules%s%s "
            "say lora_rank %lld",
            n->name, (long long)rank, p->name, in->facet ? " of " : "", in->facet ? in->facet : "",
            (long long)json_number(wanted));
    json_free(rules);
    return rc;
}

static int check_signature(const struct graph_input *in, struct err *e)
{
    struct json *v = known_value(in);
    int rc = 0;
    if (v && json_type(v) != JSON_STRING)
        rc = doc_fail(in->doc, in->mark, e, "a signature is a text of 40 hex digits, found %s",
                      json_type_name(json_type(v)));
    else if (v && !str_is_hex(json_string(v), TOOLKIT_SIGNATURE_DIGITS))
        rc = doc_fail(in->doc, in->mark, e, "signature `%s` is not 40 lower-case hex digits",
                      json_string(v));
    json_free(v);
    return rc;
}

static int check_adapter_name(const struct yaml_doc *doc, struct yaml_mark mark, const char *name,
                              struct err *e)
{
    if (str_is_word(name))
        return 0;
    return doc_fail(doc, mark, e,
                    "`%s` cannot be an adapter's name: letters, digits and _ only; the runtime "
                    "silently refuses any other (a hyphen separates name and signature)",
                    name);
}

/* A stage that makes a package and takes a `name`. */
static int check_package(const struct graph *g, const struct instance *n, struct err *e)
{
    bool package = false;
    for (size_t i = 0; i < n->desc->n_outs; i++)
        package |= str_eq(n->desc->outs[i].kind, "package");
    const char *name = json_find_text(n->config, "name");
    const struct doc_node *written = n->stage ? doc_get(n->stage->with, "name") : NULL;
    if (!package || !name || !written)
        return 0;
    return check_adapter_name(&g->manifest->doc, written->mark, name, e);
}

int graph_check(struct graph *g, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < g->n_instances && rc == 0; i++) {
        const struct instance *n = g->instances[i];
        rc = check_package(g, n, e);
        for (size_t k = 0; k < n->n_inputs && rc == 0; k++) {
            if (str_eq(n->inputs[k].port->kind, "export"))
                rc = check_rank(g, n, &n->inputs[k], e);
            else if (str_eq(n->inputs[k].port->kind, "signature"))
                rc = check_signature(&n->inputs[k], e);
        }
    }
    return rc;
}

/* ---------------------------------------------------------------------------- own folders */

static bool holds(const char *folder, const char *path)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 &&
           (path[length] == '\0' || path[length] == '/' || str_eq(folder, "/"));
}

int graph_refuse_around(const struct graph *g, const char *folder, struct err *e)
{
    char *ours = file_real_path(folder);
    int rc = 0;
    for (size_t i = 0; i < g->n_instances && rc == 0; i++) {
        const struct instance *n = g->instances[i];
        for (size_t k = 0; k < n->n_inputs && rc == 0; k++) {
            const struct graph_input *in = &n->inputs[k];
            if (in->source != SOURCE_PATH || !file_is_folder(in->path))
                continue;
            char *real = file_real_path(in->path);
            if (holds(real, ours))
                rc = doc_fail(in->doc, in->mark, e,
                              "input `%s`: the folder %s holds %s, which runs write to: name a "
                              "folder without it",
                              in->port->name, in->path, folder);
            xfree(real);
        }
    }
    xfree(ours);
    return rc;
}

/* ---------------------------------------------------------------------------- deliveries */

static bool is_safe_path(const char *p)
{
    if (*p == '\0' || *p == '/' || p[strlen(p) - 1] == '/')
        return false;
    while (*p) {
        size_t n = strcspn(p, "/");
        if (n == 0 || p[0] == '.')
            return false;
        p += n + (p[n] == '/');
    }
    return true;
}

/* Which output is delivered: the named one, the only one, or the only package. */
static int delivered_output(const struct graph *g, const struct instance *n,
                            const struct doc_node *d, size_t *out, struct err *e)
{
    const char *dot = strchr(d->key, '.');
    const struct stage_desc *s = n->desc;
    const char *names[DESC_PORTS_MAX];
    size_t n_packages = 0, package = 0;
    for (size_t i = 0; i < s->n_outs; i++) {
        names[i] = s->outs[i].name;
        if (str_eq(s->outs[i].kind, "package") || str_eq(s->outs[i].kind, "toolkit")) {
            n_packages++;
            package = i;
        }
    }
    char hint[160];
    for (size_t i = 0; dot && i < s->n_outs; i++) {
        if (!str_eq(names[i], dot + 1))
            continue;
        *out = i;
        return 0;
    }
    if (dot)
        return doc_fail(&g->manifest->doc, d->key_mark, e, "stage %s has no output `%s`%s",
                        n->stage_name, dot + 1,
                        doc_hint(dot + 1, names, s->n_outs, hint, sizeof hint));
    if (s->n_outs != 1 && n_packages != 1)
        return doc_fail(&g->manifest->doc, d->key_mark, e,
                        "stage %s has %zu outputs; say which: %s.%s", n->stage_name, s->n_outs,
                        n->stage_name, s->n_outs ? names[0] : "?");
    *out = n_packages == 1 ? package : 0;
    return 0;
}

static char *delivery_path(const struct graph *g, const struct instance *n, const char *file)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b, "%s/", g->manifest->name);
    if (n->axes & (1u << GRAPH_TOOLKIT_BIT))
        buf_printf(&b, "%s/", graph_axis_text(g, n, GRAPH_TOOLKIT_BIT));
    bool any = false;
    for (size_t a = 0; a < g->manifest->n_axes; a++) {
        if (!(n->axes & (1u << a)))
            continue;
        buf_printf(&b, "%s%s=%s", any ? "," : "", g->manifest->axes[a].name,
                   graph_axis_text(g, n, a));
        any = true;
    }
    buf_printf(&b, "%s%s", any ? "/" : "", file);
    return buf_steal(&b);
}

/* The longer of two paths lies in the shorter: the later of them would damage the earlier. */
static int check_apart(const struct yaml_doc *doc, const struct doc_node *d, const char *path,
                       const char *other, struct err *e)
{
    bool longer = strlen(path) > strlen(other);
    const char *inner = longer ? path : other, *outer = longer ? other : path;
    size_t n = strlen(outer);
    if (strncmp(inner, outer, n) != 0 || (inner[n] != '/' && inner[n] != '\0'))
        return 0;
    if (inner[n] == '\0')
        return doc_fail(doc, d->mark, e, "two deliveries to %s", path);
    return doc_fail(doc, d->mark, e, "the delivery to %s lies in another, %s", inner, outer);
}

static int add_delivery(struct graph *g, size_t i_instance, const struct doc_node *d, struct err *e)
{
    const struct instance *n = g->instances[i_instance];
    struct subst_scope scope;
    graph_scope(g, n, &scope);
    struct delivery made = {i_instance, 0, NULL};
    char *file = NULL;
    bool quoted = false;
    int rc = delivered_output(g, n, d, &made.i_output, e);
    if (rc == 0)
        rc = subst_text(&scope, d, &file, &quoted, e);
    if (rc < 0)
        return rc;
    if (!is_safe_path(file)) {
        rc = doc_fail(scope.doc, d->mark, e,
                      "cannot deliver to `%s`: expected a path below the output folder", file);
    } else if (str_ends(file, PACKAGE_END)) {
        const char *base = file_base_name(file);
        char *name = xstrndup(base, strlen(base) - strlen(PACKAGE_END));
        rc = check_adapter_name(scope.doc, d->mark, name, e);
        xfree(name);
    }
    if (rc == 0) {
        made.path = delivery_path(g, n, file);
        for (size_t i = 0; i < g->n_deliveries && rc == 0; i++)
            rc = check_apart(scope.doc, d, made.path, g->deliveries[i].path, e);
        g->deliveries = xrealloc_array(g->deliveries, g->n_deliveries + 1, sizeof made);
        g->deliveries[g->n_deliveries++] = made;
    }
    xfree(file);
    return rc;
}

int graph_deliveries(struct graph *g, struct err *e)
{
    const struct doc_node *deliver = g->manifest->deliver;
    int rc = 0;
    for (const struct doc_node *d = deliver ? deliver->first : NULL; d && rc == 0; d = d->next) {
        char *stage = xstrndup(d->key, strcspn(d->key, "."));
        for (size_t i = 0; i < g->n_instances && rc == 0; i++)
            if (g->instances[i]->stage && str_eq(g->instances[i]->stage_name, stage))
                rc = add_delivery(g, i, d, e);
        xfree(stage);
    }
    return rc;
}
