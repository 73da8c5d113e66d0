#ifndef FMFORGE_MANIFEST_YAML_DOC_H
#define FMFORGE_MANIFEST_YAML_DOC_H

/*
 * One YAML document as a tree with marks. The accepted language is a plain subset: mappings,
 * lists and scalars. Anchors, aliases, tags, merge keys, directives, several documents, duplicate
 * keys, keys that are not plain words, nesting beyond LIMIT_YAML_DEPTH, files beyond
 * LIMIT_MANIFEST_BYTES and invalid UTF-8 are refused with file:line:column.
 *
 * Scalars keep their text and whether they were quoted; typing is ours: a reader that wants an
 * integer says so, and `1.10` stays "1.10" for one that wants text.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

struct yaml_mark {
    int line, column; /* from 1; 0 = not from the file (an option of the command line) */
};

enum doc_type { DOC_SCALAR, DOC_LIST, DOC_MAP };

struct doc_node {
    enum doc_type type;
    struct yaml_mark mark;
    char *key; /* of a member of a mapping */
    struct yaml_mark key_mark;
    char *text;  /* scalars */
    bool quoted; /* scalars: written with quotes or as a block, so it is text and nothing else */
    struct doc_node *first, *next;
    size_t n_items; /* list items or members */
};

struct yaml_doc {
    char *path; /* as the user wrote it: for messages */
    struct doc_node *root;
    char *source; /* the exact bytes */
    size_t source_bytes;
};

/* Reads and parses a file; an empty document is ERR_CONFIG. */
int yaml_doc_open(struct yaml_doc *d, const char *path, struct err *e) MUST_USE;
/* The same from memory; `path` names it in messages. */
int yaml_doc_parse(struct yaml_doc *d, const char *path, const char *text, size_t n_bytes,
                   struct err *e) MUST_USE;
void yaml_doc_release(struct yaml_doc *d);

/* Member of a mapping by key, NULL when absent or n is no mapping. */
const struct doc_node *doc_get(const struct doc_node *n, const char *key);
const char *doc_type_name(enum doc_type t);

/* Replaces or adds the scalar at a dotted path ("vars.seed"); every part but the last must exist.
 * `origin` names the option in messages. */
int yaml_doc_set(struct yaml_doc *d, const char *dotted, const char *text, const char *origin,
                 struct err *e) MUST_USE;

/* Records "path:line:column: text" as ERR_CONFIG. */
int doc_fail(const struct yaml_doc *d, struct yaml_mark mark, struct err *e, const char *format,
             ...) __attribute__((format(printf, 4, 5)));
/* Fails unless n has the type; `what` names it: "stages must be a mapping, found a list". */
int doc_need(const struct yaml_doc *d, const struct doc_node *n, enum doc_type type,
             const char *what, struct err *e) MUST_USE;
/* Fails at the first key outside `known`, naming the nearest. */
int doc_only_keys(const struct yaml_doc *d, const struct doc_node *map, const char *what,
                  const char *const *known, size_t n_known, struct err *e) MUST_USE;

/* Scalars of one section, for messages: "limit `grace`: expected ..., found `$x` (limits take no
 * variables)". */
struct doc_section {
    const struct yaml_doc *doc;
    const char *what;         /* "limit" */
    const char *no_variables; /* "limits take no variables" */
};
/* Fails: v is not what is expected. */
int doc_wrong(const struct doc_section *s, const struct doc_node *v, const char *expected,
              struct err *e);
struct doc_range {
    const char *what; /* "whole seconds" */
    int64_t min, max;
};
int doc_read_i64(const struct doc_section *s, const struct doc_node *v, struct doc_range range,
                 int64_t *out, struct err *e) MUST_USE;

/* ", did you mean `x`?" or "" for a message; writes at most `size` bytes and returns out. */
char *doc_hint(const char *wanted, const char *const *names, size_t n_names, char *out,
               size_t size);

/* The node as JSON: plain scalars null, true, false and numbers are typed, all else is text.
 * Caller owns. A number beyond 2^53 is text. */
struct json *doc_to_json(const struct doc_node *n);

#endif
