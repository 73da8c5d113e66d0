#include "pipeline/provenance/recipe.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static struct json *items_to_json(const struct recipe_item *items, size_t n)
{
    struct json *v = json_new_object();
    for (size_t i = 0; i < n; i++) {
        CHECK(str_is_hex(items[i].id, SHA256_HEX));
        CHECK(json_get(v, items[i].name) == NULL);
        json_put_string(v, items[i].name, items[i].id);
    }
    return v;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted by name: the order in which a program lists its outputs decides nothing. */
static struct json *outputs_to_json(const struct recipe *r)
{
    const char *names[RECIPE_OUTPUTS_MAX];
    memcpy(names, r->outputs, r->n_outputs * sizeof names[0]);
    qsort(names, r->n_outputs, sizeof names[0], by_text);
    struct json *v = json_new_array();
    for (size_t i = 0; i < r->n_outputs; i++)
        json_append(v, json_new_string(names[i]));
    return v;
}

void recipe_write(const struct recipe *r, struct buf *out)
{
    CHECK(r->n_libraries <= RECIPE_LIBRARIES_MAX);
    CHECK(r->n_inputs <= RECIPE_INPUTS_MAX);
    CHECK(r->n_outputs <= RECIPE_OUTPUTS_MAX);
    CHECK(str_is_hex(r->binary, SHA256_HEX));
    struct json *v = json_new_object();
    json_put_i64(v, "schema", RECIPE_SCHEMA);
    json_put_string(v, "stage", r->stage);
    json_put_string(v, "binary", r->binary);
    json_put(v, "libraries", items_to_json(r->libraries, r->n_libraries));
    json_put(v, "config", json_clone(r->config));
    json_put(v, "inputs", items_to_json(r->inputs, r->n_inputs));
    json_put(v, "outputs", outputs_to_json(r));
    if (r->profile != NULL) {
        json_put(v, "profile", json_clone(r->profile));
    } else {
        struct json *profile = json_new_object();
        json_put_bool(profile, "portable", true);
        json_put(v, "profile", profile);
    }
    buf_clear(out);
    json_write_canonical(v, out);
    json_free(v);
}

struct content_id recipe_key(const struct buf *bytes)
{
    return sha256_of(buf_text(bytes), bytes->n_bytes);
}

static int take_items(const struct json *v, const char *key, struct recipe_item *items, size_t max,
                      size_t *n, struct err *e)
{
    const struct json *object = NULL;
    int rc = json_need_object(v, key, &object, e);
    if (rc != 0)
        return rc;
    if (json_count(object) > max)
        return err_set(e, ERR_LIMIT, "%s: more than %zu", key, max);
    for (const struct json *m = json_first(object); m != NULL; m = json_next(m)) {
        if (json_type(m) != JSON_STRING || !str_is_hex(json_string(m), SHA256_HEX))
            return err_set(e, ERR_FORMAT, "%s.%s: not a SHA-256 digest", key, json_key(m));
        items[(*n)++] = (struct recipe_item){json_key(m), json_string(m)};
    }
    return 0;
}

static int take_outputs(const struct json *v, struct recipe *r, struct err *e)
{
    const struct json *array = NULL;
    int rc = json_need_array(v, "outputs", &array, e);
    if (rc != 0)
        return rc;
    if (json_count(array) > RECIPE_OUTPUTS_MAX)
        return err_set(e, ERR_LIMIT, "outputs: more than %d", RECIPE_OUTPUTS_MAX);
    for (const struct json *item = json_first(array); item != NULL; item = json_next(item)) {
        if (json_type(item) != JSON_STRING)
            return err_set(e, ERR_FORMAT, "outputs[%zu]: expected a string, found %s", r->n_outputs,
                           json_type_name(json_type(item)));
        r->outputs[r->n_outputs++] = json_string(item);
    }
    return 0;
}

static int take_fields(const struct json *v, struct recipe *r, struct err *e)
{
    static const char *const known[] = {"schema", "stage",  "binary",  "libraries",
                                        "config", "inputs", "outputs", "profile"};
    int64_t schema = 0;
    int rc = json_need_i64(v, "schema", &schema, e);
    if (rc == 0 && schema != RECIPE_SCHEMA)
        rc = err_set(e, ERR_FORMAT, "schema %lld, this program knows %d", (long long)schema,
                     RECIPE_SCHEMA);
    if (rc == 0)
        rc = json_only_keys(v, known, sizeof known / sizeof known[0], e);
    if (rc == 0)
        rc = json_need_string(v, "stage", &r->stage, e);
    if (rc == 0)
        rc = json_need_string(v, "binary", &r->binary, e);
    if (rc == 0 && !str_is_hex(r->binary, SHA256_HEX))
        rc = err_set(e, ERR_FORMAT, "binary: not a SHA-256 digest");
    if (rc == 0)
        rc = take_items(v, "libraries", r->libraries, RECIPE_LIBRARIES_MAX, &r->n_libraries, e);
    if (rc == 0)
        rc = json_need_object(v, "config", &r->config, e);
    if (rc == 0)
        rc = take_items(v, "inputs", r->inputs, RECIPE_INPUTS_MAX, &r->n_inputs, e);
    if (rc == 0)
        rc = take_outputs(v, r, e);
    if (rc == 0)
        rc = json_need_object(v, "profile", &r->profile, e);
    return rc;
}

static int parse_object(const char *text, size_t n_bytes, struct json **out, struct err *e)
{
    int rc = json_parse(text, n_bytes, out, e);
    if (rc == 0 && json_type(*out) != JSON_OBJECT) {
        json_free(*out);
        *out = NULL;
        rc = err_set(e, ERR_FORMAT, "not a JSON object");
    }
    return rc == 0 ? 0 : err_wrap(e, "recipe");
}

int recipe_parse(const char *text, size_t n_bytes, struct recipe *out, struct err *e)
{
    *out = (struct recipe){0};
    int rc = parse_object(text, n_bytes, &out->root, e);
    if (rc != 0)
        return rc;
    rc = take_fields(out->root, out, e);
    if (rc != 0) {
        recipe_release(out);
        return err_wrap(e, "recipe");
    }
    return 0;
}

void recipe_release(struct recipe *r)
{
    json_free(r->root);
    *r = (struct recipe){0};
}

/* ---- difference ---- */

static char *canonical(const struct json *v)
{
    if (v == NULL)
        return NULL;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(v, &b);
    return buf_steal(&b);
}

static void add_change(struct recipe_diff *d, const char *path, const struct json *old_value,
                       const struct json *new_value)
{
    if ((d->n_changes & (d->n_changes - 1)) == 0)
        d->changes = xrealloc_array(d->changes, d->n_changes == 0 ? 1 : d->n_changes * 2,
                                    sizeof *d->changes);
    d->changes[d->n_changes++] =
        (struct recipe_change){xstrdup(path), canonical(old_value), canonical(new_value)};
}

static void compare(struct recipe_diff *d, const char *path, const struct json *a,
                    const struct json *b);

/* Keys of both objects, each once, sorted; the array is xfreed, the keys are borrowed. */
static const char **keys_of_both(const struct json *a, const struct json *b, size_t *n)
{
    const char **keys = xalloc_array(json_count(a) + json_count(b) + 1, sizeof *keys);
    *n = 0;
    for (const struct json *m = json_first(a); m != NULL; m = json_next(m))
        keys[(*n)++] = json_key(m);
    for (const struct json *m = json_first(b); m != NULL; m = json_next(m))
        if (json_get(a, json_key(m)) == NULL)
            keys[(*n)++] = json_key(m);
    qsort(keys, *n, sizeof *keys, by_text);
    return keys;
}

static void compare_objects(struct recipe_diff *d, const char *path, const struct json *a,
                            const struct json *b)
{
    size_t n = 0;
    const char **keys = keys_of_both(a, b, &n);
    for (size_t i = 0; i < n; i++) {
        char *below = xasprintf("%s.%s", path, keys[i]);
        compare(d, below, json_get(a, keys[i]), json_get(b, keys[i]));
        xfree(below);
    }
    xfree(keys);
}

static void compare_arrays(struct recipe_diff *d, const char *path, const struct json *a,
                           const struct json *b)
{
    const struct json *x = json_first(a);
    const struct json *y = json_first(b);
    for (size_t i = 0; x != NULL || y != NULL; i++) {
        char *below = xasprintf("%s[%zu]", path, i);
        compare(d, below, x, y);
        xfree(below);
        x = x != NULL ? json_next(x) : NULL;
        y = y != NULL ? json_next(y) : NULL;
    }
}

static void compare(struct recipe_diff *d, const char *path, const struct json *a,
                    const struct json *b)
{
    if (a == NULL && b == NULL)
        return;
    if (a == NULL || b == NULL)
        add_change(d, path, a, b);
    else if (json_type(a) == JSON_OBJECT && json_type(b) == JSON_OBJECT)
        compare_objects(d, path, a, b);
    else if (json_type(a) == JSON_ARRAY && json_type(b) == JSON_ARRAY)
        compare_arrays(d, path, a, b);
    else if (!json_equal(a, b))
        add_change(d, path, a, b);
}

int recipe_diff(const char *old_text, size_t n_old, const char *new_text, size_t n_new,
                struct recipe_diff *out, struct err *e)
{
    static const char *const order[] = {"schema",  "stage",  "binary", "libraries",
                                        "profile", "config", "inputs", "outputs"};
    *out = (struct recipe_diff){0};
    struct json *a = NULL;
    struct json *b = NULL;
    int rc = parse_object(old_text, n_old, &a, e);
    if (rc == 0)
        rc = parse_object(new_text, n_new, &b, e);
    if (rc == 0)
        for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
            compare(out, order[i], json_get(a, order[i]), json_get(b, order[i]));
    json_free(a);
    json_free(b);
    return rc;
}

void recipe_diff_release(struct recipe_diff *d)
{
    for (size_t i = 0; i < d->n_changes; i++) {
        xfree(d->changes[i].path);
        xfree(d->changes[i].old_value);
        xfree(d->changes[i].new_value);
    }
    xfree(d->changes);
    *d = (struct recipe_diff){0};
}
