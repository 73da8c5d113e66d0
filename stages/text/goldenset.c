#include "stages/text/goldenset.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static int take_field(struct golden_field *f, const struct json *v, struct err *e)
{
    static const char *const keys[] = {"metric", "distinct"};
    const char *metric = NULL;
    f->name = xstrdup(json_key(v));
    if (!str_is_word(f->name))
        return err_set(e, ERR_FORMAT, "field \"%s\": expected letters, digits and _", f->name);
    if (str_eq(f->name, "exact") || str_eq(f->name, "number"))
        return err_set(e, ERR_FORMAT,
                       "field \"%s\": its metric would be %s_match, which has another meaning",
                       f->name, f->name);
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "field \"%s\": expected an object", f->name);
    int status = json_only_keys(v, keys, 2, e);
    if (status == 0)
        status = json_need_string(v, "metric", &metric, e);
    if (status == 0 && json_get(v, "distinct"))
        status = json_need_bool(v, "distinct", &f->distinct, e);
    if (status < 0)
        return err_wrap(e, "field \"%s\"", f->name);
    if (str_eq(metric, "match"))
        f->metric = GOLDEN_MATCH;
    else if (str_eq(metric, "overlap"))
        f->metric = GOLDEN_OVERLAP;
    else
        return err_set(e, ERR_FORMAT, "field \"%s\": metric \"%s\": expected match or overlap",
                       f->name, metric);
    return 0;
}

static int take_fields(struct goldenset *g, const struct json *fields, struct err *e)
{
    if (json_type(fields) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "key \"fields\": expected an object");
    if (!g->is_json && json_count(fields) > 0)
        return err_set(e, ERR_FORMAT, "key \"fields\": only for answers of the form json");
    if (json_count(fields) > GOLDEN_FIELDS_MAX)
        return err_set(e, ERR_LIMIT, "key \"fields\": more than GOLDEN_FIELDS_MAX (%d) fields",
                       GOLDEN_FIELDS_MAX);
    for (const struct json *v = json_first(fields); v; v = json_next(v)) {
        struct golden_field field = {0};
        int status = take_field(&field, v, e);
        if (status < 0) {
            xfree(field.name);
            return status;
        }
        size_t at = g->n_fields++;
        for (; at > 0 && strcmp(g->fields[at - 1].name, field.name) > 0; at--)
            g->fields[at] = g->fields[at - 1];
        g->fields[at] = field;
    }
    return 0;
}

/* *file: the name of the file of rows, borrowed from v. */
static int take_set(struct goldenset *g, const struct json *v, const char **file, struct err *e)
{
    static const char *const keys[] = {"rows", "answer", "fields"};
    const char *rows = NULL;
    const char *answer = NULL;
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "expected an object, found %s", json_type_name(json_type(v)));
    int status = json_only_keys(v, keys, 3, e);
    if (status == 0)
        status = json_need_string(v, "rows", &rows, e);
    if (status == 0)
        status = json_need_string(v, "answer", &answer, e);
    if (status < 0)
        return status;
    if (!str_eq(answer, "text") && !str_eq(answer, "json"))
        return err_set(e, ERR_FORMAT, "key \"answer\": expected text or json, found \"%s\"",
                       answer);
    if (strchr(rows, '/') || rows[0] == '.' || rows[0] == '\0')
        return err_set(e, ERR_FORMAT,
                       "key \"rows\": expected a file name in the folder, found \"%s\"", rows);
    g->is_json = str_eq(answer, "json");
    *file = rows;
    return json_get(v, "fields") ? take_fields(g, json_get(v, "fields"), e) : 0;
}

static int check_expected(const struct goldenset *g, const struct chat *c, struct err *e)
{
    struct json *v = NULL;
    const char *answer = chat_answer(c);
    int status = json_parse(answer, strlen(answer), &v, e);
    bool fits = status == 0 &&
                (json_type(v) == JSON_OBJECT || (json_type(v) == JSON_ARRAY && g->n_fields == 0));
    if (status == 0 && !fits)
        status =
            err_set(e, ERR_FORMAT, "expected an object%s", g->n_fields == 0 ? " or an array" : "");
    for (size_t i = 0; i < g->n_fields && status == 0; i++) {
        const char *value = NULL;
        status = json_need_string(v, g->fields[i].name, &value, e);
    }
    json_free(v);
    return status;
}

/* Rows alone: JSON when all of them are. */
static int open_rows(struct goldenset *g, const char *path, struct err *e)
{
    int status = chat_list_read(&g->rows, path, false, e);
    g->is_json = status == 0;
    for (size_t i = 0; i < g->rows.n_rows && g->is_json; i++) {
        struct err ignored = {0};
        g->is_json = check_expected(g, &g->rows.rows[i], &ignored) == 0;
    }
    return status;
}

/* *rows: the path of the file of rows; the caller xfrees. */
static int open_set(struct goldenset *g, const char *folder, char **rows, struct err *e)
{
    struct json *v = NULL;
    const char *file = NULL;
    char *path = file_join(folder, "set.json");
    int status = 0;
    if (!file_exists(path))
        status = err_set(e, ERR_MISSING,
                         "%s: no such file: a golden set is a file of rows alone, or a folder with "
                         "one and a set.json that names it, at least {\"rows\": \"rows.jsonl\", "
                         "\"answer\": \"text\"}; the other keys are in golden/README.md",
                         path);
    if (status == 0)
        status = json_read(path, &v, e);
    if (status == 0) {
        status = take_set(g, v, &file, e);
        if (status < 0)
            status = err_wrap(e, "%s", path);
    }
    if (status == 0)
        *rows = file_join(folder, file);
    xfree(path);
    json_free(v);
    return status;
}

static int open_folder(struct goldenset *g, const char *folder, struct err *e)
{
    char *rows = NULL;
    int status = open_set(g, folder, &rows, e);
    if (status == 0)
        status = chat_list_read(&g->rows, rows, false, e);
    for (size_t i = 0; i < g->rows.n_rows && g->is_json && status == 0; i++) {
        status = check_expected(g, &g->rows.rows[i], e);
        if (status < 0)
            status = err_wrap(e, "%s:%llu: expected answer", rows,
                              (unsigned long long)g->rows.rows[i].line);
    }
    xfree(rows);
    return status;
}

int goldenset_open(struct goldenset *g, const char *path, struct err *e)
{
    *g = (struct goldenset){0};
    int status = file_is_folder(path) ? open_folder(g, path, e) : open_rows(g, path, e);
    if (status < 0)
        goldenset_close(g);
    return status;
}

void goldenset_close(struct goldenset *g)
{
    chat_list_release(&g->rows);
    for (size_t i = 0; i < g->n_fields; i++)
        xfree(g->fields[i].name);
    *g = (struct goldenset){0};
}
