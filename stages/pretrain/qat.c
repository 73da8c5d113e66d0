#include "stages/pretrain/qat.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/ops.h"

#define MOMENTUM 0.9f
/* A scale never moves further than by these factors from its start. */
#define THETA_MIN (-0.75f)
#define THETA_MAX 3.0f

static size_t n_linears_of(const struct shape *s)
{
    return (size_t)shape_n_linears(s);
}

static size_t packed_bytes(const struct shape *s)
{
    size_t sum = arena_cost(weight_bytes(WEIGHT_Q4, s->vocab, s->hidden));
    for (int i = 0; i < shape_n_linears(s); i++) {
        struct shape_tensor t;
        shape_linear(s, i, &t);
        sum = size_add(sum, arena_cost(weight_bytes(WEIGHT_Q2, t.n, t.k)));
    }
    return sum;
}

size_t qat_bytes(const struct shape *s)
{
    size_t linears = arena_cost(n_linears_of(s) * sizeof(float));
    size_t sum = arena_cost(size_mul(shape_flat_floats(s), sizeof(float)));
    sum = size_add(sum, size_mul(6, linears));
    sum = size_add(sum, arena_cost(size_mul((size_t)s->vocab, sizeof(float))));
    sum = size_add(sum, arena_cost(size_mul((size_t)s->layers_0 * 4, sizeof(float))));
    sum = size_add(sum, arena_cost((n_linears_of(s) + 1) * sizeof(unsigned char *)));
    sum = size_add(sum, arena_cost(size_mul((size_t)shape_layers(s), sizeof(struct model_layer))));
    return size_add(sum, packed_bytes(s));
}

/* The view's matrices lie in `fake`, everything else in the master. */
static void make_view(struct qat *q)
{
    const struct shape *s = &q->master->shape;
    struct model_layer *layers =
        arena_take(&q->arena, (size_t)shape_layers(s) * sizeof(struct model_layer));
    memcpy(layers, q->master->layers, (size_t)shape_layers(s) * sizeof *layers);
    q->view = *q->master;
    q->view.layers = layers;
    struct shape_tensor t;
    shape_tensor(s, 0, &t);
    CHECK(t.role == ROLE_EMBEDDING);
    q->view.embedding = weight_dense(q->fake + t.offset, t.n, t.k);
    for (int i = 0; i < shape_n_linears(s); i++) {
        shape_linear(s, i, &t);
        *model_linear(&q->view, i) = weight_dense(q->fake + t.offset, t.n, t.k);
    }
}

int qat_reserve(struct qat *q, struct compute *c, const struct model *master, struct err *e)
{
    const struct shape *s = &master->shape;
    CHECK(master->flat);
    memset(q, 0, sizeof *q);
    int rc = arena_reserve(&q->arena, "quantisation", qat_bytes(s), e);
    if (rc)
        return rc;
    size_t linears = n_linears_of(s) * sizeof(float);
    q->compute = c;
    q->master = master;
    q->fake = arena_take(&q->arena, master->n_flat * sizeof(float));
    q->scale_start = arena_take(&q->arena, linears);
    q->theta = arena_take(&q->arena, linears);
    q->theta_grad = arena_take(&q->arena, linears);
    q->theta_m = arena_take(&q->arena, linears);
    q->theta_v = arena_take(&q->arena, linears);
    q->scale = arena_take(&q->arena, linears);
    q->row_scale = arena_take(&q->arena, (size_t)s->vocab * sizeof(float));
    q->ranges = arena_take(&q->arena, (size_t)s->layers_0 * 4 * sizeof(float));
    q->packed = arena_take(&q->arena, (n_linears_of(s) + 1) * sizeof(unsigned char *));
    make_view(q);
    return 0;
}

void qat_release(struct qat *q)
{
    arena_release(&q->arena);
    memset(q, 0, sizeof *q);
}

void qat_start(struct qat *q, int64_t freeze_step)
{
    const struct shape *s = &q->master->shape;
    q->state = (struct qat_state){.freeze_step = freeze_step};
    for (int i = 0; i < shape_n_linears(s); i++) {
        struct shape_tensor t;
        shape_linear(s, i, &t);
        size_t n = (size_t)t.n * (size_t)t.k;
        q->scale_start[i] = quant_scale_search_q2(q->compute, q->master->flat + t.offset, n);
        q->theta[i] = q->theta_m[i] = q->theta_v[i] = 0;
    }
}

void qat_round(struct qat *q)
{
    const struct shape *s = &q->master->shape;
    struct shape_tensor t;
    shape_tensor(s, 0, &t);
    const float *embedding = q->master->flat + t.offset;
    quant_scales_q4(q->compute, embedding, t.n, t.k, q->row_scale);
    quant_fake_q4_rows(q->compute, embedding, t.n, t.k, q->row_scale, q->fake + t.offset);
    for (int i = 0; i < shape_n_linears(s); i++) {
        shape_linear(s, i, &t);
        q->scale[i] = q->scale_start[i] * (1 + q->theta[i]);
        quant_fake_q2(q->compute, q->master->flat + t.offset, (size_t)t.n * (size_t)t.k,
                      q->scale[i], q->fake + t.offset);
    }
}

static void keep_ranges(struct qat *q)
{
    for (int i = 0; i < q->view.shape.layers_0; i++) {
        const struct model_layer *l = &q->view.layers[i];
        const float v[4] = {l->key_range.min, l->key_range.max, l->value_range.min,
                            l->value_range.max};
        memcpy(q->ranges + 4 * i, v, sizeof v);
    }
}

void qat_observe(struct qat *q, const float *kv_abs_max)
{
    if (q->state.step >= q->state.freeze_step || !q->view.shape.kv_quant)
        return;
    model_observe_kv(&q->view, kv_abs_max, MOMENTUM);
    keep_ranges(q);
}

void qat_backward(struct qat *q, double rate, int64_t step, float *grads)
{
    const struct shape *s = &q->master->shape;
    for (int i = 0; i < shape_n_linears(s); i++) {
        struct shape_tensor t;
        shape_linear(s, i, &t);
        float *g = grads + t.offset;
        double ds = 0;
        quant_fake_q2_backward(q->compute, q->master->flat + t.offset, (size_t)t.n * (size_t)t.k,
                               q->scale[i], g, g, &ds);
        q->theta_grad[i] = (float)(ds * q->scale_start[i]);
    }
    struct adamw_step a = {
        .lr = (float)rate, .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-12f, .gscale = 1, .t = step};
    ops_adamw(q->compute, n_linears_of(s), &a, q->theta, q->theta_grad, q->theta_m, q->theta_v);
    for (size_t i = 0; i < n_linears_of(s); i++) {
        q->theta[i] = q->theta[i] < THETA_MIN ? THETA_MIN : q->theta[i];
        q->theta[i] = q->theta[i] > THETA_MAX ? THETA_MAX : q->theta[i];
    }
    q->state.step = step;
}

size_t qat_blocks(struct qat *q, struct checkpoint_block *out)
{
    size_t linears = n_linears_of(&q->master->shape) * sizeof(float);
    out[0] = (struct checkpoint_block){"qat_state", &q->state, sizeof q->state};
    out[1] = (struct checkpoint_block){"qat_theta", q->theta, linears};
    out[2] = (struct checkpoint_block){"qat_theta_m", q->theta_m, linears};
    out[3] = (struct checkpoint_block){"qat_theta_v", q->theta_v, linears};
    out[4] = (struct checkpoint_block){"qat_ranges", q->ranges,
                                       (size_t)q->master->shape.layers_0 * 4 * sizeof(float)};
    return 5;
}

void qat_restore(struct qat *q)
{
    for (int i = 0; i < q->view.shape.layers_0; i++) {
        struct model_layer *l = &q->view.layers[i];
        const float *v = q->ranges + 4 * i;
        l->key_range = (struct kv_range){v[0], v[1]};
        l->value_range = (struct kv_range){v[2], v[3]};
    }
}

int qat_pack(struct qat *q, struct err *e)
{
    const struct shape *s = &q->master->shape;
    int n_linears = shape_n_linears(s), rc = 0;
    struct shape_tensor t;
    qat_round(q);
    for (int i = 0; i < n_linears && !rc; i++) {
        shape_linear(s, i, &t);
        q->packed[i] = arena_take(&q->arena, weight_bytes(WEIGHT_Q2, t.n, t.k));
        rc = quant_pack_q2(q->fake + t.offset, t.n, t.k, q->scale[i], true, q->packed[i], e);
        if (rc)
            return err_wrap(e, "%s", t.name);
        *model_linear(&q->view, i) =
            weight_codes(WEIGHT_Q2, t.n, t.k, q->packed[i], &q->scale[i], 1);
    }
    shape_tensor(s, 0, &t);
    unsigned char *codes = arena_take(&q->arena, weight_bytes(WEIGHT_Q4, t.n, t.k));
    q->packed[n_linears] = codes;
    rc = quant_pack_q4(q->fake + t.offset, t.n, t.k, q->row_scale, true, codes, e);
    if (rc)
        return err_wrap(e, "%s", t.name);
    q->view.embedding = weight_codes(WEIGHT_Q4, t.n, t.k, codes, q->row_scale, t.n);
    return 0;
}
