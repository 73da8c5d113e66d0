#include "pipeline/manifest/subst.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_word(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9');
}

/*
 * Length of the reference that starts at the '$' of p; 0 when it is a plain dollar sign. *name and
 * *n_name are the name in it, with ".name" or ".version" behind toolkit.
 */
static size_t reference(const char *p, const char **name, size_t *n_name)
{
    bool braced = p[1] == '{';
    const char *at = p + 1 + braced;
    if (!is_letter(*at))
        return 0;
    size_t n = 0;
    while (is_word(at[n]))
        n++;
    if (n == 7 && strncmp(at, "toolkit", 7) == 0) {
        if (str_starts(at + n, ".name") && !is_word(at[n + 5]))
            n += 5;
        else if (str_starts(at + n, ".version") && !is_word(at[n + 8]))
            n += 8;
    }
    if (braced && at[n] != '}')
        return 0;
    *name = at;
    *n_name = n;
    return 1 + n + 2 * (size_t)braced;
}

static const char *toolkit_value(const struct subst_scope *s, const char *name)
{
    if (str_eq(name, "toolkit"))
        return s->toolkit_label;
    return str_eq(name, "toolkit.name") ? s->toolkit_name : s->toolkit_version;
}

static int unknown(const struct subst_scope *s, const struct doc_node *n, const char *name,
                   struct err *e)
{
    size_t n_known = 0;
    const char *known[64 + LIMIT_AXES];
    known[n_known++] = "name";
    known[n_known++] = "toolkit";
    for (size_t i = 0; i < s->n_axes; i++)
        known[n_known++] = s->axis_names[i];
    for (const struct doc_node *v = s->vars ? s->vars->first : NULL; v && n_known < 64; v = v->next)
        known[n_known++] = v->key;
    char hint[160];
    return doc_fail(s->doc, n->mark, e, "unknown name $%s (not in vars, not an axis)%s", name,
                    doc_hint(name, known, n_known, hint, sizeof hint));
}

/* The value of one name; *quoted where the source of the value was quoted. */
static int lookup(const struct subst_scope *s, const struct doc_node *n, const char *name,
                  const char **value, bool *quoted, struct err *e)
{
    *quoted = false;
    if (str_eq(name, "name") && s->name) {
        *value = s->name;
        return 0;
    }
    if (str_eq(name, "toolkit") || str_starts(name, "toolkit.")) {
        *value = toolkit_value(s, name);
        if (!*value)
            return doc_fail(s->doc, n->mark, e, "$%s: there is no toolkit here", name);
        return 0;
    }
    for (size_t i = 0; i < s->n_axes; i++) {
        if (!str_eq(s->axis_names[i], name))
            continue;
        if (!s->axis_values[i])
            return doc_fail(s->doc, n->mark, e, "$%s cannot be used here: the axis has no value",
                            name);
        *value = s->axis_values[i]->text;
        *quoted = s->axis_values[i]->quoted;
        return 0;
    }
    const struct doc_node *var = doc_get(s->vars, name);
    if (!var)
        return unknown(s, n, name, e);
    *value = var->text;
    *quoted = var->quoted;
    return 0;
}

int subst_text(const struct subst_scope *s, const struct doc_node *scalar, char **out, bool *quoted,
               struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    *quoted = scalar->quoted;
    const char *p = scalar->text;
    while (*p) {
        const char *at = NULL;
        size_t n = 0;
        size_t n_reference = *p == '$' ? reference(p, &at, &n) : 0;
        if (n_reference == 0) {
            if (p[0] == '$' && p[1] == '$')
                p++;
            buf_add_char(&b, *p++);
            continue;
        }
        char *name = xstrndup(at, n);
        const char *value = NULL;
        bool value_quoted = false;
        int rc = lookup(s, scalar, name, &value, &value_quoted, e);
        xfree(name);
        if (rc < 0) {
            buf_release(&b);
            return rc;
        }
        buf_add_text(&b, value);
        if (p == scalar->text && p[n_reference] == '\0' && !scalar->quoted)
            *quoted = value_quoted;
        p += n_reference;
    }
    buf_add(&b, "", 0);
    *out = xstrdup(buf_text(&b));
    buf_release(&b);
    return 0;
}

bool subst_uses(const char *text, const char *name)
{
    for (const char *p = text; *p; p++) {
        const char *at = NULL;
        size_t n = 0;
        if (*p != '$')
            continue;
        if (p[1] == '$') {
            p++;
            continue;
        }
        if (reference(p, &at, &n) == 0)
            continue;
        size_t plain = strcspn(at, ".");
        size_t n_plain = plain < n ? plain : n;
        if (strlen(name) == n_plain && strncmp(at, name, n_plain) == 0)
            return true;
    }
    return false;
}
