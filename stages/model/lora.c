#include "stages/model/lora.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "stages/kit/rng.h"
#include "stages/model/gemm.h"
#include "stages/model/ops.h"
#include "stages/model/problems.h"

/* ---- the flat array ---- */

size_t adapter_bytes(const struct shape *shape, int rank)
{
    return arena_cost(size_mul(shape_lora_floats(shape, rank), sizeof(float)));
}

static int reserve(struct adapter *a, const struct shape *shape, int rank, double alpha,
                   struct err *e)
{
    memset(a, 0, sizeof *a);
    if (rank < 1 || rank > LORA_RANK_MAX)
        return err_set(e, ERR_CONFIG, "adapter rank is %d, expected 1 to %d", rank, LORA_RANK_MAX);
    if (!(alpha >= 0 && alpha <= 1e6))
        return err_set(e, ERR_CONFIG, "adapter alpha is %g, expected 0 to 1e6", alpha);
    a->shape = *shape;
    a->rank = rank;
    a->alpha = alpha > 0 ? alpha : 0.5 * rank;
    a->scale = (float)(a->alpha / rank);
    a->n_values = shape_lora_floats(shape, rank);
    int rc = arena_reserve(&a->arena, "adapter", adapter_bytes(shape, rank), e);
    if (rc != 0)
        return rc;
    a->values = arena_take(&a->arena, a->n_values * sizeof(float));
    return 0;
}

/* The two tensors of a module. */
void adapter_tensor_name(const struct shape_module *m, bool b, char out[ADAPTER_NAME_BYTES])
{
    int n = snprintf(out, ADAPTER_NAME_BYTES, "%s.%s", m->name, b ? "b_transpose" : "a_transpose");
    CHECK(n > 0 && n < ADAPTER_NAME_BYTES);
}

int adapter_init(struct adapter *a, const struct shape *shape, int rank, double alpha, int64_t seed,
                 struct err *e)
{
    int rc = reserve(a, shape, rank, alpha, e);
    if (rc != 0)
        return rc;
    for (int i = 0; i < shape_n_modules(shape); i++) {
        struct shape_module m;
        char name[ADAPTER_NAME_BYTES], stream[SHAPE_NAME_BYTES + 32];
        shape_module(shape, i, rank, &m);
        adapter_tensor_name(&m, false, name);
        snprintf(stream, sizeof stream, "lora/%s", name);
        struct rng r = rng_open(seed, stream);
        float std = 1.0f / sqrtf((float)m.in);
        size_t n = (size_t)m.in * (size_t)rank;
        for (size_t j = 0; j < n; j++)
            adapter_a(a, &m)[j] = std * rng_normal_at(&r, j);
    }
    return 0;
}

void adapter_release(struct adapter *a)
{
    arena_release(&a->arena);
    memset(a, 0, sizeof *a);
}

void adapter_round_f16(struct adapter *a)
{
    for (size_t i = 0; i < a->n_values; i++) {
        float rounded = tensor_f16_to_f32(tensor_f16_from_f32(a->values[i]));
        if (rounded >= -65504.0f && rounded <= 65504.0f)
            a->values[i] = rounded;
    }
}

void adapter_name_at(const struct adapter *a, size_t offset, char out[SHAPE_NAME_BYTES + 16])
{
    struct shape_module m;
    int i = shape_n_modules(&a->shape) - 1;
    for (shape_module(&a->shape, i, a->rank, &m); m.a_offset > offset;
         shape_module(&a->shape, i, a->rank, &m))
        i--;
    adapter_tensor_name(&m, offset >= m.b_offset, out);
}

/* ---- files ---- */

static void read_tensor(struct adapter *a, const struct tensorfile *f, const struct shape_module *m,
                        bool b, struct problems *p)
{
    char name[ADAPTER_NAME_BYTES], expected[96];
    uint64_t rows = (uint64_t)(b ? a->rank : m->in), columns = (uint64_t)(b ? m->out : a->rank);
    adapter_tensor_name(m, b, name);
    const struct tensor *t = tensorfile_find(f, name);
    if (t == NULL) {
        problems_add(p, name, "is missing");
        return;
    }
    if (t->dtype == DTYPE_U8 || t->n_dims != 2 || t->dims[0] != rows || t->dims[1] != columns) {
        snprintf(expected, sizeof expected, "F32, F16 or BF16 [%" PRIu64 ", %" PRIu64 "]", rows,
                 columns);
        problems_add_misfit(p, name, t, expected);
        return;
    }
    if (!tensor_all_finite(t))
        problems_add(p, name, "has a value that is not finite");
    tensor_to_f32(t, b ? adapter_b(a, m) : adapter_a(a, m));
}

static int read_tensors(struct adapter *a, const struct tensorfile *f, struct err *e)
{
    struct problems p;
    problems_init(&p);
    size_t expected = 0;
    for (int i = 0; i < shape_n_modules(&a->shape); i++) {
        struct shape_module m;
        shape_module(&a->shape, i, a->rank, &m);
        read_tensor(a, f, &m, false, &p);
        read_tensor(a, f, &m, true, &p);
        expected += 2;
    }
    if (p.n == 0 && f->n_tensors != expected) {
        for (size_t i = 0; i < f->n_tensors; i++) {
            bool known = false;
            for (int j = 0; j < shape_n_modules(&a->shape) && !known; j++) {
                struct shape_module m;
                char name[ADAPTER_NAME_BYTES];
                shape_module(&a->shape, j, a->rank, &m);
                adapter_tensor_name(&m, false, name);
                known = str_eq(name, f->tensors[i].name);
                adapter_tensor_name(&m, true, name);
                known = known || str_eq(name, f->tensors[i].name);
            }
            if (!known)
                problems_add(&p, f->tensors[i].name, "is not a tensor of this adapter");
        }
    }
    return problems_end(&p, "the adapter's shape", e);
}

/* The rank is what the first module's A says; metadata must agree. */
static int read_rank(const struct tensorfile *f, const struct shape *shape, int *rank,
                     double *alpha, struct err *e)
{
    struct shape_module m;
    char name[ADAPTER_NAME_BYTES];
    shape_module(shape, 0, 1, &m);
    adapter_tensor_name(&m, false, name);
    const struct tensor *t = tensorfile_find(f, name);
    if (t == NULL)
        return err_set(e, ERR_FORMAT, "no adapter of this shape: %s is missing", name);
    if (t->n_dims != 2 || t->dims[1] < 1 || t->dims[1] > LORA_RANK_MAX) {
        char dims[96];
        return err_set(e, ERR_FORMAT, "%s is %s, expected [%d, rank]", name,
                       tensor_format_dims(t, dims), m.in);
    }
    *rank = (int)t->dims[1];
    *alpha = 0.5 * *rank;
    const char *kind = tensorfile_meta(f, "fmforge.kind");
    if (kind != NULL && !str_eq(kind, "adapter"))
        return err_set(e, ERR_FORMAT, "kind is \"%s\", expected \"adapter\"", kind);
    const char *text = tensorfile_meta(f, "fmforge.rank");
    int64_t stated = 0;
    if (text != NULL && (!str_to_i64(text, &stated) || stated != *rank))
        return err_set(e, ERR_FORMAT, "fmforge.rank is \"%s\", but the tensors have rank %d", text,
                       *rank);
    text = tensorfile_meta(f, "fmforge.alpha");
    if (text != NULL && (!str_to_f64(text, alpha) || !(*alpha > 0)))
        return err_set(e, ERR_FORMAT, "fmforge.alpha is \"%s\", expected a positive number", text);
    return 0;
}

static int read_base(struct adapter *a, const struct tensorfile *f, struct err *e)
{
    const char *base = tensorfile_meta(f, "fmforge.base");
    if (base == NULL)
        return 0;
    if (!str_is_hex(base, SHA256_HEX))
        return err_set(e, ERR_FORMAT, "fmforge.base is \"%.80s\", expected %d hex digits", base,
                       SHA256_HEX);
    memcpy(a->base.hex, base, SHA256_HEX + 1);
    return 0;
}

int adapter_check_base(const struct adapter *a, const struct content_id *base, struct err *e)
{
    if (a->base.hex[0] == '\0' || str_eq(a->base.hex, base->hex))
        return 0;
    return err_set(e, ERR_CONFIG, "the adapter was trained on base %.12s, not on this base %.12s",
                   a->base.hex, base->hex);
}

int adapter_open(struct adapter *a, const char *path, const struct shape *shape, struct err *e)
{
    struct tensorfile f = {0};
    int rank = 0;
    double alpha = 0;
    memset(a, 0, sizeof *a);
    int rc = tensorfile_open(&f, path, e);
    if (rc != 0)
        return rc;
    rc = read_rank(&f, shape, &rank, &alpha, e);
    if (rc == 0)
        rc = reserve(a, shape, rank, alpha, e);
    if (rc == 0)
        rc = read_base(a, &f, e);
    if (rc == 0)
        rc = read_tensors(a, &f, e);
    tensorfile_close(&f);
    if (rc != 0) {
        adapter_release(a);
        return err_wrap(e, "%s", path);
    }
    return 0;
}

static int check_start(const struct adapter *a, const struct content_id *base, int rank,
                       double alpha, struct err *e)
{
    int rc = adapter_check_base(a, base, e);
    if (rc == 0 && a->rank != rank)
        rc = err_set(e, ERR_CONFIG,
                     "the adapter has rank %d, but rank %d is asked for: set "
                     "rank: %d, or leave init out",
                     a->rank, rank, a->rank);
    if (rc == 0 && alpha != 0 && alpha != a->alpha)
        rc = err_set(e, ERR_CONFIG, "the adapter has alpha %g, but alpha %g is asked for", a->alpha,
                     alpha);
    return rc;
}

int adapter_start(struct adapter *a, const char *init, const struct shape *shape,
                  const struct content_id *base, int rank, double alpha, int64_t seed,
                  struct err *e)
{
    if (!init)
        return adapter_init(a, shape, rank, alpha, seed, e);
    int rc = adapter_open(a, init, shape, e);
    if (rc == 0)
        rc = check_start(a, base, rank, alpha, e);
    return rc ? err_wrap(e, "init") : 0;
}

int adapter_save(const struct adapter *a, const char *path, enum tensor_dtype dtype,
                 const struct tensor_meta *meta, size_t n_meta, struct err *e)
{
    struct tensor_writer w;
    struct buf text;
    tensor_writer_init(&w);
    buf_init(&text, 4096);
    tensor_writer_meta(&w, "fmforge.kind", "adapter");
    json_add_number(&text, a->rank);
    tensor_writer_meta(&w, "fmforge.rank", buf_text(&text));
    buf_clear(&text);
    json_add_number(&text, a->alpha);
    tensor_writer_meta(&w, "fmforge.alpha", buf_text(&text));
    buf_clear(&text);
    shape_write(&a->shape, &text);
    tensor_writer_meta(&w, "fmforge.shape", buf_text(&text));
    for (size_t i = 0; i < n_meta; i++)
        tensor_writer_meta(&w, meta[i].key, meta[i].value);
    for (int i = 0; i < shape_n_modules(&a->shape); i++) {
        struct shape_module m;
        char name[ADAPTER_NAME_BYTES];
        shape_module(&a->shape, i, a->rank, &m);
        const uint64_t a_dims[2] = {(uint64_t)m.in, (uint64_t)a->rank};
        const uint64_t b_dims[2] = {(uint64_t)a->rank, (uint64_t)m.out};
        adapter_tensor_name(&m, false, name);
        tensor_writer_add_f32(&w, name, dtype, 2, a_dims, adapter_a(a, &m));
        adapter_tensor_name(&m, true, name);
        tensor_writer_add_f32(&w, name, dtype, 2, b_dims, adapter_b(a, &m));
    }
    int rc = tensor_writer_write(&w, path, e);
    tensor_writer_release(&w);
    buf_release(&text);
    return rc;
}

/* ---- passes ---- */

size_t adapter_halved_bytes(const struct shape *shape, int rank)
{
    return arena_cost(size_mul(shape_lora_floats(shape, rank), sizeof(uint16_t)));
}

bool adapter_halve(struct adapter *a)
{
    uint16_t block[4096];
    size_t n_block = sizeof block / sizeof *block;
    CHECK(a->values != NULL);
    for (size_t i = 0; i < a->n_values; i++)
        if (!(tensor_f16_to_f32(tensor_f16_from_f32(a->values[i])) == a->values[i]))
            return false;
    /* In place: a block's halves end before the floats of the next one begin. */
    for (size_t i = 0; i < a->n_values; i += n_block) {
        size_t n = a->n_values - i < n_block ? a->n_values - i : n_block;
        for (size_t j = 0; j < n; j++)
            block[j] = tensor_f16_from_f32(a->values[i + j]);
        memcpy((unsigned char *)a->values + i * sizeof *block, block, n * sizeof *block);
    }
    a->halves = (uint16_t *)(void *)a->values;
    a->values = NULL;
    arena_shrink(&a->arena, adapter_halved_bytes(&a->shape, a->rank));
    return true;
}

struct lora_view adapter_view(const struct adapter *a, const struct shape_module *m)
{
    struct lora_view v = {.scale = a->scale};
    if (a->halves) {
        v.a = weight_half(a->halves + m->a_offset, m->in, a->rank);
        v.b = weight_half(a->halves + m->b_offset, a->rank, m->out);
    } else {
        v.a = weight_dense(adapter_a(a, m), m->in, a->rank);
        v.b = weight_dense(adapter_b(a, m), a->rank, m->out);
    }
    return v;
}

void lora_forward(struct compute *c, int m, const struct lora_view *l, const float *x, int ldx,
                  float *h)
{
    int rank = l->a.k;
    gemm_xw(c, m, x, ldx, &l->a, h, rank, false);
    ops_scale(c, (size_t)m * (size_t)rank, l->scale, h);
}

/* y = x W^T + s x A B: dA = s x^T (dy B^T), dB = (s x A)^T dy. */
void lora_backward(struct compute *c, int m, const struct lora_view *l, const float *x, int ldx,
                   const float *h, const float *dy, int lddy, float *dh, float *da, float *db)
{
    int rank = l->a.k, in = l->a.n, out = l->b.k;
    CHECK(l->a.form == WEIGHT_F32 && l->b.form == WEIGHT_F32);
    if (db != NULL)
        gemm_dw(c, m, rank, out, h, rank, dy, lddy, db, out, true);
    gemm_xwt(c, m, dy, lddy, &l->b, dh, rank, false);
    ops_scale(c, (size_t)m * (size_t)rank, l->scale, dh);
    if (da != NULL)
        gemm_dw(c, m, in, rank, x, ldx, dh, rank, da, rank, true);
}
