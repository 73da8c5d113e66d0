/* What a recorded run was made from, found by content and laid out once more. */

#include <stdarg.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/reproduce.h"
#include "pipeline/engine/reproduce_layout.h"
#include "pipeline/manifest/manifest.h"
#include "pipeline/manifest/toolkit_dir.h"
#include "pipeline/provenance/recipe.h"
#include "pipeline/provenance/statement.h"

/* A toolkit of the run: the folder that the manifest names, and the recorded toolkit.yaml. */
struct toolkit_place {
    const char *folder; /* borrowed from the manifest */
    const char *text;   /* borrowed from the record; NULL: it was read by a layout */
    char *version;      /* then the folder of its version; owned */
    struct toolkit_dir dir;
};

struct layout {
    struct reproduction *of;
    struct manifest manifest;
    struct toolkit_place toolkits[GRAPH_TOOLKITS_MAX];
    size_t n_toolkits;
};

static void say(struct json *unknown, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Each text once: many stages may need one thing. */
static void say(struct json *unknown, const char *format, ...)
{
    struct buf b;
    va_list args;
    buf_init(&b, BUF_MAX_DEFAULT);
    va_start(args, format);
    buf_vprintf(&b, format, args);
    va_end(args);
    struct json *text = statement_text(buf_text(&b));
    bool known = false;
    for (const struct json *u = json_first(unknown); u != NULL && !known; u = json_next(u))
        known = json_equal(u, text);
    if (known)
        json_free(text);
    else
        json_append(unknown, text);
    buf_release(&b);
}

/* ---- programs ---- */

static void check_libraries(const struct recipe *recipe, const struct stage_desc *d,
                            struct json *unknown)
{
    for (size_t i = 0; i < recipe->n_libraries; i++) {
        const char *found = NULL;
        for (size_t k = 0; k < d->n_libraries; k++)
            if (str_eq(d->libraries[k].name, recipe->libraries[i].name))
                found = d->libraries[k].id.hex;
        if (found == NULL || !str_eq(found, recipe->libraries[i].id))
            say(unknown, "library %s of stage-%s: here it is %.12s, the run had %.12s",
                recipe->libraries[i].name, recipe->stage, found != NULL ? found : "gone",
                recipe->libraries[i].id);
    }
}

static int check_program(struct describe *d, const char *stage, const char *text,
                         struct json *unknown, struct err *e)
{
    struct recipe recipe;
    struct err why = {0};
    if (recipe_parse(text, strlen(text), &recipe, &why) != 0) {
        say(unknown, "recipe of %s: %s", stage, why.text);
        return 0;
    }
    const struct stage_desc *desc = NULL;
    int rc = describe_find(d, recipe.stage, &desc, e);
    if (rc == 0 && desc == NULL)
        say(unknown, "program stage-%s is gone; the run had %.12s", recipe.stage, recipe.binary);
    else if (rc == 0 && !str_eq(desc->binary.hex, recipe.binary))
        say(unknown, "program stage-%s: here it is %.12s, the run had %.12s", recipe.stage,
            desc->binary.hex, recipe.binary);
    else if (rc == 0)
        check_libraries(&recipe, desc, unknown);
    recipe_release(&recipe);
    return rc;
}

int reproduce_check_programs(const struct reproduction *p, struct err *e)
{
    struct describe d;
    describe_init(&d, p->options->program_folder, NULL, false);
    int rc = 0;
    for (const struct json *s = json_items(p->run->root, "stages"); s != NULL && rc == 0;
         s = json_next(s)) {
        const char *text = run_record_stage_file(p->run, json_text(s, "stage"), "recipe.json");
        if (text != NULL)
            rc = check_program(&d, json_text(s, "stage"), text, p->unknown, e);
    }
    describe_release(&d);
    return rc;
}

/* ---- paths ---- */

/* How many folders a relative path climbs above where it starts: "../a/../../b" climbs 2. */
static size_t climbs(const char *path)
{
    long depth = 0, lowest = 0;
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        if (n == 2 && path[0] == '.' && path[1] == '.')
            depth--;
        else if (n > 0 && !(n == 1 && path[0] == '.'))
            depth++;
        lowest = depth < lowest ? depth : lowest;
        path += n + (path[n] == '/');
    }
    return (size_t)-lowest;
}

/* The working directory lies so deep below root that no path leads out of it. */
static int make_work(struct layout *l, struct err *e)
{
    size_t depth = climbs(json_text(l->of->run->root, "manifest_path"));
    for (size_t i = 0; i < l->n_toolkits; i++)
        depth = climbs(l->toolkits[i].folder) > depth ? climbs(l->toolkits[i].folder) : depth;
    for (const struct json *s = json_items(l->of->run->root, "stages"); s != NULL; s = json_next(s))
        for (const struct json *i = json_items(s, "inputs"); i != NULL; i = json_next(i)) {
            size_t n = climbs(json_text(i, "from"));
            depth = n > depth ? n : depth;
        }
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_printf(&b, "%s/work", l->of->root);
    for (size_t i = 0; i < depth; i++)
        buf_printf(&b, "/%zu", i);
    l->of->work = buf_steal(&b);
    return file_make_folder(l->of->work, e);
}

static int write_text(const struct layout *l, const char *path, const char *text, struct err *e)
{
    char *to = file_join(l->of->work, path);
    int rc = file_make_parents(to, e);
    if (rc == 0)
        rc = file_write(to, text, strlen(text), e);
    xfree(to);
    return rc;
}

/* ---- manifest and toolkits ---- */

/* Read from a copy in root: its path says nothing yet. */
static int open_manifest(struct layout *l, struct err *e)
{
    const char *text = run_record_file(l->of->run, "manifest.yaml");
    if (text == NULL)
        return err_set(e, ERR_FORMAT, "the record has no manifest.yaml");
    size_t n_sets = 0;
    const char **sets = run_record_sets(l->of->run, &n_sets);
    char *path = file_join(l->of->root, "manifest.yaml");
    int rc = file_write(path, text, strlen(text), e);
    if (rc == 0)
        rc = manifest_open(&l->manifest, path, sets, n_sets, e);
    xfree(path);
    xfree(sets);
    return rc;
}

/* Which recorded toolkit.yaml is that of a folder: its file still is the recorded one, or the
 * folder has its name, or there is only one. */
static const char *toolkit_text(const struct layout *l, const char *folder)
{
    struct buf here;
    struct err ignored = {0};
    char *path = file_join(folder, "toolkit.yaml");
    buf_init(&here, BUF_MAX_DEFAULT);
    bool is_here = file_read(path, LIMIT_MANIFEST_BYTES, &here, &ignored) == 0;
    const char *same = NULL, *named = NULL, *only = NULL;
    size_t n = 0;
    char *by_name = xasprintf("toolkits/%s/toolkit.yaml", file_base_name(folder));
    for (const struct json *f = json_items(l->of->run->shown, "files"); f != NULL;
         f = json_next(f)) {
        const char *name = json_text(f, "path");
        if (!str_starts(name, "toolkits/") || !str_ends(name, "/toolkit.yaml"))
            continue;
        n++;
        only = json_find_text(f, "text");
        if (is_here && only != NULL && str_eq(only, buf_text(&here)))
            same = only;
        if (str_eq(name, by_name))
            named = only;
    }
    buf_release(&here);
    xfree(by_name);
    xfree(path);
    return same != NULL ? same : named != NULL ? named : n == 1 ? only : NULL;
}

static void find_toolkits(struct layout *l)
{
    const struct doc_node *list = l->manifest.toolkits;
    const struct doc_node *t = list == NULL ? NULL : list->type == DOC_LIST ? list->first : list;
    for (; t != NULL; t = list->type == DOC_LIST ? t->next : NULL) {
        bool foreign = reproduce_is_foreign(l->of->run, t->text);
        const char *text = foreign ? NULL : toolkit_text(l, t->text);
        if (text == NULL && !foreign)
            say(l->of->unknown, "toolkit %s: the record does not say which of its toolkits that is",
                t->text);
        else if (l->n_toolkits < GRAPH_TOOLKITS_MAX) /* more are refused when it runs */
            l->toolkits[l->n_toolkits++] = (struct toolkit_place){.folder = t->text, .text = text};
    }
}

static int put_foreign(struct layout *l, struct toolkit_place *t, struct err *e)
{
    int rc = reproduce_put_shelf(l->of, t->folder, &t->version, e);
    if (rc < 0 || t->version == NULL)
        return rc;
    char *folder = file_join(l->of->work, t->version);
    struct err why = {0};
    if (toolkit_dir_open(&t->dir, folder, &why) != 0)
        say(l->of->unknown, "toolkit %s: %s", t->folder, why.text);
    xfree(folder);
    return 0;
}

static int put_toolkit(struct layout *l, struct toolkit_place *t, struct err *e)
{
    struct err why = {0};
    if (t->text == NULL)
        return put_foreign(l, t, e);
    if (t->folder[0] == '/') {
        const char *here = toolkit_text(l, t->folder);
        if (here != t->text)
            say(l->of->unknown, "toolkit %s: an absolute path, and what is there is another",
                t->folder);
        return toolkit_dir_open(&t->dir, t->folder, e);
    }
    char *path = file_join(t->folder, "toolkit.yaml");
    char *folder = file_join(l->of->work, t->folder);
    int rc = write_text(l, path, t->text, e);
    if (rc == 0 && toolkit_dir_open(&t->dir, folder, &why) != 0)
        say(l->of->unknown, "toolkit %s: %s", t->folder, why.text);
    xfree(folder);
    xfree(path);
    return rc;
}

/* ---- inputs ---- */

struct source {
    const char *stage, *port, *id;
    bool is_folder;
    char *path; /* relative to the working directory, or absolute */
};

/* "data[toolkit=x].train": made by a stage of this run? */
static bool is_made(const struct run_record *r, const char *from)
{
    for (const struct json *t = json_items(r->root, "stages"); t != NULL; t = json_next(t)) {
        size_t n = strlen(json_text(t, "stage"));
        if (n > 0 && strncmp(from, json_text(t, "stage"), n) == 0 && from[n] == '.')
            return true;
    }
    return false;
}

/* What the statement says about an input: whether it is a folder. */
static bool is_folder_input(const struct run_record *r, const char *stage, const char *port)
{
    const char *text = run_record_stage_file(r, stage, "statement.json");
    struct statement s = {0};
    struct err ignored = {0};
    bool folder = false;
    if (text != NULL && statement_parse(text, strlen(text), &s, &ignored) == 0)
        for (size_t i = 0; i < s.facts.n_inputs; i++)
            if (str_eq(s.facts.inputs[i].name, port))
                folder = s.facts.inputs[i].is_folder;
    statement_release(&s);
    return folder;
}

static bool has_content(const char *path, const char *id)
{
    struct content_id found;
    struct err ignored = {0};
    return sha256_path(path, &found, NULL, &ignored) == 0 && str_eq(found.hex, id);
}

/* Puts one source where the manifest wants it. An absolute path is used as it is. */
static int place(struct layout *l, const struct source *s, struct err *e)
{
    if (has_content(s->path, s->id) && s->path[0] == '/')
        return 0;
    if (s->path[0] == '/') {
        say(l->of->unknown, "input %s of %s: an absolute path, and it is not %.12s any more",
            s->path, s->stage, s->id);
        return 0;
    }
    char *to = file_join(l->of->work, s->path);
    struct err why = {0};
    int rc = 0;
    if (has_content(to, s->id)) /* it came with a folder, or another stage has it too */
        goto out;
    if (file_exists(to)) {
        say(l->of->unknown, "input %s of %s: the run used two contents of this path", s->path,
            s->stage);
        goto out;
    }
    rc = file_make_parents(to, e);
    if (rc != 0)
        goto out;
    if (has_content(s->path, s->id)) {
        rc = file_is_folder(to) ? file_remove_tree(to, e) : 0;
        if (rc == 0)
            rc = file_copy_tree(s->path, to, e);
    } else if ((rc = store_hold(l->of->store, s->id, s->is_folder, e)) != 0) {
        goto out;
    } else if (!store_has(l->of->store, s->id)) {
        bool here = file_exists(s->path) || file_is_folder(s->path);
        say(l->of->unknown, "input %s of %s: the run had %.12s; %s, and the store does not have it",
            s->path, s->stage, s->id, here ? "what is there now is another" : "it is gone");
    } else if (store_copy_out(l->of->store, s->id, s->is_folder, to, &why) != 0) {
        say(l->of->unknown, "input %s of %s: %s", s->path, s->stage, why.text);
    }
out:
    xfree(to);
    return rc;
}

/* The parameter that chooses, from the stage's recorded config: text, or NULL. Caller xfrees. */
static char *chosen(const struct run_record *r, const char *stage, const struct facet *f)
{
    const char *text = run_record_stage_file(r, stage, "recipe.json");
    struct recipe recipe;
    struct err ignored = {0};
    if (text == NULL || recipe_parse(text, strlen(text), &recipe, &ignored) != 0)
        return NULL;
    const struct json *v = json_get(recipe.config, f->by);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (v != NULL && json_type(v) == JSON_STRING)
        buf_add_text(&b, json_string(v));
    else if (v != NULL)
        json_write_canonical(v, &b);
    recipe_release(&recipe);
    return v != NULL ? buf_steal(&b) : NULL;
}

/* The file of a facet as seen from the working directory of the user. */
static char *facet_path(const struct toolkit_place *t, const char *in_folder)
{
    size_t n = strlen(t->dir.folder);
    return file_join(t->version != NULL ? t->version : t->folder,
                     in_folder + n + (in_folder[n] == '/'));
}

/* A facet of several files: the one with the content, the one that the config chooses, or all. */
static int place_choice(struct layout *l, const struct toolkit_place *t, const struct facet *f,
                        struct source *s, struct err *e)
{
    char *choice = chosen(l->of->run, s->stage, f);
    char *by_config = choice != NULL ? toolkit_dir_choice(&t->dir, f, choice) : NULL;
    char *best = NULL;
    for (const struct doc_node *n = f->node->first; n != NULL; n = n->next) {
        char *full = toolkit_dir_choice(&t->dir, f, n->key);
        char *path = full != NULL ? facet_path(t, full) : NULL;
        bool fits = path != NULL && (by_config == NULL || str_eq(by_config, full));
        if (fits && (best == NULL || has_content(path, s->id))) {
            xfree(best);
            best = xstrdup(path);
        }
        xfree(path);
        xfree(full);
    }
    int rc = 0;
    s->path = best;
    if (best != NULL)
        rc = place(l, s, e);
    else
        say(l->of->unknown, "facet %s of toolkit %s: it has no file for %s", f->name, t->folder,
            s->stage);
    xfree(by_config);
    xfree(choice);
    return rc;
}

/* "nano-0.1/base" in the toolkit of that label; *found stays false when it is no facet. */
static int place_facet(struct layout *l, const char *from, struct source *s, bool *found,
                       struct err *e)
{
    for (size_t i = 0; i < l->n_toolkits; i++) {
        const struct toolkit_place *t = &l->toolkits[i];
        size_t n = t->dir.label != NULL ? strlen(t->dir.label) : 0;
        if (n == 0 || strncmp(from, t->dir.label, n) != 0 || from[n] != '/')
            continue;
        const struct facet *f = toolkit_dir_facet(&t->dir, from + n + 1);
        if (f == NULL)
            continue;
        *found = true;
        if (f->type == FACET_PATH) {
            s->path = facet_path(t, f->path);
            return place(l, s, e);
        }
        return f->type == FACET_CHOICE ? place_choice(l, t, f, s, e) : 0;
    }
    return 0;
}

static int place_input(struct layout *l, const char *stage, const struct json *input, bool folders,
                       struct err *e)
{
    const char *from = json_text(input, "from");
    struct source s = {
        .stage = stage, .port = json_text(input, "name"), .id = json_find_text(input, "id")};
    if (s.id == NULL || !str_is_hex(s.id, SHA256_HEX) || is_made(l->of->run, from))
        return 0;
    s.is_folder = is_folder_input(l->of->run, stage, s.port);
    if (s.is_folder != folders)
        return 0;
    bool is_facet = false;
    int rc = place_facet(l, from, &s, &is_facet, e);
    if (rc == 0 && !is_facet) {
        s.path = xstrdup(from);
        rc = place(l, &s, e);
    }
    xfree(s.path);
    return rc;
}

/* Folders first: a file that is also an input of its own then lies in one already. */
static int place_inputs(struct layout *l, struct err *e)
{
    int rc = 0;
    for (int pass = 0; pass < 2; pass++)
        for (const struct json *s = json_items(l->of->run->root, "stages"); s != NULL;
             s = json_next(s))
            for (const struct json *i = json_items(s, "inputs"); i != NULL && rc == 0;
                 i = json_next(i))
                rc = place_input(l, json_text(s, "stage"), i, pass == 0, e);
    return rc;
}

/* The paths of skip_without were there, or nothing would have run. */
static int place_marks(struct layout *l, struct err *e)
{
    const struct doc_node *n = l->manifest.skip_without ? l->manifest.skip_without->first : NULL;
    int rc = 0;
    for (; n != NULL && rc == 0; n = n->next) {
        char *path = n->text[0] == '/' ? NULL : file_join(l->of->work, n->text);
        if (path != NULL && climbs(n->text) == 0 && !file_exists(path))
            rc = file_make_folder(path, e);
        xfree(path);
    }
    return rc;
}

int reproduce_lay_out(struct reproduction *p, struct err *e)
{
    struct layout l = {.of = p};
    const char *path = json_text(p->run->root, "manifest_path");
    int rc = open_manifest(&l, e);
    if (rc == 0)
        find_toolkits(&l);
    if (rc == 0)
        rc = make_work(&l, e);
    for (size_t i = 0; i < l.n_toolkits && rc == 0; i++)
        rc = put_toolkit(&l, &l.toolkits[i], e);
    if (rc == 0)
        rc = place_inputs(&l, e);
    for (size_t i = 0; i < l.n_toolkits && rc == 0; i++)
        if (l.toolkits[i].version != NULL)
            rc = reproduce_put_marks(p, l.toolkits[i].folder, l.toolkits[i].version, e);
    if (rc == 0)
        rc = place_marks(&l, e);
    p->manifest = xstrdup(*path == '\0' || *path == '/' ? "recorded-manifest.yaml" : path);
    if (rc == 0)
        rc = write_text(&l, p->manifest, run_record_file(p->run, "manifest.yaml"), e);
    for (size_t i = 0; i < l.n_toolkits; i++) {
        toolkit_dir_release(&l.toolkits[i].dir);
        xfree(l.toolkits[i].version);
    }
    manifest_release(&l.manifest);
    return rc;
}
