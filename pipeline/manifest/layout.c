/* The form of a layout file. */

#include "pipeline/manifest/layout.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/manifest/folder_glob.h"
#include "pipeline/manifest/manifest.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A member that must be there, of a type. */
static int need(const struct layout *l, const struct doc_node *map, const char *key,
                enum doc_type type, const struct doc_node **out, struct err *e)
{
    *out = doc_get(map, key);
    if (!*out)
        return doc_fail(&l->doc, map->mark, e, "`%s` is missing", key);
    return doc_need(&l->doc, *out, type, key, e);
}

static int check_glob(const struct layout *l, const struct doc_node *n, struct err *e)
{
    if (folder_glob_is_good(n->text))
        return 0;
    return doc_fail(&l->doc, n->mark, e,
                    "`%s`: a pattern is below the folder, without .., . or empty parts", n->text);
}

/* A list of texts that all pass `check`. */
static int check_list(const struct layout *l, const struct doc_node *list, const char *what,
                      int (*check)(const struct layout *, const struct doc_node *, struct err *),
                      struct err *e)
{
    if (!list->first)
        return doc_fail(&l->doc, list->mark, e, "`%s` is empty", what);
    int rc = 0;
    for (const struct doc_node *n = list->first; n && rc == 0; n = n->next) {
        rc = doc_need(&l->doc, n, DOC_SCALAR, what, e);
        if (rc == 0)
            rc = check(l, n, e);
    }
    return rc;
}

static int check_version(const struct layout *l, const struct doc_node *n, struct err *e)
{
    if (manifest_is_label(n->text))
        return 0;
    return doc_fail(&l->doc, n->mark, e,
                    "`%s`: a version is the name of a toolkit's folder beside this file", n->text);
}

static int check_name(const struct layout *l, const struct doc_node *n, struct err *e)
{
    if (str_is_word(n->text))
        return 0;
    return doc_fail(&l->doc, n->mark, e, "`%s` cannot be a facet's name: letters, digits and _",
                    n->text);
}

/* { folder, because } or { file, key, expected, because }, all of them texts. */
static int check_refusal(const struct layout *l, const struct doc_node *n, struct err *e)
{
    static const char *const of_folder[] = {"folder", "because"};
    static const char *const of_file[] = {"file", "key", "expected", "because"};
    int rc = doc_need(&l->doc, n, DOC_MAP, "a rule of refuse", e);
    if (rc < 0)
        return rc;
    bool by_name = doc_get(n, "folder") != NULL;
    const char *const *keys = by_name ? of_folder : of_file;
    size_t n_keys = by_name ? COUNT(of_folder) : COUNT(of_file);
    const struct doc_node *member = NULL;
    rc = doc_only_keys(&l->doc, n, "a rule of refuse", keys, n_keys, e);
    for (size_t i = 0; i < n_keys && rc == 0; i++)
        rc = need(l, n, keys[i], DOC_SCALAR, &member, e);
    return rc == 0 && !by_name ? check_glob(l, doc_get(n, "file"), e) : rc;
}

static int read_refuse(struct layout *l, struct err *e)
{
    l->refuse = doc_get(l->doc.root, "refuse");
    int rc = l->refuse ? doc_need(&l->doc, l->refuse, DOC_LIST, "refuse", e) : 0;
    for (const struct doc_node *n = l->refuse ? l->refuse->first : NULL; n && rc == 0; n = n->next)
        rc = check_refusal(l, n, e);
    return rc;
}

static int read_signature(struct layout *l, struct err *e)
{
    static const char *const known[] = {"from", "assignment"};
    const struct doc_node *s = NULL;
    int rc = need(l, l->doc.root, "signature", DOC_MAP, &s, e);
    if (rc == 0)
        rc = doc_only_keys(&l->doc, s, "signature", known, COUNT(known), e);
    if (rc == 0)
        rc = need(l, s, "from", DOC_SCALAR, &l->from, e);
    if (rc == 0)
        rc = check_glob(l, l->from, e);
    if (rc == 0)
        rc = need(l, s, "assignment", DOC_SCALAR, &l->assignment, e);
    if (rc == 0 && !str_is_word(l->assignment->text))
        rc = doc_fail(&l->doc, l->assignment->mark, e, "`%s` is no name of a constant",
                      l->assignment->text);
    return rc;
}

static int read_parts(struct layout *l, struct err *e)
{
    const struct doc_node *root = l->doc.root, *facets = NULL;
    int rc = need(l, root, "versions", DOC_LIST, &l->versions, e);
    if (rc == 0)
        rc = check_list(l, l->versions, "versions", check_version, e);
    if (rc == 0)
        rc = need(l, root, "must_have", DOC_LIST, &l->must_have, e);
    if (rc == 0)
        rc = check_list(l, l->must_have, "must_have", check_glob, e);
    if (rc == 0)
        rc = read_refuse(l, e);
    if (rc == 0)
        rc = read_signature(l, e);
    l->public_facets = doc_get(root, "public");
    if (rc == 0 && l->public_facets)
        rc = doc_need(&l->doc, l->public_facets, DOC_LIST, "public", e);
    if (rc == 0 && l->public_facets)
        rc = check_list(l, l->public_facets, "public", check_name, e);
    return rc == 0 ? need(l, root, "facets", DOC_MAP, &facets, e) : rc;
}

int layout_read(struct layout *l, const char *path, struct err *e)
{
    static const char *const known[] = {"fmforge_layout", "description", "help",
                                        "versions",       "must_have",   "refuse",
                                        "signature",      "public",      "facets"};
    memset(l, 0, sizeof *l);
    int rc = yaml_doc_open(&l->doc, path, e);
    if (rc == 0)
        rc = doc_need(&l->doc, l->doc.root, DOC_MAP, "a layout", e);
    if (rc == 0)
        rc = doc_only_keys(&l->doc, l->doc.root, "a layout", known, COUNT(known), e);
    const struct doc_node *language = NULL;
    if (rc == 0)
        rc = need(l, l->doc.root, "fmforge_layout", DOC_SCALAR, &language, e);
    if (rc == 0 && !str_eq(language->text, "1"))
        rc = doc_fail(&l->doc, language->mark, e,
                      "layout language %s: this program knows version 1 only", language->text);
    return rc == 0 ? read_parts(l, e) : rc;
}

void layout_release(struct layout *l)
{
    yaml_doc_release(&l->doc);
    memset(l, 0, sizeof *l);
}
