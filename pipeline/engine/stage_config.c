#include "pipeline/engine/stage_config.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static int wrong(const struct desc_param *p, const char *expected, const char *text, bool quoted,
                 struct err *e)
{
    return err_set(e, ERR_CONFIG, "parameter `%s`: expected %s%s%s, found %s%s%s", p->name,
                   expected, *p->unit ? " of " : "", p->unit, quoted ? "the text \"" : "`", text,
                   quoted ? "\"" : "`");
}

static int check_range(const struct desc_param *p, double v, const char *text, struct err *e)
{
    if (!p->bounded || (v >= p->min && v <= p->max))
        return 0;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_add_number(&b, p->min);
    buf_add_text(&b, " to ");
    json_add_number(&b, p->max);
    int rc = err_set(e, ERR_CONFIG, "parameter `%s`: expected %s%s%s, found %s", p->name,
                     buf_text(&b), *p->unit ? " " : "", p->unit, text);
    buf_release(&b);
    return rc;
}

static int choice_value(const struct desc_param *p, const char *text, struct json **out,
                        struct err *e)
{
    const char *names[64];
    size_t n = 0;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    bool found = false;
    for (const struct json *c = json_first(p->choices); c && n < 64; c = json_next(c)) {
        names[n++] = json_string(c);
        found |= str_eq(json_string(c), text);
        buf_printf(&b, "%s%s", b.n_bytes ? ", " : "", json_string(c));
    }
    char hint[160];
    int rc = 0;
    if (found)
        *out = json_new_string(text);
    else
        rc = err_set(e, ERR_CONFIG, "parameter `%s`: expected one of %s, found `%s`%s", p->name,
                     buf_text(&b), text, doc_hint(text, names, n, hint, sizeof hint));
    buf_release(&b);
    return rc;
}

int stage_config_value(const struct desc_param *p, const char *text, bool quoted, struct json **out,
                       struct err *e)
{
    int64_t i = 0;
    double f = 0;
    int rc = 0;
    switch (p->type) {
    case DESC_INT:
        if (quoted || !str_to_i64(text, &i) || i > (INT64_C(1) << 53) || i < -(INT64_C(1) << 53))
            return wrong(p, "a whole number", text, quoted, e);
        rc = check_range(p, (double)i, text, e);
        if (rc == 0)
            *out = json_new_i64(i);
        return rc;
    case DESC_FLOAT:
        if (quoted || !str_to_f64(text, &f))
            return wrong(p, "a number", text, quoted, e);
        rc = check_range(p, f, text, e);
        if (rc == 0)
            *out = json_new_f64(f);
        return rc;
    case DESC_BOOL:
        if (quoted || !(str_eq(text, "true") || str_eq(text, "false")))
            return wrong(p, "true or false", text, quoted, e);
        *out = json_new_bool(str_eq(text, "true"));
        return 0;
    case DESC_TEXT:
        *out = json_new_string(text);
        return 0;
    case DESC_CHOICE:
        return choice_value(p, text, out, e);
    }
    return 0;
}

static int given(const struct stage_desc *d, const struct doc_node *n,
                 const struct subst_scope *scope, struct json *config, struct err *e)
{
    const struct desc_param *p = stage_desc_param(d, n->key);
    if (!p) {
        const char *names[DESC_PARAMS_MAX];
        for (size_t i = 0; i < d->n_params; i++)
            names[i] = d->params[i].name;
        char hint[160];
        return doc_fail(scope->doc, n->key_mark, e, "stage %s has no parameter `%s`%s", d->name,
                        n->key, doc_hint(n->key, names, d->n_params, hint, sizeof hint));
    }
    char *text = NULL;
    bool quoted = false;
    int rc = subst_text(scope, n, &text, &quoted, e);
    if (rc < 0)
        return rc;
    struct json *value = NULL;
    struct err cause = {0};
    if (stage_config_value(p, text, quoted, &value, &cause) < 0)
        rc = doc_fail(scope->doc, n->mark, e, "%s", cause.text);
    else
        json_put(config, p->name, value);
    xfree(text);
    return rc;
}

int stage_config_build(const struct stage_desc *d, const struct doc_node *with,
                       struct yaml_mark mark, const struct subst_scope *scope, struct json **out,
                       struct err *e)
{
    struct json *config = json_new_object();
    int rc = 0;
    for (const struct doc_node *n = with ? with->first : NULL; n && rc == 0; n = n->next)
        rc = given(d, n, scope, config, e);
    for (size_t i = 0; i < d->n_params && rc == 0; i++) {
        const struct desc_param *p = &d->params[i];
        if (json_get(config, p->name))
            continue;
        if (p->default_value)
            json_put(config, p->name, json_clone(p->default_value));
        else
            rc = doc_fail(scope->doc, mark, e, "stage %s needs the parameter `%s` under `with`%s%s",
                          d->name, p->name, *p->help ? ": " : "", p->help);
    }
    if (rc < 0)
        json_free(config);
    else
        *out = config;
    return rc;
}

char *stage_config_text(const struct json *config, const char *name)
{
    const struct json *v = json_get(config, name);
    if (!v)
        return NULL;
    if (json_type(v) == JSON_STRING)
        return xstrdup(json_string(v));
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(v, &b);
    return buf_steal(&b);
}
