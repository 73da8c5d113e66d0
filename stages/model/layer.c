#include "stages/model/layer.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/gemm.h"

float *taker_floats(struct taker *t, size_t a, size_t b)
{
    size_t bytes = size_mul(size_mul(a, b), sizeof(float));
    t->bytes = size_add(t->bytes, arena_cost(bytes));
    return t->arena == NULL ? NULL : arena_take(t->arena, bytes);
}

static struct rows16 take_rows16(struct taker *t, size_t n, size_t width)
{
    struct rows16 r = {0};
    r.q = (int16_t *)(void *)taker_floats(t, n, (width + 1) / 2);
    r.scale = taker_floats(t, n, 1);
    return r;
}

void layer_acts_take(struct taker *t, const struct shape *s, bool reuses, struct layer_rows rows,
                     int rank, enum layer_keep keep, struct layer_acts *out)
{
    size_t n = (size_t)rows.project, m = (size_t)rows.finish;
    size_t hidden = (size_t)s->hidden, ffn = (size_t)s->ffn;
    size_t q = (size_t)shape_q_dim(s), kv = (size_t)shape_kv_dim(s);
    memset(out, 0, sizeof *out);
    out->x = taker_floats(t, n, hidden);
    out->x_rstd = taker_floats(t, n, 1);
    out->q_rstd = taker_floats(t, n, (size_t)s->heads);
    if (!reuses) {
        out->k_rotated = taker_floats(t, n, kv);
        out->k_rstd = taker_floats(t, n, (size_t)s->kv_heads);
        out->k = taker_floats(t, n, kv);
        out->v = taker_floats(t, n, kv);
    }
    out->mid = taker_floats(t, m, hidden);
    out->mid_rstd = taker_floats(t, m, 1);
    if (keep == LAYER_KEEP_F32) {
        out->q_rotated = taker_floats(t, n, q);
        out->o = taker_floats(t, m, q);
        out->gate = taker_floats(t, m, ffn);
        out->up = taker_floats(t, m, ffn);
    } else if (keep == LAYER_KEEP_16) {
        out->q_rotated16 = take_rows16(t, n, q);
        out->gate16 = take_rows16(t, m, ffn);
        out->up16 = take_rows16(t, m, ffn);
    }
    int n_loras = reuses ? LINEAR_SLOTS : LAYER_LORAS, projections = reuses ? 1 : 3;
    for (int i = 0; rank > 0 && i < n_loras; i++)
        out->lora[i] = taker_floats(t, i < projections ? n : m, (size_t)rank);
}

/* 16 MiB of one array: small beside a model of that width, large beside what a product costs to
 * start. */
#define FFN_FLOATS ((size_t)4 << 20)

int layer_ffn_rows(const struct shape *s, int tokens)
{
    size_t rows = FFN_FLOATS / (size_t)s->ffn;
    rows = rows < 64 ? 64 : rows;
    return rows < (size_t)tokens ? (int)rows : tokens;
}

void layer_scratch_take(struct taker *t, const struct shape *s, int tokens, int rank,
                        enum layer_keep keep, struct layer_scratch *out)
{
    size_t n = (size_t)tokens, ffn = (size_t)s->ffn, hidden = (size_t)s->hidden;
    size_t q = (size_t)shape_q_dim(s), kv = (size_t)shape_kv_dim(s);
    size_t some = (size_t)layer_ffn_rows(s, tokens);
    memset(out, 0, sizeof *out);
    out->h = taker_floats(t, n, hidden);
    out->qkv = taker_floats(t, n, q + 2 * kv);
    out->q = taker_floats(t, n, q);
    out->k_normed = taker_floats(t, n, kv);
    out->v_raw = taker_floats(t, n, kv);
    out->g = taker_floats(t, some, hidden);
    out->act = taker_floats(t, some, ffn);
    if (keep != LAYER_KEEP_F32) {
        out->q_rotated = taker_floats(t, n, q);
        out->o = taker_floats(t, n, q);
        out->gate = taker_floats(t, some, ffn);
        out->up = taker_floats(t, some, ffn);
    }
    if (keep == LAYER_KEEP_NOTHING)
        return;
    out->d_act = taker_floats(t, some, ffn);
    out->d_up = taker_floats(t, some, ffn);
    out->d_h = taker_floats(t, n, hidden);
    out->d_o = taker_floats(t, n, q);
    out->d_q = taker_floats(t, n, q);
    out->dk_heads = taker_floats(t, n, q);
    out->dv_heads = taker_floats(t, n, q);
    if (rank > 0)
        out->d_lora = taker_floats(t, n, GEMM_THIN_MAX * (size_t)rank);
}

/* ---- one linear with its adapters ---- */

/* The modules of a slot are consecutive: 3 for the fused QKV, else 1. */
static int slot_modules(const struct shape *s, int layer, enum linear_slot slot, int *first)
{
    bool reuses = shape_layer_reuses(s, layer);
    if (slot == LINEAR_QKV) {
        *first = 0;
        return reuses ? 1 : 3;
    }
    *first = (reuses ? 0 : 2) + (int)slot;
    return 1;
}

/* y = x W^T + adapters; y NULL: only what the adapters keep. */
static void linear_forward(const struct layer_pass *p, int layer, enum linear_slot slot,
                           const float *x, struct layer_acts *acts, float *y)
{
    const struct shape *s = &p->m->shape;
    const struct weight *w = &p->m->layers[layer].linear[slot];
    struct gemm_thin thin[GEMM_THIN_MAX];
    int first = 0, count = p->a == NULL ? 0 : slot_modules(s, layer, slot, &first);
    for (int i = 0; i < count; i++) {
        struct shape_module m;
        shape_module_place(s, shape_module_first(s, layer) + first + i, p->a->rank, &m);
        struct lora_view l = adapter_view(p->a, &m);
        float *h = acts->lora[first + i];
        lora_forward(p->c, p->n_tokens, &l, x, w->k, h);
        thin[i] = (struct gemm_thin){h, l.b, m.out_first};
    }
    if (y != NULL)
        gemm_xwt_then(p->c, p->n_tokens, x, w->k, w, y, w->n, count, thin);
}

static size_t flat_offset(const struct shape *s, int layer, enum linear_slot slot)
{
    struct shape_tensor t;
    shape_linear(s, LINEAR_SLOTS * layer + (int)slot, &t);
    return t.offset;
}

/* Parameter gradients, and dx (+)= dy W + adapters where dx is not NULL. */
static void linear_backward(const struct layer_pass *p, int layer, enum linear_slot slot,
                            const float *x, const struct layer_acts *acts, const float *dy,
                            float *dx, bool add)
{
    const struct shape *s = &p->m->shape;
    const struct weight *w = &p->m->layers[layer].linear[slot];
    int n = p->n_tokens;
    struct gemm_thin thin[GEMM_THIN_MAX];
    int first = 0, count = p->a == NULL ? 0 : slot_modules(s, layer, slot, &first);
    for (int i = 0; i < count; i++) {
        struct shape_module m;
        shape_module_place(s, shape_module_first(s, layer) + first + i, p->a->rank, &m);
        struct lora_view l = adapter_view(p->a, &m);
        float *dh = p->scratch->d_lora + (size_t)i * (size_t)n * (size_t)p->a->rank;
        float *da = p->grad_lora == NULL ? NULL : p->grad_lora + m.a_offset;
        float *db = p->grad_lora == NULL ? NULL : p->grad_lora + m.b_offset;
        lora_backward(p->c, n, &l, x, w->k, acts->lora[first + i], dy + m.out_first, w->n, dh, da,
                      db);
        thin[i] = (struct gemm_thin){dh, l.a, 0};
    }
    if (p->grad_full != NULL)
        gemm_dw(p->c, n, w->n, w->k, dy, w->n, x, w->k, p->grad_full + flat_offset(s, layer, slot),
                w->k, true);
    if (dx != NULL)
        gemm_xw_then(p->c, n, dy, w->n, w, dx, w->k, add, count, thin);
}

/* Where a norm's gradient goes, or NULL. */
static float *norm_grad(const struct layer_pass *p, const float *norm)
{
    if (p->grad_full == NULL)
        return NULL;
    CHECK(p->m->flat != NULL);
    return p->grad_full + (norm - p->m->flat);
}

/* ---- what is not finite ---- */

static void norm_name(const struct shape *s, int layer, enum tensor_role role,
                      char out[SHAPE_NAME_BYTES])
{
    struct shape_tensor t;
    int i = 0;
    do
        shape_tensor(s, i++, &t);
    while (t.layer != layer || t.role != role);
    memcpy(out, t.name, SHAPE_NAME_BYTES);
}

int layer_check_norm(const struct shape *s, int layer, enum tensor_role role, int n_rows,
                     int per_row, const float *rstd, const int32_t *tokens, struct err *e)
{
    char name[SHAPE_NAME_BYTES];
    for (size_t i = 0; i < (size_t)n_rows * (size_t)per_row; i++) {
        if (rstd[i] > 0)
            continue;
        int row = (int)(i / (size_t)per_row);
        norm_name(s, layer, role, name);
        return err_set(e, ERR_NUMERIC,
                       "what %s is given is not finite, or its square is not, in token %d of the "
                       "batch",
                       name, tokens ? (int)tokens[row] : row);
    }
    return 0;
}

int layer_check_projected(const struct layer_pass *p, int layer, const struct layer_acts *a,
                          const int32_t *tokens, struct err *e)
{
    const struct shape *s = &p->m->shape;
    int n = p->n_tokens;
    int rc = layer_check_norm(s, layer, ROLE_ATTENTION_NORM, n, 1, a->x_rstd, tokens, e);
    if (rc == 0)
        rc = layer_check_norm(s, layer, ROLE_QUERY_NORM, n, s->heads, a->q_rstd, tokens, e);
    if (rc == 0 && !shape_layer_reuses(s, layer))
        rc = layer_check_norm(s, layer, ROLE_KEY_NORM, n, s->kv_heads, a->k_rstd, tokens, e);
    return rc;
}

int layer_check_finished(const struct layer_pass *p, int layer, const struct layer_acts *a,
                         const int32_t *tokens, struct err *e)
{
    return layer_check_norm(&p->m->shape, layer, ROLE_FFN_NORM, p->n_tokens, 1, a->mid_rstd, tokens,
                            e);
}

/* ---- attention half ---- */

static bool rounds(const struct layer_pass *p)
{
    return p->c->precision == COMPUTE_INT16;
}

static float *or_else(float *kept, float *scratch)
{
    return kept ? kept : scratch;
}

float *layer_attended(const struct layer_pass *p, const struct layer_acts *a)
{
    return or_else(a->o, p->scratch->o);
}

static void project_kv(const struct layer_pass *p, const struct model_layer *l, const float *qkv,
                       struct layer_acts *a)
{
    const struct shape *s = &p->m->shape;
    int q = shape_q_dim(s), kv = shape_kv_dim(s), ld = q + 2 * kv, n = p->n_tokens;
    float eps = (float)s->norm_eps, *normed = p->scratch->k_normed;
    ops_rope_norm(p->c, n, s->kv_heads, &p->m->rope, p->pos, qkv + q, ld, l->key_norm, eps, NULL,
                  a->k_rotated, kv, normed, kv, a->k_rstd);
    ops_kv_quant(p->c, n, kv, qkv + q + kv, ld, 0, p->scratch->v_raw, kv);
    float k_scale = s->kv_quant ? kv_range_scale(&l->key_range) : 0;
    float v_scale = s->kv_quant ? kv_range_scale(&l->value_range) : 0;
    ops_kv_quant(p->c, n, kv, normed, kv, k_scale, a->k, kv);
    ops_kv_quant(p->c, n, kv, p->scratch->v_raw, kv, v_scale, a->v, kv);
}

void layer_project(const struct layer_pass *p, int layer, struct layer_acts *a)
{
    const struct shape *s = &p->m->shape;
    const struct model_layer *l = &p->m->layers[layer];
    const struct layer_scratch *w = p->scratch;
    bool reuses = shape_layer_reuses(s, layer);
    float eps = (float)s->norm_eps;
    int n = p->n_tokens, q = shape_q_dim(s);
    int ld = reuses ? q : q + 2 * shape_kv_dim(s);
    ops_rmsnorm(p->c, n, s->hidden, a->x, s->hidden, l->attention_norm, eps, w->h, s->hidden,
                a->x_rstd);
    linear_forward(p, layer, LINEAR_QKV, w->h, a, w->qkv);
    ops_rope_norm(p->c, n, s->heads, &p->m->rope, p->pos, w->qkv, ld, l->query_norm, eps,
                  rounds(p) ? &a->q_rotated16 : NULL, or_else(a->q_rotated, w->q_rotated), q, w->q,
                  q, a->q_rstd);
    if (!reuses)
        project_kv(p, l, w->qkv, a);
}

void layer_remake(const struct layer_pass *p, int layer, const struct layer_acts *a)
{
    const struct shape *s = &p->m->shape;
    const struct model_layer *l = &p->m->layers[layer];
    const struct layer_scratch *w = p->scratch;
    float eps = (float)s->norm_eps;
    int n = p->n_tokens, q = shape_q_dim(s);
    ops_rmsnorm(p->c, n, s->hidden, a->x, s->hidden, l->attention_norm, eps, w->h, s->hidden, NULL);
    if (!a->q_rotated)
        ops_unpack16(p->c, n, q, &a->q_rotated16, w->q_rotated);
    ops_head_norm(p->c, n, s->heads, s->head_dim, or_else(a->q_rotated, w->q_rotated),
                  l->query_norm, eps, w->q);
}

static void kv_backward(const struct layer_pass *p, const struct model_layer *l,
                        const struct layer_acts *a, float *dk, float *dv, float *dqkv)
{
    const struct shape *s = &p->m->shape;
    int q = shape_q_dim(s), kv = shape_kv_dim(s), ld = q + 2 * kv, n = p->n_tokens;
    /* The quantisers' gradient is the identity. */
    ops_rope_norm_backward(p->c, n, s->kv_heads, &p->m->rope, p->pos, dk, kv, a->k_rotated, kv,
                           l->key_norm, a->k_rstd, dqkv + q, ld, norm_grad(p, l->key_norm));
    ops_kv_quant(p->c, n, kv, dv, kv, 0, dqkv + q + kv, ld);
}

void layer_project_backward(const struct layer_pass *p, int layer, const struct layer_acts *a,
                            float *dk, float *dv, bool need_dx, float *dx)
{
    const struct shape *s = &p->m->shape;
    const struct model_layer *l = &p->m->layers[layer];
    const struct layer_scratch *w = p->scratch;
    bool reuses = shape_layer_reuses(s, layer);
    int n = p->n_tokens, q = shape_q_dim(s);
    int ld = reuses ? q : q + 2 * shape_kv_dim(s);
    float *dqkv = w->qkv, *dh = need_dx ? w->d_h : NULL;
    ops_rope_norm_backward(p->c, n, s->heads, &p->m->rope, p->pos, w->d_q, q,
                           or_else(a->q_rotated, w->q_rotated), q, l->query_norm, a->q_rstd, dqkv,
                           ld, norm_grad(p, l->query_norm));
    if (!reuses)
        kv_backward(p, l, a, dk, dv, dqkv);
    linear_backward(p, layer, LINEAR_QKV, w->h, a, dqkv, dh, false);
    if (need_dx)
        ops_rmsnorm_backward(p->c, n, s->hidden, dh, s->hidden, a->x, s->hidden, l->attention_norm,
                             a->x_rstd, dx, s->hidden, norm_grad(p, l->attention_norm));
}

/* ---- output and feed-forward half ---- */

/* Some consecutive rows of a pass: its activations of the feed-forward half from row `first`. gate
 * and up are the scratch's where they are not kept as floats. */
struct ffn_rows {
    struct layer_pass pass;
    struct layer_acts acts;
    int first;
};

static struct rows16 rows16_from(const struct rows16 *r, size_t first, int width)
{
    struct rows16 from = {0};
    if (r->q)
        from = (struct rows16){r->q + first * (size_t)((width + 1) / 2 * 2), r->scale + first};
    return from;
}

/* The rows from `first` on. */
static struct ffn_rows ffn_rows_at(const struct layer_pass *p, const struct layer_acts *a,
                                   int first)
{
    const struct shape *s = &p->m->shape;
    struct ffn_rows r = {*p, *a, first};
    int at_once = layer_ffn_rows(s, p->n_tokens), left = p->n_tokens - first;
    size_t row = (size_t)first, ffn = (size_t)s->ffn;
    r.pass.n_tokens = left < at_once ? left : at_once;
    r.acts.mid += row * (size_t)s->hidden;
    r.acts.mid_rstd += row;
    r.acts.gate = a->gate ? a->gate + row * ffn : p->scratch->gate;
    r.acts.up = a->up ? a->up + row * ffn : p->scratch->up;
    r.acts.gate16 = rows16_from(&a->gate16, row, s->ffn);
    r.acts.up16 = rows16_from(&a->up16, row, s->ffn);
    for (int i = 0; p->a && i < LAYER_LORAS; i++)
        if (r.acts.lora[i])
            r.acts.lora[i] += row * (size_t)p->a->rank;
    return r;
}

static void ffn_norm(const struct ffn_rows *r, int layer, float *rstd)
{
    const struct layer_pass *p = &r->pass;
    const struct shape *s = &p->m->shape;
    ops_rmsnorm(p->c, p->n_tokens, s->hidden, r->acts.mid, s->hidden, p->m->layers[layer].ffn_norm,
                (float)s->norm_eps, p->scratch->g, s->hidden, rstd);
}

/* y: of these rows, or NULL. */
static void ffn_forward(struct ffn_rows *r, int layer, float *y)
{
    const struct layer_pass *p = &r->pass;
    const struct shape *s = &p->m->shape;
    const struct layer_scratch *w = p->scratch;
    struct layer_acts *a = &r->acts;
    int n = p->n_tokens;
    ffn_norm(r, layer, a->mid_rstd);
    linear_forward(p, layer, LINEAR_GATE, w->g, a, a->gate);
    linear_forward(p, layer, LINEAR_UP, w->g, a, a->up);
    if (rounds(p)) {
        ops_round16(p->c, n, s->ffn, a->gate, &a->gate16);
        ops_round16(p->c, n, s->ffn, a->up, &a->up16);
    }
    ops_swiglu(p->c, n, s->ffn, a->gate, a->up, w->act);
    linear_forward(p, layer, LINEAR_DOWN, w->act, a, y);
    if (y != NULL)
        ops_add(p->c, (size_t)n * (size_t)s->hidden, a->mid, y);
}

void layer_finish(const struct layer_pass *p, int layer, struct layer_acts *a, float *y)
{
    const struct shape *s = &p->m->shape;
    size_t hidden = (size_t)s->hidden;
    linear_forward(p, layer, LINEAR_OUT, layer_attended(p, a), a, a->mid);
    ops_add(p->c, (size_t)p->n_tokens * hidden, a->x, a->mid);
    for (int first = 0; first < p->n_tokens;) {
        struct ffn_rows r = ffn_rows_at(p, a, first);
        ffn_forward(&r, layer, y == NULL ? NULL : y + (size_t)first * hidden);
        first += r.pass.n_tokens;
    }
}

/* dx: of these rows. */
static void ffn_backward(const struct ffn_rows *r, int layer, float *dx)
{
    const struct layer_pass *p = &r->pass;
    const struct shape *s = &p->m->shape;
    const struct model_layer *l = &p->m->layers[layer];
    const struct layer_scratch *w = p->scratch;
    const struct layer_acts *a = &r->acts;
    int n = p->n_tokens;
    ffn_norm(r, layer, NULL);
    if (a->gate16.q) {
        ops_unpack16(p->c, n, s->ffn, &a->gate16, a->gate);
        ops_unpack16(p->c, n, s->ffn, &a->up16, a->up);
    }
    ops_swiglu(p->c, n, s->ffn, a->gate, a->up, w->act);
    linear_backward(p, layer, LINEAR_DOWN, w->act, a, dx, w->d_act, false);
    ops_swiglu_backward(p->c, n, s->ffn, w->d_act, a->gate, a->up, w->d_act, w->d_up);
    linear_backward(p, layer, LINEAR_GATE, w->g, a, w->d_act, w->d_h, false);
    linear_backward(p, layer, LINEAR_UP, w->g, a, w->d_up, w->d_h, true);
    ops_rmsnorm_backward(p->c, n, s->hidden, w->d_h, s->hidden, a->mid, s->hidden, l->ffn_norm,
                         a->mid_rstd, dx, s->hidden, norm_grad(p, l->ffn_norm));
}

void layer_finish_backward_ffn(const struct layer_pass *p, int layer, const struct layer_acts *a,
                               float *dx)
{
    for (int first = 0; first < p->n_tokens;) {
        struct ffn_rows r = ffn_rows_at(p, a, first);
        ffn_backward(&r, layer, dx + (size_t)first * (size_t)p->m->shape.hidden);
        first += r.pass.n_tokens;
    }
}

void layer_finish_backward_out(const struct layer_pass *p, int layer, const struct layer_acts *a,
                               const float *dx)
{
    linear_backward(p, layer, LINEAR_OUT, layer_attended(p, a), a, dx, p->scratch->d_o, false);
}
