/*
 * export_torch: the way back. What was trained here as a file that torch.load reads, with the
 * toolkit's own parameter names: its adapter-final.pt, its base with the adapter in it, or the
 * merged weights.
 */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/model/adapted.h"
#include "stages/model/ptfile.h"

enum what { WHAT_ADAPTER, WHAT_BASE, WHAT_MERGED };

struct export_config {
    int what;
    double alpha;
};

static const char *const WHAT[] = {"adapter", "base", "merged", NULL};

#define AT(member) offsetof(struct export_config, member)

static const struct param PARAMS[] = {
    {"what", PARAM_CHOICE, AT(what), "adapter", 0, 0, WHAT, "",
     "adapter: its tensors alone, as the toolkit's adapter-final.pt. base: the base's matrices, "
     "unpacked to fp32, and the adapter's tensors. merged: the base with the adapter added to its "
     "matrices (at the size of AFMTextV7 12 GB of memory and of disk, as base)."},
    {"alpha", PARAM_FLOAT, AT(alpha), "0", 0, 100000, NULL, "",
     "LoRA alpha that its reader takes, since the file says none; 0 = rank / 2, as the toolkit's. "
     "Where the adapter was trained with another one, the difference is folded into B."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base model."},
    {"adapter", "adapter", false, "The adapter on it; what: base does without."},
};

static const struct stage_port OUTS[] = {
    {"pt", "torch", true, "A file for torch.load(weights_only=True)."},
    {"metrics", "metrics", true, "Tensors and parameters in it."},
    {"report", "report", true, "The same."},
};

static const struct stage_spec SPEC = {
    .name = "export_torch",
    .summary = "Writes an adapter, a base or merged weights for PyTorch.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct export_config),
};

struct export_run {
    struct adapted adapted;
    struct model dense; /* base and merged only */
    struct pt_writer writer;
    int64_t n_parameters;
};

static void add(struct export_run *t, const char *name, int n_dims, uint64_t n, uint64_t k,
                const float *values)
{
    const uint64_t dims[2] = {n, k};
    pt_writer_add_f32(&t->writer, name, PT_F32, n_dims, dims, values);
    t->n_parameters += (int64_t)(n * (n_dims == 2 ? k : 1));
}

/* B as it has to be for a reader who multiplies by alpha / rank. */
static void fold(const struct adapter *a, double alpha)
{
    float factor = (float)(a->alpha / (alpha > 0 ? alpha : 0.5 * a->rank));
    for (int i = 0; i < shape_n_modules(&a->shape) && factor != 1; i++) {
        struct shape_module m;
        shape_module(&a->shape, i, a->rank, &m);
        for (size_t j = 0; j < (size_t)a->rank * (size_t)m.out; j++)
            adapter_b(a, &m)[j] *= factor;
    }
}

static void add_adapter(struct export_run *t)
{
    const struct adapter *a = t->adapted.adapter;
    for (int i = 0; i < shape_n_modules(&a->shape); i++) {
        struct shape_module m;
        char name[ADAPTER_NAME_BYTES];
        shape_module(&a->shape, i, a->rank, &m);
        adapter_tensor_name(&m, false, name);
        add(t, name, 2, (uint64_t)m.in, (uint64_t)a->rank, adapter_a(a, &m));
        adapter_tensor_name(&m, true, name);
        add(t, name, 2, (uint64_t)a->rank, (uint64_t)m.out, adapter_b(a, &m));
    }
}

static void add_base(struct export_run *t)
{
    const struct shape *s = &t->dense.shape;
    for (int i = 0; i < shape_n_tensors(s); i++) {
        struct shape_tensor w;
        shape_tensor(s, i, &w);
        add(t, w.name, shape_is_norm(&w) ? 1 : 2, (uint64_t)w.n, (uint64_t)w.k,
            t->dense.flat + w.offset);
    }
    for (int i = 0; i < s->layers_0 && s->kv_quant; i++) {
        char name[SHAPE_NAME_BYTES];
        shape_range_name(s, i, false, name);
        add(t, name, 1, 2, 1, &t->dense.layers[i].key_range.min);
        shape_range_name(s, i, true, name);
        add(t, name, 1, 2, 1, &t->dense.layers[i].value_range.min);
    }
}

/* W[out][in] += scale (A B)^T, one chain of fma over the rank for each element. */
static void merge_module(struct export_run *t, const struct shape_module *m)
{
    const struct adapter *a = t->adapted.adapter;
    const float *ma = adapter_a(a, m), *mb = adapter_b(a, m);
    struct shape_tensor w;
    shape_linear(&t->dense.shape, m->linear, &w);
    for (int o = 0; o < m->out; o++) {
        float *row = t->dense.flat + w.offset + (size_t)(m->out_first + o) * (size_t)w.k;
        for (int i = 0; i < m->in; i++) {
            float sum = 0;
            for (int r = 0; r < a->rank; r++)
                sum = __builtin_fmaf(ma[(size_t)i * (size_t)a->rank + (size_t)r],
                                     mb[(size_t)r * (size_t)m->out + (size_t)o], sum);
            row[i] = __builtin_fmaf(a->scale, sum, row[i]);
        }
    }
}

static int collect(struct export_run *t, const struct stage_run *run, struct err *e)
{
    const struct export_config *c = run->config;
    const char *base = stage_in(run, "base");
    int rc = adapted_open(&t->adapted, base, stage_in(run, "adapter"), NULL, e);
    if (!rc && !t->adapted.adapter && c->what != WHAT_BASE)
        rc = err_set(e, ERR_CONFIG, "what: %s needs the input adapter", WHAT[c->what]);
    if (!rc)
        rc = adapted_say_export(&t->adapted, run, c->what == WHAT_ADAPTER ? NULL : base, e);
    if (!rc && c->what != WHAT_ADAPTER)
        rc = model_open_trainable(&t->dense, base, e);
    if (rc)
        return rc;
    for (int i = 0; c->what == WHAT_MERGED && i < shape_n_modules(&t->dense.shape); i++) {
        struct shape_module m;
        shape_module(&t->dense.shape, i, t->adapted.adapter->rank, &m);
        merge_module(t, &m);
    }
    if (c->what != WHAT_ADAPTER)
        add_base(t);
    if (c->what != WHAT_MERGED && t->adapted.adapter) {
        fold(t->adapted.adapter, c->alpha);
        add_adapter(t);
    }
    return 0;
}

static int publish(struct export_run *t, const struct stage_run *run, struct err *e)
{
    struct json *metrics = json_new_object(), *report = blocks_new();
    json_put_i64(metrics, "tensors", (int64_t)t->writer.n_sources);
    json_put_i64(metrics, "parameters", t->n_parameters);
    blocks_add_numbers(report, "For PyTorch", metrics);
    int rc = stage_out(run, "pt") ? pt_writer_write(&t->writer, stage_out(run, "pt"), e) : 0;
    return blocks_publish(run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    struct export_run t = {0};
    pt_writer_init(&t.writer);
    int rc = collect(&t, run, e);
    if (!rc)
        rc = publish(&t, run, e);
    pt_writer_release(&t.writer);
    model_release(&t.dense);
    adapted_release(&t.adapted);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
