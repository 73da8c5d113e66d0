#include "pipeline/store/action.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"

static struct json *output_to_json(const struct action_output *o)
{
    struct json *v = json_new_object();
    json_put_string(v, "name", o->name);
    json_put_string(v, "kind", o->kind);
    json_put_string(v, "id", o->id.hex);
    json_put_bool(v, "folder", o->is_folder);
    json_put_i64(v, "bytes", (int64_t)o->n_bytes);
    return v;
}

void action_write(const struct action *a, struct buf *out)
{
    CHECK(a->n_outputs <= ACTION_OUTPUTS_MAX);
    CHECK(str_is_hex(a->key.hex, SHA256_HEX));
    struct json *v = json_new_object();
    json_put_i64(v, "schema", 1);
    json_put_string(v, "key", a->key.hex);
    json_put_string(v, "stage", a->stage);
    struct json *outputs = json_new_array();
    for (size_t i = 0; i < a->n_outputs; i++)
        json_append(outputs, output_to_json(&a->outputs[i]));
    json_put(v, "outputs", outputs);
    if (a->statement.hex[0] != '\0')
        json_put_string(v, "statement", a->statement.hex);
    if (a->origin[0] != '\0')
        json_put_string(v, "origin", a->origin);
    size_t start = out->n_bytes;
    struct buf line;
    buf_init(&line, BUF_MAX_DEFAULT);
    json_write_canonical(v, &line);
    json_free(v);
    struct content_id sum = sha256_of(line.bytes, line.n_bytes);
    buf_printf(out, "%s\n%s\n", buf_text(&line), sum.hex);
    buf_release(&line);
    CHECK(out->n_bytes > start);
}

/* A required string that fits into n bytes. */
static int take_text(const struct json *v, const char *key, char *out, size_t n_bytes,
                     struct err *e)
{
    const char *text = NULL;
    int rc = json_need_string(v, key, &text, e);
    if (rc != 0)
        return rc;
    size_t n = strlen(text);
    if (n >= n_bytes)
        return err_set(e, ERR_FORMAT, "%s: longer than %zu bytes", key, n_bytes - 1);
    memcpy(out, text, n + 1);
    return 0;
}

static int take_id(const struct json *v, const char *key, struct content_id *out, struct err *e)
{
    const char *text = NULL;
    int rc = json_need_string(v, key, &text, e);
    if (rc != 0)
        return rc;
    if (!str_is_hex(text, SHA256_HEX))
        return err_set(e, ERR_FORMAT, "%s: not a SHA-256 digest: %.80s", key, text);
    memcpy(out->hex, text, sizeof out->hex);
    return 0;
}

static int parse_output(const struct json *v, struct action_output *o, struct err *e)
{
    int64_t n_bytes = 0;
    int rc = take_text(v, "name", o->name, sizeof o->name, e);
    if (rc == 0)
        rc = take_text(v, "kind", o->kind, sizeof o->kind, e);
    if (rc == 0)
        rc = take_id(v, "id", &o->id, e);
    if (rc == 0)
        rc = json_need_bool(v, "folder", &o->is_folder, e);
    if (rc == 0)
        rc = json_need_i64(v, "bytes", &n_bytes, e);
    if (rc == 0 && n_bytes < 0)
        rc = err_set(e, ERR_FORMAT, "bytes: negative");
    o->n_bytes = rc == 0 ? (uint64_t)n_bytes : 0;
    return rc;
}

static int parse_record(const struct json *v, const char *key_hex, struct action *out,
                        struct err *e)
{
    static const char *const known[] = {"schema", "key", "stage", "outputs", "statement", "origin"};
    int64_t schema = 0;
    const struct json *outputs = NULL;
    int rc = json_need_i64(v, "schema", &schema, e);
    if (rc == 0 && schema != 1)
        rc = err_set(e, ERR_FORMAT, "schema %lld, this program knows 1", (long long)schema);
    if (rc == 0)
        rc = json_only_keys(v, known, sizeof known / sizeof known[0], e);
    if (rc == 0)
        rc = take_id(v, "key", &out->key, e);
    if (rc == 0 && !str_eq(out->key.hex, key_hex))
        rc = err_set(e, ERR_FORMAT, "it is the record of %s", out->key.hex);
    if (rc == 0)
        rc = take_text(v, "stage", out->stage, sizeof out->stage, e);
    if (rc == 0 && json_get(v, "statement") != NULL)
        rc = take_id(v, "statement", &out->statement, e);
    if (rc == 0 && json_get(v, "origin") != NULL)
        rc = take_text(v, "origin", out->origin, sizeof out->origin, e);
    if (rc == 0)
        rc = json_need_array(v, "outputs", &outputs, e);
    if (rc != 0)
        return rc;
    if (json_count(outputs) > ACTION_OUTPUTS_MAX)
        return err_set(e, ERR_LIMIT, "outputs: more than %d", ACTION_OUTPUTS_MAX);
    for (const struct json *item = json_first(outputs); item && rc == 0; item = json_next(item))
        rc = parse_output(item, &out->outputs[out->n_outputs++], e);
    return rc;
}

int action_parse(const char *text, size_t n_bytes, const char *key_hex, struct action *out,
                 struct err *e)
{
    *out = (struct action){0};
    const char *end = n_bytes == 0 ? NULL : memchr(text, '\n', n_bytes);
    if (end == NULL || n_bytes - (size_t)(end - text) != SHA256_HEX + 2 ||
        text[n_bytes - 1] != '\n')
        return err_set(e, ERR_FORMAT, "not two complete lines");
    struct content_id sum = sha256_of(text, (size_t)(end - text));
    if (memcmp(sum.hex, end + 1, SHA256_HEX) != 0)
        return err_set(e, ERR_FORMAT, "line 1 does not have the SHA-256 of line 2");
    struct json *v = NULL;
    int rc = json_parse(text, (size_t)(end - text), &v, e);
    if (rc == 0 && json_type(v) != JSON_OBJECT)
        rc = err_set(e, ERR_FORMAT, "not a JSON object");
    if (rc == 0)
        rc = parse_record(v, key_hex, out, e);
    json_free(v);
    return rc;
}
