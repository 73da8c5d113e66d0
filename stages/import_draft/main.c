/*
 * import_draft: the draft model of the training toolkit, as PyTorch saved it, becomes a draft as
 * the stages here read it: every tensor is checked, and no value is rounded.
 */

#include <stddef.h>

#include "stages/kit/blocks.h"
#include "stages/kit/plan_mem.h"
#include "stages/model/ptdraft.h"

static const struct stage_port INS[] = {
    {"pt", "torch", true, "A file of torch.save with the toolkit's names, as draft-model.pt."},
    {"shape", "shape", true, "Dimensions of the draft."},
};

static const struct stage_port OUTS[] = {
    {"draft", "draft", true, "The draft model: BF16 where that loses nothing, else fp32."},
    {"metrics", "metrics", true, "Tensors and parameters; whether BF16 holds them."},
    {"report", "report", true, "The same."},
};

static const struct stage_spec SPEC = {
    .name = "import_draft",
    .summary = "Reads a draft model saved by PyTorch without loss.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
};

static int publish(const struct stage_run *r, const struct ptdraft *d, struct err *e)
{
    struct json *metrics = json_new_object(), *report = blocks_new();
    const char *to = stage_out(r, "draft");
    json_put_i64(metrics, "tensors", shape_n_tensors(&d->model.shape));
    json_put_i64(metrics, "parameters", d->n_parameters);
    json_put_i64(metrics, "bf16", d->is_bf16);
    blocks_add_numbers(report, "Draft", metrics);
    stage_say(r, "%lld parameters, stored as %s", (long long)d->n_parameters,
              d->is_bf16 ? "bf16, exact" : "fp32, as they are");
    return blocks_publish(r, "metrics", metrics, report, to ? ptdraft_save(d, to, e) : 0, e);
}

static int run(const struct stage_run *r, struct err *e)
{
    struct shape shape;
    struct ptdraft d = {0};
    int rc = shape_read(stage_in(r, "shape"), &shape, e);
    if (rc != 0)
        return rc;
    struct plan_mem plan = {.n_parts = 0};
    plan_mem_add(&plan, "weights", model_trainable_bytes(&shape));
    plan_mem_say(&plan, r, "it needs a machine with more");
    rc = ptdraft_open(&d, stage_in(r, "pt"), &shape, e);
    rc = rc == 0 ? publish(r, &d, e) : err_wrap(e, "pt");
    ptdraft_release(&d);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
