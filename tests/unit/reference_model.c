#include "tests/unit/reference_model.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"

void reference_init(struct reference *r, const struct model *m, const struct adapter *a)
{
    const struct shape *s = &m->shape;
    memset(r, 0, sizeof *r);
    r->shape = *s;
    r->n_flat = shape_flat_floats(s);
    r->flat = xalloc_array(r->n_flat, sizeof *r->flat);
    r->kv_scale = xalloc_array(2 * (size_t)s->layers_0, sizeof *r->kv_scale);
    r->tensors = xalloc_array((size_t)shape_n_tensors(s), sizeof *r->tensors);
    for (int i = 0; i < shape_n_tensors(s); i++) {
        shape_tensor(s, i, &r->tensors[i]);
        struct shape_tensor t = r->tensors[i];
        const float *norm = NULL;
        const struct model_layer *l = t.layer < 0 ? NULL : &m->layers[t.layer];
        float *row = xalloc_array((size_t)t.k, sizeof *row);
        if (t.role == ROLE_FINAL_NORM)
            norm = m->final_norm;
        else if (t.role == ROLE_ATTENTION_NORM)
            norm = l->attention_norm;
        else if (t.role == ROLE_FFN_NORM)
            norm = l->ffn_norm;
        else if (t.role == ROLE_QUERY_NORM)
            norm = l->query_norm;
        else if (t.role == ROLE_KEY_NORM)
            norm = l->key_norm;
        for (int n = 0; n < t.n; n++) {
            if (norm != NULL)
                row[0] = norm[n];
            else
                weight_unpack_row(l == NULL ? &m->embedding : &l->linear[t.slot], n, row);
            for (int k = 0; k < t.k; k++)
                r->flat[t.offset + (size_t)n * (size_t)t.k + (size_t)k] = (double)row[k];
        }
        xfree(row);
    }
    for (int i = 0; i < s->layers_0; i++) {
        r->kv_scale[2 * i] = (double)kv_range_scale(&m->layers[i].key_range);
        r->kv_scale[2 * i + 1] = (double)kv_range_scale(&m->layers[i].value_range);
    }
    r->kv = s->kv_quant ? REFERENCE_KV_QUANT : REFERENCE_KV_OFF;
    if (a == NULL)
        return;
    r->rank = a->rank;
    r->lora_scale = a->alpha / a->rank;
    r->n_lora = a->n_values;
    r->lora = xalloc_array(r->n_lora, sizeof *r->lora);
    for (size_t i = 0; i < r->n_lora; i++)
        r->lora[i] = (double)a->values[i];
    r->modules = xalloc_array((size_t)shape_n_modules(s), sizeof *r->modules);
    for (int i = 0; i < shape_n_modules(s); i++)
        shape_module(s, i, a->rank, &r->modules[i]);
}

void reference_release(struct reference *r)
{
    xfree(r->tensors);
    xfree(r->modules);
    xfree(r->flat);
    xfree(r->lora);
    xfree(r->kv_scale);
    xfree(r->kv_offset);
    memset(r, 0, sizeof *r);
}

static const double *tensor_of(const struct reference *r, int layer, enum tensor_role role,
                               int slot, int *n, int *k)
{
    for (int i = 0; i < shape_n_tensors(&r->shape); i++) {
        const struct shape_tensor *t = &r->tensors[i];
        if (t->layer == layer && t->role == role && (role != ROLE_LINEAR || (int)t->slot == slot)) {
            if (n != NULL)
                *n = t->n;
            if (k != NULL)
                *k = t->k;
            return r->flat + t->offset;
        }
    }
    CHECK(role == ROLE_KEY_NORM);
    return NULL;
}

static void linear(const struct reference *r, int layer, int slot, const double *x, double *y)
{
    int n = 0, k = 0;
    const double *w = tensor_of(r, layer, ROLE_LINEAR, slot, &n, &k);
    for (int i = 0; i < n; i++) {
        y[i] = 0;
        for (int j = 0; j < k; j++)
            y[i] += w[(size_t)i * (size_t)k + (size_t)j] * x[j];
    }
    for (int i = 0; r->lora != NULL && i < shape_n_modules(&r->shape); i++) {
        const struct shape_module *m = &r->modules[i];
        if (m->layer != layer || (int)m->slot != slot)
            continue;
        const double *a = r->lora + m->a_offset, *b = r->lora + m->b_offset;
        for (int q = 0; q < r->rank; q++) {
            double h = 0;
            for (int j = 0; j < m->in; j++)
                h += x[j] * a[j * r->rank + q];
            for (int j = 0; j < m->out; j++)
                y[m->out_first + j] += r->lora_scale * h * b[q * m->out + j];
        }
    }
}

static void norm(const double *w, int n, double eps, double *x)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    double rstd = 1 / sqrt(sum / n + eps);
    for (int i = 0; i < n; i++)
        x[i] *= rstd * w[i];
}

static void rope(const struct shape *s, int pos, double *x)
{
    for (int i = 0; i < s->head_dim / 2; i++) {
        double angle = pos * pow(s->rope_theta, -2.0 * i / s->head_dim);
        double a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cos(angle) - b * sin(angle);
        x[2 * i + 1] = a * sin(angle) + b * cos(angle);
    }
}

static void quantise(struct reference *r, int layer, int value, int token, double *x)
{
    int n = shape_kv_dim(&r->shape);
    double scale = r->kv_scale[2 * layer + value];
    size_t at = ((size_t)(2 * layer + value) * (size_t)r->kv_tokens + (size_t)token) * (size_t)n;
    for (int i = 0; i < n && scale > 0 && r->kv != REFERENCE_KV_OFF; i++, at++) {
        if (r->kv == REFERENCE_KV_STRAIGHT) {
            x[i] += r->kv_offset[at];
            continue;
        }
        double code = rint(x[i] / scale);
        r->kv_clipped += code < -128 || code > 127;
        code = code < -128 ? -128 : code > 127 ? 127 : code;
        r->kv_offset[at] = scale * code - x[i];
        x[i] = scale * code;
    }
}

struct pass {
    struct reference *r;
    const struct batch *b;
    double *x;         /* (T, C) */
    double *k, *v, *q; /* (T, .) of the layer; k and v stay for segment 1 */
};

static void project(struct pass *p, int layer, int token)
{
    struct reference *r = p->r;
    const struct shape *s = &r->shape;
    int q = shape_q_dim(s), kv = shape_kv_dim(s), d = s->head_dim;
    double *h = xalloc_array((size_t)s->hidden, sizeof *h);
    double *y = xalloc_array((size_t)(q + 2 * kv), sizeof *y);
    memcpy(h, p->x + token * s->hidden, sizeof *h * (size_t)s->hidden);
    norm(tensor_of(r, layer, ROLE_ATTENTION_NORM, 0, NULL, NULL), s->hidden, s->norm_eps, h);
    linear(r, layer, LINEAR_QKV, h, y);
    for (int i = 0; i < s->heads; i++) {
        rope(s, p->b->pos[token], y + i * d);
        norm(tensor_of(r, layer, ROLE_QUERY_NORM, 0, NULL, NULL), d, s->norm_eps, y + i * d);
    }
    memcpy(p->q + token * q, y, sizeof *y * (size_t)q);
    if (layer < s->layers_0) {
        for (int i = 0; i < s->kv_heads; i++) {
            rope(s, p->b->pos[token], y + q + i * d);
            norm(tensor_of(r, layer, ROLE_KEY_NORM, 0, NULL, NULL), d, s->norm_eps, y + q + i * d);
        }
        quantise(r, layer, 0, token, y + q);
        quantise(r, layer, 1, token, y + q + kv);
        memcpy(p->k + token * kv, y + q, sizeof *y * (size_t)kv);
        memcpy(p->v + token * kv, y + q + kv, sizeof *y * (size_t)kv);
    }
    xfree(h);
    xfree(y);
}

static void attend(struct pass *p, int first, int token, double *o)
{
    const struct shape *s = &p->r->shape;
    int q = shape_q_dim(s), kv = shape_kv_dim(s), d = s->head_dim, n = token - first + 1;
    double *w = xalloc_array((size_t)n, sizeof *w);
    for (int h = 0; h < s->heads; h++) {
        int at = h / (s->heads / s->kv_heads) * d;
        double largest = -INFINITY, sum = 0;
        for (int j = 0; j < n; j++) {
            w[j] = 0;
            for (int i = 0; i < d; i++)
                w[j] += p->q[token * q + h * d + i] * p->k[(first + j) * kv + at + i];
            w[j] /= sqrt(d);
            largest = w[j] > largest ? w[j] : largest;
        }
        for (int j = 0; j < n; j++) {
            w[j] = exp(w[j] - largest);
            sum += w[j];
        }
        for (int i = 0; i < d; i++) {
            o[h * d + i] = 0;
            for (int j = 0; j < n; j++)
                o[h * d + i] += w[j] / sum * p->v[(first + j) * kv + at + i];
        }
    }
    xfree(w);
}

static void finish(struct pass *p, int layer, int token, const double *o)
{
    struct reference *r = p->r;
    const struct shape *s = &r->shape;
    double *x = p->x + token * s->hidden;
    double *y = xalloc_array((size_t)s->hidden, sizeof *y);
    double *gate = xalloc_array((size_t)s->ffn, sizeof *gate);
    double *up = xalloc_array((size_t)s->ffn, sizeof *up);
    linear(r, layer, LINEAR_OUT, o, y);
    for (int i = 0; i < s->hidden; i++)
        x[i] += y[i];
    memcpy(y, x, sizeof *y * (size_t)s->hidden);
    norm(tensor_of(r, layer, ROLE_FFN_NORM, 0, NULL, NULL), s->hidden, s->norm_eps, y);
    linear(r, layer, LINEAR_GATE, y, gate);
    linear(r, layer, LINEAR_UP, y, up);
    for (int i = 0; i < s->ffn; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    linear(r, layer, LINEAR_DOWN, up, y);
    for (int i = 0; i < s->hidden; i++)
        x[i] += y[i];
    xfree(y);
    xfree(gate);
    xfree(up);
}

static double head(struct pass *p, int token, double *logits)
{
    const struct shape *s = &p->r->shape;
    const double *table = tensor_of(p->r, -1, ROLE_EMBEDDING, 0, NULL, NULL);
    double *x = p->x + token * s->hidden, largest = -INFINITY, sum = 0;
    norm(tensor_of(p->r, -1, ROLE_FINAL_NORM, 0, NULL, NULL), s->hidden, s->norm_eps, x);
    for (int v = 0; v < s->vocab; v++) {
        logits[v] = 0;
        for (int i = 0; i < s->hidden; i++)
            logits[v] += table[v * s->hidden + i] * x[i];
        largest = logits[v] > largest ? logits[v] : largest;
    }
    for (int v = 0; v < s->vocab; v++)
        sum += exp(logits[v] - largest);
    int target = p->b->target[token];
    return target < 0 ? 0 : largest + log(sum) - logits[target];
}

static void reserve_kv(struct reference *r, int tokens)
{
    if (r->kv_tokens >= tokens)
        return;
    CHECK(r->kv != REFERENCE_KV_STRAIGHT);
    size_t n = 2 * (size_t)r->shape.layers_0 * (size_t)tokens * (size_t)shape_kv_dim(&r->shape);
    xfree(r->kv_offset);
    r->kv_offset = xalloc_array(n, sizeof *r->kv_offset);
    r->kv_tokens = tokens;
}

double reference_pass(struct reference *r, const struct batch *b, double *logits)
{
    const struct shape *s = &r->shape;
    size_t n = (size_t)b->n_tokens, q = (size_t)shape_q_dim(s), kv = (size_t)shape_kv_dim(s);
    struct pass p = {r,
                     b,
                     xalloc_array(n * (size_t)s->hidden, sizeof(double)),
                     xalloc_array(n * kv, sizeof(double)),
                     xalloc_array(n * kv, sizeof(double)),
                     xalloc_array(n * q, sizeof(double))};
    double *o = xalloc_array(n * q, sizeof *o), *row = xalloc_array((size_t)s->vocab, sizeof *row);
    const double *table = tensor_of(r, -1, ROLE_EMBEDDING, 0, NULL, NULL);
    double loss = 0;
    reserve_kv(r, b->n_tokens);
    if (r->kv == REFERENCE_KV_QUANT)
        r->kv_clipped = 0;
    for (int t = 0; t < b->n_tokens; t++)
        memcpy(p.x + t * s->hidden, table + b->ids[t] * s->hidden,
               sizeof *table * (size_t)s->hidden);
    for (int l = 0; l < shape_layers(s); l++) {
        for (int t = 0; t < b->n_tokens; t++)
            project(&p, l, t);
        for (int i = 0; i < b->n_segments; i++)
            for (int t = b->segment_start[i]; t < b->segment_start[i + 1]; t++)
                attend(&p, b->segment_start[i], t, o + (size_t)t * q);
        for (int t = 0; t < b->n_tokens; t++)
            finish(&p, l, t, o + (size_t)t * q);
    }
    for (int t = 0; t < b->n_tokens; t++)
        loss += head(&p, t, logits == NULL ? row : logits + t * s->vocab);
    xfree(p.x);
    xfree(p.k);
    xfree(p.v);
    xfree(p.q);
    xfree(o);
    xfree(row);
    return loss;
}
