#include "stages/import/import_run.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "pipeline/base/check.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/model/grid.h"
#include "stages/model/quant.h"

#define PROBLEMS_SHOWN 8

/* ---- names and dimensions ---- */

struct problems {
    struct buf text;
    int n;
};

static void problem(struct problems *p, const char *name, const char *what)
{
    if (p->n++ < PROBLEMS_SHOWN)
        buf_printf(&p->text, "%s%.200s %s", p->n > 1 ? "; " : "", name, what);
}

/* A tensor by name, as fp32 can be had of it, with the wanted dimensions (k 0: one dimension). */
static const struct pt_tensor *need(struct import_run *p, const char *name, uint64_t n, uint64_t k,
                                    struct problems *out)
{
    char what[192];
    struct tensor view;
    struct err why = {0};
    const struct pt_tensor *t = ptfile_find(&p->file, name);
    if (!t) {
        problem(out, name, "is missing");
        return NULL;
    }
    p->used[t - p->file.tensors] = 1;
    if (pt_tensor_view(t, &view, &why) < 0 || view.dtype == DTYPE_U8) {
        problem(out, name, "is not of fp32, fp16 or bf16");
        return NULL;
    }
    if (t->n_dims != (k ? 2 : 1) || t->dims[0] != n || (k && t->dims[1] != k)) {
        char dims[96], expected[64];
        snprintf(expected, sizeof expected, k ? "[%llu, %llu]" : "[%llu]", (unsigned long long)n,
                 (unsigned long long)k);
        snprintf(what, sizeof what, "is %s, expected %s", tensor_format_dims(&view, dims),
                 expected);
        problem(out, name, what);
        return NULL;
    }
    return t;
}

static void check_base(struct import_run *p, struct problems *out)
{
    for (int i = 0; i < shape_n_tensors(&p->shape); i++) {
        struct shape_tensor t;
        shape_tensor(&p->shape, i, &t);
        need(p, t.name, (uint64_t)t.n, shape_is_norm(&t) ? 0 : (uint64_t)t.k, out);
    }
    for (int i = 0; i < 2 * p->shape.layers_0 && p->shape.kv_quant; i++) {
        char name[SHAPE_NAME_BYTES];
        shape_range_name(&p->shape, i / 2, i % 2, name);
        need(p, name, 2, 0, out);
    }
}

/* All of an adapter or nothing of it: a part would be trained on as if it were whole. */
static void check_adapter(struct import_run *p, struct problems *out)
{
    char name[ADAPTER_NAME_BYTES];
    struct shape_module m;
    for (int i = 0; i < shape_n_modules(&p->shape) && p->rank == 0; i++) {
        shape_module(&p->shape, i, 1, &m);
        adapter_tensor_name(&m, false, name);
        const struct pt_tensor *t = ptfile_find(&p->file, name);
        if (t && t->n_dims == 2 && t->dims[1] >= 1 && t->dims[1] <= 256)
            p->rank = (int)t->dims[1];
    }
    for (int i = 0; i < shape_n_modules(&p->shape) && p->rank > 0; i++) {
        shape_module(&p->shape, i, p->rank, &m);
        adapter_tensor_name(&m, false, name);
        need(p, name, (uint64_t)m.in, (uint64_t)p->rank, out);
        adapter_tensor_name(&m, true, name);
        need(p, name, (uint64_t)p->rank, (uint64_t)m.out, out);
    }
}

/* What the toolkit stores beside: the tied output matrix, and observers' counters. */
static bool is_known_extra(const struct import_run *p, const struct pt_tensor *t,
                           struct problems *out)
{
    const struct pt_tensor *embedding = ptfile_find(&p->file, "embedding.weight");
    if (str_ends(t->name, ".activation_post_process.num_samples"))
        return true;
    if (!str_eq(t->name, "output_transform.weight") || !embedding)
        return false;
    if (!pt_tensor_tied(t, embedding) &&
        (t->n_bytes != embedding->n_bytes || memcmp(t->data, embedding->data, t->n_bytes) != 0))
        problem(out, t->name, "differs from embedding.weight, with which it should be tied");
    return true;
}

static int check_names(struct import_run *p, struct err *e)
{
    struct problems found = {.n = 0};
    buf_init(&found.text, BUF_MAX_DEFAULT);
    check_base(p, &found);
    check_adapter(p, &found);
    for (size_t i = 0; i < p->file.n_tensors; i++)
        if (!p->used[i] && !is_known_extra(p, &p->file.tensors[i], &found))
            problem(&found, p->file.tensors[i].name, "is no tensor of this shape");
    int rc = found.n == 0
                 ? 0
                 : err_set(e, ERR_FORMAT, "pt: %d tensors do not fit the shape: %s%s", found.n,
                           buf_text(&found.text), found.n > PROBLEMS_SHOWN ? "; ..." : "");
    buf_release(&found.text);
    return rc;
}

int import_run_open(struct import_run *p, const struct stage_run *run, struct err *e)
{
    p->run = run;
    p->config = run->config;
    p->rows = json_new_array();
    int rc = shape_read(stage_in(run, "shape"), &p->shape, e);
    if (!rc)
        rc = ptfile_open(&p->file, stage_in(run, "pt"), e);
    if (!rc)
        rc = compute_open(&p->compute, run->n_threads, run->kernels, e);
    if (rc)
        return rc;
    p->used = xalloc(p->file.n_tensors + 1);
    p->summed = xalloc(p->file.zip.n_entries + 1);
    p->owned = xalloc_array(2 * (size_t)shape_n_tensors(&p->shape), sizeof *p->owned);
    rc = check_names(p, e);
    return rc ? rc : model_init_frame(&p->model, &p->shape, e);
}

/* ---- packing ---- */

/* A tensor's values as fp32, in the mapping itself where they are that. */
struct loaded {
    const struct pt_tensor *t;
    const float *values;
    float *own; /* or NULL */
};

/* Also checks the storage against its checksum, once: a value is what was saved, or there is none.
 */
static int load(struct import_run *p, const char *name, struct loaded *l, struct err *e)
{
    struct tensor view;
    *l = (struct loaded){.t = ptfile_find(&p->file, name)};
    size_t entry = (size_t)(l->t->storage - p->file.zip.entries);
    int rc = p->summed[entry] ? 0 : zipdir_check_crc(&p->file.zip, l->t->storage, e);
    p->summed[entry] = 1;
    if (rc == 0)
        rc = pt_tensor_view(l->t, &view, e);
    if (rc != 0)
        return err_wrap(e, "pt: %s", name);
    if (view.dtype == DTYPE_F32 && (uintptr_t)view.data % sizeof(float) == 0) {
        l->values = (const float *)(const void *)view.data;
        return 0;
    }
    l->values = l->own = xalloc_array((size_t)pt_tensor_elements(l->t), sizeof *l->own);
    tensor_to_f32(&view, l->own);
    return 0;
}

/* Gives back the pages of the file too: resident memory stays that of one tensor. */
static void unload(struct loaded *l)
{
    uintptr_t page = 4096, first = ((uintptr_t)l->t->data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)l->t->data + l->t->n_bytes) / page * page;
    if (end > first)
        madvise((void *)first, end - first, MADV_DONTNEED); /* advice: nothing depends on it */
    xfree(l->own);
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
    *w = (struct weight){f->form, t->n, t->k, out, scale, f->n_scales};
    struct packing packing = {
        .values = values, .w = w, .out = out, .rounds = rounds, .lock = PTHREAD_MUTEX_INITIALIZER};
    thread_pool_run(p->compute.pool, ((size_t)t->n + 15) / 16, pack_rows, &packing);
    if (packing.rc)
        *e = packing.e;
    return packing.rc;
}

static int pack_tensor(struct import_run *p, int i, struct err *e)
{
    static const char *const form_notes[IMPORT_FORMS] = {"f32, as it is", "bf16, exact",
                                                         "2 bits, exact", "4 bits, exact"};
    struct shape_tensor t;
    struct weight w = {.n_scales = 0};
    shape_tensor(&p->shape, i, &t);
    struct loaded l;
    int rc = load(p, t.name, &l, e);
    if (rc)
        return rc;
    float *scale = xalloc_array((size_t)t.n, sizeof *scale);
    struct grid_found f = grid_find(&p->compute, l.values, t.n, t.k, scale);
    int64_t rounded = p->n_rounded;
    if (shape_is_norm(&t))
        f.form = WEIGHT_F32;
    rc = f.finite ? pack_matrix(p, &t, l.values, &f, scale, &w, e)
                  : err_set(e, ERR_NUMERIC, "a value is not finite");
    unload(&l);
    p->owned[2 * i] = (void *)(uintptr_t)w.data;
    p->owned[2 * i + 1] = scale;
    if (rc)
        return err_wrap(e, "pt: %s", t.name);
    p->n_tensors[f.form]++;
    p->n_bytes[f.form] += (int64_t)weight_bytes(f.form, t.n, t.k);
    model_set_tensor(&p->model, &t, w);
    if (!shape_is_norm(&t))
        report(p, &t, &f, p->n_rounded > rounded ? "ROUNDED to 2 bits" : form_notes[f.form]);
    return 0;
}

static int take_range(struct import_run *p, int layer, bool value, struct err *e)
{
    char name[SHAPE_NAME_BYTES];
    shape_range_name(&p->shape, layer, value, name);
    struct loaded v;
    int rc = load(p, name, &v, e);
    if (rc)
        return rc;
    struct kv_range r = {v.values[0], v.values[1]};
    unload(&v);
    if (!(r.min <= 0 && r.max >= 0 && r.max - r.min < 1e30f))
        return err_set(e, ERR_FORMAT, "pt: %s is no range around 0: %g, %g", name, (double)r.min,
                       (double)r.max);
    struct model_layer *l = &p->model.layers[layer];
    *(value ? &l->value_range : &l->key_range) = r;
    return 0;
}

static int take_adapter_tensor(struct import_run *p, const struct shape_module *m, bool b,
                               struct err *e)
{
    char name[ADAPTER_NAME_BYTES];
    adapter_tensor_name(m, b, name);
    struct loaded from;
    int rc = load(p, name, &from, e);
    if (rc)
        return rc;
    float *to = b ? adapter_b(&p->adapter, m) : adapter_a(&p->adapter, m);
    size_t n = (size_t)p->rank * (size_t)(b ? m->out : m->in);
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        float v = from.values[i];
        finite = finite && v - v == 0;
        p->adapter_is_zero = p->adapter_is_zero && (!b || v == 0);
        to[i] = v;
    }
    unload(&from);
    return finite ? 0 : err_set(e, ERR_NUMERIC, "pt: %s has a value that is not finite", name);
}

static int take_adapter(struct import_run *p, struct err *e)
{
    const struct import_config *c = p->config;
    int rc = adapter_init(&p->adapter, &p->shape, p->rank ? p->rank : 32, c->alpha, c->seed, e);
    p->adapter_is_zero = true;
    for (int i = 0; i < shape_n_modules(&p->shape) && p->rank && !rc; i++) {
        struct shape_module m;
        shape_module(&p->shape, i, p->rank, &m);
        rc = take_adapter_tensor(p, &m, false, e);
        if (!rc)
            rc = take_adapter_tensor(p, &m, true, e);
    }
    return rc;
}

int import_run_pack(struct import_run *p, struct err *e)
{
    int rc = 0, n = shape_n_tensors(&p->shape);
    for (int i = 0; i < n && !rc; i++) {
        rc = stage_interrupted() ? err_set(e, ERR_IO, "interrupted") : pack_tensor(p, i, e);
        stage_progress(p->run, "tensors", i + 1, n);
    }
    for (int i = 0; i < 2 * p->shape.layers_0 && p->shape.kv_quant && !rc; i++)
        rc = take_range(p, i / 2, i % 2, e);
    return rc ? rc : take_adapter(p, e);
}

/* ---- outputs ---- */

static struct json *metrics_of(const struct import_run *p)
{
    static const char *const names[IMPORT_FORMS] = {"f32", "bf16", "q2", "q4"};
    struct json *m = json_new_object();
    json_put_i64(m, "tensors", shape_n_tensors(&p->shape));
    for (int i = 0; i < IMPORT_FORMS; i++) {
        char key[32];
        snprintf(key, sizeof key, "tensors_%s", names[i]);
        json_put_i64(m, key, p->n_tensors[i]);
        snprintf(key, sizeof key, "bytes_%s", names[i]);
        json_put_i64(m, key, p->n_bytes[i]);
    }
    json_put_i64(m, "rounded_tensors", p->n_rounded);
    json_put_i64(m, "adapter_in_file", p->rank > 0);
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
    struct json *rows = blocks_add_table(out, "table", "Matrices", columns);
    for (const struct json *row = json_first(p->rows); row; row = json_next(row))
        json_append(rows, json_clone(row));
    stage_say(p->run, "%lld matrices of 2 bits, %lld of 4, %lld bf16, %lld tensors fp32; %s",
              (long long)p->n_tensors[WEIGHT_Q2], (long long)p->n_tensors[WEIGHT_Q4],
              (long long)p->n_tensors[WEIGHT_BF16], (long long)p->n_tensors[WEIGHT_F32],
              !p->rank             ? "no adapter in the file: a fresh one"
              : p->adapter_is_zero ? "its adapter is zero"
                                   : "its adapter is kept");
    return blocks_publish(p->run, "metrics", metrics, out, rc, e);
}

void import_run_release(struct import_run *p)
{
    for (int i = 0; p->owned && i < 2 * shape_n_tensors(&p->shape); i++)
        xfree(p->owned[i]);
    xfree(p->owned);
    xfree(p->summed);
    xfree(p->used);
    json_free(p->rows);
    adapter_release(&p->adapter);
    model_release(&p->model);
    ptfile_close(&p->file);
    compute_close(&p->compute);
}
