#include "stages/import/import_run.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/import/import_source.h"
#include "stages/kit/blocks.h"
#include "stages/model/grid.h"
#include "stages/model/mlx_model.h"
#include "stages/model/problems.h"
#include "stages/model/quant.h"

int import_run_open(struct import_run *p, const struct stage_run *run, struct err *e)
{
    p->run = run;
    p->config = run->config;
    p->rows = json_new_array();
    int rc = shape_read(stage_in(run, "shape"), &p->from.shape, e);
    if (!rc)
        rc = import_source_open(p, e);
    if (!rc)
        rc = compute_open(&p->compute, run->n_threads, run->kernels, e);
    if (rc)
        return rc;
    p->from.tensors.pool = p->compute.pool;
    p->owned = xalloc_array(2 * (size_t)shape_n_tensors(&p->from.shape), sizeof *p->owned);
    if (base_source_check(&p->from, e))
        rc = err_wrap(e, "%s", p->port);
    if (!rc)
        rc = import_beside_open(p, e);
    return rc ? rc : model_init_frame(&p->model, &p->from.shape, e);
}

/* ---- packing ---- */

static int load(struct import_run *p, const char *name, struct source_values *v, struct err *e)
{
    int rc = tensor_source_load(&p->from.tensors, tensor_source_find(&p->from.tensors, name), v, e);
    return rc ? err_wrap(e, "%s", p->port) : 0;
}

static void report(struct import_run *p, const struct shape_tensor *t, const struct grid_found *f,
                   const char *note)
{
    char dims[48], distinct[48];
    struct json *row = json_new_array();
    snprintf(dims, sizeof dims, "%d x %d", t->n, t->k);
    snprintf(distinct, sizeof distinct, "%s%d, by row %s%d",
             f->distinct >= GRID_DISTINCT_MAX ? ">= " : "", f->distinct,
             f->distinct_by_row >= GRID_DISTINCT_MAX ? ">= " : "", f->distinct_by_row);
    json_append(row, json_new_string(t->name));
    json_append(row, json_new_string(dims));
    json_append(row, json_new_string(distinct));
    json_append(row, json_new_string(note));
    json_append(p->rows, row);
}

/* 16 rows at a time: they are neighbours in every form. */
struct packing {
    const float *values;
    const struct weight *w;
    unsigned char *out;
    bool rounds;
    int rc; /* of any of them */
    struct err e;
    pthread_mutex_t lock;
};

static void pack_rows(void *context, size_t i, int i_thread)
{
    struct packing *p = context;
    struct err e = {0};
    int k = p->w->k, rows = p->w->n - 16 * (int)i < 16 ? p->w->n - 16 * (int)i : 16, rc = 0;
    const float *values = p->values + i * 16 * (size_t)k;
    const float *scale = p->w->scale + (p->w->n_scales > 1 ? 16 * i : 0);
    unsigned char *out = p->out + i * weight_bytes(p->w->form, 16, k);
    (void)i_thread;
    if (p->w->form == WEIGHT_F32)
        memcpy(out, values, weight_bytes(WEIGHT_F32, rows, k));
    else if (p->w->form == WEIGHT_BF16)
        for (size_t j = 0; j < (size_t)rows * (size_t)k; j++)
            ((uint16_t *)(void *)out)[j] = tensor_bf16_from_f32(values[j]);
    else if (p->w->form == WEIGHT_Q4)
        rc = quant_pack_q4(values, rows, k, scale, true, out, &e);
    else if (p->w->n_scales == 1)
        rc = quant_pack_q2(values, rows, k, *scale, !p->rounds, out, &e);
    else
        rc = quant_pack_q2_rows(values, rows, k, scale, true, out, &e);
    if (rc == 0)
        return;
    pthread_mutex_lock(&p->lock);
    p->rc = rc;
    p->e = e;
    pthread_mutex_unlock(&p->lock);
}

/* The matrix in the form found, or rounded where the config says so. */
static int pack_matrix(struct import_run *p, const struct shape_tensor *t, const float *values,
                       struct grid_found *f, float *scale, struct weight *w, struct err *e)
{
    bool rounds = p->config->quantise == IMPORT_QUANTISE_LINEARS && t->role == ROLE_LINEAR &&
                  f->form != WEIGHT_Q2 && t->n % 16 == 0 && t->k % 16 == 0;
    if (rounds) {
        f->form = WEIGHT_Q2;
        f->n_scales = 1;
        scale[0] = quant_scale_search_q2(&p->compute, values, (size_t)t->n * (size_t)t->k);
        p->n_rounded++;
    }
    unsigned char *out = xalloc(weight_bytes(f->form, t->n, t->k));
    *w = weight_codes(f->form, t->n, t->k, out, scale, f->n_scales);
    struct packing packing = {
        .values = values, .w = w, .out = out, .rounds = rounds, .lock = PTHREAD_MUTEX_INITIALIZER};
    thread_pool_run(p->compute.pool, ((size_t)t->n + 15) / 16, pack_rows, &packing);
    if (packing.rc)
        *e = packing.e;
    return packing.rc;
}

static void expect_tensor(const struct import_run *p, int i)
{
    struct shape_tensor t;
    char name[SHAPE_NAME_BYTES];
    if (i == shape_n_tensors(&p->from.shape))
        return;
    shape_tensor(&p->from.shape, i, &t);
    base_source_tensor_name(&p->from, &t, name);
    tensor_source_expect(tensor_source_find(&p->from.tensors, name));
}

static int pack_tensor(struct import_run *p, int i, struct err *e)
{
    static const char *const form_notes[IMPORT_FORMS] = {"f32, as it is", "bf16, exact",
                                                         "2 bits, exact", "4 bits, exact"};
    struct shape_tensor t;
    struct weight w = {.n_scales = 0};
    shape_tensor(&p->from.shape, i, &t);
    struct source_values l;
    char name[SHAPE_NAME_BYTES];
    base_source_tensor_name(&p->from, &t, name);
    int rc = load(p, name, &l, e);
    if (rc)
        return rc;
    expect_tensor(p, i + 1);
    float *scale = xalloc_array((size_t)t.n, sizeof *scale);
    struct grid_found f = grid_find(&p->compute, l.values, t.n, t.k, scale);
    int64_t rounded = p->n_rounded;
    if (shape_is_norm(&t))
        f.form = WEIGHT_F32;
    rc = f.finite ? pack_matrix(p, &t, l.values, &f, scale, &w, e)
                  : err_set(e, ERR_NUMERIC, "a value is not finite");
    tensor_source_unload(&l);
    p->owned[2 * i] = (void *)(uintptr_t)w.data;
    p->owned[2 * i + 1] = scale;
    if (rc)
        return err_wrap(e, "%s: %s", p->port, name);
    p->n_tensors[f.form]++;
    p->n_bytes[f.form] += (int64_t)weight_bytes(f.form, t.n, t.k);
    model_set_tensor(&p->model, &t, w);
    report(p, &t, &f, p->n_rounded > rounded ? "ROUNDED to 2 bits" : form_notes[f.form]);
    return 0;
}

static int take_range(struct import_run *p, int layer, bool value, struct err *e)
{
    char name[SHAPE_NAME_BYTES];
    base_source_range_name(&p->from, layer, value, name);
    struct source_values v;
    int rc = load(p, name, &v, e);
    if (rc)
        return rc;
    float first = v.values[0];
    struct kv_range r = {first, p->from.mlx ? 0 : v.values[1]};
    tensor_source_unload(&v);
    if (p->from.mlx && !(first > 0 && first < 1e28f))
        return err_set(e, ERR_FORMAT, "%s: %s is no scale: %g", p->port, name, (double)first);
    if (p->from.mlx)
        r = mlx_range_of_scale(first);
    if (!(r.min <= 0 && r.max >= 0 && r.max - r.min < 1e30f))
        return err_set(e, ERR_FORMAT, "%s: %s is no range around 0: %g, %g", p->port, name,
                       (double)r.min, (double)r.max);
    struct model_layer *l = &p->model.layers[layer];
    *(value ? &l->value_range : &l->key_range) = r;
    return 0;
}

static int take_adapter_tensor(struct import_run *p, const struct shape_module *m, bool b,
                               struct err *e)
{
    char name[LORA_NAME_BYTES];
    base_source_lora_name(&p->from, m, b, name);
    struct source_values from;
    int rc = load(p, name, &from, e);
    if (rc)
        return rc;
    float *to = b ? adapter_b(&p->adapter, m) : adapter_a(&p->adapter, m);
    size_t n = (size_t)p->from.rank * (size_t)(b ? m->out : m->in);
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        float v = from.values[i];
        finite = finite && v - v == 0;
        to[i] = v;
    }
    tensor_source_unload(&from);
    return finite ? 0
                  : err_set(e, ERR_NUMERIC, "%s: %s has a value that is not finite", p->port, name);
}

/* Every B is 0: it does nothing yet. */
static bool is_zero(const struct adapter *a)
{
    for (int i = 0; i < shape_n_modules(&a->shape); i++) {
        struct shape_module m;
        shape_module(&a->shape, i, a->rank, &m);
        for (size_t j = 0; j < (size_t)a->rank * (size_t)m.out; j++)
            if (adapter_b(a, &m)[j] != 0)
                return false;
    }
    return true;
}

static int take_adapter(struct import_run *p, struct err *e)
{
    const struct import_config *c = p->config;
    int rc = 0;
    if (p->beside.places) {
        p->from.rank = p->beside.config.rank;
        rc = lora_import_read(&p->beside, &p->adapter, e);
    } else {
        rc = adapter_init(&p->adapter, &p->from.shape, p->from.rank ? p->from.rank : 32, c->alpha,
                          c->seed, e);
    }
    for (int i = 0; i < shape_n_modules(&p->from.shape) && p->from.rank && !p->beside.places && !rc;
         i++) {
        struct shape_module m;
        shape_module(&p->from.shape, i, p->from.rank, &m);
        rc = take_adapter_tensor(p, &m, false, e);
        if (!rc)
            rc = take_adapter_tensor(p, &m, true, e);
    }
    p->adapter_is_zero = !rc && is_zero(&p->adapter);
    return rc;
}

/* What the matrices become only shows when they are looked at: the plan is that of a base on the
 * grid. A tensor is there in fp32 while it is packed; the adapter comes behind all of them. */
static void say_memory(const struct import_run *p)
{
    const struct shape *s = &p->from.shape;
    struct plan_mem parts = {0};
    uint64_t packed = 0, peak = 0;
    char size[16];
    for (int i = 0; i < shape_n_tensors(s); i++) {
        struct shape_tensor t;
        shape_tensor(s, i, &t);
        packed += weight_bytes(model_packed_form(&t), t.n, t.k);
        uint64_t now = packed + weight_bytes(WEIGHT_F32, t.n, t.k);
        peak = now > peak ? now : peak;
    }
    int rank = p->beside.places ? p->beside.config.rank : p->from.rank;
    uint64_t last = packed + adapter_bytes(s, rank ? rank : 32);
    peak = last > peak ? last : peak;
    model_memory(&p->model, &parts);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", p->compute.space.capacity_bytes);
    plan_mem_add(&parts, "matrices of 2 bits and an embedding of 4", packed);
    plan_mem_add(&parts, "the adapter, or a tensor while it is packed", peak - packed);
    plan_mem_say(&parts, p->run, "it needs a machine with more");
    stage_say(p->run, "what is on no grid takes more: all matrices in bf16 %s",
              str_format_bytes(model_tensor_bytes(s, WEIGHT_BF16, WEIGHT_BF16), size));
}

int import_run_pack(struct import_run *p, struct err *e)
{
    int rc = 0, n = shape_n_tensors(&p->from.shape);
    say_memory(p);
    for (int i = 0; i < n && !rc; i++) {
        rc = stage_interrupted() ? err_set(e, ERR_IO, "interrupted") : pack_tensor(p, i, e);
        stage_progress(p->run, "tensors", i + 1, n);
    }
    for (int i = 0; i < 2 * p->from.shape.layers_0 && p->from.shape.kv_quant && !rc; i++)
        rc = take_range(p, i / 2, i % 2, e);
    return rc ? rc : take_adapter(p, e);
}

/* ---- outputs ---- */

static struct json *metrics_of(const struct import_run *p)
{
    static const char *const names[IMPORT_FORMS] = {"f32", "bf16", "q2", "q4"};
    struct json *m = json_new_object();
    json_put_i64(m, "tensors", shape_n_tensors(&p->from.shape));
    for (int i = 0; i < IMPORT_FORMS; i++) {
        char key[32];
        snprintf(key, sizeof key, "tensors_%s", names[i]);
        json_put_i64(m, key, p->n_tensors[i]);
        snprintf(key, sizeof key, "bytes_%s", names[i]);
        json_put_i64(m, key, p->n_bytes[i]);
    }
    json_put_i64(m, "rounded_tensors", p->n_rounded);
    json_put_i64(m, "adapter_in_file", p->from.rank > 0);
    json_put_i64(m, "adapter_rank", p->adapter.rank);
    json_put_i64(m, "adapter_is_zero", p->adapter_is_zero);
    return m;
}

static int save(struct import_run *p, struct err *e)
{
    struct content_id base = {""};
    const char *path = stage_out(p->run, "base"), *adapter = stage_out(p->run, "adapter");
    int rc = path ? model_save(&p->model, path, "base", DTYPE_F32, NULL, 0, e) : 0;
    if (!rc && path)
        rc = sha256_file(path, &base, NULL, e);
    const struct tensor_meta meta[] = {{"fmforge.base", base.hex}};
    if (!rc && adapter)
        rc = adapter_save(&p->adapter, adapter, DTYPE_F32, meta, path ? 1 : 0, e);
    return rc;
}

int import_run_publish(struct import_run *p, struct err *e)
{
    static const char *const columns[] = {"tensor", "size", "distinct values", "stored as", NULL};
    int rc = save(p, e);
    struct json *metrics = metrics_of(p), *out = blocks_new();
    blocks_add_numbers(out, "Import", metrics);
    struct json *rows = blocks_add_table(out, "table", "Tensors", columns);
    for (const struct json *row = json_first(p->rows); row; row = json_next(row))
        json_append(rows, json_clone(row));
    stage_say(p->run, "%lld matrices of 2 bits, %lld of 4, %lld bf16, %lld tensors fp32; %s",
              (long long)p->n_tensors[WEIGHT_Q2], (long long)p->n_tensors[WEIGHT_Q4],
              (long long)p->n_tensors[WEIGHT_BF16], (long long)p->n_tensors[WEIGHT_F32],
              !p->from.rank        ? "no adapter in the file: a fresh one"
              : p->adapter_is_zero ? "its adapter is zero"
                                   : "its adapter is kept");
    return blocks_publish(p->run, "metrics", metrics, out, rc, e);
}

void import_run_release(struct import_run *p)
{
    for (int i = 0; p->owned && i < 2 * shape_n_tensors(&p->from.shape); i++)
        xfree(p->owned[i]);
    xfree(p->owned);
    json_free(p->rows);
    adapter_release(&p->adapter);
    model_release(&p->model);
    lora_import_close(&p->beside);
    tensor_source_close(&p->from.tensors);
    compute_close(&p->compute);
}
