#include "pipeline/engine/privacy.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/toolkit_dir.h"
#include "pipeline/store/listing.h"

/* A toolkit that cannot be read may say anything. */
static bool has_private_facet(const char *folder)
{
    struct toolkit_dir t;
    struct err unread = {0};
    bool found = toolkit_dir_open(&t, folder, &unread) < 0 || t.version_of != NULL;
    for (size_t i = 0; i < t.n_facets && !found; i++)
        found = t.facets[i].is_private;
    toolkit_dir_release(&t);
    return found;
}

/* Is it in the folder of a toolkit that has something private, or such a folder itself? */
static bool path_is_private(const char *path)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return true;
    bool found = false;
    for (char *slash = real + strlen(real); slash != NULL && slash != real && !found;
         slash = strrchr(real, '/')) {
        *slash = '\0';
        found = toolkit_dir_is_one(real) && has_private_facet(real);
    }
    return found;
}

static bool input_is_private(const struct privacy *p, const struct graph_input *in)
{
    if (in->is_private)
        return true;
    if (in->source == SOURCE_STAGE)
        return p->is_private[in->producer];
    return in->source == SOURCE_PATH && !in->facet && path_is_private(in->path);
}

static bool makes_private_facet(const struct graph *g, const struct instance *n)
{
    if (n->stage || n->i_toolkit == GRAPH_NONE)
        return false;
    const struct facet *f = toolkit_dir_facet(&g->toolkits[n->i_toolkit], n->stage_name);
    return !f || f->is_private;
}

void privacy_open(struct privacy *p, const struct graph *g)
{
    p->graph = g;
    p->is_private = xalloc_array(g->n_instances, sizeof *p->is_private);
    p->input_is = xalloc_array(g->n_instances, sizeof *p->input_is);
    for (size_t i = 0; i < g->n_instances; i++) { /* what an instance needs stands before it */
        const struct instance *n = g->instances[i];
        p->is_private[i] = makes_private_facet(g, n);
        p->input_is[i] = xalloc_array(n->n_inputs, sizeof **p->input_is);
        for (size_t k = 0; k < n->n_inputs; k++) {
            p->input_is[i][k] = input_is_private(p, &n->inputs[k]);
            p->is_private[i] |=
                p->input_is[i][k] && stage_desc_copies(n->desc, n->inputs[k].port->name);
        }
    }
}

void privacy_release(struct privacy *p)
{
    for (size_t i = 0; p->input_is && i < p->graph->n_instances; i++)
        xfree(p->input_is[i]);
    xfree(p->input_is);
    xfree(p->is_private);
    id_set_release(&p->ids);
    memset(p, 0, sizeof *p);
}

/* The ids of a stored folder's files; false when its listing cannot be read. */
static bool each_file(struct store *s, const char *id_hex, bool (*f)(struct id_set *, const char *),
                      struct id_set *ids)
{
    struct buf listing;
    struct err unread = {0};
    buf_init(&listing, BUF_MAX_DEFAULT);
    bool ok = store_get_bytes(s, id_hex, BUF_MAX_DEFAULT, &listing, &unread) == 0;
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (ok && listing_next(&cursor, &id, &name, &n_name))
        ok = f(ids, id.hex);
    buf_release(&listing);
    return ok;
}

static bool add_id(struct id_set *ids, const char *id_hex)
{
    id_set_add(ids, id_hex);
    return true;
}

static bool is_other(struct id_set *ids, const char *id_hex)
{
    return !id_set_has(ids, id_hex);
}

/* A source folder's files; through the stat memo. */
static bool add_source_files(struct id_set *ids, struct store *s, const char *folder)
{
    struct file_list files = {0};
    struct err unread = {0};
    bool ok = file_list_folder(folder, &files, &unread) == 0;
    for (size_t i = 0; i < files.n_paths && ok; i++) {
        char *path = file_join(folder, files.paths[i]);
        struct content_id id;
        ok = store_hash_source(s, path, &id, NULL, NULL, &unread) == 0;
        if (ok)
            id_set_add(ids, id.hex);
        xfree(path);
    }
    file_list_release(&files);
    return ok;
}

static bool add_input(struct privacy *p, const struct plan *plan, const struct graph_input *in,
                      const struct plan_input *known)
{
    if (!id_set_add(&p->ids, known->id.hex) || !known->is_folder)
        return true;
    return in->source == SOURCE_PATH ? add_source_files(&p->ids, plan->store, in->path)
                                     : each_file(plan->store, known->id.hex, add_id, &p->ids);
}

/* What is known of private inputs and results by now; false when some of it cannot be read. */
static bool collect(struct privacy *p, const struct plan *plan)
{
    bool ok = true;
    for (size_t i = 0; i < p->graph->n_instances && ok; i++) {
        const struct instance *n = p->graph->instances[i];
        const struct plan_item *item = &plan->items[i];
        for (size_t k = 0; k < n->n_inputs && ok && item->has_key; k++)
            if (p->input_is[i][k])
                ok = add_input(p, plan, &n->inputs[k], &item->inputs[k]);
        for (size_t k = 0; p->is_private[i] && item->cached && k < item->action.n_outputs && ok;
             k++) {
            const struct action_output *o = &item->action.outputs[k];
            if (id_set_add(&p->ids, o->id.hex) && o->is_folder)
                ok = each_file(plan->store, o->id.hex, add_id, &p->ids);
        }
    }
    return ok;
}

bool privacy_may_leave(struct privacy *p, const struct plan *plan, size_t i)
{
    const struct plan_item *item = &plan->items[i];
    bool may = !p->is_private[i] && item->cached && collect(p, plan);
    for (size_t k = 0; may && k < item->action.n_outputs; k++) {
        const struct action_output *o = &item->action.outputs[k];
        may = is_other(&p->ids, o->id.hex) &&
              (!o->is_folder || each_file(plan->store, o->id.hex, is_other, &p->ids));
    }
    return may;
}
