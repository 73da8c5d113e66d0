/*
 * pretrain: a base model from plain text. First in fp32, then with the weights on the grid they are
 * stored in: 2 bits, 4-bit embedding, 8-bit keys and values. What is stored gives exactly the
 * values that the last step of training used.
 */

#include <stddef.h>

#include "stages/kit/blocks.h"
#include "stages/pretrain/pretrain_run.h"
#include "stages/pretrain/random_base.h"

static const char *const MODES[] = {"fresh", "random", NULL};
static const char *const PRECISION[] = {"f32", NULL};

#define AT(member) offsetof(struct pretrain_config, member)

static const struct param PARAMS[] = {
    {"mode", PARAM_CHOICE, AT(mode), "fresh", 0, 0, MODES, "",
     "fresh: train, from random values or from the input init; random: no training, a random base "
     "on the grid (for tests)."},
    {"tokens", PARAM_INT, AT(tokens), "8000000", 0, 1e15, NULL, "tokens",
     "Text seen by the fp32 model; 0: the phase is left out."},
    {"qat_tokens", PARAM_INT, AT(qat_tokens), "2000000", 0, 1e15, NULL, "tokens",
     "Text seen after that with the weights on the 2-bit grid; 0: they are plainly rounded, each "
     "matrix at its best scale."},
    {"batch_tokens", PARAM_INT, AT(batch_tokens), "4096", 16, 1e9, NULL, "tokens",
     "Tokens per optimiser step, in whole windows."},
    {"sequence_length", PARAM_INT, AT(sequence_length), "256", 16, 1000000, NULL, "tokens",
     "Length of a window of text; at most the shape's context."},
    {"mix", PARAM_TEXT, AT(mix), "", 0, 0, NULL, "",
     "How often files are repeated, by name without suffix: \"books=1,talk=2.5\"; others once."},
    {"repeat_fraction", PARAM_FLOAT, AT(repeat_fraction), "0", 0, 1, NULL, "",
     "Share of windows whose second half is made of pieces of the first: teaches copying."},
    {"valid_tokens", PARAM_INT, AT(valid_tokens), "32768", 16, 5e10, NULL, "tokens",
     "Held-out text per evaluation, evenly spaced."},
    {"evaluations", PARAM_INT, AT(evaluations), "8", 1, 1000, NULL, "",
     "How many times each phase measures the held-out loss, besides its start."},
    {"learning_rate", PARAM_FLOAT, AT(learning_rate), "3e-3", 1e-8, 1, NULL, "",
     "Peak rate of the fp32 phase; after the warmup a half cosine to 0."},
    {"qat_learning_rate", PARAM_FLOAT, AT(qat_learning_rate), "1e-3", 1e-8, 1, NULL, "",
     "Peak rate of the phase on the grid, also of the scales (relative to their start)."},
    {"warmup_fraction", PARAM_FLOAT, AT(warmup_fraction), "0.03", 0, 1, NULL, "",
     "Share of each phase's steps in which the rate rises."},
    {"weight_decay", PARAM_FLOAT, AT(weight_decay), "0.1", 0, 10, NULL, "",
     "Of AdamW, decoupled; in the fp32 phase and not on norms."},
    {"clip", PARAM_FLOAT, AT(clip), "1", 0, 1e9, NULL, "",
     "Largest global norm of a step's gradient; 0 = off."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "",
     "Values of a fresh model and order of the text."},
    {"precision", PARAM_CHOICE, AT(precision), "f32", 0, 0, PRECISION, "",
     "Arithmetic of the products."},
    {"checkpoint_every", PARAM_INT, AT(checkpoint_every), "100", 0, 1000000000, NULL, "steps",
     "Save the state in the work folder so often, to go on after a kill; 0 = only when "
     "interrupted."},
};

static const struct stage_port INS[] = {
    {"text", "text", false,
     "A .txt or .txt.zst file or a folder of them; documents end with a line <|endoftext|>. Needed "
     "in mode fresh."},
    {"valid", "text", false, "Held-out text of the same form."},
    {"tokenizer", "tokenizer", false, "The SentencePiece model. Needed in mode fresh."},
    {"shape", "shape", true, "Dimensions of the model."},
    {"init", "base", false,
     "Go on from this base, in whatever form it is stored, instead of from random values."},
    {"adapter", "adapter", false,
     "What was taken out of init (stage pissa): plain rounding then measures losses and the ranges "
     "of keys and values with it. Only with tokens 0 and qat_tokens 0."},
};

static const struct stage_port OUTS[] = {
    {"base", "base", true, "The packed base."},
    {"dense", "base", true, "The fp32 phase's result as BF16, before any rounding to the grid."},
    {"curve", "metrics", true,
     "Held-out loss of the fp32 model, of plain rounding and after training on the grid; tokens."},
    {"report", "report", true, "Loss curves."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const struct stage_spec SPEC = {
    .name = "pretrain",
    .summary = "Trains a base model on plain text and puts it on the 2-bit grid.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct pretrain_config),
    .libraries = LIBRARIES,
};

static int save_dense(const struct stage_run *run, struct pretrain_run *p, struct err *e)
{
    const char *path = stage_out(run, "dense");
    return path ? model_save(&p->model, path, "base", DTYPE_BF16, NULL, 0, e) : 0;
}

static int publish(const struct stage_run *run, struct pretrain_run *p, struct err *e)
{
    struct json *metrics = pretrain_run_metrics(p);
    struct json *report = blocks_new();
    blocks_add_numbers(report, "Base", metrics);
    if (p->fp32.state.step)
        train_loop_chart(&p->fp32, "Training in fp32", report);
    if (p->grid.state.step)
        train_loop_chart(&p->grid, "Training on the grid", report);
    windows_report(&p->text, &p->valid, report);
    int rc = 0;
    if (stage_out(run, "base"))
        rc = model_save(&p->qat.view, stage_out(run, "base"), "base", DTYPE_F32, NULL, 0, e);
    return blocks_publish(run, "curve", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    const struct pretrain_config *config = run->config;
    struct pretrain_run p = {0};
    if (config->mode == PRETRAIN_RANDOM)
        return random_base(run, e);
    int rc = pretrain_run_open(&p, run, e);
    if (!rc)
        rc = pretrain_run_dense(&p, e);
    if (!rc)
        rc = save_dense(run, &p, e);
    if (!rc)
        rc = pretrain_run_grid(&p, e);
    if (!rc)
        rc = publish(run, &p, e);
    pretrain_run_release(&p);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
