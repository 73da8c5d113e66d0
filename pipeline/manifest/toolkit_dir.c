#include "pipeline/manifest/toolkit_dir.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/layout.h"
#include "pipeline/manifest/manifest.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int need_text(struct toolkit_dir *t, const char *key, const char **out, struct err *e)
{
    const struct doc_node *n = doc_get(t->doc.root, key);
    struct yaml_mark top = {1, 1};
    if (!n)
        return doc_fail(&t->doc, top, e, "`%s` is missing", key);
    *out = n->text;
    return doc_need(&t->doc, n, DOC_SCALAR, key, e);
}

static char *value_text(const struct doc_node *n)
{
    struct json *v = doc_to_json(n);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(v, &b);
    json_free(v);
    return buf_steal(&b);
}

/* A path that stays in the folder. */
static int check_path(struct toolkit_dir *t, const struct doc_node *n, struct err *e)
{
    const char *p = n->text;
    if (*p == '\0' || *p == '/' || str_eq(p, "..") || str_starts(p, "../") || strstr(p, "/../") ||
        str_ends(p, "/.."))
        return doc_fail(&t->doc, n->mark, e, "`%s`: a facet's path is below the toolkit's folder",
                        p);
    return 0;
}

/* The keys that every facet but a value may have. */
static int read_common(struct toolkit_dir *t, const struct doc_node *n, struct facet *f,
                       struct err *e)
{
    const struct doc_node *p = doc_get(n, "private"), *missing = doc_get(n, "missing");
    if (missing) {
        int rc = doc_need(&t->doc, missing, DOC_SCALAR, "missing", e);
        if (rc < 0)
            return rc;
        f->missing = missing->text;
    }
    if (!p)
        return 0;
    if (p->type != DOC_SCALAR || !(str_eq(p->text, "true") || str_eq(p->text, "false")))
        return doc_fail(&t->doc, p->mark, e, "private must be true or false");
    f->is_private = str_eq(p->text, "true");
    return 0;
}

bool toolkit_dir_is_common_key(const char *key)
{
    return str_eq(key, "by") || str_eq(key, "private") || str_eq(key, "missing");
}

static int read_choice(struct toolkit_dir *t, const struct doc_node *n, struct facet *f,
                       struct err *e)
{
    const struct doc_node *by = doc_get(n, "by");
    int rc = doc_need(&t->doc, by, DOC_SCALAR, "by", e);
    if (rc < 0)
        return rc;
    f->type = FACET_CHOICE;
    f->node = n;
    f->by = by->text;
    size_t n_choices = 0;
    for (const struct doc_node *m = n->first; m && rc == 0; m = m->next) {
        if (toolkit_dir_is_common_key(m->key))
            continue;
        n_choices++;
        rc = doc_need(&t->doc, m, DOC_SCALAR, "a choice", e);
        if (rc == 0)
            rc = check_path(t, m, e);
    }
    if (rc == 0 && n_choices == 0)
        rc = doc_fail(&t->doc, n->mark, e, "facet `%s` has nothing to choose from", f->name);
    return rc;
}

static int read_stage_facet(struct toolkit_dir *t, const struct doc_node *n, struct facet *f,
                            struct err *e)
{
    static const char *const known[] = {"run", "inputs", "with", "private", "missing", "help"};
    int rc = doc_only_keys(&t->doc, n, "a facet that a stage makes", known, COUNT(known), e);
    f->type = FACET_STAGE;
    f->node = n;
    if (rc == 0)
        rc = doc_need(&t->doc, doc_get(n, "run"), DOC_SCALAR, "run", e);
    static const char *const parts[] = {"inputs", "with"};
    for (size_t i = 0; i < COUNT(parts) && rc == 0; i++) {
        const struct doc_node *part = doc_get(n, parts[i]);
        if (!part)
            continue;
        rc = doc_need(&t->doc, part, DOC_MAP, parts[i], e);
        for (const struct doc_node *m = part->first; m && rc == 0; m = m->next)
            rc = doc_need(&t->doc, m, DOC_SCALAR, m->key, e);
    }
    return rc;
}

static int read_facet(struct toolkit_dir *t, const struct doc_node *n, struct facet *f,
                      struct err *e)
{
    f->name = n->key;
    f->mark = n->key_mark;
    if (!str_is_word(f->name))
        return doc_fail(&t->doc, n->key_mark, e,
                        "`%s` cannot be a facet's name: letters, digits and _", f->name);
    int rc = read_common(t, n, f, e);
    if (rc < 0)
        return rc;
    const struct doc_node *path = n->type == DOC_SCALAR ? n : doc_get(n, "path");
    if (path) {
        static const char *const known[] = {"path", "private", "missing", "help"};
        f->type = FACET_PATH;
        rc = path == n
                 ? 0
                 : doc_only_keys(&t->doc, n, "a facet that is a file", known, COUNT(known), e);
        if (rc == 0)
            rc = doc_need(&t->doc, path, DOC_SCALAR, "path", e);
        if (rc == 0)
            rc = check_path(t, path, e);
        if (rc == 0)
            f->path = file_join(t->folder, path->text);
        return rc;
    }
    if (doc_get(n, "by"))
        return read_choice(t, n, f, e);
    if (doc_get(n, "run"))
        return read_stage_facet(t, n, f, e);
    const struct doc_node *value = doc_get(n, "value");
    f->type = FACET_VALUE;
    f->value = value_text(value ? value : n);
    return 0;
}

static void add_value(struct toolkit_dir *t, const char *name, const struct doc_node *n,
                      char *value)
{
    struct facet *f = &t->facets[t->n_facets++];
    f->name = name;
    f->mark = n->mark;
    f->type = FACET_VALUE;
    f->value = value;
}

int toolkit_dir_read_facets(struct toolkit_dir *t, struct err *e)
{
    const struct doc_node *facets = doc_get(t->doc.root, "facets");
    struct yaml_mark top = {1, 1};
    if (!facets)
        return doc_fail(&t->doc, top, e, "`facets` is missing");
    int rc = doc_need(&t->doc, facets, DOC_MAP, "facets", e);
    for (const struct doc_node *n = facets->first; n && rc == 0; n = n->next) {
        if (t->n_facets + 2 >= TOOLKIT_FACETS_MAX)
            return doc_fail(&t->doc, n->key_mark, e, "more than TOOLKIT_FACETS_MAX (%d) facets",
                            TOOLKIT_FACETS_MAX - 2);
        rc = read_facet(t, n, &t->facets[t->n_facets], e);
        t->n_facets++;
    }
    if (rc < 0)
        return rc;
    const struct doc_node *os = doc_get(t->doc.root, "os");
    if (os && !toolkit_dir_facet(t, "os"))
        add_value(t, "os", os, value_text(os));
    if (!toolkit_dir_facet(t, "signature"))
        add_value(t, "signature", doc_get(t->doc.root, "signature"),
                  xasprintf("\"%s\"", t->signature));
    return 0;
}

static int read_identity(struct toolkit_dir *t, struct err *e)
{
    const char *language = NULL;
    int rc = need_text(t, "fmforge_toolkit", &language, e);
    if (rc == 0 && !str_eq(language, "1"))
        rc = doc_fail(&t->doc, doc_get(t->doc.root, "fmforge_toolkit")->mark, e,
                      "toolkit language %s: this program knows version 1 only", language);
    if (rc == 0)
        rc = need_text(t, "name", &t->name, e);
    if (rc == 0)
        rc = need_text(t, "version", &t->version, e);
    if (rc == 0)
        rc = need_text(t, "signature", &t->signature, e);
    if (rc < 0)
        return rc;
    if (!manifest_is_label(t->name))
        return doc_fail(&t->doc, doc_get(t->doc.root, "name")->mark, e,
                        "`%s` cannot be a toolkit's name: letters, digits, _ . + -", t->name);
    if (!manifest_is_label(t->version))
        return doc_fail(&t->doc, doc_get(t->doc.root, "version")->mark, e,
                        "`%s` cannot be a toolkit's version: letters, digits, _ . + -", t->version);
    if (!str_is_hex(t->signature, TOOLKIT_SIGNATURE_DIGITS))
        return doc_fail(&t->doc, doc_get(t->doc.root, "signature")->mark, e,
                        "signature `%s` is not 40 lower-case hex digits (it has %zu characters)",
                        t->signature, strlen(t->signature));
    t->label = xasprintf("%s-%s", t->name, t->version);
    return 0;
}

static int open_yaml(struct toolkit_dir *t, const char *path, struct err *e)
{
    static const char *const known[] = {
        "fmforge_toolkit", "name", "version", "signature", "os", "help", "facets", "description"};
    int rc = yaml_doc_open(&t->doc, path, e);
    if (rc == 0)
        rc = doc_need(&t->doc, t->doc.root, DOC_MAP, "toolkit.yaml", e);
    if (rc == 0)
        rc = doc_only_keys(&t->doc, t->doc.root, "toolkit.yaml", known, COUNT(known), e);
    if (rc == 0)
        rc = read_identity(t, e);
    if (rc == 0)
        rc = toolkit_dir_read_facets(t, e);
    return rc;
}

int toolkit_dir_open(struct toolkit_dir *t, const char *folder, struct err *e)
{
    memset(t, 0, sizeof *t);
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    char *own = xstrndup(folder, n), *path = file_join(own, "toolkit.yaml");
    int rc = 0;
    if (file_is_folder(own) && !file_exists(path)) {
        rc = layout_open(t, own, TOOLKIT_SHELF, e);
        xfree(own);
    } else {
        t->folder = own;
        rc = open_yaml(t, path, e);
    }
    xfree(path);
    return rc;
}

bool toolkit_dir_is_one(const char *folder)
{
    char *path = file_join(folder, "toolkit.yaml");
    bool has_yaml = file_exists(path);
    xfree(path);
    return has_yaml || (file_is_folder(folder) && layout_resembles(folder, TOOLKIT_SHELF));
}

void toolkit_dir_release(struct toolkit_dir *t)
{
    if (t->version_of)
        toolkit_dir_release(t->version_of);
    xfree(t->version_of);
    for (size_t i = 0; i < t->n_facets; i++) {
        xfree(t->facets[i].path);
        xfree(t->facets[i].value);
    }
    xfree(t->label);
    xfree(t->folder);
    yaml_doc_release(&t->doc);
    memset(t, 0, sizeof *t);
}

const struct facet *toolkit_dir_facet(const struct toolkit_dir *t, const char *name)
{
    for (size_t i = 0; i < t->n_facets; i++)
        if (str_eq(t->facets[i].name, name))
            return &t->facets[i];
    return NULL;
}

size_t toolkit_dir_names(const struct toolkit_dir *t, const char **names)
{
    for (size_t i = 0; i < t->n_facets; i++)
        names[i] = t->facets[i].name;
    return t->n_facets;
}

char *toolkit_dir_choice(const struct toolkit_dir *t, const struct facet *f, const char *choice)
{
    const struct doc_node *n = doc_get(f->node, choice);
    if (!n || toolkit_dir_is_common_key(choice))
        return NULL;
    return file_join(t->folder, n->text);
}

char *toolkit_dir_choices(const struct facet *f)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    for (const struct doc_node *n = f->node->first; n; n = n->next)
        if (!toolkit_dir_is_common_key(n->key))
            buf_printf(&b, "%s%s", b.n_bytes ? ", " : "", n->key);
    return buf_steal(&b);
}

char *toolkit_dir_missing(const struct toolkit_dir *t, const struct facet *f, const char *path)
{
    if (!f->missing)
        return xasprintf("no such file or folder: %s (facet `%s` of toolkit %s)", path, f->name,
                         t->label);
    return xasprintf("toolkit %s has no `%s` here: put it at %s; %s", t->label, f->name, path,
                     f->missing);
}

static struct json *file_json(const struct facet *f, const char *path)
{
    struct json *o = json_new_object();
    json_put_string(o, "path", path);
    json_put_bool(o, "present", file_exists(path) || file_is_folder(path));
    if (f->missing)
        json_put_string(o, "missing", f->missing);
    return o;
}

/* The stage that makes a facet, and the files of the folder that it takes. */
static void put_stage(const struct toolkit_dir *t, const struct facet *f, struct json *o)
{
    struct json *files = json_new_array();
    const struct doc_node *inputs = doc_get(f->node, "inputs");
    for (const struct doc_node *n = inputs ? inputs->first : NULL; n; n = n->next) {
        if (n->type != DOC_SCALAR || str_starts(n->text, "toolkit."))
            continue;
        char *path = *n->text == '/' ? xstrdup(n->text) : file_join(t->folder, n->text);
        struct json *file = file_json(f, path);
        json_put_string(file, "port", n->key);
        json_append(files, file);
        xfree(path);
    }
    json_put_string(o, "run", doc_get(f->node, "run")->text);
    json_put(o, "inputs", files);
}

static struct json *facet_json(const struct toolkit_dir *t, const struct facet *f)
{
    static const char *const types[] = {"file", "value", "choice", "stage"};
    struct json *o = json_new_object(), *files = json_new_array(), *value = NULL;
    struct err ignored = {0};
    json_put_string(o, "name", f->name);
    json_put_string(o, "type", types[f->type]);
    if (f->type == FACET_PATH)
        json_append(files, file_json(f, f->path));
    for (const struct doc_node *n = f->type == FACET_CHOICE ? f->node->first : NULL; n;
         n = n->next) {
        if (toolkit_dir_is_common_key(n->key))
            continue;
        char *path = file_join(t->folder, n->text);
        struct json *file = file_json(f, path);
        json_put_string(file, "choice", n->key);
        json_append(files, file);
        xfree(path);
    }
    json_put(o, "files", files);
    if (f->type == FACET_VALUE && json_parse(f->value, strlen(f->value), &value, &ignored) == 0)
        json_put(o, "value", value);
    if (f->type == FACET_CHOICE)
        json_put_string(o, "by", f->by);
    if (f->type == FACET_STAGE)
        put_stage(t, f, o);
    return o;
}

struct json *toolkit_dir_to_json(const struct toolkit_dir *t)
{
    struct json *o = json_new_object(), *facets = json_new_array();
    const struct doc_node *description = doc_get(t->doc.root, "description");
    json_put_string(o, "folder", t->folder);
    json_put_string(o, "label", t->label);
    json_put_string(o, "name", t->name);
    json_put_string(o, "version", t->version);
    json_put_string(o, "signature", t->signature);
    if (t->version_of)
        json_put_string(o, "layout", t->doc.path);
    if (description && description->type == DOC_SCALAR)
        json_put_string(o, "description", description->text);
    for (size_t i = 0; i < t->n_facets; i++)
        json_append(facets, facet_json(t, &t->facets[i]));
    json_put(o, "facets", facets);
    return o;
}
