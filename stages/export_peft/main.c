/*
 * export_peft: an adapter as PEFT keeps it, a folder with adapter_model.safetensors and
 * adapter_config.json (stages/model/lora_export.h). import_adapter is the way back.
 */

#include <stddef.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/plan_mem.h"
#include "stages/model/lora_export.h"
#include "stages/model/model.h"

static const struct stage_port INS[] = {
    {"base", "base", true, "The base that the adapter was trained on: gives the shape."},
    {"adapter", "adapter", true, "The adapter."},
};

static const struct stage_port OUTS[] = {
    {"peft", "peft", true, "The folder: adapter_config.json, adapter_model.safetensors."},
    {"metrics", "metrics", true, "Tensors and parameters in it."},
    {"report", "report", true, "The same."},
};

static const char *const COPIES[] = {"adapter", NULL};

static const struct stage_spec SPEC = {
    .name = "export_peft",
    .summary = "Writes an adapter for PEFT.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
};

static int publish(const struct stage_run *run, const struct adapter *a, struct err *e)
{
    struct json *metrics = json_new_object(), *report = blocks_new();
    json_put_i64(metrics, "tensors", 2 * shape_n_modules(&a->shape));
    json_put_i64(metrics, "parameters", (int64_t)shape_count(&a->shape, a->rank).lora);
    json_put_i64(metrics, "rank", a->rank);
    json_put_f64(metrics, "alpha", a->alpha);
    blocks_add_numbers(report, "For PEFT", metrics);
    int rc = stage_out(run, "peft") ? lora_export_save(a, LORA_PEFT, stage_out(run, "peft"), e) : 0;
    return blocks_publish(run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    struct shape shape;
    struct content_id base;
    struct adapter a = {0};
    int rc = model_read_shape(stage_in(run, "base"), &shape, e);
    if (rc == 0)
        rc = sha256_file(stage_in(run, "base"), &base, NULL, e);
    if (rc == 0)
        rc = adapter_open(&a, stage_in(run, "adapter"), &shape, e);
    if (rc == 0)
        rc = adapter_check_base(&a, &base, e);
    if (rc == 0) {
        struct plan_mem plan = {.n_parts = 0};
        plan_mem_add(&plan, "adapter", adapter_bytes(&shape, a.rank));
        plan_mem_taken(&plan);
        plan_mem_add(&plan, "transposed", lora_export_bytes(&shape, a.rank, LORA_PEFT));
        plan_mem_say(&plan, run, "it needs a machine with more");
        rc = publish(run, &a, e);
    }
    adapter_release(&a);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
