/* Which layout a folder has, and the toolkit that it is by that. */

#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/assignment.h"
#include "pipeline/manifest/folder_glob.h"
#include "pipeline/manifest/layout.h"

/* ------------------------------------------------------------------------------- refusals */

static int refuse_by_name(const struct doc_node *rule, const char *folder, struct err *e)
{
    const char *name = file_base_name(folder), *glob = doc_get(rule, "folder")->text;
    if (fnmatch(glob, name, FNM_NOESCAPE) != 0)
        return 0;
    return err_set(e, ERR_CONFIG, "%s: refused, since its name is as %s: %s", folder, glob,
                   doc_get(rule, "because")->text);
}

static int refuse_by_file(const struct doc_node *rule, const char *folder, struct err *e)
{
    const char *key = doc_get(rule, "key")->text, *expected = doc_get(rule, "expected")->text;
    char *found = NULL;
    struct json *v = NULL;
    int rc = folder_glob(folder, doc_get(rule, "file")->text, &found, e);
    if (rc < 0 || !found)
        return rc;
    char *path = file_join(folder, found);
    rc = json_read(path, &v, e);
    const struct json *member = rc == 0 ? json_get(v, key) : NULL;
    bool is_text = member && json_type(member) == JSON_STRING;
    if (rc == 0 && !is_text)
        rc = err_set(e, ERR_CONFIG, "%s: refused: it has no text \"%s\", expected \"%s\": %s", path,
                     key, expected, doc_get(rule, "because")->text);
    else if (rc == 0 && !str_eq(json_string(member), expected))
        rc = err_set(e, ERR_CONFIG, "%s: refused: %s is \"%.80s\", expected \"%s\": %s", path, key,
                     json_string(member), expected, doc_get(rule, "because")->text);
    json_free(v);
    xfree(path);
    xfree(found);
    return rc;
}

static int refuse(const struct layout *l, const char *folder, struct err *e)
{
    int rc = 0;
    for (const struct doc_node *n = l->refuse ? l->refuse->first : NULL; n && rc == 0; n = n->next)
        rc = doc_get(n, "folder") ? refuse_by_name(n, folder, e) : refuse_by_file(n, folder, e);
    return rc;
}

/* ------------------------------------------------------------------------------- recognition */

/* What of must_have is there; what is not goes to absent. */
static int count_there(const struct layout *l, const char *folder, size_t *n_there,
                       struct buf *absent, struct err *e)
{
    int rc = 0;
    *n_there = 0;
    for (const struct doc_node *n = l->must_have->first; n && rc == 0; n = n->next) {
        char *found = NULL;
        rc = folder_glob(folder, n->text, &found, e);
        if (found)
            ++*n_there;
        else if (rc == 0 && absent)
            buf_printf(absent, "%s%s", absent->n_bytes ? ", " : "", n->text);
        xfree(found);
    }
    return rc;
}

static void list_layouts(const char *shelf, struct file_list *out)
{
    struct err ignored = {0};
    if (!file_is_folder(shelf) || file_list_names(shelf, out, &ignored) < 0)
        *out = (struct file_list){0};
}

bool layout_resembles(const char *folder, const char *shelf)
{
    struct file_list names = {0};
    size_t n_there = 0;
    list_layouts(shelf, &names);
    for (size_t i = 0; i < names.n_paths && n_there == 0; i++) {
        if (!str_ends(names.paths[i], LAYOUT_SUFFIX))
            continue;
        struct layout l;
        struct err broken = {0};
        char *path = file_join(shelf, names.paths[i]);
        if (layout_read(&l, path, &broken) == 0 &&
            (refuse(&l, folder, &broken) < 0 ||
             count_there(&l, folder, &n_there, NULL, &broken) < 0))
            n_there = 1; /* refused, or a symbolic link in its place: opening it says so */
        layout_release(&l);
        xfree(path);
    }
    file_list_release(&names);
    return n_there > 0;
}

/* One layout of the shelf: moves it to *out when it fits, else adds to `why` what it lacks. */
static int try_layout(const char *path, const char *folder, struct layout *out, struct buf *why,
                      struct err *e)
{
    struct layout l;
    struct buf absent, looked;
    size_t n_there = 0;
    buf_init(&absent, BUF_MAX_DEFAULT);
    buf_init(&looked, BUF_MAX_DEFAULT);
    int rc = layout_read(&l, path, e);
    if (rc == 0)
        rc = refuse(&l, folder, e);
    if (rc == 0)
        rc = count_there(&l, folder, &n_there, &absent, e);
    bool fits = rc == 0 && absent.n_bytes == 0;
    for (const struct doc_node *n = rc == 0 ? l.must_have->first : NULL; n; n = n->next)
        buf_printf(&looked, "%s%s", looked.n_bytes ? ", " : "", n->text);
    if (fits && out->doc.root)
        rc = err_set(e, ERR_CONFIG, "%s: two layouts fit: %s and %s", folder, out->doc.path, path);
    else if (fits)
        *out = l;
    else if (rc == 0)
        buf_printf(why, "; %s looks for %s: there is no %s", path, buf_text(&looked),
                   buf_text(&absent));
    if (!fits || rc < 0)
        layout_release(&l);
    buf_release(&looked);
    buf_release(&absent);
    return rc;
}

static int find_layout(const char *folder, const char *shelf, struct layout *out, struct err *e)
{
    struct file_list names = {0};
    struct buf why; /* of each layout what it lacks; it always has something to say */
    int rc = 0;
    memset(out, 0, sizeof *out);
    buf_init(&why, BUF_MAX_DEFAULT);
    list_layouts(shelf, &names);
    if (access(folder, R_OK | X_OK) != 0)
        rc = err_set_errno(e, errno, "%s: cannot look into the folder", folder);
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        char *path = file_join(shelf, names.paths[i]);
        if (str_ends(names.paths[i], LAYOUT_SUFFIX))
            rc = try_layout(path, folder, out, &why, e);
        xfree(path);
    }
    if (rc == 0 && !out->doc.root && why.n_bytes == 0)
        rc = err_set(e, ERR_CONFIG,
                     "%s: no toolkit.yaml in it, and no *" LAYOUT_SUFFIX " in %s to know it by",
                     folder, shelf);
    else if (rc == 0 && !out->doc.root)
        rc = err_set(e, ERR_CONFIG, "%s: no toolkit.yaml in it, and no layout fits%s", folder,
                     buf_text(&why));
    buf_release(&why);
    file_list_release(&names);
    return rc;
}

/* --------------------------------------------------------------------------------- the toolkit */

static int read_signature(const struct layout *l, const char *folder,
                          char hex[TOOLKIT_SIGNATURE_DIGITS + 1], char **path, struct err *e)
{
    char *found = NULL;
    int rc = folder_glob(folder, l->from->text, &found, e);
    if (rc == 0 && !found)
        rc = err_set(e, ERR_CONFIG, "%s: there is no %s, which %s reads the signature from", folder,
                     l->from->text, l->doc.path);
    if (rc == 0) {
        *path = file_join(folder, found);
        rc = assignment_read_hex(*path, l->assignment->text, TOOLKIT_SIGNATURE_DIGITS, hex, e);
    }
    xfree(found);
    return rc;
}

/* Opens the toolkit beside the layout that has this signature: the version is the one of it. */
static int find_version(const struct layout *l, const char *shelf, const char *from,
                        const char *signature, struct toolkit_dir *out, struct err *e)
{
    struct buf known;
    int rc = 0;
    buf_init(&known, BUF_MAX_DEFAULT);
    for (const struct doc_node *n = l->versions->first; n && rc == 0; n = n->next) {
        struct err cause = {0};
        char *folder = file_join(shelf, n->text), *yaml = file_join(folder, "toolkit.yaml");
        if (!file_exists(yaml))
            rc = doc_fail(&l->doc, n->mark, e, "version %s: there is no %s", n->text, yaml);
        else if (toolkit_dir_open(out, folder, &cause) < 0)
            rc = doc_fail(&l->doc, n->mark, e, "version %s: %s", n->text, cause.text);
        xfree(yaml);
        xfree(folder);
        if (rc == 0 && str_eq(out->signature, signature))
            break;
        if (rc == 0)
            buf_printf(&known, "%s%s (%s)", known.n_bytes ? ", " : "", out->label, out->signature);
        toolkit_dir_release(out);
    }
    if (rc == 0 && !out->label)
        rc = err_set(e, ERR_CONFIG,
                     "%s: %s is %s, and no version that %s knows has it: %s. Another version needs "
                     "its own toolkit folder beside that file",
                     from, l->assignment->text, signature, l->doc.path, buf_text(&known));
    buf_release(&known);
    return rc;
}

/* Replaces a pattern by the path that it stands for; one that stands for nothing stays. */
static int resolve_text(struct toolkit_dir *t, struct doc_node *n, struct err *e)
{
    char *found = NULL;
    if (!folder_glob_is_good(n->text))
        return doc_fail(&t->doc, n->mark, e,
                        "`%s`: a pattern is below the folder, without .., . or empty parts",
                        n->text);
    int rc = folder_glob(t->folder, n->text, &found, e);
    if (found) {
        xfree(n->text);
        n->text = found;
    }
    return rc;
}

static int resolve_members(struct toolkit_dir *t, struct doc_node *map, struct err *e)
{
    int rc = 0;
    for (struct doc_node *n = map && map->type == DOC_MAP ? map->first : NULL; n && rc == 0;
         n = n->next)
        if (n->type == DOC_SCALAR && !str_starts(n->text, "toolkit."))
            rc = resolve_text(t, n, e);
    return rc;
}

/* The paths of a facet, wherever its form has them. What has no form is refused after this. */
static int resolve_facet(struct toolkit_dir *t, struct doc_node *f, struct err *e)
{
    if (f->type == DOC_SCALAR)
        return resolve_text(t, f, e);
    bool is_choice = doc_get(f, "by") && !doc_get(f, "path");
    int rc = 0;
    for (struct doc_node *n = f->type == DOC_MAP ? f->first : NULL; n && rc == 0; n = n->next) {
        bool is_path = is_choice ? !toolkit_dir_is_common_key(n->key) : str_eq(n->key, "path");
        if (is_path && n->type == DOC_SCALAR)
            rc = resolve_text(t, n, e);
        else if (str_eq(n->key, "inputs") && doc_get(f, "run"))
            rc = resolve_members(t, n, e);
    }
    return rc;
}

static int read_own_facets(struct toolkit_dir *t, struct err *e)
{
    /* The tree is this toolkit's own: it was read for it. */
    struct doc_node *facets = (struct doc_node *)doc_get(t->doc.root, "facets");
    int rc = 0;
    for (struct doc_node *n = facets->first; n && rc == 0; n = n->next)
        rc = resolve_facet(t, n, e);
    if (rc == 0)
        rc = toolkit_dir_read_facets(t, e);
    for (size_t i = 0; i < t->n_facets && rc == 0; i++)
        t->facets[i].is_private = t->facets[i].type != FACET_VALUE;
    return rc;
}

/* A facet of the version's toolkit, which stays open for its texts. */
static int add_public(struct toolkit_dir *t, const struct doc_node *n, struct err *e)
{
    const struct facet *f = toolkit_dir_facet(t->version_of, n->text);
    const char *names[TOOLKIT_FACETS_MAX];
    char hint[160];
    size_t n_names = toolkit_dir_names(t->version_of, names);
    if (!f)
        return doc_fail(&t->doc, n->mark, e, "toolkit %s has no facet `%s`%s", t->label, n->text,
                        doc_hint(n->text, names, n_names, hint, sizeof hint));
    if (f->type != FACET_PATH && f->type != FACET_VALUE)
        return doc_fail(&t->doc, n->mark, e,
                        "facet `%s` of toolkit %s is no file and no value, and cannot be public",
                        n->text, t->label);
    if (toolkit_dir_facet(t, n->text))
        return doc_fail(&t->doc, n->mark, e, "there are two facets `%s`", n->text);
    if (t->n_facets >= TOOLKIT_FACETS_MAX)
        return doc_fail(&t->doc, n->mark, e, "more than TOOLKIT_FACETS_MAX (%d) facets",
                        TOOLKIT_FACETS_MAX);
    struct facet *own = &t->facets[t->n_facets++];
    *own = *f;
    own->path = f->path ? xstrdup(f->path) : NULL;
    own->value = f->value ? xstrdup(f->value) : NULL;
    return 0;
}

int layout_open(struct toolkit_dir *t, const char *folder, const char *shelf, struct err *e)
{
    struct layout l;
    char signature[TOOLKIT_SIGNATURE_DIGITS + 1] = "", *from = NULL;
    memset(t, 0, sizeof *t);
    t->folder = xstrdup(folder);
    t->version_of = xalloc(sizeof *t->version_of);
    int rc = find_layout(folder, shelf, &l, e);
    if (rc == 0)
        rc = read_signature(&l, folder, signature, &from, e);
    if (rc == 0)
        rc = find_version(&l, shelf, from, signature, t->version_of, e);
    xfree(from);
    const struct doc_node *public_facets = l.public_facets;
    t->doc = l.doc; /* moved */
    if (rc < 0)
        return rc;
    t->name = t->version_of->name;
    t->version = t->version_of->version;
    t->signature = t->version_of->signature;
    t->label = xstrdup(t->version_of->label);
    rc = read_own_facets(t, e);
    for (const struct doc_node *n = public_facets ? public_facets->first : NULL; n && rc == 0;
         n = n->next)
        rc = add_public(t, n, e);
    return rc;
}
