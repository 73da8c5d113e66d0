#include "pipeline/engine/session.h"

#include <string.h>

static int open_store(struct session *s, const struct session_options *o, struct err *e)
{
    if (o->may_write)
        return store_open(o->home, &s->store, e);
    struct err cause = {0};
    int rc = store_open_read(o->home, &s->store, &cause);
    if (rc == ERR_MISSING) {
        s->store = NULL;
        return 0;
    }
    return rc < 0 ? err_set(e, cause.code, "%s", cause.text) : 0;
}

int session_open(struct session *s, const struct session_options *o, struct err *e)
{
    memset(s, 0, sizeof *s);
    int rc = manifest_open(&s->manifest, o->manifest_path, o->sets, o->n_sets, e);
    s->absent = rc == 0 ? manifest_absent(&s->manifest) : NULL;
    if (rc == 0 && !s->absent)
        rc = open_store(s, o, e);
    if (rc < 0 || s->absent)
        return rc;
    describe_init(&s->describe, o->program_folder, s->store, o->may_write);
    rc = graph_open(&s->graph, &s->manifest, &s->describe, e);
    if (rc == 0)
        rc = graph_refuse_around(&s->graph, o->home, e);
    return rc < 0 ? rc : plan_open(&s->plan, &s->graph, s->store, e);
}

void session_release(struct session *s)
{
    plan_release(&s->plan);
    graph_release(&s->graph);
    describe_release(&s->describe);
    store_close(s->store);
    manifest_release(&s->manifest);
    memset(s, 0, sizeof *s);
}
