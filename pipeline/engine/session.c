#include "pipeline/engine/session.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static void say_large(const void *context, const char *path, uint64_t n_bytes)
{
    char size[16];
    term_notef(context, "%s: reading its %s for their hash\n", path,
               str_format_bytes(n_bytes, size));
}

int session_open(struct session *s, const struct session_options *o, struct err *e)
{
    memset(s, 0, sizeof *s);
    int rc = manifest_open(&s->manifest, o->manifest_path, o->sets, o->n_sets, e);
    s->absent = rc == 0 ? manifest_absent(&s->manifest) : NULL;
    if (rc == 0 && !s->absent)
        rc = o->may_write ? store_open(o->home, &s->store, e)
                          : store_open_present(o->home, &s->store, e);
    if (rc < 0 || s->absent)
        return rc;
    if (s->store && o->term)
        store_on_large(s->store, say_large, o->term);
    describe_init(&s->describe, o->program_folder, s->store, o->may_write);
    rc = graph_open(&s->graph, &s->manifest, &s->describe, e);
    if (rc == 0)
        rc = graph_refuse_around(&s->graph, o->home, e);
    return rc < 0 ? rc : plan_open(&s->plan, &s->graph, s->store, e);
}

void session_say_remarks(const struct session *s, const struct term *term)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    graph_remarks(&s->graph, &b);
    if (b.n_bytes > 0)
        term_note(term, buf_text(&b));
    buf_release(&b);
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

char *session_absent_text(const struct session *s)
{
    static const char root[] = "out/"; /* --out of that run, unless it was given */
    const char *name = str_starts(s->absent, root) ? s->absent + strlen(root) : "";
    int n = (int)strcspn(name, "/");
    if (n == 0 || name[n] == '\0')
        return xasprintf("%s is not there", s->absent);
    return xasprintf("%s is not there; the manifest with `name: %.*s` delivers to %s%.*s",
                     s->absent, n, name, root, n, name);
}
