#include "pipeline/engine/why.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/recipe.h"
#include "pipeline/provenance/statement.h"

static void put_value(struct json *o, const char *key, const char *canonical)
{
    struct json *v = NULL;
    struct err ignored = {0};
    if (canonical && json_parse(canonical, strlen(canonical), &v, &ignored) == 0)
        json_put(o, key, v);
    else
        json_put(o, key, json_new_null());
}

static void put_changes(const struct plan *p, size_t i, const struct recipe_diff *d,
                        struct json *list)
{
    const struct instance *n = p->graph->instances[i];
    for (size_t k = 0; k < d->n_changes; k++) {
        struct json *o = json_new_object();
        json_put_string(o, "field", d->changes[k].path);
        put_value(o, "old", d->changes[k].old_value);
        put_value(o, "new", d->changes[k].new_value);
        for (size_t m = 0; m < n->n_inputs; m++) {
            if (!str_starts(d->changes[k].path, "inputs.") ||
                !str_eq(d->changes[k].path + 7, n->inputs[m].port->name))
                continue;
            char *from = plan_input_from(p->graph, &n->inputs[m]);
            json_put_string(o, "from", from);
            xfree(from);
        }
        json_append(list, o);
    }
}

/* With an input that is not made yet the known part of the recipe is compared all the same. */
static void known_recipe(const struct plan *p, size_t i, const char *last_text, size_t n_last,
                         struct buf *out)
{
    const struct plan_item *item = &p->items[i];
    if (item->has_key) {
        buf_add(out, item->recipe.bytes, item->recipe.n_bytes);
        return;
    }
    const struct instance *n = p->graph->instances[i];
    struct recipe old;
    struct err ignored = {0};
    if (recipe_parse(last_text, n_last, &old, &ignored) < 0)
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

static int compare(const struct plan *p, size_t i, const char *last, struct json *changes,
                   struct err *e)
{
    struct buf old, now;
    buf_init(&old, BUF_MAX_DEFAULT);
    buf_init(&now, BUF_MAX_DEFAULT);
    struct recipe_diff d;
    int rc = store_get_bytes(p->store, last, LIMIT_JSON_BYTES, &old, e);
    if (rc == 0) {
        known_recipe(p, i, buf_text(&old), old.n_bytes, &now);
        rc = recipe_diff(buf_text(&old), old.n_bytes, buf_text(&now), now.n_bytes, &d, e);
    }
    if (rc == 0) {
        put_changes(p, i, &d, changes);
        recipe_diff_release(&d);
    }
    buf_release(&old);
    buf_release(&now);
    return rc;
}

static void put_failure(const struct plan *p, size_t i, struct json *root)
{
    if (!p->store || !p->items[i].has_key || p->items[i].cached)
        return;
    char *relative = xasprintf("failed/%s.json", p->items[i].key.hex);
    char *path = store_path(p->store, relative);
    struct json *failed = NULL;
    struct err ignored = {0};
    if (file_exists(path) && json_read(path, &failed, &ignored) == 0)
        json_put(root, "failed", failed);
    xfree(path);
    xfree(relative);
}

static void put_made(const struct plan *p, size_t i, struct json *root)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    struct statement s;
    struct err ignored = {0};
    const char *id = p->items[i].action.statement.hex;
    if (p->items[i].cached && *id &&
        store_get_bytes(p->store, id, LIMIT_JSON_BYTES, &b, &ignored) == 0 &&
        statement_parse(buf_text(&b), b.n_bytes, &s, &ignored) == 0) {
        char when[25];
        json_put_string(root, "made", statement_time(s.facts.finished_ms, when));
        statement_release(&s);
    }
    buf_release(&b);
}

struct json *why_to_json(const struct plan *p, size_t i)
{
    const struct instance *n = p->graph->instances[i];
    const struct plan_item *item = &p->items[i];
    const char *last = plan_last_key(p, i);
    struct json *root = json_new_object();
    struct json *changes = json_new_array();
    char *why = plan_why(p, i);
    json_put_i64(root, "schema", 1);
    json_put_string(root, "stage", n->name);
    json_put_string(root, "run", n->desc->name);
    json_put_string(root, "status", item->cached ? "cached" : "run");
    json_put(root, "key", item->has_key ? json_new_string(item->key.hex) : json_new_null());
    json_put(root, "last", last ? json_new_string(last) : json_new_null());
    json_put_string(root, "why", why);
    xfree(why);
    put_made(p, i, root);
    put_failure(p, i, root);
    struct err lost = {0};
    if (last && !(item->has_key && str_eq(last, item->key.hex)) &&
        compare(p, i, last, changes, &lost) < 0)
        json_put_string(root, "lost", lost.text);
    json_put(root, "changes", changes);
    json_put(root, "inputs", plan_inputs_to_json(p, i));
    return root;
}

static const char *text_of(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);
    return v && json_type(v) == JSON_STRING ? json_string(v) : NULL;
}

void why_to_text(const struct json *why, struct buf *out)
{
    bool cached = str_eq(text_of(why, "status"), "cached");
    const char *key = text_of(why, "key");
    const char *made = text_of(why, "made");
    buf_printf(out, "%s: %s: %s\n", text_of(why, "stage"), cached ? "does not run" : "runs",
               text_of(why, "why"));
    if (key)
        buf_printf(out, "  key %.12s%s%s\n", key, made ? ", made " : "", made ? made : "");
    for (const struct json *c = json_first(json_get(why, "changes")); c; c = json_next(c)) {
        buf_printf(out, "  %s: ", text_of(c, "field"));
        json_write_canonical(json_get(c, "old"), out);
        buf_add_text(out, " -> ");
        json_write_canonical(json_get(c, "new"), out);
        if (text_of(c, "from"))
            buf_printf(out, "  through %s", text_of(c, "from"));
        buf_add_char(out, '\n');
    }
    if (text_of(why, "lost"))
        buf_printf(out, "  cannot be compared with its last run: %s\n", text_of(why, "lost"));
    const struct json *failed = json_get(why, "failed");
    if (failed)
        buf_printf(out, "  its last attempt failed: %s\n",
                   text_of(failed, "reason") ? text_of(failed, "reason") : "no reason recorded");
    if (json_count(json_get(why, "changes")) > 0)
        return;
    for (const struct json *in = json_first(json_get(why, "inputs")); in; in = json_next(in))
        buf_printf(out, "  input %s: %s %.14s\n", text_of(in, "name"), text_of(in, "from"),
                   text_of(in, "id") ? text_of(in, "id") : "(not made yet)");
}
