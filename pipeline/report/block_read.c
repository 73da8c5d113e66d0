#include "pipeline/report/block_read.h"

#include "pipeline/base/xalloc.h"

int block_is_text(const struct json *v, struct err *e)
{
    if (json_type(v) == JSON_STRING)
        return 0;
    return err_set(e, ERR_FORMAT, "expected a text, found %s", json_type_name(json_type(v)));
}

int block_maybe_text(const struct json *o, const char *key, const char **out, struct err *e)
{
    *out = "";
    if (!json_get(o, key))
        return 0;
    return json_need_string(o, key, out, e);
}

int block_texts(const struct json *o, const char *key, const struct json **out, size_t *n,
                struct err *e)
{
    int rc = json_need_array(o, key, out, e);
    if (rc < 0)
        return rc;
    size_t i = 0;
    for (const struct json *v = json_first(*out); v; v = json_next(v), i++)
        if (block_is_text(v, e) < 0)
            return err_wrap(e, "\"%s\", item %zu", key, i + 1);
    if (n)
        *n = i;
    return 0;
}

int block_rows(const struct json *o, const char *key, size_t n_columns, const struct json **out,
               struct err *e)
{
    int rc = json_need_array(o, key, out, e);
    if (rc < 0)
        return rc;
    size_t i = 0;
    for (const struct json *row = json_first(*out); row; row = json_next(row)) {
        i++;
        if (json_type(row) != JSON_ARRAY)
            return err_set(e, ERR_FORMAT, "\"%s\", row %zu: expected an array, found %s", key, i,
                           json_type_name(json_type(row)));
        if (json_count(row) != n_columns)
            return err_set(e, ERR_FORMAT, "\"%s\", row %zu: expected %zu items, found %zu", key, i,
                           n_columns, json_count(row));
    }
    return 0;
}

int block_numbers(const struct json *o, const char *key, double **out, size_t *n, struct err *e)
{
    const struct json *list = NULL;
    int rc = json_need_array(o, key, &list, e);
    if (rc < 0)
        return rc;
    double *values = xalloc_array(json_count(list), sizeof *values);
    size_t i = 0;
    for (const struct json *v = json_first(list); v; v = json_next(v)) {
        if (json_type(v) != JSON_NUMBER) {
            xfree(values);
            return err_set(e, ERR_FORMAT, "\"%s\", item %zu: expected a number, found %s", key,
                           i + 1, json_type_name(json_type(v)));
        }
        values[i++] = json_number(v);
    }
    *out = values;
    *n = i;
    return 0;
}
