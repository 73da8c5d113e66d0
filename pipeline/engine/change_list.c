#include "pipeline/engine/change_list.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/provenance/recipe.h"
#include "pipeline/provenance/runs.h"

static void put_value(struct json *o, const char *key, const char *canonical)
{
    struct json *v = NULL;
    struct err ignored = {0};
    if (canonical != NULL && json_parse(canonical, strlen(canonical), &v, &ignored) == 0)
        json_put(o, key, v);
    else
        json_put(o, key, json_new_null());
}

static const char *input_from(const struct json *inputs, const char *field)
{
    const struct json *i = inputs != NULL && str_starts(field, "inputs.") ? json_first(inputs) : 0;
    for (; i != NULL; i = json_next(i))
        if (str_eq(json_text(i, "name"), field + strlen("inputs.")))
            return json_find_text(i, "from");
    return NULL;
}

int change_list_add(struct json *list, const char *old_recipe, const char *new_recipe,
                    const struct json *inputs, struct err *e)
{
    struct recipe_diff d;
    int rc = recipe_diff(old_recipe, strlen(old_recipe), new_recipe, strlen(new_recipe), &d, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < d.n_changes; i++) {
        struct json *o = json_new_object();
        const char *from = input_from(inputs, d.changes[i].path);
        json_put_string(o, "field", d.changes[i].path);
        put_value(o, "old", d.changes[i].old_value);
        put_value(o, "new", d.changes[i].new_value);
        if (from != NULL)
            json_put_string(o, "from", from);
        json_append(list, o);
    }
    recipe_diff_release(&d);
    return 0;
}

void change_list_to_text(const struct json *list, struct buf *out)
{
    for (const struct json *c = json_first(list); c != NULL; c = json_next(c)) {
        buf_printf(out, "  %s: ", json_find_text(c, "field"));
        json_write_canonical(json_get(c, "old"), out);
        buf_add_text(out, " -> ");
        json_write_canonical(json_get(c, "new"), out);
        if (json_find_text(c, "from") != NULL)
            buf_printf(out, "  through %s", json_find_text(c, "from"));
        buf_add_char(out, '\n');
    }
}
