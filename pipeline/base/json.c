#include "pipeline/base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static void *need_bytes(size_t bytes)
{
    return xneed(malloc(bytes));
}

/* So that a NULL of cJSON is a text that it cannot read, and never a lack of memory. */
__attribute__((constructor)) static void set_allocator(void)
{
    cJSON_Hooks hooks = {need_bytes, free};
    cJSON_InitHooks(&hooks);
}

/* A struct json is a cJSON node under another name. */
static const cJSON *node(const struct json *v)
{
    return (const cJSON *)(const void *)v;
}

static struct json *wrap(cJSON *v)
{
    CHECK(v != NULL);
    return (struct json *)(void *)v;
}

int json_parse(const char *text, size_t n_bytes, struct json **out, struct err *e)
{
    struct json_mark mark = {1, 1};
    int rc = json_scan(text, n_bytes, &mark, e);
    if (rc != 0)
        return err_wrap(e, "%zu:%zu", mark.line, mark.column);
    /* cJSON before 1.7.19 (and Debian's fix) stops inside a number of more than 63 characters. */
    const char *end = text;
    cJSON *root = cJSON_ParseWithLengthOpts(text, n_bytes, &end, false);
    size_t used = (size_t)(end - text);
    while (used < n_bytes && strchr(" \t\r\n", text[used]) != NULL)
        used++;
    if (root == NULL || used != n_bytes) {
        cJSON_Delete(root);
        return err_set(e, ERR_FORMAT,
                       "the cJSON library here cannot read this (a number of more than 63 "
                       "characters?)");
    }
    *out = wrap(root);
    return 0;
}

int json_read(const char *path, struct json **out, struct err *e)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    int rc = file_read(path, LIMIT_JSON_BYTES, &text, e);
    if (rc == 0) {
        rc = json_parse(buf_text(&text), text.n_bytes, out, e);
        if (rc != 0)
            rc = err_wrap(e, "%s", path);
    }
    buf_release(&text);
    return rc;
}

void json_free(struct json *root)
{
    cJSON_Delete((cJSON *)(void *)root);
}

enum json_type json_type(const struct json *v)
{
    const cJSON *n = node(v);
    if (cJSON_IsNull(n))
        return JSON_NULL;
    if (cJSON_IsBool(n))
        return JSON_BOOL;
    if (cJSON_IsNumber(n))
        return JSON_NUMBER;
    if (cJSON_IsString(n))
        return JSON_STRING;
    if (cJSON_IsArray(n))
        return JSON_ARRAY;
    CHECK(cJSON_IsObject(n));
    return JSON_OBJECT;
}

const char *json_type_name(enum json_type t)
{
    static const char *const names[] = {"null",   "true or false", "a number",
                                        "a text", "an array",      "an object"};
    CHECK((size_t)t < sizeof names / sizeof names[0]);
    return names[t];
}

size_t json_count(const struct json *v)
{
    return (size_t)cJSON_GetArraySize(node(v));
}

const struct json *json_get(const struct json *v, const char *key)
{
    if (v == NULL || !cJSON_IsObject(node(v)))
        return NULL;
    return (const struct json *)(const void *)cJSON_GetObjectItemCaseSensitive(node(v), key);
}

const struct json *json_first(const struct json *v)
{
    return (const struct json *)(const void *)node(v)->child;
}

const struct json *json_next(const struct json *item)
{
    return (const struct json *)(const void *)node(item)->next;
}

const char *json_key(const struct json *member)
{
    CHECK(node(member)->string != NULL);
    return node(member)->string;
}

const char *json_string(const struct json *v)
{
    CHECK(cJSON_IsString(node(v)));
    return node(v)->valuestring;
}

bool json_is_number(const struct json *v)
{
    return v && json_type(v) == JSON_NUMBER;
}

double json_number(const struct json *v)
{
    CHECK(cJSON_IsNumber(node(v)));
    return node(v)->valuedouble;
}

bool json_bool(const struct json *v)
{
    CHECK(cJSON_IsBool(node(v)));
    return cJSON_IsTrue(node(v)) != 0;
}

bool json_is_integer(const struct json *v)
{
    if (!cJSON_IsNumber(node(v)))
        return false;
    double x = node(v)->valuedouble;
    return x == floor(x) && fabs(x) <= 9007199254740992.0;
}

const char *json_text(const struct json *object, const char *key)
{
    return json_text_or(object, key, "");
}

const char *json_text_or(const struct json *object, const char *key, const char *other)
{
    const struct json *v = json_get(object, key);
    return v != NULL && json_type(v) == JSON_STRING ? json_string(v) : other;
}

const char *json_find_text(const struct json *object, const char *key)
{
    return json_text_or(object, key, NULL);
}

double json_number_or(const struct json *object, const char *key, double other)
{
    const struct json *v = json_get(object, key);
    return json_is_number(v) ? json_number(v) : other;
}

bool json_is_true(const struct json *object, const char *key)
{
    const struct json *v = json_get(object, key);
    return v != NULL && json_type(v) == JSON_BOOL && json_bool(v);
}

const struct json *json_items(const struct json *object, const char *key)
{
    const struct json *v = json_get(object, key);
    return v != NULL && json_type(v) == JSON_ARRAY ? json_first(v) : NULL;
}

static int need(const struct json *v, const char *key, enum json_type wanted,
                const struct json **out, struct err *e)
{
    const struct json *member = json_get(v, key);
    if (member == NULL)
        return err_set(e, ERR_FORMAT, "the key \"%s\" is missing", key);
    if (json_type(member) != wanted)
        return err_set(e, ERR_FORMAT, "\"%s\": expected %s, found %s", key, json_type_name(wanted),
                       json_type_name(json_type(member)));
    *out = member;
    return 0;
}

int json_need_string(const struct json *v, const char *key, const char **out, struct err *e)
{
    const struct json *member = NULL;
    int rc = need(v, key, JSON_STRING, &member, e);
    if (rc == 0)
        *out = json_string(member);
    return rc;
}

int json_need_i64(const struct json *v, const char *key, int64_t *out, struct err *e)
{
    const struct json *member = NULL;
    int rc = need(v, key, JSON_NUMBER, &member, e);
    if (rc != 0)
        return rc;
    if (!json_is_integer(member))
        return err_set(e, ERR_FORMAT, "\"%s\": expected a whole number, found %.17g", key,
                       json_number(member));
    *out = (int64_t)json_number(member);
    return 0;
}

int json_need_f64(const struct json *v, const char *key, double *out, struct err *e)
{
    const struct json *member = NULL;
    int rc = need(v, key, JSON_NUMBER, &member, e);
    if (rc == 0)
        *out = json_number(member);
    return rc;
}

int json_need_bool(const struct json *v, const char *key, bool *out, struct err *e)
{
    const struct json *member = NULL;
    int rc = need(v, key, JSON_BOOL, &member, e);
    if (rc == 0)
        *out = json_bool(member);
    return rc;
}

int json_need_array(const struct json *v, const char *key, const struct json **out, struct err *e)
{
    return need(v, key, JSON_ARRAY, out, e);
}

int json_need_object(const struct json *v, const char *key, const struct json **out, struct err *e)
{
    return need(v, key, JSON_OBJECT, out, e);
}

int json_only_keys(const struct json *v, const char *const *known, size_t n_known, struct err *e)
{
    if (json_type(v) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT, "expected an object, found %s", json_type_name(json_type(v)));
    for (const struct json *m = json_first(v); m != NULL; m = json_next(m)) {
        bool found = false;
        for (size_t i = 0; i < n_known && !found; i++)
            found = str_eq(json_key(m), known[i]);
        if (found)
            continue;
        const char *near = str_nearest(json_key(m), known, n_known);
        return near == NULL ? err_set(e, ERR_FORMAT, "unknown key \"%s\"", json_key(m))
                            : err_set(e, ERR_FORMAT, "unknown key \"%s\"; did you mean \"%s\"?",
                                      json_key(m), near);
    }
    return 0;
}

struct json *json_new_object(void)
{
    return wrap(cJSON_CreateObject());
}

struct json *json_new_array(void)
{
    return wrap(cJSON_CreateArray());
}

struct json *json_new_string(const char *s)
{
    CHECK(str_utf8_prefix(s, strlen(s)) == strlen(s));
    return wrap(cJSON_CreateString(s));
}

struct json *json_new_i64(int64_t v)
{
    CHECK(v <= ((int64_t)1 << 53) && v >= -((int64_t)1 << 53));
    return wrap(cJSON_CreateNumber((double)v));
}

struct json *json_new_f64(double v)
{
    CHECK(isfinite(v));
    return wrap(cJSON_CreateNumber(v));
}

struct json *json_new_bool(bool v)
{
    return wrap(cJSON_CreateBool(v));
}

struct json *json_new_null(void)
{
    return wrap(cJSON_CreateNull());
}

void json_put(struct json *object, const char *key, struct json *value)
{
    cJSON *o = (cJSON *)(void *)object;
    CHECK(cJSON_IsObject(o));
    CHECK(str_utf8_prefix(key, strlen(key)) == strlen(key));
    if (cJSON_GetObjectItemCaseSensitive(o, key) != NULL)
        cJSON_DeleteItemFromObjectCaseSensitive(o, key);
    cJSON_bool ok = cJSON_AddItemToObject(o, key, (cJSON *)(void *)value);
    CHECK(ok);
}

void json_append(struct json *array, struct json *value)
{
    CHECK(cJSON_IsArray(node(array)));
    cJSON_bool ok = cJSON_AddItemToArray((cJSON *)(void *)array, (cJSON *)(void *)value);
    CHECK(ok);
}

void json_put_string(struct json *object, const char *key, const char *s)
{
    json_put(object, key, json_new_string(s));
}

void json_put_i64(struct json *object, const char *key, int64_t v)
{
    json_put(object, key, json_new_i64(v));
}

void json_put_f64(struct json *object, const char *key, double v)
{
    json_put(object, key, json_new_f64(v));
}

void json_put_seconds(struct json *object, const char *key, double v)
{
    json_put_f64(object, key, round(v * 1e6) / 1e6);
}

void json_put_bool(struct json *object, const char *key, bool v)
{
    json_put(object, key, json_new_bool(v));
}

struct json *json_clone(const struct json *v)
{
    return wrap(cJSON_Duplicate(node(v), true));
}

bool json_equal(const struct json *a, const struct json *b)
{
    return cJSON_Compare(node(a), node(b), true) != 0;
}
