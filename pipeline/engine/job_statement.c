#include "pipeline/engine/job_statement.h"
#include "pipeline/base/clock.h"

#include <gnu/libc-version.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/release.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/key.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/statement.h"

/* Everything that the facts point at while they are written. */
struct parts {
    struct statement_subject subjects[ACTION_OUTPUTS_MAX];
    struct buf listings[ACTION_OUTPUTS_MAX];
    struct statement_input inputs[DESC_PORTS_MAX];
    char *from[DESC_PORTS_MAX];
    struct statement_pair libraries[DESC_LIBRARIES_MAX];
    struct statement_dirty *dirty;
    struct statement_pair host[4];
    struct statement_pair tools[1];
    char *binary_name;
    struct json *profile;
    struct json *events;
};

static int fill_subjects(struct job_env *env, const struct action *a, struct parts *p,
                         struct statement_facts *f, struct err *e)
{
    for (size_t i = 0; i < a->n_outputs; i++) {
        const struct action_output *o = &a->outputs[i];
        struct statement_subject *s = &p->subjects[i];
        *s =
            (struct statement_subject){o->name, o->kind, o->id.hex, o->is_folder, o->n_bytes, NULL};
        buf_init(&p->listings[i], BUF_MAX_DEFAULT);
        if (!o->is_folder)
            continue;
        int rc =
            store_get_bytes(env->session->store, o->id.hex, BUF_MAX_DEFAULT, &p->listings[i], e);
        if (rc < 0)
            return rc;
        s->listing = buf_text(&p->listings[i]);
    }
    f->subjects = p->subjects;
    f->n_subjects = a->n_outputs;
    return 0;
}

static void fill_inputs(struct job_env *env, const struct job *j, struct parts *p,
                        struct statement_facts *f)
{
    const struct session *s = env->session;
    const struct instance *n = s->graph.instances[j->i];
    const struct plan_item *item = &s->plan.items[j->i];
    for (size_t i = 0; i < n->n_inputs; i++) {
        const struct graph_input *in = &n->inputs[i];
        struct statement_input *out = &p->inputs[i];
        memset(out, 0, sizeof *out);
        out->name = in->port->name;
        out->kind = in->port->kind;
        out->id = item->inputs[i].id.hex;
        out->is_folder = item->inputs[i].is_folder;
        out->n_bytes = item->inputs[i].n_bytes;
        out->uri = in->source == SOURCE_PATH ? in->path : NULL;
        out->facet = in->facet;
        if (in->source != SOURCE_STAGE)
            continue;
        out->producer = s->plan.items[in->producer].key.hex;
        p->from[i] = plan_input_from(&s->graph, in);
        out->from = p->from[i];
    }
    f->inputs = p->inputs;
    f->n_inputs = n->n_inputs;
    for (size_t i = 0; i < n->desc->n_libraries; i++)
        p->libraries[i] =
            (struct statement_pair){n->desc->libraries[i].name, n->desc->libraries[i].id.hex};
    f->libraries = p->libraries;
    f->n_libraries = n->desc->n_libraries;
}

/* The source code is looked at once a run; a repository that cannot be read fails nothing. */
static void fill_source(struct job_env *env, struct parts *p, struct statement_source *f)
{
    struct err cause = {0};
    if (!env->source && ledger_source(env->helper, ".", &env->source, &cause) < 0) {
        env->source = json_new_object();
        json_put_string(env->source, "unavailable", cause.text);
    }
    f->commit = json_find_text(env->source, "commit");
    f->branch = json_find_text(env->source, "branch");
    f->unavailable = json_find_text(env->source, "unavailable");
    if (!f->commit && !f->unavailable)
        f->unavailable = "there is no commit";
    const struct json *dirty = json_get(env->source, "dirty");
    size_t n = dirty ? json_count(dirty) : 0;
    p->dirty = xalloc_array(n, sizeof *p->dirty);
    for (const struct json *d = dirty ? json_first(dirty) : NULL; d; d = json_next(d)) {
        if (!json_find_text(d, "path"))
            continue;
        p->dirty[f->n_dirty++] = (struct statement_dirty){
            json_find_text(d, "path"), json_find_text(d, "sha256"), json_find_text(d, "unhashed")};
    }
    f->dirty = p->dirty;
    const struct json *total = json_get(env->source, "dirty_total");
    f->n_dirty_all = total ? (uint64_t)json_number(total) : f->n_dirty;
}

static void read_cpu(char *out, size_t size)
{
    out[0] = '\0';
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f && !out[0] && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (colon && str_starts(line, "model name"))
            snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    if (f)
        fclose(f);
}

static void fill_host(struct job_host *host, struct parts *p, struct statement_facts *f)
{
    if (!host->is_known) {
        read_cpu(host->cpu, sizeof host->cpu);
        if (uname(&host->uname) != 0)
            memset(&host->uname, 0, sizeof host->uname);
        host->is_known = true;
    }
    const struct statement_pair pairs[] = {{"os", host->uname.sysname},
                                           {"kernel", host->uname.release},
                                           {"machine", host->uname.machine},
                                           {"cpu", host->cpu}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].value[0])
            p->host[f->n_host++] = pairs[i];
    p->tools[f->n_tools++] = (struct statement_pair){"libc", gnu_get_libc_version()};
    f->host = p->host;
    f->tools = p->tools;
}

struct json *job_final_event(const char *events)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    struct err ignored = {0};
    struct json *out = NULL;
    if (file_read(events, LIMIT_LOG_BYTES, &b, &ignored) == 0) {
        char *at = b.bytes;
        for (char *line = at; line && *line; line = at) {
            size_t n = strcspn(line, "\n");
            at = line + n + (line[n] == '\n');
            struct json *v = NULL;
            struct err bad = {0};
            if (json_parse(line, n, &v, &bad) < 0)
                continue;
            const char *type = json_find_text(v, "event");
            if (json_type(v) == JSON_OBJECT && type && !str_eq(type, "progress")) {
                json_free(out);
                out = v;
            } else {
                json_free(v);
            }
        }
    }
    buf_release(&b);
    return out;
}

static void fill_times(const struct job *j, struct statement_facts *f)
{
    f->started_ms = j->started_unix_ms;
    f->finished_ms = j->started_unix_ms + (int64_t)(j->finished_ms - j->started_ms);
    f->usage.wall_seconds = (j->finished_ms - j->started_ms) / 1e3;
    f->usage.user_seconds = clock_seconds(j->usage.ru_utime);
    f->usage.system_seconds = clock_seconds(j->usage.ru_stime);
    f->usage.peak_bytes = (uint64_t)j->usage.ru_maxrss * 1024;
}

static void release(struct parts *p, size_t n_subjects)
{
    for (size_t i = 0; i < n_subjects; i++)
        buf_release(&p->listings[i]);
    for (size_t i = 0; i < DESC_PORTS_MAX; i++)
        xfree(p->from[i]);
    xfree(p->dirty);
    xfree(p->binary_name);
    json_free(p->profile);
    json_free(p->events);
    xfree(p);
}

int job_statement(struct job_env *env, const struct job *j, const struct action *a,
                  const char *log_id, struct content_id *id, struct err *e)
{
    const struct session *s = env->session;
    const struct instance *n = s->graph.instances[j->i];
    struct parts *p = xalloc(sizeof *p);
    struct statement_facts f;
    memset(&f, 0, sizeof f);
    int rc = fill_subjects(env, a, p, &f, e);
    fill_inputs(env, j, p, &f);
    fill_source(env, p, &f.source);
    fill_host(&env->host, p, &f);
    fill_times(j, &f);
    f.stage = n->desc->name;
    f.instance = n->name;
    f.pipeline = s->manifest.name;
    f.toolkit = n->i_toolkit != GRAPH_NONE ? s->graph.toolkits[n->i_toolkit].label : NULL;
    f.recipe = s->plan.items[j->i].key.hex;
    f.config = n->config;
    p->profile = key_profile(n->desc);
    f.profile = p->profile;
    p->binary_name = xasprintf("stage-%s", n->desc->name);
    f.binary_name = p->binary_name;
    f.binary = n->desc->binary.hex;
    f.manifest_uri = s->manifest.doc.path;
    f.manifest = env->manifest_id.hex;
    f.builder_version = FMFORGE_VERSION;
    f.builder_binary = env->builder_id.hex[0] ? env->builder_id.hex : NULL;
    f.invocation = env->invocation;
    f.usage.threads = env->threads_each;
    f.usage.retries = j->retries;
    f.kernels = env->kernels;
    f.sandbox = env->sandbox.text;
    f.log = log_id;
    p->events = job_final_event(j->events);
    f.events = p->events;
    struct buf out;
    buf_init(&out, BUF_MAX_DEFAULT);
    if (rc == 0) {
        statement_build(&f, &out);
        rc = store_put_bytes(s->store, out.bytes, out.n_bytes, id, e);
    }
    buf_release(&out);
    release(p, a->n_outputs);
    return rc;
}
