#include "stages/model/torch_call.h"

#include <inttypes.h>
#include <string.h>

#include "stages/model/printable.h"

/* One argument of a call. */
static int want(const struct pickle *p, const char *what, uint32_t v, enum pickle_kind kind,
                struct err *e)
{
    const struct pickle_value *found = pickle_at(p, v);
    if (found->kind != kind)
        return err_set(e, ERR_FORMAT, "%s is %s, expected %s", what, pickle_kind_name(found->kind),
                       pickle_kind_name(kind));
    if (kind == PICKLE_INT && found->number < 0)
        return err_set(e, ERR_FORMAT, "%s is %" PRId64 ", expected at least 0", what,
                       found->number);
    if (kind == PICKLE_TUPLE && !pickle_is_counts(p, v))
        return err_set(e, ERR_FORMAT, "%s is not a tuple of integers from 0", what);
    return 0;
}

static int want_empty(const struct pickle *p, const char *what, uint32_t v, struct err *e)
{
    int rc = want(p, what, v, PICKLE_DICT, e);
    if (rc == 0 && pickle_at(p, v)->items.n_items != 0)
        rc = err_set(e, ERR_FORMAT, "%s is not empty", what);
    return rc;
}

static int want_count(const char *what, size_t found, size_t expected, struct err *e)
{
    if (found == expected)
        return 0;
    return err_set(e, ERR_FORMAT, "%s with %zu arguments, expected %zu", what, found, expected);
}

/* (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]): metadata would say
 * that the values are to be negated or conjugated. */
static int call_tensor(struct pickle *p, uint32_t args, uint32_t *out, struct err *e)
{
    uint32_t a[7];
    size_t n = pickle_children(p, args, a, 7);
    int rc = n == 7 ? want_empty(p, "metadata", a[6], e) : want_count("tensor", n, 6, e);
    if (rc == 0)
        rc = want(p, "storage", a[0], PICKLE_STORAGE, e);
    if (rc == 0)
        rc = want(p, "offset", a[1], PICKLE_INT, e);
    if (rc == 0)
        rc = want(p, "size", a[2], PICKLE_TUPLE, e);
    if (rc == 0)
        rc = want(p, "stride", a[3], PICKLE_TUPLE, e);
    if (rc == 0)
        rc = want(p, "requires_grad", a[4], PICKLE_BOOL, e);
    if (rc == 0)
        rc = want_empty(p, "backward_hooks", a[5], e);
    if (rc != 0)
        return rc;
    uint32_t n_dims = pickle_at(p, a[2])->items.n_items;
    uint32_t n_strides = pickle_at(p, a[3])->items.n_items;
    if (n_dims != n_strides)
        return err_set(e, ERR_FORMAT, "%" PRIu32 " sizes and %" PRIu32 " strides", n_dims,
                       n_strides);
    rc = pickle_new(p, PICKLE_TENSOR, out, e);
    if (rc == 0)
        p->values[*out].tensor = (struct pickle_tensor){a[0], a[1], a[2], a[3]};
    return rc;
}

/* (tensor, requires_grad, backward_hooks): the tensor itself. */
static int call_parameter(const struct pickle *p, uint32_t args, uint32_t *out, struct err *e)
{
    uint32_t a[3];
    int rc = want_count("parameter", pickle_children(p, args, a, 3), 3, e);
    if (rc == 0)
        rc = want(p, "data", a[0], PICKLE_TENSOR, e);
    if (rc == 0)
        rc = want(p, "requires_grad", a[1], PICKLE_BOOL, e);
    if (rc == 0)
        rc = want_empty(p, "backward_hooks", a[2], e);
    if (rc == 0)
        *out = a[0];
    return rc;
}

int torch_call(struct pickle *p, const struct torch_global *g, uint32_t args, uint32_t *out,
               struct err *e)
{
    uint32_t a[1];
    int rc = 0;
    switch (g->kind) {
    case TORCH_ORDERED_DICT:
        rc = want_count("OrderedDict", pickle_children(p, args, a, 0), 0, e);
        return rc != 0 ? rc : pickle_new(p, PICKLE_DICT, out, e);
    case TORCH_SIZE:
        rc = want_count("Size", pickle_children(p, args, a, 1), 1, e);
        if (rc == 0)
            rc = want(p, "size", a[0], PICKLE_TUPLE, e);
        if (rc == 0)
            *out = a[0];
        return rc;
    case TORCH_REBUILD_TENSOR:
        return call_tensor(p, args, out, e);
    case TORCH_REBUILD_PARAMETER:
        return call_parameter(p, args, out, e);
    case TORCH_STORAGE:
        break;
    }
    return err_set(e, ERR_FORMAT, "calls %s.%s, expected only its name", g->module, g->name);
}

/* ('storage', class, key, location, number of elements) */
int torch_call_storage(struct pickle *p, uint32_t id, uint32_t *out, struct err *e)
{
    uint32_t a[5];
    int rc = want_count("persistent id", pickle_children(p, id, a, 5), 5, e);
    if (rc == 0)
        rc = want(p, "kind of persistent id", a[0], PICKLE_TEXT, e);
    if (rc != 0)
        return rc;
    const struct pickle_text *kind = &pickle_at(p, a[0])->text;
    if (kind->n_bytes != 7 || memcmp(kind->bytes, "storage", 7) != 0) {
        char text[PRINTABLE_BYTES];
        return err_set(e, ERR_FORMAT, "persistent id of kind \"%s\", expected \"storage\"",
                       printable(kind->bytes, kind->n_bytes, text));
    }
    rc = want(p, "storage class", a[1], PICKLE_GLOBAL, e);
    if (rc != 0)
        return rc;
    const struct torch_global *class = pickle_at(p, a[1])->global;
    if (class->kind != TORCH_STORAGE)
        return err_set(e, ERR_FORMAT, "storage class is %s.%s", class->module, class->name);
    rc = want(p, "storage key", a[2], PICKLE_TEXT, e);
    if (rc == 0)
        rc = want(p, "storage location", a[3], PICKLE_TEXT, e);
    if (rc == 0)
        rc = want(p, "number of elements", a[4], PICKLE_INT, e);
    if (rc != 0)
        return rc;
    rc = pickle_new(p, PICKLE_STORAGE, out, e);
    if (rc == 0)
        p->values[*out].storage = (struct pickle_storage){class, a[2], a[4]};
    return rc;
}
