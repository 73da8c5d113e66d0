#include "pipeline/manifest/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool manifest_is_label(const char *s)
{
    if (*s == '\0' || *s == '.' || strlen(s) > LIMIT_NAME_BYTES)
        return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              strchr("_.+-", *s)))
            return false;
    return true;
}

/* A list whose items, or a mapping whose members, are all single values. */
static int need_scalars(const struct yaml_doc *d, const struct doc_node *n, const char *what,
                        struct err *e)
{
    for (const struct doc_node *m = n->first; m; m = m->next) {
        if (m->type == DOC_SCALAR)
            continue;
        return doc_fail(d, m->mark, e, "%s%s%s%s must be a single value, found %s", what,
                        m->key ? " `" : "", m->key ? m->key : "", m->key ? "`" : "",
                        doc_type_name(m->type));
    }
    return 0;
}

static int check_name(struct manifest *m, struct err *e)
{
    const struct doc_node *n = doc_get(m->doc.root, "name");
    struct yaml_mark top = {1, 1};
    if (!n)
        return doc_fail(&m->doc, top, e, "`name` is missing");
    int rc = doc_need(&m->doc, n, DOC_SCALAR, "name", e);
    if (rc < 0)
        return rc;
    m->name = n->text;
    if (str_is_word(m->name) && strlen(m->name) <= LIMIT_NAME_BYTES)
        return 0;
    if (str_is_word(m->name))
        return doc_fail(&m->doc, n->mark, e, "name of %zu characters: expected %d at most",
                        strlen(m->name), LIMIT_NAME_BYTES);
    return doc_fail(&m->doc, n->mark, e,
                    "name `%s` must be letters, digits and _ only: it becomes the adapter's name, "
                    "and the runtime silently refuses an adapter whose name has any other "
                    "character%s",
                    m->name,
                    strchr(m->name, '-') ? " (a hyphen separates name and signature)" : "");
}

static int check_version(struct manifest *m, struct err *e)
{
    const struct doc_node *n = doc_get(m->doc.root, "fmforge");
    struct yaml_mark top = {1, 1};
    if (!n)
        return doc_fail(&m->doc, top, e,
                        "`fmforge: 1` is missing: the version of the manifest language");
    int rc = doc_need(&m->doc, n, DOC_SCALAR, "fmforge", e);
    if (rc == 0 && !str_eq(n->text, "1"))
        rc = doc_fail(&m->doc, n->mark, e,
                      "manifest language %s: this program knows version 1 only", n->text);
    return rc;
}

static int read_vars(struct manifest *m, struct err *e)
{
    m->vars = doc_get(m->doc.root, "vars");
    if (!m->vars)
        return 0;
    int rc = doc_need(&m->doc, m->vars, DOC_MAP, "vars", e);
    if (rc == 0)
        rc = need_scalars(&m->doc, m->vars, "variable", e);
    for (const struct doc_node *v = m->vars->first; v && rc == 0; v = v->next)
        if (!str_is_word(v->key) || str_eq(v->key, "name") || str_eq(v->key, "toolkit"))
            rc = doc_fail(&m->doc, v->key_mark, e,
                          "`%s` cannot be a variable's name: letters, digits and _, and neither "
                          "name nor toolkit",
                          v->key);
    return rc;
}

static int check_axis(struct manifest *m, const struct doc_node *axis, struct err *e)
{
    if (!str_is_word(axis->key) || str_eq(axis->key, "toolkit") || str_eq(axis->key, "name"))
        return doc_fail(&m->doc, axis->key_mark, e,
                        "`%s` cannot be an axis: letters, digits and _, and neither toolkit nor "
                        "name",
                        axis->key);
    if (doc_get(m->vars, axis->key))
        return doc_fail(&m->doc, axis->key_mark, e, "`%s` is in vars and in matrix", axis->key);
    int rc = doc_need(&m->doc, axis, DOC_LIST, "an axis", e);
    if (rc == 0)
        rc = need_scalars(&m->doc, axis, "a value of an axis", e);
    if (rc == 0 && axis->n_items == 0)
        rc = doc_fail(&m->doc, axis->mark, e, "axis `%s` has no values", axis->key);
    for (const struct doc_node *v = axis->first; v && rc == 0; v = v->next) {
        if (!manifest_is_label(v->text))
            rc = doc_fail(&m->doc, v->mark, e,
                          "`%s` cannot be a value of an axis: letters, digits, _ . + -", v->text);
        for (const struct doc_node *u = axis->first; u != v && rc == 0; u = u->next)
            if (str_eq(u->text, v->text))
                rc = doc_fail(&m->doc, v->mark, e, "axis `%s` has the value %s twice", axis->key,
                              v->text);
    }
    return rc;
}

static int by_axis_name(const void *a, const void *b)
{
    return strcmp(((const struct manifest_axis *)a)->name, ((const struct manifest_axis *)b)->name);
}

static int read_matrix(struct manifest *m, struct err *e)
{
    const struct doc_node *matrix = doc_get(m->doc.root, "matrix");
    if (!matrix)
        return 0;
    int rc = doc_need(&m->doc, matrix, DOC_MAP, "matrix", e);
    for (const struct doc_node *axis = matrix->first; axis && rc == 0; axis = axis->next) {
        if (m->n_axes + 1 >= LIMIT_AXES)
            return doc_fail(&m->doc, axis->key_mark, e, "more than LIMIT_AXES (%d) axes",
                            LIMIT_AXES);
        rc = check_axis(m, axis, e);
        m->axes[m->n_axes].name = axis->key;
        m->axes[m->n_axes].values = axis;
        m->n_axes++;
    }
    qsort(m->axes, m->n_axes, sizeof m->axes[0], by_axis_name);
    return rc;
}

/* A member of a stage that must be a mapping or list of single values. */
static int stage_part(struct manifest *m, const struct doc_node *stage, const char *key,
                      enum doc_type type, const struct doc_node **out, struct err *e)
{
    *out = doc_get(stage, key);
    if (!*out)
        return 0;
    if ((*out)->type == DOC_SCALAR && !(*out)->quoted && (*out)->text[0] == '\0') {
        *out = NULL; /* `with:` with nothing behind it */
        return 0;
    }
    char what[2 * LIMIT_NAME_BYTES];
    snprintf(what, sizeof what, "%s of stage %.100s", key, stage->key);
    int rc = doc_need(&m->doc, *out, type, what, e);
    return rc < 0 ? rc : need_scalars(&m->doc, *out, what, e);
}

static int read_stage(struct manifest *m, const struct doc_node *n, struct manifest_stage *s,
                      struct err *e)
{
    static const char *const known[] = {"run",   "inputs", "with", "gates",
                                        "needs", "limits", "help"};
    s->name = n->key;
    s->mark = n->key_mark;
    if (!manifest_is_label(s->name) || strchr(s->name, '.') || strchr(s->name, '+') ||
        str_eq(s->name, "toolkit"))
        return doc_fail(&m->doc, n->key_mark, e,
                        "`%s` cannot be a stage's name: letters, digits, _ and -, and not toolkit",
                        s->name);
    char what[2 * LIMIT_NAME_BYTES];
    snprintf(what, sizeof what, "stage %.100s", s->name);
    int rc = doc_need(&m->doc, n, DOC_MAP, what, e);
    if (rc == 0)
        rc = doc_only_keys(&m->doc, n, what, known, COUNT(known), e);
    if (rc < 0)
        return rc;
    s->run = doc_get(n, "run");
    if (!s->run)
        return doc_fail(&m->doc, n->mark, e, "%s has no `run`: which kind of stage is it?", what);
    rc = doc_need(&m->doc, s->run, DOC_SCALAR, "run", e);
    if (rc == 0)
        rc = stage_part(m, n, "inputs", DOC_MAP, &s->inputs, e);
    if (rc == 0)
        rc = stage_part(m, n, "with", DOC_MAP, &s->with, e);
    if (rc == 0)
        rc = stage_part(m, n, "gates", DOC_LIST, &s->gates, e);
    if (rc == 0)
        rc = stage_part(m, n, "needs", DOC_LIST, &s->needs, e);
    snprintf(what, sizeof what, "limits of stage %.100s", s->name);
    return rc < 0 ? rc : stage_limits_read(&m->doc, doc_get(n, "limits"), what, &s->limits, e);
}

const struct manifest_stage *manifest_stage(const struct manifest *m, const char *name)
{
    for (size_t i = 0; i < m->n_stages; i++)
        if (str_eq(m->stages[i].name, name))
            return &m->stages[i];
    return NULL;
}

static int unknown_stage(struct manifest *m, struct yaml_mark mark, const char *name, struct err *e)
{
    const char **names = xalloc_array(m->n_stages, sizeof *names);
    for (size_t i = 0; i < m->n_stages; i++)
        names[i] = m->stages[i].name;
    char hint[160];
    int rc = doc_fail(&m->doc, mark, e, "there is no stage `%s`%s", name,
                      doc_hint(name, names, m->n_stages, hint, sizeof hint));
    xfree(names);
    return rc;
}

static int read_stages(struct manifest *m, struct err *e)
{
    const struct doc_node *stages = doc_get(m->doc.root, "stages");
    struct yaml_mark top = {1, 1};
    if (!stages)
        return doc_fail(&m->doc, top, e, "`stages` is missing");
    int rc = doc_need(&m->doc, stages, DOC_MAP, "stages", e);
    if (rc < 0)
        return rc;
    m->stages = xalloc_array(stages->n_items, sizeof *m->stages);
    for (const struct doc_node *n = stages->first; n && rc == 0; n = n->next) {
        rc = read_stage(m, n, &m->stages[m->n_stages], e);
        m->n_stages++;
    }
    for (size_t i = 0; i < m->n_stages && rc == 0; i++) {
        const struct doc_node *needs = m->stages[i].needs;
        for (const struct doc_node *n = needs ? needs->first : NULL; n && rc == 0; n = n->next)
            if (!manifest_stage(m, n->text))
                rc = unknown_stage(m, n->mark, n->text, e);
    }
    return rc;
}

static int read_deliver(struct manifest *m, struct err *e)
{
    m->deliver = doc_get(m->doc.root, "deliver");
    if (!m->deliver)
        return 0;
    int rc = doc_need(&m->doc, m->deliver, DOC_MAP, "deliver", e);
    if (rc == 0)
        rc = need_scalars(&m->doc, m->deliver, "delivery", e);
    for (const struct doc_node *n = m->deliver->first; n && rc == 0; n = n->next) {
        char *stage = xstrndup(n->key, strcspn(n->key, "."));
        if (!manifest_stage(m, stage))
            rc = unknown_stage(m, n->key_mark, stage, e);
        xfree(stage);
    }
    return rc;
}

static int read_toolkits(struct manifest *m, struct err *e)
{
    m->toolkits = doc_get(m->doc.root, "toolkits");
    if (!m->toolkits || m->toolkits->type == DOC_SCALAR)
        return 0;
    int rc = doc_need(&m->doc, m->toolkits, DOC_LIST, "toolkits", e);
    return rc < 0 ? rc : need_scalars(&m->doc, m->toolkits, "a toolkit", e);
}

static int read_skip_without(struct manifest *m, struct err *e)
{
    m->skip_without = doc_get(m->doc.root, "skip_without");
    if (!m->skip_without)
        return 0;
    int rc = doc_need(&m->doc, m->skip_without, DOC_LIST, "skip_without", e);
    if (rc == 0)
        rc = need_scalars(&m->doc, m->skip_without, "a path of skip_without", e);
    for (const struct doc_node *n = m->skip_without->first; n && rc == 0; n = n->next)
        if (n->text[0] == '\0' || strchr(n->text, '$'))
            rc = doc_fail(&m->doc, n->mark, e,
                          "skip_without takes paths as they are, without variables; found `%s`",
                          n->text);
    return rc;
}

const char *manifest_absent(const struct manifest *m)
{
    const struct doc_node *n = m->skip_without ? m->skip_without->first : NULL;
    for (; n; n = n->next)
        if (!file_exists(n->text) && !file_is_folder(n->text))
            return n->text;
    return NULL;
}

static const char *const known_keys[] = {"fmforge",      "name",   "description", "toolkits",
                                         "vars",         "matrix", "stages",      "deliver",
                                         "skip_without", "remote"};

static int check_set_variable(const struct manifest *m, const char *name, const char *origin,
                              struct err *e)
{
    const struct doc_node *vars = doc_get(m->doc.root, "vars");
    if (doc_get(vars, name))
        return 0;
    const char *known[64];
    size_t n = 0;
    const struct doc_node *first = vars && vars->type == DOC_MAP ? vars->first : NULL;
    for (const struct doc_node *v = first; v && n < 64; v = v->next)
        known[n++] = v->key;
    char hint[160];
    return err_set(e, ERR_CONFIG, "%s: %s has no variable `%s`%s", origin, m->doc.path, name,
                   doc_hint(name, known, n, hint, sizeof hint));
}

/* A name that begins with no key of a manifest is most likely a variable's, without its `vars.` */
static int check_set_name(const struct manifest *m, const char *name, const char *origin,
                          struct err *e)
{
    if (str_starts(name, "vars."))
        return check_set_variable(m, name + strlen("vars."), origin, e);
    char *key = xstrndup(name, strcspn(name, "."));
    bool known = false;
    for (size_t i = 0; i < COUNT(known_keys) && !known; i++)
        known = str_eq(key, known_keys[i]);
    char hint[160];
    if (doc_get(doc_get(m->doc.root, "vars"), name))
        snprintf(hint, sizeof hint, ", did you mean `vars.%.100s`?", name);
    else
        doc_hint(key, known_keys, COUNT(known_keys), hint, sizeof hint);
    int rc =
        known ? 0 : err_set(e, ERR_CONFIG, "%s: a manifest has no key `%s`%s", origin, key, hint);
    xfree(key);
    return rc;
}

static int apply_set(struct manifest *m, const char *set, struct err *e)
{
    const char *equals = strchr(set, '=');
    if (!equals || equals == set)
        return err_set(e, ERR_CONFIG, "--set %s: expected NAME=VALUE, e.g. vars.seed=8", set);
    char *name = xstrndup(set, (size_t)(equals - set));
    char *origin = xasprintf("--set %s", set);
    int rc = check_set_name(m, name, origin, e);
    if (rc == 0)
        rc = yaml_doc_set(&m->doc, name, equals + 1, origin, e);
    xfree(origin);
    xfree(name);
    return rc;
}

int manifest_open(struct manifest *m, const char *path, const char *const *sets, size_t n_sets,
                  struct err *e)
{
    memset(m, 0, sizeof *m);
    int rc = yaml_doc_open(&m->doc, path, e);
    if (rc == 0)
        rc = doc_need(&m->doc, m->doc.root, DOC_MAP, "a manifest", e);
    if (rc == 0)
        rc = doc_only_keys(&m->doc, m->doc.root, "the manifest", known_keys, COUNT(known_keys), e);
    if (rc == 0)
        rc = check_version(m, e);
    for (size_t i = 0; i < n_sets && rc == 0; i++)
        rc = apply_set(m, sets[i], e);
    if (rc == 0 && n_sets > 0)
        rc = check_version(m, e);
    if (rc == 0)
        rc = check_name(m, e);
    if (rc == 0)
        rc = read_toolkits(m, e);
    if (rc == 0)
        rc = read_vars(m, e);
    if (rc == 0)
        rc = read_matrix(m, e);
    if (rc == 0)
        rc = read_stages(m, e);
    if (rc == 0)
        rc = read_deliver(m, e);
    if (rc == 0)
        rc = read_skip_without(m, e);
    if (rc == 0)
        rc = remote_spec_read(&m->doc, doc_get(m->doc.root, "remote"), &m->remote, e);
    const struct doc_node *d = doc_get(m->doc.root, "description");
    if (rc == 0 && d)
        rc = doc_need(&m->doc, d, DOC_SCALAR, "description", e);
    m->description = d ? d->text : NULL;
    return rc;
}

void manifest_release(struct manifest *m)
{
    xfree(m->stages);
    yaml_doc_release(&m->doc);
    memset(m, 0, sizeof *m);
}
