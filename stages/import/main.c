/*
 * import: a base that was saved by PyTorch or MLX becomes a packed one, without any loss: every
 * tensor is looked at, and stored in the smallest form that holds its very values. Adapter tensors
 * that come with it are kept as the adapter to start from.
 */

#include <stddef.h>

#include "stages/import/import_run.h"

static const char *const QUANTISE[] = {"never", "linears", NULL};

#define AT(member) offsetof(struct import_config, member)

static const struct param PARAMS[] = {
    {"quantise", PARAM_CHOICE, AT(quantise), "never", 0, 0, QUANTISE, "",
     "never: nothing is rounded; what is on no grid stays bf16 or fp32. linears: matrices of the "
     "layers that are not on the 2-bit grid are rounded to it, with the best scale of each."},
    {"alpha", PARAM_FLOAT, AT(alpha), "0", 0, 100000, NULL, "",
     "LoRA alpha of the adapter in the file, where the file does not say it; 0 = rank / 2."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "",
     "Values of a fresh adapter, where the file has none."},
};

static const struct stage_port INS[] = {
    {"pt", "torch", false, "A file of torch.save with the toolkit's names, as base-model.pt."},
    {"mlx", "mlx", false,
     "Instead of pt: safetensors with the names of mlx-lm's afm7; a file, or a folder with "
     "model*.safetensors and maybe config.json and an adapter."},
    {"shape", "shape", true, "Dimensions of the model."},
};

static const struct stage_port OUTS[] = {
    {"base", "base", true, "The packed base."},
    {"adapter", "adapter", true,
     "The adapter in the file, or a fresh one of rank 32 where there is none."},
    {"metrics", "metrics", true, "Tensors and bytes by form; what was found of an adapter."},
    {"report", "report", true, "The form of every tensor, and why."},
};

static const struct stage_spec SPEC = {
    .name = "import",
    .summary = "Packs a base saved by PyTorch or MLX without loss.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct import_config),
};

static int run(const struct stage_run *run, struct err *e)
{
    struct import_run p = {0};
    int rc = import_run_open(&p, run, e);
    if (!rc)
        rc = import_run_pack(&p, e);
    if (!rc)
        rc = import_run_publish(&p, e);
    import_run_release(&p);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
