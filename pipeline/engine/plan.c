#include "pipeline/engine/plan.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/judge.h"
#include "pipeline/engine/key.h"
#include "pipeline/engine/plan_cost.h"
#include "pipeline/engine/plan_gates.h"
#include "pipeline/provenance/recipe.h"

static int hash_source(struct plan *p, const struct graph_input *in, struct plan_input *out,
                       struct err *e)
{
    int rc = 0;
    struct err cause = {0};
    if (p->store) {
        rc =
            store_hash_source(p->store, in->path, &out->id, &out->is_folder, &out->n_bytes, &cause);
    } else {
        int is_folder = 0;
        rc = sha256_path(in->path, &out->id, &is_folder, &cause);
        out->is_folder = is_folder != 0;
    }
    if (rc < 0)
        rc = doc_fail(in->doc, in->mark, e, "input `%s`: %s", in->port->name, cause.text);
    if (rc < 0 && cause.code == ERR_IO)
        rc = e->code = ERR_IO; /* a disk that fails is nobody's mistake in the manifest */
    return rc;
}

static const struct action_output *find_output(const struct action *a, const char *name)
{
    for (size_t i = 0; i < a->n_outputs; i++)
        if (str_eq(a->outputs[i].name, name))
            return &a->outputs[i];
    return NULL;
}

/* *known stays true when the input's content id is known. */
static int resolve_input(struct plan *p, const struct graph_input *in, struct plan_input *out,
                         bool *known, struct err *e)
{
    if (in->source == SOURCE_PATH)
        return hash_source(p, in, out, e);
    if (in->source == SOURCE_VALUE) {
        out->id = sha256_of(in->value, strlen(in->value));
        out->n_bytes = strlen(in->value);
        return 0;
    }
    const struct plan_item *from = &p->items[in->producer];
    const char *name = p->graph->instances[in->producer]->desc->outs[in->i_output].name;
    const struct action_output *made = from->cached ? find_output(&from->action, name) : NULL;
    if (!made) {
        *known = false;
        return 0;
    }
    out->id = made->id;
    out->is_folder = made->is_folder;
    out->n_bytes = made->n_bytes;
    return 0;
}

int plan_resolve(struct plan *p, size_t i, struct err *e)
{
    const struct instance *n = p->graph->instances[i];
    struct plan_item *item = &p->items[i];
    bool known = true;
    for (size_t k = 0; k < n->n_inputs; k++) {
        int rc = resolve_input(p, &n->inputs[k], &item->inputs[k], &known, e);
        if (rc < 0)
            return rc;
    }
    item->has_key = known;
    item->cached = false;
    if (!known)
        return 0;
    item->key = key_of(n, item->inputs, &item->recipe);
    if (!p->store)
        return 0;
    int rc = store_action_get(p->store, item->key.hex, &item->action, &item->cached, e);
    for (size_t k = 0; k < n->desc->n_outs && rc == 0 && item->cached; k++)
        item->cached = find_output(&item->action, n->desc->outs[k].name) != NULL;
    return rc < 0 ? err_wrap(e, "%s", n->name) : 0;
}

const struct action_output *plan_output(const struct plan *p, size_t i, size_t i_output)
{
    if (!p->items[i].cached)
        return NULL;
    return find_output(&p->items[i].action, p->graph->instances[i]->desc->outs[i_output].name);
}

static void read_last(struct plan *p)
{
    char *relative = xasprintf("last/%s.json", p->graph->manifest->name);
    char *path = store_path(p->store, relative);
    struct err ignored = {0};
    if (json_read(path, &p->last, &ignored) < 0)
        p->last = NULL; /* only explanations are lost */
    xfree(path);
    xfree(relative);
}

int plan_open(struct plan *p, const struct graph *g, struct store *store, struct err *e)
{
    memset(p, 0, sizeof *p);
    p->graph = g;
    p->store = store;
    p->items = xalloc_array(g->n_instances, sizeof *p->items);
    for (size_t i = 0; i < g->n_instances; i++) {
        buf_init(&p->items[i].recipe, BUF_MAX_DEFAULT);
        p->items[i].inputs = xalloc_array(g->instances[i]->n_inputs, sizeof(struct plan_input));
    }
    if (store)
        read_last(p);
    int rc = 0;
    for (size_t i = 0; i < g->n_instances && rc == 0; i++)
        rc = plan_resolve(p, i, e);
    return rc;
}

void plan_release(struct plan *p)
{
    for (size_t i = 0; p->items && i < p->graph->n_instances; i++) {
        buf_release(&p->items[i].recipe);
        xfree(p->items[i].inputs);
    }
    xfree(p->items);
    json_free(p->last);
    memset(p, 0, sizeof *p);
}

const char *plan_last_key(const struct plan *p, size_t i)
{
    const char *key = json_text(json_get(p->last, "stages"), p->graph->instances[i]->name);
    return str_is_hex(key, SHA256_HEX) ? key : NULL; /* a damaged one is none */
}

static void cut_value(struct buf *b, const char *value)
{
    size_t n = value ? strlen(value) : 0;
    if (!value)
        value = "nothing";
    buf_add(b, value, n > 40 ? 14 : strlen(value));
    if (n > 40)
        buf_add_text(b, value[0] == '"' ? "..\"" : "..");
}

static void add_values(struct buf *b, const char *path, const char *old_value,
                       const char *new_value)
{
    buf_add_text(b, path);
    buf_add_char(b, ' ');
    cut_value(b, old_value);
    buf_add_text(b, " -> ");
    cut_value(b, new_value);
}

char *plan_why_input(const char *port, const char *old_hex, const char *new_hex, const char *from,
                     size_t n_changes)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    char *path = xasprintf("inputs.%s", port);
    char *old_value = xasprintf("\"%s\"", old_hex), *new_value = xasprintf("\"%s\"", new_hex);
    add_values(&b, path, old_value, new_value);
    buf_printf(&b, " (%s)", from);
    if (n_changes > 1)
        buf_printf(&b, ", and %zu more", n_changes - 1);
    xfree(new_value);
    xfree(old_value);
    xfree(path);
    return buf_steal(&b);
}

char *plan_why_waits(const char *own, const char *port, const char *producer)
{
    return xasprintf("%s%sinput %s comes from %s, which runs", own ? own : "", own ? ", and " : "",
                     port, producer);
}

/* "config.epochs 4 -> 5 (and 2 more)" */
static char *first_change(const struct plan *p, size_t i, const struct recipe_diff *d)
{
    const struct instance *n = p->graph->instances[i];
    const struct recipe_change *c = &d->changes[0];
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    add_values(&b, c->path, c->old_value, c->new_value);
    for (size_t k = 0; k < n->n_inputs; k++) {
        if (!str_starts(c->path, "inputs.") || !str_eq(c->path + 7, n->inputs[k].port->name))
            continue;
        char *from = plan_input_from(p->graph, &n->inputs[k]);
        buf_printf(&b, " (%s)", from);
        xfree(from);
    }
    if (d->n_changes > 1)
        buf_printf(&b, ", and %zu more", d->n_changes - 1);
    return buf_steal(&b);
}

void plan_known_recipe(const struct plan *p, size_t i, const struct buf *last, struct buf *out)
{
    const struct plan_item *item = &p->items[i];
    if (item->has_key) {
        buf_add(out, item->recipe.bytes, item->recipe.n_bytes);
        return;
    }
    const struct instance *n = p->graph->instances[i];
    struct recipe old;
    struct err ignored = {0};
    if (recipe_parse(buf_text(last), last->n_bytes, &old, &ignored) < 0)
        return;
    struct recipe now;
    memset(&now, 0, sizeof now);
    now.stage = n->desc->name;
    now.binary = n->desc->binary.hex;
    now.config = n->config;
    now.profile = old.profile;
    for (size_t k = 0; k < n->desc->n_libraries; k++)
        now.libraries[now.n_libraries++] =
            (struct recipe_item){n->desc->libraries[k].name, n->desc->libraries[k].id.hex};
    for (size_t k = 0; k < n->desc->n_outs; k++)
        now.outputs[now.n_outputs++] = n->desc->outs[k].name;
    for (size_t k = 0; k < n->n_inputs; k++) {
        const char *id = item->inputs[k].id.hex;
        for (size_t m = 0; !*id && m < old.n_inputs; m++)
            if (str_eq(old.inputs[m].name, n->inputs[k].port->name))
                id = old.inputs[m].id; /* not known yet: taken as unchanged */
        if (*id)
            now.inputs[now.n_inputs++] = (struct recipe_item){n->inputs[k].port->name, id};
    }
    recipe_write(&now, out);
    recipe_release(&old);
}

/* What differs from the newest run of what is known; NULL: nothing, or that one's recipe is gone.
 */
static char *why_changed(const struct plan *p, size_t i, const char *last)
{
    struct buf old, now;
    buf_init(&old, BUF_MAX_DEFAULT);
    buf_init(&now, BUF_MAX_DEFAULT);
    struct err ignored = {0};
    struct recipe_diff d;
    char *text = NULL;
    bool found = store_get_bytes(p->store, last, LIMIT_JSON_BYTES, &old, &ignored) == 0;
    if (found)
        plan_known_recipe(p, i, &old, &now);
    if (found &&
        recipe_diff(buf_text(&old), old.n_bytes, buf_text(&now), now.n_bytes, &d, &ignored) == 0) {
        if (d.n_changes > 0)
            text = first_change(p, i, &d);
        recipe_diff_release(&d);
    }
    buf_release(&now);
    buf_release(&old);
    return text;
}

char *plan_why(const struct plan *p, size_t i)
{
    const struct instance *n = p->graph->instances[i];
    const struct plan_item *item = &p->items[i];
    const char *last = plan_last_key(p, i);
    if (item->cached)
        return xstrdup(PLAN_WHY_CACHED);
    for (size_t k = 0; k < n->n_inputs && !item->has_key; k++) {
        if (n->inputs[k].source != SOURCE_STAGE || p->items[n->inputs[k].producer].cached)
            continue;
        char *own = last ? why_changed(p, i, last) : NULL;
        char *why = plan_why_waits(own, n->inputs[k].port->name,
                                   p->graph->instances[n->inputs[k].producer]->name);
        xfree(own);
        return why;
    }
    if (!last)
        return xstrdup("never made here");
    if (str_eq(last, item->key.hex))
        return xstrdup("same recipe, but its result is gone");
    char *why = why_changed(p, i, last);
    return why ? why : xstrdup("the recipe of its last run is gone");
}

char *plan_input_from(const struct graph *g, const struct graph_input *in)
{
    if (in->source == SOURCE_STAGE) {
        const struct instance *n = g->instances[in->producer];
        return xasprintf("%s.%s", n->name, n->desc->outs[in->i_output].name);
    }
    return xstrdup(in->facet ? in->facet : in->path);
}

struct json *plan_inputs_to_json(const struct plan *p, size_t i)
{
    const struct instance *n = p->graph->instances[i];
    struct json *list = json_new_array();
    for (size_t k = 0; k < n->n_inputs; k++) {
        struct json *o = json_new_object();
        char *from = plan_input_from(p->graph, &n->inputs[k]);
        json_put_string(o, "name", n->inputs[k].port->name);
        json_put_string(o, "kind", n->inputs[k].port->kind);
        json_put_string(o, "from", from);
        xfree(from);
        if (p->items[i].inputs[k].id.hex[0])
            json_put_string(o, "id", p->items[i].inputs[k].id.hex);
        json_append(list, o);
    }
    return list;
}

struct json *plan_outputs_to_json(const struct plan *p, size_t i)
{
    const struct instance *n = p->graph->instances[i];
    struct json *list = json_new_array();
    for (size_t k = 0; k < n->desc->n_outs; k++) {
        struct json *o = json_new_object();
        json_put_string(o, "name", n->desc->outs[k].name);
        json_put_string(o, "kind", n->desc->outs[k].kind);
        const struct action_output *made =
            p->items[i].cached ? find_output(&p->items[i].action, n->desc->outs[k].name) : NULL;
        if (made) {
            json_put_string(o, "id", made->id.hex);
            json_put_bool(o, "folder", made->is_folder);
            json_put_i64(o, "bytes", (int64_t)made->n_bytes);
        }
        json_append(list, o);
    }
    return list;
}

static struct json *item_to_json(const struct plan *p, size_t i, const struct plan_cost *cost,
                                 const char *held)
{
    const struct instance *n = p->graph->instances[i];
    struct json *o = json_new_object();
    char *why = plan_why(p, i);
    json_put_string(o, "stage", n->name);
    json_put_string(o, "run", n->desc->name);
    json_put_string(o, "status", p->items[i].cached ? "cached" : "run");
    json_put(o, "key",
             p->items[i].has_key ? json_new_string(p->items[i].key.hex) : json_new_null());
    json_put_string(o, "why", why);
    char *remark = graph_remark(p->graph, i);
    if (remark)
        json_put_string(o, "remark", remark);
    xfree(remark);
    if (held)
        json_put_string(o, "held", held);
    if (cost && !p->items[i].cached && !held)
        json_put(o, "seconds",
                 cost->seconds[i] < 0 ? json_new_null() : json_new_f64(cost->seconds[i]));
    json_put(o, "inputs", plan_inputs_to_json(p, i));
    json_put(o, "outputs", plan_outputs_to_json(p, i));
    xfree(why);
    return o;
}

struct json *plan_to_json(const struct plan *p, const struct plan_cost *cost,
                          const struct plan_gates *gates)
{
    struct json *root = json_new_object();
    struct json *stages = json_new_array();
    json_put_string(root, "schema", "fmforge.plan/1");
    json_put_string(root, "name", p->graph->manifest->name);
    if (cost) {
        struct json *expected = json_new_object();
        json_put_f64(expected, "seconds", cost->sum);
        json_put_i64(expected, "unknown", (int64_t)cost->n_unknown);
        json_put(root, "expected", expected);
    }
    for (size_t i = 0; i < p->graph->n_instances; i++)
        json_append(stages, item_to_json(p, i, cost, gates ? gates->held[i] : NULL));
    json_put(root, "stages", stages);
    if (gates)
        json_put(root, "gates", json_clone(gates->records));
    return root;
}

void plan_to_text(const struct plan *p, const struct plan_cost *cost,
                  const struct plan_gates *gates, struct buf *out)
{
    size_t n = p->graph->n_instances;
    struct plan_row *rows = xalloc_array(n, sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] =
            (struct plan_row){p->graph->instances[i]->name, plan_why(p, i), p->items[i].cached,
                              cost ? cost->seconds[i] : -1, gates ? gates->held[i] : NULL};
    if (gates)
        judge_records_to_text(gates->records, NULL, "", out);
    plan_rows_to_text(p->graph->manifest->name, rows, n, cost != NULL, out);
    for (size_t i = 0; i < n; i++)
        xfree(rows[i].why);
    xfree(rows);
}
