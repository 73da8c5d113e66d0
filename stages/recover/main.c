/*
 * recover: the accuracy-recovery adapter (tier 1). Rounding a base to 2 bits costs accuracy; a LoRA
 * adapter trained on plain text over the frozen, rounded base wins part of it back, and is what an
 * adapter of tier 2 starts from.
 */

#include <stddef.h>

#include "stages/kit/blocks.h"
#include "stages/kit/stage.h"
#include "stages/recover/recover_run.h"

#define AT(member) offsetof(struct recover_config, member)

static const struct param PARAMS[] = {
    {"rank", PARAM_CHOICE, AT(rank), "32", 0, 0, recover_rank_names, "",
     "LoRA rank; an adapter of tier 2 that starts here has the same."},
    {"alpha", PARAM_FLOAT, AT(alpha), "0", 0, 100000, NULL, "",
     "The adapter is scaled by alpha / rank. 0 = rank / 2, the scale 0.5 of the class."},
    {"tokens", PARAM_INT, AT(tokens), "1000000", 1, 1e15, NULL, "tokens", "How much text is seen."},
    {"batch_tokens", PARAM_INT, AT(batch_tokens), "4096", 16, 1e9, NULL, "tokens",
     "Tokens per optimiser step, in whole windows."},
    {"window", PARAM_INT, AT(window), "256", 16, 1000000, NULL, "tokens",
     "Length of a piece of text; at most the base's context."},
    {"mix", PARAM_TEXT, AT(mix), "", 0, 0, NULL, "",
     "How often files are repeated, by name without suffix: \"books=1,talk=2.5\"; others once."},
    {"repeat_fraction", PARAM_FLOAT, AT(repeat_fraction), "0", 0, 1, NULL, "",
     "Share of windows whose second half is made of pieces of the first: teaches copying."},
    {"valid_tokens", PARAM_INT, AT(valid_tokens), "32768", 16, 5e10, NULL, "tokens",
     "Held-out text per evaluation, evenly spaced."},
    {"evaluations", PARAM_INT, AT(evaluations), "8", 1, 1000, NULL, "",
     "How many times the held-out loss is measured, besides the start."},
    {"learning_rate", PARAM_FLOAT, AT(learning_rate), "1e-3", 1e-8, 1, NULL, "",
     "Peak rate; after the warmup a half cosine to 0."},
    {"warmup_fraction", PARAM_FLOAT, AT(warmup_fraction), "0.03", 0, 1, NULL, "",
     "Share of all steps in which the rate rises."},
    {"weight_decay", PARAM_FLOAT, AT(weight_decay), "0.01", 0, 10, NULL, "",
     "Of AdamW, decoupled."},
    {"clip", PARAM_FLOAT, AT(clip), "1", 0, 1e9, NULL, "",
     "Largest global norm of a step's gradient; 0 = off."},
    {"precision", PARAM_CHOICE, AT(precision), COMPUTE_PRECISION_DEFAULT, 0, 0,
     compute_precision_names, "", "Arithmetic of the products with the base, as in train."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "",
     "Order of the text and values of the fresh adapter."},
    {"checkpoint_every", PARAM_INT, AT(checkpoint_every), "100", 0, 1000000000, NULL, "steps",
     "Save the state in the work folder so often; 0 = only when interrupted."},
};

static const struct stage_port INS[] = {
    {"text", "text", true,
     "A .txt or .txt.zst file or a folder of them; documents end with a line <|endoftext|>."},
    {"valid", "text", false, "Held-out text of the same form."},
    {"tokenizer", "tokenizer", true, "The base's SentencePiece model."},
    {"base", "base", true, "The frozen base."},
    {"init", "adapter", false,
     "Go on from this adapter (of stage pissa); its rank must be the rank asked for."},
};

static const struct stage_port OUTS[] = {
    {"adapter", "adapter", true, "The recovery adapter, fp16."},
    {"metrics", "metrics", true, "Losses, steps and tokens."},
    {"report", "report", true, "Loss curves."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const char *const COPIES[] = {NULL};

static const struct stage_spec SPEC = {
    .name = "recover",
    .summary = "Trains the accuracy-recovery adapter of a quantised base on plain text.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct recover_config),
    .libraries = LIBRARIES,
};

static int publish(const struct stage_run *run, struct recover_run *r, struct err *e)
{
    int rc = 0;
    if (stage_out(run, "adapter"))
        rc = recover_run_save(r, stage_out(run, "adapter"), e);
    struct json *metrics = lora_training_metrics(&r->training);
    struct json *report = lora_training_report(&r->training, metrics, "Recovery");
    windows_report(&r->text, &r->valid, report);
    return blocks_publish(run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    struct recover_run r = {0};
    int rc = recover_run_open(&r, run, e);
    if (!rc)
        rc = lora_training_run(&r.training, e);
    if (!rc)
        rc = publish(run, &r, e);
    recover_run_release(&r);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
