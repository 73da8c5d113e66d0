#include "pipeline/engine/job_inputs.h"

#include <string.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static const struct instance *instance_of(const struct job_env *env, const struct job *j)
{
    return env->session->graph.instances[j->i];
}

static int edited(const struct graph_input *in, struct err *e)
{
    return err_set(e, ERR_IO,
                   "input %s (%s) was edited while the stage ran: its result is not kept",
                   in->port->name, in->path);
}

/* ------------------------------------------------------------------------- program, libraries */

static int check_file(struct job_env *env, const char *path, const struct content_id *id,
                      const char *when, struct err *e)
{
    struct content_id now;
    int rc = store_hash_source(env->session->store, path, &now, NULL, NULL, e);
    if (rc == 0 && !str_eq(now.hex, id->hex))
        rc = err_set(e, ERR_IO, "%s was replaced %s", path, when);
    return rc;
}

static int check_programs(struct job_env *env, const struct job *j, const char *when, struct err *e)
{
    const struct stage_desc *d = instance_of(env, j)->desc;
    int rc = check_file(env, d->program, &d->binary, when, e);
    if (rc < 0)
        return err_wrap(e, "the program");
    for (size_t i = 0; i < d->n_libraries && rc == 0; i++)
        rc = check_file(env, d->libraries[i].path, &d->libraries[i].id, when, e);
    return rc < 0 ? err_wrap(e, "a library of the stage") : 0;
}

/* ------------------------------------------------------------------------------------- states */

static void see_programs(struct seen *s, const struct stage_desc *d)
{
    seen_add(s, SEEN_SELF, d->program);
    for (size_t i = 0; i < d->n_libraries; i++)
        seen_add(s, SEEN_SELF, d->libraries[i].path);
}

static void see_inputs(struct seen *s, const struct instance *n)
{
    for (size_t i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i].source != SOURCE_PATH)
            continue;
        seen_add(s, SEEN_SELF, n->inputs[i].path); /* a link to the folder, too */
        seen_add_tree(s, n->inputs[i].path);
    }
}

int job_inputs_look(struct job_env *env, struct job *j, struct err *e)
{
    const struct instance *n = instance_of(env, j);
    struct seen s;
    seen_init(&s, SEEN_ANY_AGE);
    see_programs(&s, n->desc);
    see_inputs(&s, n);
    bool sound = seen_pack(&s, &j->inputs);
    seen_release(&s);
    if (!sound)
        return err_set(e, ERR_IO, "an input, the program or a library cannot be looked at");
    return check_programs(env, j, "since this run began", e);
}

/* Who it belongs to: the input that it is, or lies below; NULL: none. */
static const struct graph_input *input_at(const struct instance *n, const char *path)
{
    for (size_t i = 0; i < n->n_inputs; i++) {
        const struct graph_input *in = &n->inputs[i];
        size_t length = in->source == SOURCE_PATH ? strlen(in->path) : 0;
        if (length > 0 && strncmp(path, in->path, length) == 0 &&
            (path[length] == '\0' || path[length] == '/' || path[length - 1] == '/'))
            return in;
    }
    return NULL;
}

static int check_states(const struct instance *n, const struct job *j, struct err *e)
{
    char path[LIMIT_PATH_BYTES];
    if (seen_same_path(j->inputs.bytes, j->inputs.n_bytes, path))
        return 0;
    const struct graph_input *in = input_at(n, path);
    return err_set(e, ERR_IO,
                   "%s%s (%s) was written while the stage ran, and has the same bytes again: the "
                   "stage may have read others, so its result is not kept",
                   in ? "input " : "its program or a library", in ? in->port->name : "", path);
}

int job_inputs_check(struct job_env *env, const struct job *j, struct err *e)
{
    const struct instance *n = instance_of(env, j);
    const struct plan_item *item = &env->session->plan.items[j->i];
    for (size_t i = 0; i < n->n_inputs; i++) {
        const struct graph_input *in = &n->inputs[i];
        struct content_id now;
        if (in->source != SOURCE_PATH)
            continue;
        int rc = store_hash_source(env->session->store, in->path, &now, NULL, NULL, e);
        if (rc < 0)
            return err_wrap(e, "input %s", in->port->name);
        if (!str_eq(now.hex, item->inputs[i].id.hex))
            return edited(in, e);
    }
    int rc = check_programs(env, j, "while it ran: its result is not kept", e);
    return rc < 0 ? rc : check_states(n, j, e);
}

/* --------------------------------------------------------------------------------------- keep */

int job_inputs_keep(struct job_env *env, struct job *j, struct err *e)
{
    struct store *s = env->session->store;
    const struct instance *n = instance_of(env, j);
    const struct plan_item *item = &env->session->plan.items[j->i];
    for (size_t i = 0; i < n->n_inputs; i++) {
        const struct graph_input *in = &n->inputs[i];
        const struct plan_input *known = &item->inputs[i];
        struct content_id id = {{0}};
        struct err why = {0};
        if (in->source != SOURCE_PATH || known->n_bytes > LIMIT_KEPT_INPUT_BYTES)
            continue;
        int rc = store_hold(s, known->id.hex, known->is_folder, &why);
        if (rc == 0 && store_has(s, known->id.hex))
            continue;
        if (rc == 0)
            rc = store_put_object(s, in->path, &id, NULL, &why);
        if (rc == 0 && !str_eq(id.hex, known->id.hex))
            return edited(in, e);
        if (rc < 0 && !j->note)
            j->note = xasprintf("input %s is not kept in the store: %s", in->port->name, why.text);
    }
    return 0;
}
