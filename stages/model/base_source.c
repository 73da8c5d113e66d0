#include "stages/model/base_source.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "stages/model/lora.h"
#include "stages/model/mlx_model.h"
#include "stages/model/problems.h"

/* ---- names ---- */

void base_source_tensor_name(const struct base_source *b, const struct shape_tensor *t,
                             char out[SHAPE_NAME_BYTES])
{
    if (!b->mlx)
        memcpy(out, t->name, SHAPE_NAME_BYTES);
    else if (!mlx_wrapped_name(&b->shape, t, out) || !tensor_source_find(&b->tensors, out))
        mlx_tensor_name(&b->shape, t, out);
}

void base_source_range_name(const struct base_source *b, int layer, bool value,
                            char out[SHAPE_NAME_BYTES])
{
    if (b->mlx)
        mlx_scale_name(layer, value, out);
    else
        shape_range_name(&b->shape, layer, value, out);
}

void base_source_lora_name(const struct base_source *b, const struct shape_module *m, bool is_b,
                           char out[LORA_NAME_BYTES])
{
    lora_name_of(b->mlx ? LORA_MLX : LORA_TOOLKIT, &b->shape, m, is_b, out);
}

/* ---- names and dimensions ---- */

/* A tensor by name, as fp32 can be had of it, with the wanted dimensions (k 0: one dimension; n 0:
 * a scalar). */
static void need(struct base_source *b, const char *name, uint64_t n, uint64_t k,
                 struct problems *out)
{
    char expected[64];
    struct source_tensor *t = tensor_source_find(&b->tensors, name);
    if (!t) {
        problems_add(out, name, "is missing");
        return;
    }
    t->used = true;
    snprintf(expected, sizeof expected, k ? "[%llu, %llu]" : "[%llu]", (unsigned long long)n,
             (unsigned long long)k);
    if (!t->is_float)
        problems_add(out, name, "is not of fp32, fp16 or bf16");
    else if (n == 0 ? tensor_elements(&t->view) != 1
                    : t->view.n_dims != (k ? 2 : 1) || t->view.dims[0] != n ||
                          (k && t->view.dims[1] != k))
        problems_add_misfit(out, name, &t->view, n ? expected : "one value");
}

static void check_base(struct base_source *b, struct problems *out)
{
    for (int i = 0; i < shape_n_tensors(&b->shape); i++) {
        struct shape_tensor t;
        char name[SHAPE_NAME_BYTES];
        shape_tensor(&b->shape, i, &t);
        base_source_tensor_name(b, &t, name);
        need(b, name, (uint64_t)t.n, shape_is_norm(&t) ? 0 : (uint64_t)t.k, out);
    }
    for (int i = 0; i < 2 * b->shape.layers_0 && b->shape.kv_quant; i++) {
        char name[SHAPE_NAME_BYTES];
        base_source_range_name(b, i / 2, i % 2, name);
        need(b, name, b->mlx ? 0 : 2, 0, out);
    }
}

/* All of an adapter or nothing of it: a part would be trained on as if it were whole. */
static void check_adapter(struct base_source *b, struct problems *out)
{
    char name[LORA_NAME_BYTES];
    struct shape_module m;
    for (int i = 0; i < shape_n_modules(&b->shape) && b->rank == 0; i++) {
        shape_module(&b->shape, i, 1, &m);
        base_source_lora_name(b, &m, false, name);
        const struct source_tensor *t = tensor_source_find(&b->tensors, name);
        if (t && t->view.n_dims == 2 && t->view.dims[1] >= 1 && t->view.dims[1] <= LORA_RANK_MAX)
            b->rank = (int)t->view.dims[1];
    }
    for (int i = 0; i < shape_n_modules(&b->shape) && b->rank > 0; i++) {
        shape_module(&b->shape, i, b->rank, &m);
        base_source_lora_name(b, &m, false, name);
        need(b, name, (uint64_t)m.in, (uint64_t)b->rank, out);
        base_source_lora_name(b, &m, true, name);
        need(b, name, (uint64_t)b->rank, (uint64_t)m.out, out);
    }
}

/* What the toolkit stores beside: the tied output matrix, and observers' counters. */
static bool is_known_extra(const struct base_source *b, const struct source_tensor *t,
                           struct problems *out)
{
    const struct source_tensor *embedding = tensor_source_find(&b->tensors, "embedding.weight");
    if (str_ends(t->name, ".activation_post_process.num_samples"))
        return true;
    if (!str_eq(t->name, "output_transform.weight") || !embedding)
        return false;
    if (!pt_tensor_tied(t->pt, embedding->pt) &&
        (t->pt->n_bytes != embedding->pt->n_bytes ||
         memcmp(t->pt->data, embedding->pt->data, t->pt->n_bytes) != 0))
        problems_add(out, t->name, "differs from embedding.weight, with which it should be tied");
    return true;
}

int base_source_check(struct base_source *b, struct err *e)
{
    struct problems found;
    struct shape_tensor first;
    shape_tensor(&b->shape, 0, &first);
    int rc = b->mlx ? 0 : tensor_source_check_prefix(&b->tensors, first.name, e);
    if (rc != 0)
        return rc;
    problems_init(&found);
    check_base(b, &found);
    check_adapter(b, &found);
    for (size_t i = 0; i < b->tensors.n_tensors; i++) {
        const struct source_tensor *t = &b->tensors.tensors[i];
        if (!t->used && (b->mlx || !is_known_extra(b, t, &found)))
            problems_add(&found, t->name, "is no tensor of this shape");
    }
    return problems_end(&found, "the shape", e);
}
