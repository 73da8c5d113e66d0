#include "pipeline/engine/facet_made.h"

#include <string.h>

#include "pipeline/base/xalloc.h"
#include "pipeline/engine/graph.h"
#include "pipeline/engine/plan.h"
#include "pipeline/manifest/manifest.h"
#include "pipeline/store/store.h"

/* A manifest of this toolkit and no stage. */
static int open_manifest(struct manifest *m, const struct toolkit_dir *t, struct err *e)
{
    static const char text[] = "toolkits: x\n";
    memset(m, 0, sizeof *m);
    m->name = "tool";
    int rc = yaml_doc_parse(&m->doc, "--toolkit", text, strlen(text), e);
    if (rc == 0)
        rc = yaml_doc_set(&m->doc, "toolkits", t->folder, "--toolkit", e);
    if (rc == 0)
        m->toolkits = doc_get(m->doc.root, "toolkits");
    return rc;
}

/* NULL when there is none: none is made. */
static int open_store(const char *home, struct store **out, struct err *e)
{
    int rc = store_open_present(home, out, e);
    if (rc < 0 || *out == NULL)
        return rc;
    store_close(*out);
    return store_open(home, out, e); /* a copy may be made in it */
}

static int take_output(const struct graph *g, const struct graph_input *in, struct store *s,
                       char **path, struct err *e)
{
    struct plan plan = {0};
    int rc = plan_open(&plan, g, s, e);
    const struct action_output *made =
        rc == 0 ? plan_output(&plan, in->producer, in->i_output) : NULL;
    if (made)
        rc = store_raw(s, made->id.hex, made->is_folder, path, e);
    if (rc == 0)
        rc = store_flush_memo(s, e);
    if (rc == 0 && *path) /* the tool reads it when this store is closed */
        rc = store_leave(s, e);
    plan_release(&plan);
    return rc;
}

int facet_made(const struct toolkit_dir *t, const struct desc_port *port,
               const struct facet_made_options *o, char **path, struct err *e)
{
    struct manifest m;
    struct describe d;
    struct graph g = {0};
    struct graph_input in = {.port = port};
    struct store *s = NULL;
    *path = NULL;
    describe_init(&d, o->program_folder, NULL, false);
    int rc = open_manifest(&m, t, e);
    if (rc == 0)
        rc = graph_open(&g, &m, &d, e);
    if (rc == 0)
        rc = graph_facet(&g, 0, &in, e);
    if (rc == 0)
        rc = open_store(o->home, &s, e);
    if (rc == 0 && s)
        rc = take_output(&g, &in, s, path, e);
    if (rc == 0 && !*path)
        rc = err_set(e, ERR_CONFIG,
                     "facet %s of toolkit %s is made by stage %s, and %s does not have it: run a "
                     "manifest that names toolkit.%s (fmforge run), or give --%s",
                     port->name, t->label, g.instances[in.producer]->desc->name, o->home,
                     port->name, port->name);
    xfree(in.facet);
    store_close(s);
    graph_release(&g);
    describe_release(&d);
    manifest_release(&m);
    return rc;
}
