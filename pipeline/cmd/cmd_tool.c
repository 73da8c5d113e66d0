/*
 * fmforge NAME: a stage that is a tool, e.g. generate. Its options are its inputs and parameters;
 * inputs that are not given come from a toolkit. The tool replaces this process: nothing of it is
 * cached.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/engine/describe.h"
#include "pipeline/engine/facet_made.h"
#include "pipeline/engine/stage_config.h"
#include "pipeline/engine/toolkit_find.h"

#define OWN_FLAGS 5

struct tool {
    const struct stage_desc *desc;
    const char *program_folder;
    const char *folder, *toolkit_folder, *threads, *kernels, *home;
    const char *ins[DESC_PORTS_MAX];     /* as given */
    const char *params[DESC_PARAMS_MAX]; /* as given */
    bool switches[DESC_PARAMS_MAX];      /* of parameters that are false unless named: --json */
    char *option_names[DESC_PARAMS_MAX]; /* max-new-tokens */
    char *option_helps[DESC_PARAMS_MAX];
    struct flag flags[OWN_FLAGS + DESC_PORTS_MAX + DESC_PARAMS_MAX];
    size_t n_flags;
    char *paths[DESC_PORTS_MAX]; /* resolved */
    struct json *config;
    struct toolkit_dir toolkit;
};

/* The port that is given what a toolkit has: no option names it. */
static bool is_facets(const struct desc_port *p)
{
    return str_eq(p->kind, "facets");
}

static bool is_switch(const struct desc_param *p)
{
    return p->type == DESC_BOOL && p->default_value && !json_bool(p->default_value);
}

/* Its sentence, its values, its default; caller frees. */
static char *param_help(const struct desc_param *p)
{
    const double bounds[2] = {p->min, p->max};
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add_text(&b, p->help);
    const struct json *first = p->choices ? json_first(p->choices) : NULL;
    for (const struct json *c = first; c; c = json_next(c))
        buf_printf(&b, "%s%s", c == first ? " [" : "|", json_string(c));
    if (first)
        buf_add_char(&b, ']');
    flag_help_range(p->bounded ? bounds : NULL, p->unit, &b);
    if (!p->default_value) {
        buf_add_text(&b, " (required)");
    } else if (json_type(p->default_value) == JSON_STRING) {
        const char *text = json_string(p->default_value);
        buf_printf(&b, " (default %s)", *text ? text : "empty");
    } else if (!is_switch(p)) {
        buf_add_text(&b, " (default ");
        json_write_canonical(p->default_value, &b);
        buf_add_char(&b, ')');
    }
    return buf_steal(&b);
}

static void make_flags(struct tool *t)
{
    const struct flag own[OWN_FLAGS] = {
        {"folder", 'C', FLAG_STRING, &t->folder, "DIR", "work in DIR"},
        {"home", 0, FLAG_STRING, &t->home, "DIR",
         "store where a facet that a stage makes is looked for (default .fmforge)"},
        {"toolkit", 0, FLAG_STRING, &t->toolkit_folder, "DIR",
         "toolkit (default: the one in " TOOLKIT_SHELF " that fits)"},
        {"threads", 0, FLAG_STRING, &t->threads, "N", "threads (default: one per CPU)"},
        {"kernels", 0, FLAG_STRING, &t->kernels, "NAME",
         "auto, portable, avx2, avx512, amx or neon"},
    };
    memcpy(t->flags, own, sizeof own);
    t->n_flags = OWN_FLAGS;
    for (size_t i = 0; i < t->desc->n_ins; i++) {
        const struct desc_port *p = &t->desc->ins[i];
        if (is_facets(p))
            continue;
        t->flags[t->n_flags++] =
            (struct flag){p->name, 0, FLAG_STRING, &t->ins[i], "PATH", p->help};
    }
    for (size_t i = 0; i < t->desc->n_params; i++) {
        const struct desc_param *p = &t->desc->params[i];
        t->option_names[i] = xstrdup(p->name);
        for (char *c = t->option_names[i]; *c; c++)
            *c = *c == '_' ? '-' : *c;
        t->option_helps[i] = param_help(p);
        struct flag f = {t->option_names[i], 0,       FLAG_STRING,
                         &t->params[i],      "VALUE", t->option_helps[i]};
        if (is_switch(p)) {
            f.type = FLAG_BOOL;
            f.out = &t->switches[i];
            f.value_name = NULL;
        }
        t->flags[t->n_flags++] = f;
    }
}

static int make_config(struct tool *t, struct err *e)
{
    t->config = json_new_object();
    for (size_t i = 0; i < t->desc->n_params; i++) {
        const struct desc_param *p = &t->desc->params[i];
        struct json *value = NULL;
        if (t->switches[i]) {
            value = json_new_bool(true);
        } else if (t->params[i]) {
            int rc = stage_config_value(p, t->params[i], false, &value, e);
            if (rc < 0)
                return err_wrap(e, "--%s", t->option_names[i]);
        } else if (p->default_value) {
            value = json_clone(p->default_value);
        } else {
            return err_set(e, ERR_CONFIG, "%s: --%s is missing: %s", t->desc->name,
                           t->option_names[i], p->help);
        }
        json_put(t->config, p->name, value);
    }
    return 0;
}

/* A small file without a name that lives until the tool has read it. */
static int memory_file(const char *text, size_t n_bytes, char **path, struct err *e)
{
    int fd = memfd_create("fmforge", 0);
    if (fd < 0 || write(fd, text, n_bytes) != (ssize_t)n_bytes)
        return err_set_errno(e, errno, "cannot make a memory file");
    *path = xasprintf("/proc/self/fd/%d", fd);
    return 0;
}

static int need_file(const struct tool *t, const struct facet *f, const char *path, struct err *e)
{
    if (file_exists(path) || file_is_folder(path))
        return 0;
    char *text = toolkit_dir_missing(&t->toolkit, f, path);
    int rc = err_set(e, ERR_CONFIG, "%s", text);
    xfree(text);
    return rc;
}

static int facet_path(struct tool *t, const struct desc_port *port, char **path, struct err *e)
{
    const struct facet *f = toolkit_dir_facet(&t->toolkit, port->name);
    if (!f)
        return err_set(e, ERR_CONFIG, "%s: --%s is missing (%s), and toolkit %s has no such facet",
                       t->desc->name, port->name, port->help, t->toolkit.label);
    if (f->type == FACET_VALUE)
        return memory_file(f->value, strlen(f->value), path, e);
    if (f->type == FACET_STAGE) {
        const struct facet_made_options o = {t->home, t->program_folder};
        return facet_made(&t->toolkit, port, &o, path, e);
    }
    if (f->type == FACET_PATH) {
        *path = xstrdup(f->path);
        return need_file(t, f, *path, e);
    }
    char *choice = stage_config_text(t->config, f->by);
    *path = choice ? toolkit_dir_choice(&t->toolkit, f, choice) : NULL;
    xfree(choice);
    if (!*path)
        return err_set(e, ERR_CONFIG, "facet %s of toolkit %s has several files: give --%s",
                       f->name, t->toolkit.label, port->name);
    return need_file(t, f, *path, e);
}

/* The argument without a name is the subject. */
static int take_subject(struct tool *t, const char *argument, struct err *e)
{
    const struct stage_desc *d = t->desc;
    if (!d->subject)
        return 0;
    size_t i = (size_t)(stage_desc_in(d, d->subject) - d->ins);
    if (argument && t->ins[i])
        return err_set(e, ERR_CONFIG, "%s: %s and --%s %s: one of them is enough", d->name,
                       argument, d->subject, t->ins[i]);
    if (argument)
        t->ins[i] = argument;
    if (!t->ins[i])
        return err_set(e, ERR_CONFIG, "%s: PATH is missing: %s", d->name, d->ins[i].help);
    if (!file_exists(t->ins[i]) && !file_is_folder(t->ins[i]))
        return err_set(e, ERR_CONFIG, "%s: no such file or folder", t->ins[i]);
    return 0;
}

/* For the port of kind "facets": the toolkit that the subject is or belongs to, if there is one. */
static int give_facets(struct tool *t, const struct desc_port *port, char **path, struct err *e)
{
    const char *subject = t->ins[stage_desc_in(t->desc, t->desc->subject) - t->desc->ins];
    bool is_toolkit = toolkit_dir_is_one(subject), found = true;
    int rc = 0;
    CHECK(!port->required);
    if (is_toolkit && t->toolkit_folder)
        return err_set(e, ERR_CONFIG, "%s is a toolkit itself: --toolkit says nothing more",
                       subject);
    if (is_toolkit)
        rc = toolkit_dir_open(&t->toolkit, subject, e);
    else if (t->toolkit_folder)
        rc = toolkit_find(&t->toolkit, t->toolkit_folder, TOOLKIT_SHELF, &subject, 1, e);
    else
        found = toolkit_find_owner(&t->toolkit, TOOLKIT_SHELF, subject);
    if (rc < 0 || !found)
        return rc;
    struct json *v = toolkit_dir_to_json(&t->toolkit);
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    json_write_canonical(v, &text);
    rc = memory_file(text.bytes, text.n_bytes, path, e);
    buf_release(&text);
    json_free(v);
    return rc;
}

static int resolve_inputs(struct tool *t, struct err *e)
{
    bool needs_toolkit = t->toolkit_folder && !t->desc->subject;
    for (size_t i = 0; i < t->desc->n_ins; i++) {
        if (is_facets(&t->desc->ins[i])) {
            int rc = give_facets(t, &t->desc->ins[i], &t->paths[i], e);
            if (rc < 0)
                return rc;
        }
        needs_toolkit |= t->desc->ins[i].required && !t->ins[i];
        if (!t->ins[i])
            continue;
        if (!file_exists(t->ins[i]) && !file_is_folder(t->ins[i]))
            return err_set(e, ERR_CONFIG, "--%s %s: no such file or folder", t->desc->ins[i].name,
                           t->ins[i]);
        t->paths[i] = xstrdup(t->ins[i]);
    }
    int rc = 0;
    if (needs_toolkit)
        rc = toolkit_find(&t->toolkit, t->toolkit_folder, TOOLKIT_SHELF, t->ins, t->desc->n_ins, e);
    for (size_t i = 0; i < t->desc->n_ins && rc == 0; i++)
        if (t->desc->ins[i].required && !t->paths[i])
            rc = facet_path(t, &t->desc->ins[i], &t->paths[i], e);
    return rc;
}

/* Only comes back with an error. */
static int become(struct tool *t, struct err *e)
{
    char *argv[8 + 2 * DESC_PORTS_MAX + 1] = {NULL};
    static char *const empty[] = {NULL};
    size_t n = 0;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(t->config, &b);
    char *config = NULL;
    int rc = memory_file(b.bytes, b.n_bytes, &config, e);
    buf_release(&b);
    if (rc < 0)
        return rc;
    argv[n++] = xstrdup(t->desc->program);
    argv[n++] = xstrdup("--config");
    argv[n++] = config;
    for (size_t i = 0; i < t->desc->n_ins; i++) {
        if (!t->paths[i])
            continue;
        argv[n++] = xstrdup("--in");
        argv[n++] = xasprintf("%s=%s", t->desc->ins[i].name, t->paths[i]);
    }
    if (t->threads) {
        argv[n++] = xstrdup("--threads");
        argv[n++] = xstrdup(t->threads);
    }
    if (t->kernels) {
        argv[n++] = xstrdup("--kernels");
        argv[n++] = xstrdup(t->kernels);
    }
    execve(t->desc->program, argv, empty);
    rc = err_set_errno(e, errno, "cannot run %s", t->desc->program);
    for (size_t i = 0; i < n; i++)
        xfree(argv[i]);
    return rc;
}

static int unknown(const struct describe *d, const char *name, const struct cmd_context *c,
                   struct err *e)
{
    char **names = NULL;
    size_t n = describe_names(d, &names), n_known = c->n_commands;
    const char **known = xalloc_array(n_known + n, sizeof *known);
    memcpy(known, c->commands, n_known * sizeof *known);
    for (size_t i = 0; i < n; i++)
        known[n_known++] = names[i];
    char hint[160];
    int rc = err_set(e, ERR_CONFIG, "there is no command `%s`%s (fmforge --help lists them)", name,
                     doc_hint(name, known, n_known, hint, sizeof hint));
    for (size_t i = 0; i < n; i++)
        xfree(names[i]);
    xfree(names);
    xfree(known);
    return rc;
}

static int help_tool(const struct tool *t, const struct cmd_context *c)
{
    char *usage = xasprintf("%s%s [options]", t->desc->name, t->desc->subject ? " PATH" : "");
    int rc = cmd_help(c, usage, t->desc->summary, t->flags, t->n_flags);
    xfree(usage);
    return rc;
}

int cmd_tool(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    struct describe d;
    struct tool t;
    memset(&t, 0, sizeof t);
    t.home = ".fmforge";
    t.program_folder = c->program_folder;
    describe_init(&d, c->program_folder, NULL, false);
    int rc = describe_find(&d, argv[0], &t.desc, e);
    if (rc == 0 && !t.desc)
        rc = unknown(&d, argv[0], c, e);
    if (rc == 0 && !t.desc->is_tool)
        rc = err_set(e, ERR_CONFIG, "`%s` is a stage, not a tool: a manifest runs it", argv[0]);
    bool help = false;
    const char *argument = NULL;
    size_t n = 0;
    if (rc == 0) {
        make_flags(&t);
        rc = flag_parse(argc, argv, t.flags, t.n_flags, &argument, t.desc->subject ? 1 : 0, &n,
                        &help, e);
    }
    if (rc == 0 && help) {
        rc = help_tool(&t, c);
    } else if (rc == 0) {
        struct cmd_common common = {.folder = t.folder, .home = t.home};
        rc = t.kernels ? cmd_check_kernels(t.kernels, e) : 0;
        if (rc == 0)
            rc = cmd_begin(&common, c->term, e);
        if (rc == 0)
            rc = make_config(&t, e);
        if (rc == 0)
            rc = take_subject(&t, argument, e);
        if (rc == 0)
            rc = resolve_inputs(&t, e);
        if (rc == 0)
            rc = become(&t, e);
    }
    for (size_t i = 0; i < DESC_PORTS_MAX; i++)
        xfree(t.paths[i]);
    for (size_t i = 0; i < DESC_PARAMS_MAX; i++) {
        xfree(t.option_names[i]);
        xfree(t.option_helps[i]);
    }
    json_free(t.config);
    toolkit_dir_release(&t.toolkit);
    describe_release(&d);
    return rc;
}
