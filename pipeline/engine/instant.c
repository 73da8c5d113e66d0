#include "pipeline/engine/instant.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/baseline.h"
#include "pipeline/engine/deliver.h"
#include "pipeline/engine/run_state.h"
#include "pipeline/engine/spawn.h"
#include "pipeline/store/seen.h"
#include "pipeline/store/state_file.h"

#define CLOCK_TICK_MS 10.0 /* less than what seen.c asks of a file */

static void see_there_or_not(struct seen *s, const char *path)
{
    seen_add(s, file_exists(path) ? SEEN_TARGET : SEEN_ABSENT, path);
}

static void see_yaml_in(struct seen *s, const char *folder)
{
    char *path = file_join(folder, "toolkit.yaml");
    see_there_or_not(s, path);
    xfree(path);
}

/* Which layout fits, and which version it is, could change with any of these. */
static void see_by_layout(struct seen *s, const struct toolkit_dir *t)
{
    struct file_list names = {0};
    struct err ignored = {0};
    see_yaml_in(s, t->folder);
    seen_add_tree(s, t->folder);
    seen_add(s, SEEN_TARGET, TOOLKIT_SHELF);
    if (file_list_names(TOOLKIT_SHELF, &names, &ignored) < 0)
        s->is_sound = false;
    for (size_t i = 0; i < names.n_paths; i++) {
        char *path = file_join(TOOLKIT_SHELF, names.paths[i]);
        seen_add(s, SEEN_TARGET, path);
        if (file_is_folder(path))
            see_yaml_in(s, path);
        xfree(path);
    }
    file_list_release(&names);
    const struct doc_node *versions = doc_get(t->doc.root, "versions");
    for (const struct doc_node *n = versions ? versions->first : NULL; n; n = n->next) {
        char *folder = file_join(TOOLKIT_SHELF, n->text);
        see_yaml_in(s, folder);
        xfree(folder);
    }
}

static void see_toolkits(struct seen *s, const struct session *session)
{
    for (size_t i = 0; i < session->graph.n_toolkits; i++) {
        const struct toolkit_dir *t = &session->graph.toolkits[i];
        seen_add(s, SEEN_TARGET, t->doc.path);
        if (t->version_of)
            see_by_layout(s, t);
    }
}

static void see_manifest(struct seen *s, const struct session *session)
{
    const struct doc_node *skip = session->manifest.skip_without;
    seen_add(s, SEEN_TARGET, session->manifest.doc.path);
    for (const struct doc_node *n = skip ? skip->first : NULL; n; n = n->next)
        seen_add(s, SEEN_PRESENT, n->text);
}

static void see_instance(struct seen *s, const struct session *session, size_t i)
{
    const struct instance *n = session->graph.instances[i];
    bool has_drop = false;
    for (size_t k = 0; k < n->n_inputs; k++)
        if (n->inputs[k].source == SOURCE_PATH)
            seen_add_tree(s, n->inputs[k].path);
    for (size_t g = 0; g < n->n_gates; g++)
        has_drop |= n->gates[g].type == GATE_DROP;
    if (has_drop) {
        char *path = baseline_path(session->manifest.name, n->name);
        see_there_or_not(s, path);
        xfree(path);
    }
    store_see(session->store, &session->plan.items[i].action, s);
}

static void see_store_file(struct seen *s, const struct session *session, const char *format)
{
    char *relative = xasprintf(format, session->manifest.name);
    char *path = store_path(session->store, relative);
    see_there_or_not(s, path);
    xfree(path);
    xfree(relative);
}

static void see_deliveries(struct seen *s, const struct run *r)
{
    const struct graph *g = &r->session->graph;
    for (size_t d = 0; d < g->n_deliveries; d++) {
        char *path = deliver_path(&g->deliveries[d], r->options->out_root);
        seen_add_tree(s, path);
        xfree(path);
    }
}

void instant_see_plan(struct seen *s, const struct run *r)
{
    const struct session *session = r->session;
    static const char *const programs[] = {"fmforge", "fmforge-engine"};
    for (size_t i = 0; i < 2; i++) {
        char *program = file_join(r->options->program_folder, programs[i]);
        seen_add(s, SEEN_SELF, program);
        xfree(program);
    }
    see_store_file(s, session, "version");
    see_store_file(s, session, "last/%s.json");
    /* Marks of any pipeline, and of what may not be on the disk: the folders' times. */
    see_store_file(s, session, "owed");
    see_store_file(s, session, "unsynced");
    see_manifest(s, session);
    describe_see(&session->describe, s);
    for (size_t i = 0; i < session->graph.n_instances; i++)
        see_instance(s, session, i);
}

/* File times are worth nothing when the clock was set back while the run looked. */
bool instant_clock_went_on(const struct run *r)
{
    double passed_ms = clock_ms() - r->started_ms;
    double read_ms = (double)(seen_clock_ns() - r->options->instant->began_ns) / 1e6;
    return read_ms + CLOCK_TICK_MS >= passed_ms;
}

void instant_keep(const struct run *r, const char *text)
{
    const struct instant *in = r->options->instant;
    struct seen seen;
    struct buf question, packed;
    struct err ignored = {0};
    seen_init(&seen, in->began_ns);
    buf_init(&question, BUF_MAX_DEFAULT);
    buf_init(&packed, BUF_MAX_DEFAULT);
    instant_see_plan(&seen, r);
    see_toolkits(&seen, r->session);
    see_deliveries(&seen, r);
    if (instant_question(in, &question) && seen_pack(&seen, &packed) && instant_clock_went_on(r)) {
        struct state_file s = {.question = question.bytes,
                               .question_bytes = question.n_bytes,
                               .text = text,
                               .name = r->session->manifest.name,
                               .manifest = r->env.manifest_id.hex,
                               .n_stages = r->session->graph.n_instances,
                               .seen = packed.bytes,
                               .seen_bytes = packed.n_bytes};
        if (state_file_write(in->home, &s, &ignored) < 0)
            ignored.text[0] = '\0';
    }
    buf_release(&packed);
    buf_release(&question);
    seen_release(&seen);
}
