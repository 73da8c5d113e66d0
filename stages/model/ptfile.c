#include "stages/model/ptfile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/printable.h"
#include "stages/model/unpickle.h"

uint64_t pt_tensor_elements(const struct pt_tensor *t)
{
    return t->n_bytes / pt_dtype_bytes(t->dtype);
}

bool pt_tensor_tied(const struct pt_tensor *a, const struct pt_tensor *b)
{
    return a->storage == b->storage && a->data == b->data && a->n_bytes == b->n_bytes;
}

int pt_tensor_view(const struct pt_tensor *t, struct tensor *out, struct err *e)
{
    *out = (struct tensor){.name = t->name, .data = t->data, .n_bytes = t->n_bytes};
    switch (t->dtype) {
    case PT_F32:
        out->dtype = DTYPE_F32;
        break;
    case PT_F16:
        out->dtype = DTYPE_F16;
        break;
    case PT_BF16:
        out->dtype = DTYPE_BF16;
        break;
    case PT_U8:
        out->dtype = DTYPE_U8;
        break;
    default:
        return err_set(e, ERR_FORMAT, "%s: dtype %s, expected float32, float16, bfloat16 or uint8",
                       t->name, pt_dtype_name(t->dtype));
    }
    if (t->n_dims > TENSOR_DIMS_MAX)
        return err_set(e, ERR_FORMAT, "%s: %d dimensions, expected at most %d", t->name, t->n_dims,
                       TENSOR_DIMS_MAX);
    out->n_dims = t->n_dims;
    memcpy(out->dims, t->dims, (size_t)t->n_dims * sizeof *t->dims);
    return 0;
}

/* ---- one tensor ---- */

/* State of a reading; lives in ptfile_parse. */
struct reading {
    struct ptfile *f;
    struct pickle pickle;
    const char *folder; /* "NAME/": borrowed from the zip */
    size_t folder_bytes;
    struct buf name;     /* of the value at hand */
    unsigned char *open; /* by value: it is being walked */
    size_t n_steps;
    size_t capacity; /* of f->tensors */
};

static int read_counts(const struct pickle *p, uint32_t tuple, uint64_t out[PT_DIMS_MAX])
{
    uint32_t v[PT_DIMS_MAX];
    int n = (int)pickle_children(p, tuple, v, PT_DIMS_MAX);
    for (int i = 0; i < n; i++)
        out[i] = (uint64_t)pickle_at(p, v[i])->number;
    return n;
}

/* Row-major: where a step is taken, it skips what lies behind. */
static int check_strides(const struct pt_tensor *t, struct err *e)
{
    uint64_t behind = 1;
    if (t->n_bytes == 0)
        return 0;
    for (int i = t->n_dims; i-- > 0;) {
        if (t->dims[i] != 1 && t->strides[i] != behind)
            return err_set(e, ERR_FORMAT,
                           "not contiguous: stride %" PRIu64 " of dimension %d, expected %" PRIu64
                           ": call contiguous() before torch.save",
                           t->strides[i], i, behind);
        behind *= t->dims[i];
    }
    return 0;
}

/* The entry data/KEY of a storage, which has exactly its elements. */
static int find_storage(const struct reading *r, const struct pickle_storage *s,
                        const struct zipdir_entry **out, struct err *e)
{
    const struct pickle_text *key = &pickle_at(&r->pickle, s->key)->text;
    uint64_t n_elements = (uint64_t)pickle_at(&r->pickle, s->n_elements)->number;
    uint64_t width = pt_dtype_bytes(s->class->dtype);
    char text[PRINTABLE_BYTES];
    struct buf name;
    buf_init(&name, r->folder_bytes + key->n_bytes + 8);
    buf_add(&name, r->folder, r->folder_bytes);
    buf_add_text(&name, "data/");
    buf_add(&name, key->bytes, key->n_bytes);
    *out = zipdir_find(&r->f->zip, name.bytes, name.n_bytes);
    buf_release(&name);
    (void)printable(key->bytes, key->n_bytes, text);
    if (*out == NULL)
        return err_set(e, ERR_FORMAT, "its storage, entry data/%s, is missing", text);
    if ((*out)->n_bytes % width != 0 || (*out)->n_bytes / width != n_elements)
        return err_set(e, ERR_FORMAT,
                       "entry data/%s has %" PRIu64 " bytes, expected %" PRIu64 " elements of %s",
                       text, (*out)->n_bytes, n_elements, pt_dtype_name(s->class->dtype));
    return 0;
}

static int read_tensor(const struct reading *r, const struct pickle_tensor *v, struct pt_tensor *t,
                       struct err *e)
{
    const struct pickle *p = &r->pickle;
    const struct pickle_storage *s = &pickle_at(p, v->storage)->storage;
    uint32_t n_dims = pickle_at(p, v->dims)->items.n_items;
    t->dtype = s->class->dtype;
    t->storage_offset = (uint64_t)pickle_at(p, v->offset)->number;
    if (n_dims > PT_DIMS_MAX)
        return err_set(e, ERR_LIMIT, "%" PRIu32 " dimensions, PT_DIMS_MAX is %d", n_dims,
                       PT_DIMS_MAX);
    t->n_dims = read_counts(p, v->dims, t->dims);
    (void)read_counts(p, v->strides, t->strides);
    int rc = find_storage(r, s, &t->storage, e);
    if (rc != 0)
        return rc;
    /* Any dimension of 0 first: the others' product may overflow without meaning anything. */
    size_t bytes = pt_dtype_bytes(t->dtype);
    for (int i = 0; i < t->n_dims; i++)
        bytes = t->dims[i] == 0 ? 0 : bytes;
    for (int i = 0; i < t->n_dims; i++)
        if (!size_try_mul(bytes, (size_t)t->dims[i], &bytes))
            return err_set(e, ERR_FORMAT, "dimensions overflow");
    t->n_bytes = bytes;
    uint64_t n_elements = t->storage->n_bytes / pt_dtype_bytes(t->dtype);
    if (t->storage_offset > n_elements || pt_tensor_elements(t) > n_elements - t->storage_offset)
        return err_set(e, ERR_FORMAT,
                       "%" PRIu64 " elements from element %" PRIu64 " of a storage of %" PRIu64,
                       pt_tensor_elements(t), t->storage_offset, n_elements);
    t->data = r->f->zip.bytes + t->storage->data_at + t->storage_offset * pt_dtype_bytes(t->dtype);
    return check_strides(t, e);
}

/* ---- the walk ---- */

/* The name at hand for a message. */
static const char *shown(const struct reading *r, char out[PRINTABLE_BYTES])
{
    return printable(r->name.bytes, r->name.n_bytes, out);
}

static int check_name(const struct reading *r, struct err *e)
{
    char text[PRINTABLE_BYTES];
    if (r->name.n_bytes == 0)
        return err_set(e, ERR_FORMAT, "a tensor whose name is empty");
    for (size_t i = 0; i < r->name.n_bytes; i++)
        if ((unsigned char)r->name.bytes[i] < 0x20 || r->name.bytes[i] == 0x7f)
            return err_set(e, ERR_FORMAT, "%s: a tensor whose name holds byte 0x%02x",
                           shown(r, text), (unsigned char)r->name.bytes[i]);
    return 0;
}

static int add_tensor(struct reading *r, const struct pickle_tensor *v, struct err *e)
{
    struct ptfile *f = r->f;
    if (f->n_tensors == LIMIT_TENSORS)
        return err_set(e, ERR_LIMIT, "more than %d tensors: LIMIT_TENSORS", LIMIT_TENSORS);
    if (f->n_tensors == r->capacity) {
        r->capacity = r->capacity == 0 ? 64 : 2 * r->capacity;
        f->tensors = xrealloc_array(f->tensors, r->capacity, sizeof *f->tensors);
    }
    struct pt_tensor t = {0};
    int rc = check_name(r, e);
    if (rc != 0)
        return rc;
    rc = read_tensor(r, v, &t, e);
    if (rc != 0)
        return err_wrap(e, "%s", buf_text(&r->name));
    t.name = xstrdup(buf_text(&r->name));
    f->tensors[f->n_tensors++] = t;
    return 0;
}

/* Puts ".KEY" behind the name. */
static int extend_name(struct reading *r, uint32_t key, size_t i_child, struct err *e)
{
    char text[LIMIT_TENSOR_NAME_BYTES + 1], name[PRINTABLE_BYTES];
    size_t n = key != 0 ? pickle_key(&r->pickle, key, text, sizeof text)
                        : (size_t)snprintf(text, sizeof text, "%zu", i_child);
    size_t dot = r->name.n_bytes > 0 ? 1 : 0;
    if (r->name.n_bytes + dot + n > LIMIT_TENSOR_NAME_BYTES)
        return err_set(e, ERR_LIMIT,
                       "%s: a key makes this name longer than "
                       "LIMIT_TENSOR_NAME_BYTES, %d",
                       shown(r, name), LIMIT_TENSOR_NAME_BYTES);
    if (dot != 0)
        buf_add_char(&r->name, '.');
    buf_add(&r->name, text, n);
    return 0;
}

static void cut_name(struct reading *r, size_t n_bytes)
{
    r->name.n_bytes = n_bytes;
    if (r->name.bytes != NULL)
        r->name.bytes[n_bytes] = 0;
}

static int walk(struct reading *r, uint32_t v, int depth, struct err *e);

static int walk_items(struct reading *r, uint32_t v, int depth, struct err *e)
{
    const struct pickle *p = &r->pickle;
    size_t name_bytes = r->name.n_bytes, i_child = 0;
    char name[PRINTABLE_BYTES];
    int rc = 0;
    if (depth >= LIMIT_PICKLE_DEPTH)
        return err_set(e, ERR_LIMIT, "%s: nested deeper than LIMIT_PICKLE_DEPTH, %d",
                       shown(r, name), LIMIT_PICKLE_DEPTH);
    if (r->open[v] != 0)
        return err_set(e, ERR_FORMAT, "%s: %s that contains itself", shown(r, name),
                       pickle_kind_name(pickle_at(p, v)->kind));
    r->open[v] = 1;
    for (uint32_t i = pickle_at(p, v)->items.first; i != 0 && rc == 0; i = p->items[i].next) {
        rc = extend_name(r, p->items[i].key, i_child++, e);
        if (rc == 0)
            rc = walk(r, p->items[i].value, depth + 1, e);
        cut_name(r, name_bytes);
    }
    r->open[v] = 0;
    return rc;
}

/* A graph with shared parts has more paths than values: steps are counted. */
static int walk(struct reading *r, uint32_t v, int depth, struct err *e)
{
    char name[PRINTABLE_BYTES];
    if (r->n_steps++ >= LIMIT_PICKLE_VALUES)
        return err_set(e, ERR_LIMIT, "%s: more than %zu leaves, LIMIT_PICKLE_VALUES",
                       shown(r, name), LIMIT_PICKLE_VALUES);
    const struct pickle_value *value = pickle_at(&r->pickle, v);
    switch (value->kind) {
    case PICKLE_TENSOR:
        return add_tensor(r, &value->tensor, e);
    case PICKLE_DICT:
    case PICKLE_LIST:
    case PICKLE_TUPLE:
        return walk_items(r, v, depth, e);
    default:
        r->f->n_skipped++;
        return 0;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct pt_tensor *)a)->name, ((const struct pt_tensor *)b)->name);
}

static int read_tensors(struct reading *r, const struct zipdir_entry *entry, struct err *e)
{
    struct ptfile *f = r->f;
    int rc = unpickle(&r->pickle, f->zip.bytes + entry->data_at, (size_t)entry->n_bytes, e);
    if (rc != 0)
        return rc;
    enum pickle_kind kind = pickle_at(&r->pickle, r->pickle.root)->kind;
    if (kind != PICKLE_DICT)
        return err_set(e, ERR_FORMAT, "data.pkl holds %s, expected a dict of tensors",
                       pickle_kind_name(kind));
    r->open = xalloc(r->pickle.n_values);
    rc = walk(r, r->pickle.root, 0, e);
    if (rc != 0)
        return rc;
    if (f->n_tensors > 0)
        qsort(f->tensors, f->n_tensors, sizeof *f->tensors, compare_names);
    for (size_t i = 1; i < f->n_tensors; i++)
        if (compare_names(&f->tensors[i - 1], &f->tensors[i]) == 0)
            return err_set(e, ERR_FORMAT, "%s: two tensors have this name", f->tensors[i].name);
    return 0;
}

/* ---- the entries around ---- */

static bool ends_with(const struct zipdir_entry *entry, const char *end)
{
    size_t n = strlen(end);
    return entry->name_bytes >= n && memcmp(entry->name + entry->name_bytes - n, end, n) == 0;
}

/* NAME/data.pkl, of which there is one; gives r its folder. */
static int find_pickle(struct reading *r, const struct zipdir_entry **out, struct err *e)
{
    const struct zipdir *zip = &r->f->zip;
    *out = NULL;
    for (size_t i = 0; i < zip->n_entries; i++) {
        const struct zipdir_entry *entry = &zip->entries[i];
        if (!ends_with(entry, "/data.pkl") ||
            memchr(entry->name, '/', entry->name_bytes - 9) != NULL)
            continue;
        if (*out != NULL)
            return err_set(e, ERR_FORMAT, "two folders with a data.pkl, expected one");
        *out = entry;
        r->folder = entry->name;
        r->folder_bytes = entry->name_bytes - 8;
    }
    if (*out == NULL)
        return err_set(e, ERR_FORMAT,
                       "a zip file of %zu entries without NAME/data.pkl: not by torch.save",
                       zip->n_entries);
    return 0;
}

/* NAME/leaf, or NULL. */
static const struct zipdir_entry *find_leaf(const struct reading *r, const char *leaf)
{
    struct buf name;
    buf_init(&name, r->folder_bytes + strlen(leaf));
    buf_add(&name, r->folder, r->folder_bytes);
    buf_add_text(&name, leaf);
    const struct zipdir_entry *entry = zipdir_find(&r->f->zip, name.bytes, name.n_bytes);
    buf_release(&name);
    return entry;
}

/* A small entry as text; spaces at its end are dropped. */
static int read_small(const struct reading *r, const struct zipdir_entry *entry, char out[24],
                      struct err *e)
{
    if (entry->n_bytes >= 24)
        return err_set(e, ERR_FORMAT, "entry %.*s has %" PRIu64 " bytes, expected a word",
                       (int)entry->name_bytes, entry->name, entry->n_bytes);
    int rc = zipdir_check_crc(&r->f->zip, entry, NULL, e);
    if (rc != 0)
        return rc;
    size_t n = (size_t)entry->n_bytes;
    char text[PRINTABLE_BYTES];
    (void)printable(r->f->zip.bytes + entry->data_at, n, text);
    if (n > 0 && r->f->zip.bytes[entry->data_at + n - 1] == '\n')
        n--;
    text[n] = 0;
    memcpy(out, text, n + 1);
    return 0;
}

#define VERSION_MAX 10 /* kMaxSupportedFileFormatVersion */

static int check_surroundings(const struct reading *r, struct err *e)
{
    char text[24];
    int64_t version = 0;
    const struct zipdir_entry *entry = find_leaf(r, "byteorder");
    int rc = entry == NULL ? 0 : read_small(r, entry, text, e);
    if (rc != 0)
        return rc;
    if (entry != NULL && !str_eq(text, "little"))
        return err_set(e, ERR_FORMAT, "byteorder is \"%s\", expected \"little\"", text);
    if (find_leaf(r, "constants.pkl") != NULL)
        return err_set(e, ERR_FORMAT,
                       "a TorchScript archive (constants.pkl), expected a file of torch.save");
    entry = find_leaf(r, "version");
    if (entry == NULL)
        return err_set(e, ERR_FORMAT, "no entry %.*sversion: not by torch.save",
                       (int)r->folder_bytes, r->folder);
    rc = read_small(r, entry, text, e);
    if (rc != 0)
        return rc;
    if (!str_to_i64(text, &version) || version < 1 || version > VERSION_MAX)
        return err_set(e, ERR_FORMAT, "version is \"%s\", expected 1 to %d", text, VERSION_MAX);
    return 0;
}

/* A pickled LONG1 that files before PyTorch 1.6 begin with (MAGIC_NUMBER in serialization.py). */
static int check_not_legacy(const unsigned char *bytes, size_t n_bytes, struct err *e)
{
    static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                          0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    if (n_bytes < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0)
        return 0;
    return err_set(e, ERR_FORMAT,
                   "the form of torch.save before PyTorch 1.6, not a zip file: load it with "
                   "PyTorch and save it again with torch.save");
}

int ptfile_parse(struct ptfile *f, const unsigned char *bytes, size_t n_bytes, struct err *e)
{
    struct reading r = {.f = f};
    const struct zipdir_entry *entry = NULL;
    buf_init(&r.name, LIMIT_TENSOR_NAME_BYTES + 1);
    int rc = check_not_legacy(bytes, n_bytes, e);
    if (rc == 0)
        rc = zipdir_parse(&f->zip, bytes, n_bytes, e);
    if (rc == 0)
        rc = find_pickle(&r, &entry, e);
    if (rc == 0)
        rc = check_surroundings(&r, e);
    if (rc == 0)
        rc = zipdir_check_crc(&f->zip, entry, NULL, e);
    if (rc == 0)
        rc = read_tensors(&r, entry, e);
    xfree(r.open);
    pickle_release(&r.pickle);
    buf_release(&r.name);
    if (rc != 0)
        ptfile_close(f);
    return rc;
}

int ptfile_open(struct ptfile *f, const char *path, struct err *e)
{
    memset(f, 0, sizeof *f);
    struct file_map map = {0};
    int rc = file_map_open(&map, path, e);
    if (rc != 0)
        return rc;
    f->map = map;
    rc = ptfile_parse(f, map.bytes, map.n_bytes, e);
    return rc == 0 ? 0 : err_wrap(e, "%s", path);
}

void ptfile_close(struct ptfile *f)
{
    for (size_t i = 0; i < f->n_tensors; i++)
        xfree((char *)f->tensors[i].name);
    xfree(f->tensors);
    zipdir_release(&f->zip);
    file_map_close(&f->map);
    memset(f, 0, sizeof *f);
}

static int compare_name(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct pt_tensor *)tensor)->name);
}

const struct pt_tensor *ptfile_find(const struct ptfile *f, const char *name)
{
    if (f->n_tensors == 0)
        return NULL;
    return bsearch(name, f->tensors, f->n_tensors, sizeof *f->tensors, compare_name);
}

int ptfile_check_crc(const struct ptfile *f, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < f->zip.n_entries && rc == 0; i++)
        rc = zipdir_check_crc(&f->zip, &f->zip.entries[i], NULL, e);
    return rc;
}
