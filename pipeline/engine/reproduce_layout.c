#include "pipeline/engine/reproduce_layout.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/folder_glob.h"
#include "pipeline/manifest/layout.h"
#include "pipeline/provenance/statement.h"

static void say(struct json *unknown, char *text)
{
    json_append(unknown, statement_text(text));
    xfree(text);
}

static const char *recorded(const struct run_record *r, const char *label, const char *name)
{
    char *path = xasprintf("toolkits/%s/%s", label, name);
    const char *text = run_record_file(r, path);
    xfree(path);
    return text;
}

/* "toolkits/afm-1.0/layout.yaml" -> "afm-1.0"; caller xfrees. NULL for other files. */
static char *label_of(const struct json *file)
{
    const char *path = json_find_text(file, "path");
    if (path == NULL || !str_starts(path, "toolkits/") || !str_ends(path, "/layout.yaml"))
        return NULL;
    path += strlen("toolkits/");
    return xstrndup(path, strcspn(path, "/"));
}

bool reproduce_is_foreign(const struct run_record *r, const char *folder)
{
    char *own = file_join(folder, "toolkit.yaml");
    const char *name = file_base_name(folder);
    bool foreign = !file_exists(own) && (recorded(r, name, "toolkit.yaml") == NULL ||
                                         recorded(r, name, "layout.yaml") != NULL);
    bool any = false;
    for (const struct json *f = json_items(r->shown, "files"); f != NULL; f = json_next(f)) {
        char *label = label_of(f);
        any |= label != NULL;
        xfree(label);
    }
    xfree(own);
    return foreign && any;
}

/* The label that the folder had in the run: the only one of its kind, or what it is today. */
static char *find_label(const struct run_record *r, const char *folder)
{
    char *only = NULL;
    size_t n = 0;
    for (const struct json *f = json_items(r->shown, "files"); f != NULL; f = json_next(f)) {
        char *label = label_of(f);
        if (label == NULL)
            continue;
        xfree(only);
        only = label;
        n++;
    }
    if (n == 1)
        return only;
    xfree(only);
    struct toolkit_dir now;
    struct err why = {0};
    char *label = NULL;
    if (toolkit_dir_open(&now, folder, &why) == 0 && recorded(r, now.label, "layout.yaml") != NULL)
        label = xstrdup(now.label);
    toolkit_dir_release(&now);
    return label;
}

static int write_below(const char *work, const char *path, const char *text, struct err *e)
{
    char *to = file_join(work, path);
    int rc = file_make_parents(to, e);
    if (rc == 0)
        rc = file_write(to, text, strlen(text), e);
    xfree(to);
    return rc;
}

/* Of a version: from the record, or, when the run had another one, from here. */
static int put_version(const struct reproduction *p, const char *name, struct err *e)
{
    char *path = xasprintf(TOOLKIT_SHELF "/%s/toolkit.yaml", name);
    const char *text = recorded(p->run, name, "toolkit.yaml");
    struct buf here;
    struct err gone = {0};
    int rc = 0;
    buf_init(&here, BUF_MAX_DEFAULT);
    if (text == NULL && file_read(path, LIMIT_MANIFEST_BYTES, &here, &gone) == 0)
        text = buf_text(&here);
    if (text != NULL)
        rc = write_below(p->work, path, text, e);
    else
        say(p->unknown, xasprintf("%s: its layout names this version, and it is gone", path));
    buf_release(&here);
    xfree(path);
    return rc;
}

/* The layout of a label, read from where it is laid out. Two labels may have one: it lies there
 * once, under the first. */
static int put_layout(const struct reproduction *p, const char *label, struct layout *l,
                      struct err *e)
{
    const char *text = recorded(p->run, label, "layout.yaml");
    char *first = NULL;
    for (const struct json *f = json_items(p->run->shown, "files"); f && !first; f = json_next(f)) {
        char *other = label_of(f);
        if (other != NULL && str_eq(recorded(p->run, other, "layout.yaml"), text))
            first = other;
        else
            xfree(other);
    }
    char *path = xasprintf(TOOLKIT_SHELF "/%s" LAYOUT_SUFFIX, first);
    char *full = file_join(p->work, path);
    int rc = write_below(p->work, path, text, e);
    if (rc == 0)
        rc = layout_read(l, full, e);
    xfree(full);
    xfree(path);
    xfree(first);
    return rc;
}

int reproduce_put_shelf(const struct reproduction *p, const char *folder, char **version,
                        struct err *e)
{
    char *label = find_label(p->run, folder);
    struct layout l = {0};
    *version = NULL;
    if (label == NULL) {
        say(p->unknown,
            xasprintf("toolkit %s: read by a layout; the record has several such toolkits, "
                      "and the folder does not say which it was",
                      folder));
        return 0;
    }
    int rc = put_layout(p, label, &l, e);
    for (const struct doc_node *n = rc == 0 ? l.versions->first : NULL; n && rc == 0; n = n->next)
        rc = put_version(p, n->text, e);
    if (rc == 0)
        *version = xasprintf(TOOLKIT_SHELF "/%s", label);
    layout_release(&l);
    xfree(label);
    return rc;
}

/* ---- what a layout only looks at ---- */

/* Writes `text` for a pattern that stands for nothing below work yet: under its own words, or,
 * when it is more than a name, under the name that it stands for in the user's folder. */
static int put_mark(const struct reproduction *p, const char *folder, const char *glob,
                    const char *text, struct err *e)
{
    char *root = file_join(p->work, folder), *found = NULL;
    struct err ignored = {0};
    int rc = file_make_folder(root, e);
    if (rc == 0)
        rc = folder_glob(root, glob, &found, e);
    if (rc == 0 && found == NULL) {
        bool plain = strpbrk(glob, "*?[") == NULL;
        char *name = plain ? xstrdup(glob) : NULL;
        if (!plain && folder_glob(folder, glob, &name, &ignored) < 0)
            name = NULL;
        if (name != NULL)
            rc = write_below(root, name, text, e);
        else
            say(p->unknown, xasprintf("toolkit %s: there is no %s any more", folder, glob));
        xfree(name);
    }
    xfree(found);
    xfree(root);
    return rc;
}

int reproduce_put_marks(const struct reproduction *p, const char *folder, const char *version,
                        struct err *e)
{
    struct toolkit_dir t;
    struct layout l = {0};
    char *full = file_join(p->work, version);
    int rc = toolkit_dir_open(&t, full, e);
    if (rc == 0)
        rc = put_layout(p, file_base_name(version), &l, e);
    if (rc == 0 && folder[0] != '/') {
        char *text = xasprintf("%s = \"%s\"\n", l.assignment->text, t.signature);
        rc = put_mark(p, folder, l.from->text, text, e);
        xfree(text);
        for (const struct doc_node *n = l.must_have->first; n != NULL && rc == 0; n = n->next)
            rc = put_mark(p, folder, n->text, "", e);
    }
    layout_release(&l);
    toolkit_dir_release(&t);
    xfree(full);
    return rc;
}
