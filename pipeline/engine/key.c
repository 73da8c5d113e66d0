#include "pipeline/engine/key.h"

#include <string.h>

#include "pipeline/provenance/recipe.h"

_Static_assert(RECIPE_INPUTS_MAX >= DESC_PORTS_MAX, "every input has a place in the recipe");
_Static_assert(RECIPE_OUTPUTS_MAX >= DESC_PORTS_MAX, "every output has a place in the recipe");
_Static_assert(RECIPE_LIBRARIES_MAX >= DESC_LIBRARIES_MAX, "every library has a place");

struct json *key_profile(const struct stage_desc *d)
{
    struct json *p = d->profile && !d->portable ? json_clone(d->profile) : json_new_object();
    json_put_bool(p, "portable", d->portable);
    return p;
}

struct content_id key_of(const struct instance *n, const struct plan_input *inputs, struct buf *out)
{
    const struct stage_desc *d = n->desc;
    struct json *profile = key_profile(d);
    struct recipe r;
    memset(&r, 0, sizeof r);
    r.stage = d->name;
    r.binary = d->binary.hex;
    r.config = n->config;
    r.profile = profile;
    for (size_t i = 0; i < d->n_libraries; i++)
        r.libraries[r.n_libraries++] =
            (struct recipe_item){d->libraries[i].name, d->libraries[i].id.hex};
    for (size_t i = 0; i < n->n_inputs; i++)
        r.inputs[r.n_inputs++] = (struct recipe_item){n->inputs[i].port->name, inputs[i].id.hex};
    for (size_t i = 0; i < d->n_outs; i++)
        r.outputs[r.n_outputs++] = d->outs[i].name;
    recipe_write(&r, out);
    json_free(profile);
    return recipe_key(out);
}
