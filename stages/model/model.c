#include "stages/model/model.h"
#include "stages/model/problems.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "stages/kit/rng.h"
#include "stages/model/attention.h"

static size_t rope_floats(const struct shape *s)
{
    return size_mul((size_t)s->context, (size_t)s->head_dim);
}

size_t model_frame_bytes(const struct shape *s)
{
    return size_add(arena_cost(size_mul((size_t)shape_layers(s), sizeof(struct model_layer))),
                    arena_cost(size_mul(rope_floats(s), sizeof(float))));
}

/* Layers and RoPE table, from an arena that has room. */
static void take_frame(struct model *m)
{
    const struct shape *s = &m->shape;
    m->layers = arena_take(&m->arena, (size_t)shape_layers(s) * sizeof *m->layers);
    float *cos_sin = arena_take(&m->arena, rope_floats(s) * sizeof(float));
    ops_rope_fill((float)s->rope_theta, s->head_dim, s->context, cos_sin);
    m->rope.d = s->head_dim;
    m->rope.positions = s->context;
    m->rope.cos_sin = cos_sin;
}

/* Puts a tensor's weight into its place. */
void model_set_tensor(struct model *m, const struct shape_tensor *t, struct weight w)
{
    switch (t->role) {
    case ROLE_EMBEDDING:
        m->embedding = w;
        break;
    case ROLE_LINEAR:
        m->layers[t->layer].linear[t->slot] = w;
        break;
    case ROLE_ATTENTION_NORM:
        m->layers[t->layer].attention_norm = w.data;
        break;
    case ROLE_QUERY_NORM:
        m->layers[t->layer].query_norm = w.data;
        break;
    case ROLE_KEY_NORM:
        m->layers[t->layer].key_norm = w.data;
        break;
    case ROLE_FFN_NORM:
        m->layers[t->layer].ffn_norm = w.data;
        break;
    case ROLE_FINAL_NORM:
        m->final_norm = w.data;
        break;
    }
}

static struct weight get_tensor(const struct model *m, const struct shape_tensor *t)
{
    const struct model_layer *l = t->layer < 0 ? NULL : &m->layers[t->layer];
    switch (t->role) {
    case ROLE_EMBEDDING:
        return m->embedding;
    case ROLE_LINEAR:
        return l->linear[t->slot];
    case ROLE_ATTENTION_NORM:
        return weight_dense(l->attention_norm, t->n, t->k);
    case ROLE_QUERY_NORM:
        return weight_dense(l->query_norm, t->n, t->k);
    case ROLE_KEY_NORM:
        return weight_dense(l->key_norm, t->n, t->k);
    case ROLE_FFN_NORM:
        return weight_dense(l->ffn_norm, t->n, t->k);
    case ROLE_FINAL_NORM:
        break;
    }
    return weight_dense(m->final_norm, t->n, t->k);
}

/* ---- trainable ---- */

size_t model_trainable_bytes(const struct shape *shape)
{
    return size_add(model_frame_bytes(shape),
                    arena_cost(size_mul(shape_flat_floats(shape), sizeof(float))));
}

uint64_t model_tensor_bytes(const struct shape *shape, enum weight_form linears,
                            enum weight_form embedding)
{
    uint64_t sum = 0;
    for (int i = 0; i < shape_n_tensors(shape); i++) {
        struct shape_tensor t;
        shape_tensor(shape, i, &t);
        enum weight_form form = shape_is_norm(&t)          ? WEIGHT_F32
                                : t.role == ROLE_EMBEDDING ? embedding
                                                           : linears;
        sum += weight_bytes(form, t.n, t.k);
        if (form == WEIGHT_Q2 || form == WEIGHT_Q4)
            sum += sizeof(float) * (t.role == ROLE_EMBEDDING ? (uint64_t)t.n : 1);
    }
    if (shape->kv_quant)
        sum += (uint64_t)shape->layers_0 * 2 * sizeof(struct kv_range);
    return sum;
}

int model_init(struct model *m, const struct shape *shape, struct err *e)
{
    memset(m, 0, sizeof *m);
    m->shape = *shape;
    int rc = arena_reserve(&m->arena, "model", model_trainable_bytes(shape), e);
    if (rc != 0)
        return rc;
    take_frame(m);
    m->n_flat = shape_flat_floats(shape);
    m->flat = arena_take(&m->arena, m->n_flat * sizeof(float));
    for (int i = 0; i < shape_n_tensors(shape); i++) {
        struct shape_tensor t;
        shape_tensor(shape, i, &t);
        float *values = m->flat + t.offset;
        for (int j = 0; shape_is_norm(&t) && j < t.n; j++)
            values[j] = 1.0f;
        model_set_tensor(m, &t, weight_dense(values, t.n, t.k));
    }
    return 0;
}

/* Standard deviation of a matrix of a fresh model. */
static float fresh_std(const struct shape *s, const struct shape_tensor *t)
{
    float std = t->role == ROLE_EMBEDDING ? 0.02f : 1.0f / sqrtf((float)t->k);
    if (t->role == ROLE_LINEAR && (t->slot == LINEAR_OUT || t->slot == LINEAR_DOWN))
        std *= 1.0f / sqrtf(2.0f * (float)shape_layers(s));
    return std;
}

static struct rng fresh_stream(const struct shape_tensor *t, int64_t seed)
{
    char stream[SHAPE_NAME_BYTES + 16];
    snprintf(stream, sizeof stream, "init/%s", t->name);
    return rng_open(seed, stream);
}

void model_randomise(struct model *m, int64_t seed)
{
    CHECK(m->flat != NULL);
    for (int i = 0; i < shape_n_tensors(&m->shape); i++) {
        struct shape_tensor t;
        shape_tensor(&m->shape, i, &t);
        float *values = m->flat + t.offset, std = fresh_std(&m->shape, &t);
        size_t n = (size_t)t.n * (size_t)t.k;
        struct rng r = fresh_stream(&t, seed);
        for (size_t j = 0; j < n; j++)
            values[j] = shape_is_norm(&t) ? 1.0f : std * rng_normal_at(&r, j);
    }
}

int model_init_frame(struct model *m, const struct shape *shape, struct err *e)
{
    memset(m, 0, sizeof *m);
    m->shape = *shape;
    int rc = arena_reserve(&m->arena, "model", model_frame_bytes(shape), e);
    if (rc == 0)
        take_frame(m);
    return rc;
}

/* ---- random and packed ---- */

enum weight_form model_packed_form(const struct shape_tensor *t)
{
    return shape_is_norm(t) ? WEIGHT_F32 : t->role == ROLE_EMBEDDING ? WEIGHT_Q4 : WEIGHT_Q2;
}

int model_random_bytes(const struct shape *s, size_t *bytes, struct err *e)
{
    *bytes = model_frame_bytes(s);
    for (int i = 0; i < shape_n_tensors(s); i++) {
        struct shape_tensor t;
        shape_tensor(s, i, &t);
        if (!shape_is_norm(&t) && (t.n % 16 != 0 || t.k % 16 != 0))
            return err_set(e, ERR_CONFIG, "%s is %d x %d: only multiples of 16 can be packed",
                           t.name, t.n, t.k);
        *bytes = size_add(*bytes, arena_cost(weight_bytes(model_packed_form(&t), t.n, t.k)));
        *bytes = size_add(*bytes, arena_cost((size_t)t.n * sizeof(float)));
    }
    return 0;
}

/* Four words of a stream at a time. */
static void fill_random(const struct rng *r, uint32_t *words, size_t n_words)
{
    for (size_t i = 0; i < n_words; i += 4) {
        const uint32_t counter[4] = {(uint32_t)(i / 4), (uint32_t)((uint64_t)i / 4 >> 32), 0, 0};
        uint32_t four[4];
        rng_philox(counter, r->key, four);
        memcpy(words + i, four, (n_words - i < 4 ? n_words - i : 4) * sizeof *words);
    }
}

/* Variance of levels -1.5 .. 1.5 is 1.25, of -7.5 .. 7.5 is 21.25. */
static struct weight random_weight(struct model *m, const struct shape_tensor *t, int64_t seed)
{
    struct weight w = {.form = model_packed_form(t), .n = t->n, .k = t->k};
    size_t bytes = weight_bytes(w.form, w.n, w.k);
    void *data = arena_take(&m->arena, bytes);
    float *scale = arena_take(&m->arena, (size_t)t->n * sizeof *scale);
    w.data = data;
    if (shape_is_norm(t)) {
        for (int j = 0; j < t->n; j++)
            ((float *)data)[j] = 1.0f;
        return w;
    }
    struct rng r = fresh_stream(t, seed);
    fill_random(&r, data, bytes / sizeof(uint32_t));
    w.scale = scale;
    w.n_scales = w.form == WEIGHT_Q4 ? t->n : 1;
    for (int j = 0; j < w.n_scales; j++)
        scale[j] = fresh_std(&m->shape, t) / sqrtf(w.form == WEIGHT_Q4 ? 21.25f : 1.25f);
    return w;
}

int model_init_random_packed(struct model *m, const struct shape *shape, int64_t seed,
                             struct err *e)
{
    size_t bytes = 0;
    memset(m, 0, sizeof *m);
    m->shape = *shape;
    int rc = model_random_bytes(shape, &bytes, e);
    if (rc == 0)
        rc = arena_reserve(&m->arena, "model", bytes, e);
    if (rc != 0)
        return rc;
    take_frame(m);
    for (int i = 0; i < shape_n_tensors(shape); i++) {
        struct shape_tensor t;
        shape_tensor(shape, i, &t);
        model_set_tensor(m, &t, random_weight(m, &t, seed));
    }
    return 0;
}

int model_open_trainable(struct model *m, const char *path, struct err *e)
{
    struct model source;
    memset(m, 0, sizeof *m);
    int rc = model_open(&source, path, e);
    if (rc != 0)
        return rc;
    rc = model_init(m, &source.shape, e);
    for (int i = 0; rc == 0 && i < shape_n_tensors(&m->shape); i++) {
        struct shape_tensor t;
        shape_tensor(&m->shape, i, &t);
        struct weight w = get_tensor(&source, &t);
        for (int row = 0; row < t.n; row++)
            weight_unpack_row(&w, row, m->flat + t.offset + (size_t)row * (size_t)t.k);
    }
    for (int i = 0; rc == 0 && i < m->shape.layers_0; i++) {
        m->layers[i].key_range = source.layers[i].key_range;
        m->layers[i].value_range = source.layers[i].value_range;
    }
    model_release(&source);
    return rc;
}

void model_release(struct model *m)
{
    tensorfile_close(&m->file);
    arena_release(&m->arena);
    arena_release(&m->panels);
    memset(m, 0, sizeof *m);
}

/* ---- by panels ---- */

static bool can_be_panels(const struct shape_tensor *t, const struct weight *w)
{
    return !shape_is_norm(t) && w->form != WEIGHT_Q2 && w->form != WEIGHT_Q4;
}

size_t model_panel_bytes(const struct model *m)
{
    size_t bytes = 0;
    for (int i = 0; i < shape_n_tensors(&m->shape); i++) {
        struct shape_tensor t;
        shape_tensor(&m->shape, i, &t);
        struct weight w = get_tensor(m, &t);
        if (can_be_panels(&t, &w))
            bytes = size_add(bytes, arena_cost(weight_panel_bytes(&w)));
    }
    return bytes;
}

int model_to_panels(struct model *m, struct err *e)
{
    CHECK(m->flat == NULL && m->panels.capacity_bytes == 0);
    size_t bytes = model_panel_bytes(m);
    int rc = bytes == 0 ? 0 : arena_reserve(&m->panels, "model by panels", bytes, e);
    for (int i = 0; i < shape_n_tensors(&m->shape) && bytes > 0 && rc == 0; i++) {
        struct shape_tensor t;
        shape_tensor(&m->shape, i, &t);
        struct weight w = get_tensor(m, &t);
        if (!can_be_panels(&t, &w))
            continue;
        w = weight_to_panels(&w, arena_take(&m->panels, weight_panel_bytes(&w)));
        if (t.role == ROLE_EMBEDDING) /* its rows are looked up too */
            m->output = w;
        else
            model_set_tensor(m, &t, w);
    }
    return rc;
}

void model_memory(const struct model *m, struct plan_mem *out)
{
    plan_mem_add(out, "weights, mapped", m->file.map.n_bytes);
    plan_mem_add(out, "weights, rest", m->arena.capacity_bytes);
    plan_mem_add(out, "weights by panels", m->panels.capacity_bytes);
}

/* ---- KV quantiser ranges ---- */

float kv_range_scale(const struct kv_range *r)
{
    float low = r->min / -128.0f, high = r->max / 127.0f;
    float scale = low > high ? low : high;
    return scale > 0 ? scale : 0;
}

bool model_has_kv_codes(const struct model *m)
{
    bool all = m->shape.kv_quant;
    for (int i = 0; all && m->layers != NULL && i < m->shape.layers_0; i++)
        all = kv_range_scale(&m->layers[i].key_range) >= ATTENTION_SCALE_MIN &&
              kv_range_scale(&m->layers[i].value_range) >= ATTENTION_SCALE_MIN;
    return all;
}

static void observe(struct kv_range *r, float abs_max, float momentum)
{
    bool fresh = !(r->max > 0);
    r->max = fresh ? abs_max : momentum * r->max + (1 - momentum) * abs_max;
    r->min = -r->max;
}

void model_observe_kv(struct model *m, const float *abs_max, float momentum)
{
    for (int i = 0; i < m->shape.layers_0 && m->shape.kv_quant; i++) {
        observe(&m->layers[i].key_range, abs_max[2 * i], momentum);
        observe(&m->layers[i].value_range, abs_max[2 * i + 1], momentum);
    }
}

/* ---- files ---- */

#define FULL_NAME_BYTES (SHAPE_NAME_BYTES + 16)

/* Opening walks the tensors twice: first it checks and counts the bytes to copy, then, with the
 * arena reserved, it fills the model. Values stay in the mapping where they can. */
struct loader {
    struct model *m;
    bool counting;
    size_t bytes;
    bool *used; /* by index in the file */
    struct problems problems;
};

static const struct tensor *need(struct loader *l, const char *name)
{
    const struct tensor *t = tensorfile_find(&l->m->file, name);
    if (t == NULL)
        problems_add(&l->problems, name, "is missing");
    else
        l->used[t - l->m->file.tensors] = true;
    return t;
}

static void need_finite(struct loader *l, const struct tensor *t)
{
    if (l->counting && !tensor_all_finite(t))
        problems_add(&l->problems, t->name, "has a value that is not finite");
}

/* The tensor's values as fp32: in place, or converted into the arena; NULL while counting. */
static const float *as_f32(struct loader *l, const struct tensor *t)
{
    if (t->dtype == DTYPE_F32 && (uintptr_t)t->data % 64 == 0)
        return (const float *)(const void *)t->data;
    size_t bytes = (size_t)tensor_elements(t) * sizeof(float);
    if (l->counting) {
        l->bytes = size_add(l->bytes, arena_cost(bytes));
        return NULL;
    }
    float *values = arena_take(&l->m->arena, bytes);
    tensor_to_f32(t, values);
    return values;
}

static const void *as_bytes(struct loader *l, const struct tensor *t)
{
    if ((uintptr_t)t->data % 64 == 0)
        return t->data;
    if (l->counting) {
        l->bytes = size_add(l->bytes, arena_cost((size_t)t->n_bytes));
        return NULL;
    }
    void *copy = arena_take(&l->m->arena, (size_t)t->n_bytes);
    memcpy(copy, t->data, (size_t)t->n_bytes);
    return copy;
}

static bool has_dims(const struct tensor *t, const struct shape_tensor *want)
{
    if (shape_is_norm(want))
        return t->n_dims == 1 && t->dims[0] == (uint64_t)want->n;
    return t->n_dims == 2 && t->dims[0] == (uint64_t)want->n && t->dims[1] == (uint64_t)want->k;
}

/* Bytes with an entry "layout:<name>". */
static void load_packed(struct loader *l, const struct tensor *t, const struct shape_tensor *want,
                        const char *layout)
{
    char name[FULL_NAME_BYTES], text[64];
    struct weight w = {.n = want->n, .k = want->k};
    bool known = false;
    for (int i = 0; i < 2 && !known; i++) {
        w.form = i == 0 ? WEIGHT_Q2 : WEIGHT_Q4;
        snprintf(text, sizeof text, "%s %d %d", weight_layout_name(w.form), want->n, want->k);
        known = strcmp(text, layout) == 0;
    }
    if (!known || want->n % 16 != 0 || want->k % (w.form == WEIGHT_Q2 ? 16 : 8) != 0) {
        problems_add(&l->problems, want->name, "has an unknown or misfit layout");
        return;
    }
    if (t->dtype != DTYPE_U8 || t->n_dims != 1 || t->n_bytes != weight_bytes(w.form, w.n, w.k)) {
        problems_add_misfit(&l->problems, t->name, t, "U8 of the layout's size");
        return;
    }
    snprintf(name, sizeof name, "%s.scale", want->name);
    const struct tensor *scale = need(l, name);
    if (scale == NULL)
        return;
    if (scale->dtype != DTYPE_F32 || scale->n_dims != 1 ||
        (scale->dims[0] != 1 && scale->dims[0] != (uint64_t)w.n)) {
        problems_add_misfit(&l->problems, scale->name, scale, "F32 [1] or one per row");
        return;
    }
    need_finite(l, scale);
    w.n_scales = (int)scale->dims[0];
    w.data = as_bytes(l, t);
    w.scale = as_f32(l, scale);
    if (!l->counting)
        model_set_tensor(l->m, want, w);
}

static void load_tensor(struct loader *l, const struct shape_tensor *want)
{
    char key[FULL_NAME_BYTES];
    const struct tensor *t = need(l, want->name);
    if (t == NULL)
        return;
    snprintf(key, sizeof key, "layout:%s", want->name);
    const char *layout = tensorfile_meta(&l->m->file, key);
    if (layout != NULL && !shape_is_norm(want)) {
        load_packed(l, t, want, layout);
        return;
    }
    if (t->dtype == DTYPE_U8 || !has_dims(t, want)) {
        char text[64];
        if (shape_is_norm(want))
            snprintf(text, sizeof text, "floats [%d]", want->n);
        else
            snprintf(text, sizeof text, "floats [%d, %d]", want->n, want->k);
        problems_add_misfit(&l->problems, t->name, t, text);
        return;
    }
    need_finite(l, t);
    struct weight w = {.form = WEIGHT_F32, .n = want->n, .k = want->k};
    if (t->dtype == DTYPE_BF16 && !shape_is_norm(want)) {
        w.form = WEIGHT_BF16;
        w.data = as_bytes(l, t);
    } else {
        w.data = as_f32(l, t);
    }
    if (!l->counting)
        model_set_tensor(l->m, want, w);
}

static void load_range(struct loader *l, int layer, bool value)
{
    char name[SHAPE_NAME_BYTES];
    float range[2] = {0, 0};
    shape_range_name(&l->m->shape, layer, value, name);
    const struct tensor *t = need(l, name);
    if (t == NULL)
        return;
    if (t->dtype != DTYPE_F32 || t->n_dims != 1 || t->dims[0] != 2) {
        problems_add_misfit(&l->problems, t->name, t, "F32 [2]");
        return;
    }
    tensor_to_f32(t, range);
    if (!(range[0] <= 0 && range[1] >= 0 && isfinite(range[0]) && isfinite(range[1]))) {
        problems_add(&l->problems, name, "is no range around 0");
        return;
    }
    struct kv_range r = {range[0], range[1]};
    if (l->counting)
        return;
    if (value)
        l->m->layers[layer].value_range = r;
    else
        l->m->layers[layer].key_range = r;
}

static void load_tensors(struct loader *l)
{
    const struct shape *s = &l->m->shape;
    for (int i = 0; i < shape_n_tensors(s); i++) {
        struct shape_tensor t;
        shape_tensor(s, i, &t);
        load_tensor(l, &t);
    }
    for (int i = 0; i < s->layers_0 && s->kv_quant; i++) {
        load_range(l, i, false);
        load_range(l, i, true);
    }
}

static int load(struct loader *l, struct err *e)
{
    struct model *m = l->m;
    load_tensors(l);
    for (size_t i = 0; i < m->file.n_tensors; i++)
        if (!l->used[i])
            problems_add(&l->problems, m->file.tensors[i].name, "is not a tensor of this shape");
    int rc = problems_end(&l->problems, "the model's shape", e);
    if (rc == 0)
        rc = arena_reserve(&m->arena, "model", size_add(l->bytes, model_frame_bytes(&m->shape)), e);
    if (rc != 0)
        return rc;
    l->counting = false;
    take_frame(m);
    load_tensors(l);
    return 0;
}

static int read_shape(const struct tensorfile *f, struct shape *out, struct err *e)
{
    const char *shape = tensorfile_meta(f, "fmforge.shape");
    const char *kind = tensorfile_meta(f, "fmforge.kind");
    if (kind != NULL && !str_eq(kind, "base") && !str_eq(kind, "draft"))
        return err_set(e, ERR_FORMAT, "kind is \"%.40s\", expected \"base\" or \"draft\"", kind);
    if (shape == NULL)
        return err_set(e, ERR_FORMAT, "no fmforge.shape in the metadata: not a model");
    return shape_parse(shape, strlen(shape), out, e);
}

int model_read_shape(const char *path, struct shape *out, struct err *e)
{
    struct tensorfile file = {0};
    int rc = tensorfile_open(&file, path, e);
    if (rc != 0)
        return rc;
    rc = read_shape(&file, out, e);
    tensorfile_close(&file);
    return rc == 0 ? 0 : err_wrap(e, "%s", path);
}

int model_trainable_memory(const char *path, struct plan_mem *out, struct err *e)
{
    struct shape shape;
    uint64_t n_bytes = 0;
    int rc = model_read_shape(path, &shape, e);
    if (rc == 0)
        rc = file_size(path, &n_bytes, e);
    if (rc != 0)
        return rc;
    plan_mem_add(out, "weights, mapped", n_bytes);
    plan_mem_add(out, "weights, unpacked", model_trainable_bytes(&shape));
    return 0;
}

int model_open(struct model *m, const char *path, struct err *e)
{
    memset(m, 0, sizeof *m);
    int rc = tensorfile_open(&m->file, path, e);
    if (rc != 0)
        return rc;
    struct loader l = {.m = m, .counting = true};
    struct arena flags = {0};
    problems_init(&l.problems);
    rc = read_shape(&m->file, &m->shape, e);
    if (rc == 0)
        rc = arena_reserve(&flags, "model flags", arena_cost(m->file.n_tensors + 1), e);
    if (rc == 0) {
        l.used = arena_take(&flags, m->file.n_tensors + 1);
        rc = load(&l, e);
    }
    arena_release(&flags);
    buf_release(&l.problems.text);
    if (rc != 0) {
        model_release(m);
        return err_wrap(e, "%s", path);
    }
    return 0;
}

static void save_tensor(struct tensor_writer *w, const struct model *m,
                        const struct shape_tensor *t, enum tensor_dtype dense_dtype)
{
    struct weight v = get_tensor(m, t);
    CHECK(!v.panels);
    const uint64_t dims[2] = {(uint64_t)t->n, (uint64_t)t->k};
    if (shape_is_norm(t)) {
        tensor_writer_add_f32(w, t->name, DTYPE_F32, 1, dims, v.data);
    } else if (v.form == WEIGHT_F32) {
        tensor_writer_add_f32(w, t->name, dense_dtype, 2, dims, v.data);
    } else if (v.form == WEIGHT_BF16) {
        tensor_writer_add(w, t->name, DTYPE_BF16, 2, dims, v.data);
    } else {
        char name[FULL_NAME_BYTES], layout[64];
        const uint64_t bytes = weight_bytes(v.form, v.n, v.k);
        const uint64_t n_scales = (uint64_t)v.n_scales;
        tensor_writer_add(w, t->name, DTYPE_U8, 1, &bytes, v.data);
        snprintf(name, sizeof name, "%s.scale", t->name);
        tensor_writer_add_f32(w, name, DTYPE_F32, 1, &n_scales, v.scale);
        snprintf(name, sizeof name, "layout:%s", t->name);
        snprintf(layout, sizeof layout, "%s %d %d", weight_layout_name(v.form), v.n, v.k);
        tensor_writer_meta(w, name, layout);
    }
}

int model_save(const struct model *m, const char *path, const char *kind,
               enum tensor_dtype dense_dtype, const struct tensor_meta *meta, size_t n_meta,
               struct err *e)
{
    struct tensor_writer w;
    struct buf shape;
    tensor_writer_init(&w);
    buf_init(&shape, 4096);
    shape_write(&m->shape, &shape);
    tensor_writer_meta(&w, "fmforge.shape", buf_text(&shape));
    tensor_writer_meta(&w, "fmforge.kind", kind);
    for (size_t i = 0; i < n_meta; i++)
        tensor_writer_meta(&w, meta[i].key, meta[i].value);
    for (int i = 0; i < shape_n_tensors(&m->shape); i++) {
        struct shape_tensor t;
        shape_tensor(&m->shape, i, &t);
        save_tensor(&w, m, &t, dense_dtype);
    }
    for (int i = 0; i < m->shape.layers_0 && m->shape.kv_quant; i++) {
        const uint64_t two = 2;
        char name[SHAPE_NAME_BYTES];
        shape_range_name(&m->shape, i, false, name);
        tensor_writer_add_f32(&w, name, DTYPE_F32, 1, &two, &m->layers[i].key_range.min);
        shape_range_name(&m->shape, i, true, name);
        tensor_writer_add_f32(&w, name, DTYPE_F32, 1, &two, &m->layers[i].value_range.min);
    }
    int rc = tensor_writer_write(&w, path, e);
    tensor_writer_release(&w);
    buf_release(&shape);
    return rc;
}
