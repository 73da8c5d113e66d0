#include "stages/model/pickle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/printable.h"

_Static_assert(sizeof(struct pickle_value) == 24, "stated in the header");
_Static_assert(sizeof(struct pickle_item) == 16, "stated in the header");

const char *pickle_kind_name(enum pickle_kind kind)
{
    static const char *const names[] = {
        [PICKLE_MARK] = "nothing",   [PICKLE_NONE] = "None",         [PICKLE_BOOL] = "a bool",
        [PICKLE_INT] = "an integer", [PICKLE_FLOAT] = "a float",     [PICKLE_TEXT] = "a text",
        [PICKLE_TUPLE] = "a tuple",  [PICKLE_LIST] = "a list",       [PICKLE_DICT] = "a dict",
        [PICKLE_GLOBAL] = "a class", [PICKLE_STORAGE] = "a storage", [PICKLE_TENSOR] = "a tensor",
    };
    return names[kind];
}

void pickle_init(struct pickle *p)
{
    *p = (struct pickle){.values_capacity = 64, .items_capacity = 64};
    p->values = xalloc_array(p->values_capacity, sizeof *p->values);
    p->items = xalloc_array(p->items_capacity, sizeof *p->items);
    p->n_values = 1;
    p->n_items = 1;
}

void pickle_release(struct pickle *p)
{
    xfree(p->values);
    xfree(p->items);
    *p = (struct pickle){0};
}

int pickle_new(struct pickle *p, enum pickle_kind kind, uint32_t *out, struct err *e)
{
    if (p->n_values > LIMIT_PICKLE_VALUES)
        return err_set(e, ERR_LIMIT, "more than %zu values: LIMIT_PICKLE_VALUES",
                       LIMIT_PICKLE_VALUES);
    if (p->n_values == p->values_capacity) {
        p->values_capacity *= 2;
        p->values = xrealloc_array(p->values, p->values_capacity, sizeof *p->values);
    }
    *out = (uint32_t)p->n_values++;
    p->values[*out] = (struct pickle_value){.kind = kind, .at = (uint32_t)p->at};
    return 0;
}

int pickle_append(struct pickle *p, uint32_t owner, uint32_t key, uint32_t value, struct err *e)
{
    CHECK(value != 0 && value < p->n_values);
    if (p->n_items > LIMIT_PICKLE_VALUES)
        return err_set(e, ERR_LIMIT, "more than %zu items: LIMIT_PICKLE_VALUES",
                       LIMIT_PICKLE_VALUES);
    if (p->n_items == p->items_capacity) {
        p->items_capacity *= 2;
        p->items = xrealloc_array(p->items, p->items_capacity, sizeof *p->items);
    }
    uint32_t i_item = (uint32_t)p->n_items++;
    struct pickle_items *items = &p->values[owner].items;
    p->items[i_item] = (struct pickle_item){.key = key, .value = value, .owner = owner};
    if (items->last != 0)
        p->items[items->last].next = i_item;
    else
        items->first = i_item;
    items->last = i_item;
    items->n_items++;
    return 0;
}

/* What pickle_check_keys sorts: with the key's own bytes, since qsort has no context. */
struct key {
    uint32_t owner;
    uint32_t at;
    enum pickle_kind kind;
    int64_t number;
    struct pickle_text text;
};

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_same(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int order = compare_numbers(x->owner, y->owner);
    if (order == 0)
        order = compare_numbers(x->kind, y->kind);
    if (order == 0)
        order = compare_numbers(x->number, y->number);
    if (order == 0)
        order = compare_numbers((int64_t)x->text.n_bytes, (int64_t)y->text.n_bytes);
    return order == 0 && x->kind == PICKLE_TEXT && x->text.n_bytes > 0
               ? memcmp(x->text.bytes, y->text.bytes, x->text.n_bytes)
               : order;
}

/* The later of two equal keys is the second, so that the message does not depend on the sort. */
static int compare_keys(const void *a, const void *b)
{
    int order = compare_same(a, b);
    return order != 0 ? order
                      : compare_numbers(((const struct key *)a)->at, ((const struct key *)b)->at);
}

int pickle_check_keys(const struct pickle *p, struct err *e)
{
    struct key *keys = xalloc_array(p->n_items, sizeof *keys);
    char name[PRINTABLE_BYTES], text[PRINTABLE_BYTES];
    size_t n = 0;
    int rc = 0;
    for (size_t i = 1; i < p->n_items; i++) {
        const struct pickle_value *v = pickle_at(p, p->items[i].key);
        if (v->kind == PICKLE_TEXT)
            keys[n++] = (struct key){p->items[i].owner, v->at, v->kind, 0, v->text};
        else if (v->kind == PICKLE_INT)
            keys[n++] = (struct key){p->items[i].owner, v->at, v->kind, v->number, {NULL, 0}};
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n && rc == 0; i++) {
        if (compare_same(&keys[i - 1], &keys[i]) != 0)
            continue;
        if (keys[i].kind == PICKLE_INT)
            snprintf(name, sizeof name, "%" PRId64, keys[i].number);
        rc = err_set(
            e, ERR_FORMAT, "data.pkl, offset %" PRIu32 ": the key %s is there twice", keys[i].at,
            keys[i].kind == PICKLE_INT ? name
                                       : printable(keys[i].text.bytes, keys[i].text.n_bytes, text));
    }
    xfree(keys);
    return rc;
}

size_t pickle_children(const struct pickle *p, uint32_t tuple, uint32_t *out, size_t max)
{
    const struct pickle_value *v = pickle_at(p, tuple);
    CHECK(v->kind == PICKLE_TUPLE);
    size_t n = 0;
    for (uint32_t i = v->items.first; i != 0 && n < max; i = p->items[i].next)
        out[n++] = p->items[i].value;
    return v->items.n_items;
}

bool pickle_is_counts(const struct pickle *p, uint32_t v)
{
    if (pickle_at(p, v)->kind != PICKLE_TUPLE)
        return false;
    for (uint32_t i = pickle_at(p, v)->items.first; i != 0; i = p->items[i].next) {
        const struct pickle_value *count = pickle_at(p, p->items[i].value);
        if (count->kind != PICKLE_INT || count->number < 0)
            return false;
    }
    return true;
}

size_t pickle_key(const struct pickle *p, uint32_t v, char *out, size_t max_bytes)
{
    const struct pickle_value *key = pickle_at(p, v);
    char number[24];
    const char *bytes = number;
    size_t n = 0;
    if (key->kind == PICKLE_TEXT) {
        bytes = key->text.bytes;
        n = key->text.n_bytes;
    } else {
        CHECK(key->kind == PICKLE_INT);
        n = (size_t)snprintf(number, sizeof number, "%" PRId64, key->number);
    }
    if (n > 0)
        memcpy(out, bytes, n < max_bytes ? n : max_bytes);
    return n;
}
