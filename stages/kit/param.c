#include "stages/kit/param.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static const char *const TYPE_NAMES[] = {"int", "float", "bool", "text", "choice"};

static bool is_bounded(const struct param *p)
{
    return p->min != 0 || p->max != 0;
}

static int check_range(const struct param *p, double v, struct err *e)
{
    if (!is_bounded(p) || (v >= p->min && v <= p->max))
        return 0;
    return err_set(e, ERR_CONFIG, "parameter %s: expected %.12g to %.12g%s%s, found %.12g", p->name,
                   p->min, p->max, *p->unit == 0 ? "" : " ", p->unit, v);
}

static int wrong_type(const struct param *p, const char *expected, const struct json *v,
                      struct err *e)
{
    return err_set(e, ERR_CONFIG, "parameter %s: expected %s, found %s", p->name, expected,
                   json_type_name(json_type(v)));
}

static int read_choice(const struct param *p, const struct json *v, int *out, struct err *e)
{
    if (json_type(v) != JSON_STRING)
        return wrong_type(p, "a text", v, e);
    size_t n = 0;
    while (p->choices[n] != NULL) {
        if (str_eq(p->choices[n], json_string(v))) {
            *out = (int)n;
            return 0;
        }
        n++;
    }
    struct buf list;
    buf_init(&list, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < n; i++)
        buf_printf(&list, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", p->choices[i]);
    int rc = err_set(e, ERR_CONFIG, "parameter %s: expected %s, found \"%s\"", p->name,
                     buf_text(&list), json_string(v));
    buf_release(&list);
    return rc;
}

static int read_one(const struct param *p, const struct json *v, void *slot, struct err *e)
{
    switch (p->type) {
    case PARAM_INT:
        if (!json_is_integer(v))
            return wrong_type(p, "a whole number", v, e);
        *(int64_t *)slot = (int64_t)json_number(v);
        return check_range(p, json_number(v), e);
    case PARAM_FLOAT:
        if (json_type(v) != JSON_NUMBER)
            return wrong_type(p, "a number", v, e);
        *(double *)slot = json_number(v);
        return check_range(p, json_number(v), e);
    case PARAM_BOOL:
        if (json_type(v) != JSON_BOOL)
            return wrong_type(p, "true or false", v, e);
        *(bool *)slot = json_bool(v);
        return 0;
    case PARAM_TEXT:
        if (json_type(v) != JSON_STRING)
            return wrong_type(p, "a text", v, e);
        *(const char **)slot = json_string(v);
        return 0;
    case PARAM_CHOICE:
        return read_choice(p, v, slot, e);
    }
    CHECK(false);
    return 0;
}

int param_read(const struct param *params, size_t n_params, const struct json *v, void *config,
               struct err *e)
{
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_CONFIG, "the config must be an object, found %s",
                       json_type_name(json_type(v)));
    const char **names = xalloc_array(n_params + 1, sizeof *names);
    for (size_t i = 0; i < n_params; i++)
        names[i] = params[i].name;
    struct err inner = {0};
    int rc = 0;
    if (json_only_keys(v, names, n_params, &inner) != 0)
        rc = err_set(e, ERR_CONFIG, "config: %s", inner.text);
    xfree(names);
    for (size_t i = 0; i < n_params && rc == 0; i++) {
        const struct json *member = json_get(v, params[i].name);
        if (member == NULL)
            rc = err_set(e, ERR_CONFIG, "parameter %s is missing; the config must be complete",
                         params[i].name);
        else
            rc = read_one(&params[i], member, (char *)config + params[i].offset, e);
    }
    return rc;
}

static struct json *default_value(const struct param *p)
{
    int64_t whole = 0;
    double real = 0;
    bool ok = true;
    struct json *v = NULL;
    switch (p->type) {
    case PARAM_INT:
        ok = str_to_i64(p->default_text, &whole);
        v = json_new_i64(whole);
        break;
    case PARAM_FLOAT:
        ok = str_to_f64(p->default_text, &real);
        v = json_new_f64(real);
        break;
    case PARAM_BOOL:
        ok = str_eq(p->default_text, "true") || str_eq(p->default_text, "false");
        v = json_new_bool(str_eq(p->default_text, "true"));
        break;
    case PARAM_TEXT:
    case PARAM_CHOICE:
        v = json_new_string(p->default_text);
        break;
    }
    CHECK(ok);
    return v;
}

struct json *param_describe(const struct param *params, size_t n_params)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < n_params; i++) {
        const struct param *p = &params[i];
        struct json *o = json_new_object();
        json_put_string(o, "name", p->name);
        json_put_string(o, "type", TYPE_NAMES[p->type]);
        if (p->default_text != NULL)
            json_put(o, "default", default_value(p));
        if (is_bounded(p)) {
            json_put_f64(o, "min", p->min);
            json_put_f64(o, "max", p->max);
        }
        if (p->type == PARAM_CHOICE) {
            struct json *choices = json_new_array();
            for (size_t k = 0; p->choices[k] != NULL; k++)
                json_append(choices, json_new_string(p->choices[k]));
            json_put(o, "choices", choices);
        }
        json_put_string(o, "unit", p->unit);
        json_put_string(o, "help", p->help);
        json_append(list, o);
    }
    return list;
}
