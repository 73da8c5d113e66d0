#include "pipeline/engine/job_inputs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define MAGIC "FMSEEN01"
#define HEADER_BYTES 16

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

static bool see_programs(const struct stage_desc *d, struct buf *out)
{
    struct seen s;
    seen_init(&s, SEEN_ANY_AGE);
    seen_add(&s, SEEN_SELF, d->program);
    for (size_t i = 0; i < d->n_libraries; i++)
        seen_add(&s, SEEN_SELF, d->libraries[i].path);
    bool sound = seen_pack(&s, out);
    seen_release(&s);
    return sound;
}

static bool see_inputs(const struct instance *n, struct buf *out)
{
    struct seen s;
    seen_init(&s, SEEN_ANY_AGE);
    for (size_t i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i].source != SOURCE_PATH)
            continue;
        seen_add(&s, SEEN_SELF, n->inputs[i].path); /* a link to the folder, too */
        seen_add_tree(&s, n->inputs[i].path);
    }
    bool sound = seen_pack(&s, out);
    seen_release(&s);
    return sound;
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
    static const char told[] = "was written while the stage ran, and has the same bytes again: the "
                               "stage may have read others, so its result is not kept";
    char path[LIMIT_PATH_BYTES];
    if (!seen_same_by(SEEN_UNWRITTEN, j->programs.bytes, j->programs.n_bytes, path))
        return err_set(e, ERR_IO, "its program or a library (%s) %s", path, told);
    if (j->inputs.n_bytes == 0 ||
        seen_same_by(SEEN_UNWRITTEN, j->inputs.bytes, j->inputs.n_bytes, path))
        return 0;
    const struct graph_input *in = input_at(n, path);
    return err_set(e, ERR_IO, "input %s (%s) %s", in ? in->port->name : "", path, told);
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

/* -------------------------------------------------------------------------------- checkpoints */

char *job_inputs_path(const struct job *j)
{
    return xasprintf("%s.seen", j->work);
}

static int work_inode(const struct job *j, uint64_t *inode, struct err *e)
{
    struct stat st;
    if (stat(j->work, &st) != 0)
        return err_set_errno(e, errno, "%s: cannot read its state", j->work);
    *inode = (uint64_t)st.st_ino;
    return 0;
}

static int write_seen(const struct job *j, struct err *e)
{
    struct buf b;
    uint64_t inode = 0;
    unsigned char header[HEADER_BYTES] = MAGIC;
    char *path = job_inputs_path(j);
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = work_inode(j, &inode, e);
    bytes_put_u64(header + 8, inode);
    buf_add(&b, header, sizeof header);
    buf_add(&b, j->inputs.bytes, j->inputs.n_bytes);
    struct content_id sum = sha256_of(b.bytes, b.n_bytes);
    buf_add(&b, sum.hex, SHA256_HEX);
    if (rc == 0)
        rc = file_replace(path, b.bytes, b.n_bytes, 0644, e);
    buf_release(&b);
    xfree(path);
    return rc;
}

/* Why what lies in the work folder may not be used; NULL when it may. Caller xfrees. */
static char *why_doubtful(const struct job *j)
{
    struct buf b;
    struct err ignored = {0};
    uint64_t inode = 0;
    char changed[LIMIT_PATH_BYTES];
    char *path = job_inputs_path(j), *why = NULL;
    buf_init(&b, BUF_MAX_DEFAULT);
    bool sound = file_read(path, BUF_MAX_DEFAULT - 1, &b, &ignored) == 0 &&
                 b.n_bytes >= HEADER_BYTES + SHA256_HEX && memcmp(b.bytes, MAGIC, 8) == 0 &&
                 work_inode(j, &inode, &ignored) == 0;
    size_t n = sound ? b.n_bytes - SHA256_HEX : 0;
    sound = sound && memcmp(sha256_of(b.bytes, n).hex, b.bytes + n, SHA256_HEX) == 0;
    bool in_place = sound && bytes_get_u64(b.bytes + 8) == inode;
    if (!sound)
        why = xstrdup("nothing says what its inputs were");
    else if (!seen_same_by(in_place ? SEEN_IN_PLACE : SEEN_COPIED, b.bytes + HEADER_BYTES,
                           n - HEADER_BYTES, changed))
        why = xasprintf("%s was written since", changed);
    buf_release(&b);
    xfree(path);
    return why;
}

/* Only inputs that are not in the store can have been others under the same key. */
static int settle_work(struct job *j, struct err *e)
{
    struct file_list names = {0};
    if (j->inputs.n_bytes == 0)
        return 0;
    int rc = file_list_names(j->work, &names, e);
    char *why = rc == 0 && names.n_paths > 0 ? why_doubtful(j) : NULL;
    if (why) {
        rc = file_remove_tree(j->work, e);
        if (rc == 0)
            rc = file_make_folder(j->work, e);
        j->note = xasprintf("begins anew: what an earlier run left of it is not used: %s", why);
    }
    xfree(why);
    file_list_release(&names);
    return rc < 0 ? rc : write_seen(j, e);
}

int job_inputs_look(struct job_env *env, struct job *j, struct err *e)
{
    const struct instance *n = instance_of(env, j);
    if (!see_programs(n->desc, &j->programs) || !see_inputs(n, &j->inputs))
        return err_set(e, ERR_IO, "an input, the program or a library cannot be looked at");
    int rc = check_programs(env, j, "since this run began", e);
    return rc < 0 ? rc : settle_work(j, e);
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
