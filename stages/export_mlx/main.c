/*
 * export_mlx: an adapter as mlx-lm keeps it, a folder with adapters.safetensors and
 * adapter_config.json, and where it is asked for the base beside it, unpacked to fp32, as
 * model.safetensors and config.json of afm7 (stages/model/mlx_model.h). The way back is
 * import_adapter, and import for the base.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/model/adapted.h"
#include "stages/model/lora_export.h"
#include "stages/model/mlx_model.h"

enum what { WHAT_ADAPTER, WHAT_BASE };

struct export_config {
    int what;
};

static const char *const WHAT[] = {"adapter", "base", NULL};

static const struct param PARAMS[] = {
    {"what", PARAM_CHOICE, offsetof(struct export_config, what), "adapter", 0, 0, WHAT, "",
     "adapter: adapters.safetensors and adapter_config.json alone. base: also the base, unpacked "
     "to fp32, as model.safetensors and config.json (at the size of AFMTextV7 12 GB of memory and "
     "of disk); a tokenizer has to be put beside it."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base model."},
    {"adapter", "adapter", false, "The adapter on it; what: base does without."},
};

static const struct stage_port OUTS[] = {
    {"mlx", "mlx", true, "The folder."},
    {"metrics", "metrics", true, "Tensors and parameters in it."},
    {"report", "report", true, "The same."},
};

static const struct stage_spec SPEC = {
    .name = "export_mlx",
    .summary = "Writes an adapter, or a base and its adapter, for MLX.",
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
    struct model dense; /* what: base only */
    struct tensor_writer writer;
    float *scales; /* of the quantisers, two for each layer with keys of its own */
    struct buf config;
    int64_t n_tensors, n_parameters;
};

static void add(struct export_run *t, const char *name, int n_dims, uint64_t n, uint64_t k,
                const float *values)
{
    const uint64_t dims[2] = {n, k};
    tensor_writer_add_f32(&t->writer, name, DTYPE_F32, n_dims, dims, values);
    t->n_tensors++;
    t->n_parameters += (int64_t)(n * k);
}

static int add_scales(struct export_run *t, struct err *e)
{
    const struct shape *s = &t->dense.shape;
    t->scales = xalloc_array(2 * (size_t)s->layers_0, sizeof *t->scales);
    for (int i = 0; i < 2 * s->layers_0; i++) {
        const struct model_layer *l = &t->dense.layers[i / 2];
        char name[SHAPE_NAME_BYTES];
        mlx_scale_name(i / 2, i % 2, name);
        t->scales[i] = kv_range_scale(i % 2 ? &l->value_range : &l->key_range);
        if (t->scales[i] == 0)
            return err_set(e, ERR_CONFIG,
                           "%s: afm7 always quantises keys and values, and here the quantiser is "
                           "off (its range is empty: the base was never run in training)",
                           name);
        add(t, name, 0, 1, 1, &t->scales[i]);
    }
    return 0;
}

static int collect_base(struct export_run *t, const char *path, struct err *e)
{
    int rc = mlx_config_write(&t->adapted.model.shape, &t->config, e);
    if (rc == 0)
        rc = model_open_trainable(&t->dense, path, e);
    if (rc != 0)
        return rc;
    tensor_writer_meta(&t->writer, "format", "mlx");
    for (int i = 0; i < shape_n_tensors(&t->dense.shape); i++) {
        struct shape_tensor w;
        char name[SHAPE_NAME_BYTES];
        shape_tensor(&t->dense.shape, i, &w);
        mlx_tensor_name(&t->dense.shape, &w, name);
        add(t, name, shape_is_norm(&w) ? 1 : 2, (uint64_t)w.n, (uint64_t)w.k,
            t->dense.flat + w.offset);
    }
    return add_scales(t, e);
}

static int save_base(struct export_run *t, const char *folder, struct err *e)
{
    char *weights = file_join(folder, "model.safetensors");
    char *config = file_join(folder, "config.json");
    int rc = file_make_folder(folder, e);
    if (rc == 0)
        rc = tensor_writer_write(&t->writer, weights, e);
    if (rc == 0)
        rc = file_write(config, t->config.bytes, t->config.n_bytes, e);
    xfree(config);
    xfree(weights);
    return rc;
}

static int publish(struct export_run *t, const struct stage_run *run, struct err *e)
{
    const struct adapter *a = t->adapted.adapter;
    const char *folder = stage_out(run, "mlx");
    struct json *metrics = json_new_object(), *report = blocks_new();
    if (a) {
        t->n_tensors += 2 * shape_n_modules(&a->shape);
        t->n_parameters += (int64_t)shape_count(&a->shape, a->rank).lora;
    }
    json_put_i64(metrics, "tensors", t->n_tensors);
    json_put_i64(metrics, "parameters", t->n_parameters);
    blocks_add_numbers(report, "For MLX", metrics);
    int rc = folder && t->dense.flat ? save_base(t, folder, e) : 0;
    if (rc == 0 && folder && a)
        rc = lora_export_save(a, LORA_MLX, folder, e);
    return blocks_publish(run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    const struct export_config *c = run->config;
    const char *base = stage_in(run, "base");
    struct export_run t = {.n_tensors = 0};
    tensor_writer_init(&t.writer);
    buf_init(&t.config, BUF_MAX_DEFAULT);
    int rc = adapted_open(&t.adapted, base, stage_in(run, "adapter"), NULL, e);
    if (rc == 0 && !t.adapted.adapter && c->what != WHAT_BASE)
        rc = err_set(e, ERR_CONFIG, "what: %s needs the input adapter", WHAT[c->what]);
    if (rc == 0)
        rc = adapted_say_export(&t.adapted, run, c->what == WHAT_BASE ? base : NULL, e);
    if (rc == 0 && c->what == WHAT_BASE)
        rc = collect_base(&t, base, e);
    if (rc == 0)
        rc = publish(&t, run, e);
    buf_release(&t.config);
    xfree(t.scales);
    tensor_writer_release(&t.writer);
    model_release(&t.dense);
    adapted_release(&t.adapted);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
