#ifndef FMFORGE_MODEL_PICKLE_H
#define FMFORGE_MODEL_PICKLE_H

/*
 * What a pickle of tensors holds, as a plain graph of values: made by unpickle.h, read by ptfile.h.
 * Values are indexes into one array, children of a tuple, list or dict are a chain of items. An
 * index is not a tree: memo references let several parents share a child, and a dict may even hold
 * itself, so whoever walks it keeps count of depth and steps.
 *
 * A value takes 24 bytes and an item 16; each opcode makes at most one of both, so memory is a
 * multiple of the pickle's length, and LIMIT_PICKLE_VALUES bounds it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "stages/model/torch_global.h"

enum pickle_kind {
    PICKLE_MARK, /* only values[0]; stands for "nothing" elsewhere */
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
};

struct pickle_text {
    const char *bytes; /* borrowed from the pickle: UTF-8, no NUL behind */
    size_t n_bytes;
};

struct pickle_items {
    uint32_t first; /* item; 0 = none */
    uint32_t last;
    uint32_t n_items;
};

struct pickle_storage {
    const struct torch_global *class; /* a TORCH_STORAGE */
    uint32_t key;                     /* a TEXT: its entry is data/KEY */
    uint32_t n_elements;              /* an INT, not negative */
};

struct pickle_tensor {
    uint32_t storage; /* a STORAGE */
    uint32_t offset;  /* an INT, not negative; in elements */
    uint32_t dims;    /* TUPLEs of INTs, not negative, equally long */
    uint32_t strides; /* in elements */
};

struct pickle_value {
    enum pickle_kind kind;
    uint32_t at; /* byte offset of its opcode in the pickle */
    union {
        bool truth;
        int64_t number;
        double real;
        struct pickle_text text;
        struct pickle_items items; /* TUPLE, LIST, DICT */
        const struct torch_global *global;
        struct pickle_storage storage;
        struct pickle_tensor tensor;
    };
};

struct pickle_item {
    uint32_t key;   /* a TEXT or an INT in a dict; 0 otherwise */
    uint32_t value; /* never 0 */
    uint32_t next;  /* item; 0 = none */
    uint32_t owner; /* the value that holds it */
};

struct pickle {
    struct pickle_value *values; /* values[0] is the MARK */
    size_t n_values;
    size_t values_capacity;
    struct pickle_item *items; /* items[0] is unused */
    size_t n_items;
    size_t items_capacity;
    uint32_t root;
    size_t at; /* of the opcode that runs: new values come from it */
};

void pickle_init(struct pickle *p);
void pickle_release(struct pickle *p); /* safe on zeroed, safe twice */

/* A new value of the kind, without content. ERR_LIMIT. */
int pickle_new(struct pickle *p, enum pickle_kind kind, uint32_t *out, struct err *e) MUST_USE;
/* Appends to a tuple, list (key 0) or dict. ERR_LIMIT. */
int pickle_append(struct pickle *p, uint32_t owner, uint32_t key, uint32_t value,
                  struct err *e) MUST_USE;
/* ERR_FORMAT when a dict has a key twice; messages name the key and its offset. */
int pickle_check_keys(const struct pickle *p, struct err *e) MUST_USE;

/* The children of a tuple, at most max of them; returns how many it has. */
size_t pickle_children(const struct pickle *p, uint32_t tuple, uint32_t *out, size_t max);
/* A tuple of integers from 0. */
bool pickle_is_counts(const struct pickle *p, uint32_t v);
/* "an integer", "a dict", ... */
const char *pickle_kind_name(enum pickle_kind kind);
/* A text or integer as a key of a dict; at most max_bytes are written, without NUL. Returns its
 * length. */
size_t pickle_key(const struct pickle *p, uint32_t v, char *out, size_t max_bytes);

static inline const struct pickle_value *pickle_at(const struct pickle *p, uint32_t v)
{
    return &p->values[v];
}

#endif
