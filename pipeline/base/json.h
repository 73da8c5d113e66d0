#ifndef FMFORGE_BASE_JSON_H
#define FMFORGE_BASE_JSON_H

/*
 * JSON. Reading: a strict scanner of ours (RFC 8259, valid UTF-8, no duplicate keys, no NUL, no
 * lone surrogates, limits of depth and of values, integers within +-2^53 or, beyond, exactly as
 * canonical JSON writes a double; nothing after the value) and then a tree by cJSON, which only
 * this module knows. Writing: canonical JSON (RFC 8785: sorted keys, no spaces, shortest round-trip
 * numbers) by our own emitter; nothing that is hashed goes through cJSON's printer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

struct json; /* a node; the root owns all. Borrowed from the root unless said otherwise. */

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* Where the scanner stopped, counted from 1 (columns in bytes). */
struct json_mark {
    size_t line;
    size_t column;
};

/* Scan only: is it strict JSON? On failure *mark (may be NULL) says where. Names reason. */
int json_scan(const char *text, size_t n_bytes, struct json_mark *mark, struct err *e) MUST_USE;
/* Scan and parse; caller frees the root with json_free. Message: "line:column: reason". */
int json_parse(const char *text, size_t n_bytes, struct json **out, struct err *e) MUST_USE;
/* Reads and parses a file; messages start with the path. */
int json_read(const char *path, struct json **out, struct err *e) MUST_USE;
void json_free(struct json *root); /* NULL is fine */

enum json_type json_type(const struct json *v);
const char *json_type_name(enum json_type t);
size_t json_count(const struct json *v); /* array items or object members */
/* Object member by exact key, NULL when absent or v is no object (or NULL). */
const struct json *json_get(const struct json *v, const char *key);
/* Iteration over an array or object in source order: json_first, json_next; NULL at the end. */
const struct json *json_first(const struct json *v);
const struct json *json_next(const struct json *item);
const char *json_key(const struct json *member); /* key of an object member */
const char *json_string(const struct json *v);   /* CHECKs the type */
bool json_is_number(const struct json *v);       /* NULL is none */
double json_number(const struct json *v);
bool json_bool(const struct json *v);
bool json_is_integer(const struct json *v); /* a number without fraction */

/* Members of an object that may be absent, of another type, or of no object at all (NULL). */
const char *json_text(const struct json *object, const char *key); /* "" without */
const char *json_text_or(const struct json *object, const char *key, const char *other);
const char *json_find_text(const struct json *object, const char *key); /* NULL without */
double json_number_or(const struct json *object, const char *key, double other);
bool json_is_true(const struct json *object, const char *key);
/* An array member's first item; NULL also of an empty array. */
const struct json *json_items(const struct json *object, const char *key);

/* Required members with type checks: ERR_FORMAT naming key, expected and found. */
int json_need_string(const struct json *v, const char *key, const char **out,
                     struct err *e) MUST_USE;
int json_need_i64(const struct json *v, const char *key, int64_t *out, struct err *e) MUST_USE;
int json_need_f64(const struct json *v, const char *key, double *out, struct err *e) MUST_USE;
int json_need_bool(const struct json *v, const char *key, bool *out, struct err *e) MUST_USE;
int json_need_array(const struct json *v, const char *key, const struct json **out,
                    struct err *e) MUST_USE;
int json_need_object(const struct json *v, const char *key, const struct json **out,
                     struct err *e) MUST_USE;
/* ERR_FORMAT when an object has a key outside `known`. */
int json_only_keys(const struct json *v, const char *const *known, size_t n_known,
                   struct err *e) MUST_USE;

/*
 * Building trees. Each function returns a node that the caller owns until it is given to a parent;
 * json_put and json_append take ownership of `value`. json_put replaces an equal key.
 */
struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_new_string(const char *s); /* valid UTF-8 (CHECK) */
struct json *json_new_i64(int64_t v);        /* |v| <= 2^53 (CHECK) */
struct json *json_new_f64(double v);         /* finite (CHECK) */
struct json *json_new_bool(bool v);
struct json *json_new_null(void);
void json_put(struct json *object, const char *key, struct json *value);
void json_append(struct json *array, struct json *value);
void json_put_string(struct json *object, const char *key, const char *s);
void json_put_i64(struct json *object, const char *key, int64_t v);
void json_put_f64(struct json *object, const char *key, double v);
void json_put_seconds(struct json *object, const char *key, double v); /* to the microsecond */
void json_put_bool(struct json *object, const char *key, bool v);
struct json *json_clone(const struct json *v);               /* caller owns */
bool json_equal(const struct json *a, const struct json *b); /* key order ignored */

/* Canonical bytes (RFC 8785), no newline at the end. */
void json_write_canonical(const struct json *v, struct buf *out);
/* For people: keys in source order, indented by `indent` spaces, newline at the end. */
void json_write_pretty(const struct json *v, int indent, struct buf *out);
/* One number as ECMAScript writes it (RFC 8785 3.2.2.3); one JSON string with quotes. */
void json_add_number(struct buf *out, double v);
void json_add_string(struct buf *out, const char *s);

#endif
