/* stages/model/unpickle.h: what it makes is a graph without loose ends, no larger than the pickle.
 */

#include "pipeline/base/check.h"
#include "stages/model/unpickle.h"
#include "tests/fuzz/fuzz.h"

static void check_kind(const struct pickle *p, uint32_t v, enum pickle_kind kind)
{
    CHECK(v > 0 && v < p->n_values);
    CHECK(pickle_at(p, v)->kind == kind);
}

static void check_value(const struct pickle *p, const struct pickle_value *v, size_t n_bytes)
{
    CHECK(v->at < n_bytes);
    switch (v->kind) {
    case PICKLE_TEXT:
        CHECK(v->text.n_bytes < n_bytes);
        break;
    case PICKLE_TUPLE:
    case PICKLE_LIST:
    case PICKLE_DICT:
        CHECK(v->items.first < p->n_items && v->items.last < p->n_items);
        CHECK((v->items.first == 0) == (v->items.n_items == 0));
        break;
    case PICKLE_STORAGE:
        CHECK(v->storage.class->kind == TORCH_STORAGE);
        check_kind(p, v->storage.key, PICKLE_TEXT);
        check_kind(p, v->storage.n_elements, PICKLE_INT);
        break;
    case PICKLE_TENSOR:
        check_kind(p, v->tensor.storage, PICKLE_STORAGE);
        check_kind(p, v->tensor.offset, PICKLE_INT);
        CHECK(pickle_is_counts(p, v->tensor.dims));
        CHECK(pickle_is_counts(p, v->tensor.strides));
        break;
    default:
        CHECK(v->kind != PICKLE_MARK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct pickle p;
    struct err e = {0};
    fuzz_taken = unpickle(&p, data, n_bytes, &e) == 0;
    CHECK(fuzz_taken || e.code != 0);
    if (!fuzz_taken)
        return 0;
    CHECK(p.root > 0 && p.root < p.n_values);
    CHECK(p.n_values < n_bytes && p.n_items < n_bytes);
    for (size_t i = 1; i < p.n_values; i++)
        check_value(&p, &p.values[i], n_bytes);
    for (size_t i = 1; i < p.n_items; i++) {
        const struct pickle_item *item = &p.items[i];
        CHECK(item->value > 0 && item->value < p.n_values);
        CHECK(item->owner > 0 && item->owner < p.n_values);
        CHECK(item->next == 0 || (item->next > i && item->next < p.n_items));
        CHECK((item->key != 0) == (pickle_at(&p, item->owner)->kind == PICKLE_DICT));
    }
    pickle_release(&p);
    return 0;
}
