/*
 * train: the adapter itself (tier 2), LoRA on every linear of the frozen base, from conversations.
 * Starts from the toolkit's recovery adapter where there is one.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "stages/kit/blocks.h"
#include "stages/kit/stage.h"
#include "stages/train/train_run.h"

static const char *const KEEP[] = {"best", "last", NULL}; /* enum train_keep */

#define AT(member) offsetof(struct train_config, member)

static const struct param PARAMS[] = {
    {"epochs", PARAM_INT, AT(epochs), "3", 1, 10000, NULL, "epochs",
     "How often every training row is seen."},
    {"max_steps", PARAM_INT, AT(max_steps), "0", 0, 1000000000, NULL, "steps",
     "No more optimiser steps than these, for a trial; 0 = as many as the epochs have."},
    {"learning_rate", PARAM_FLOAT, AT(learning_rate), "5e-4", 1e-8, 1, NULL, "",
     "Peak rate. The toolkit's own default of 1e-3 is known to diverge on the full-size model, "
     "where 1e-4 is usual; small models bear more."},
    {"warmup_fraction", PARAM_FLOAT, AT(warmup_fraction), "0.05", 0, 1, NULL, "",
     "Share of all steps in which the rate rises; then a half cosine to 0. The toolkit warms up "
     "for one epoch, half of its default run, and its very first step has rate 0; here no step "
     "has."},
    {"batch_size", PARAM_INT, AT(batch_size), "4", 1, 100000, NULL, "rows",
     "Rows that are weighed together. Memory does not depend on it."},
    {"accumulation", PARAM_INT, AT(accumulation), "1", 1, 100000, NULL, "",
     "Batches per optimiser step; every labelled token of a step weighs the same."},
    {"rank", PARAM_INT, AT(rank), "32", 1, 256, NULL, "", "LoRA rank; Apple's runtime wants 32."},
    {"alpha", PARAM_FLOAT, AT(alpha), "0", 0, 100000, NULL, "",
     "LoRA alpha; the adapter is scaled by alpha / rank. 0 = rank / 2, the scale 0.5 of the "
     "class."},
    {"weight_decay", PARAM_FLOAT, AT(weight_decay), "0.01", 0, 10, NULL, "",
     "Decoupled weight decay of AdamW, on A and B."},
    {"beta1", PARAM_FLOAT, AT(beta1), "0.9", 0, 0.999999, NULL, "", "AdamW: first moment."},
    {"beta2", PARAM_FLOAT, AT(beta2), "0.999", 0, 0.999999, NULL, "", "AdamW: second moment."},
    {"eps", PARAM_FLOAT, AT(eps), "1e-8", 1e-20, 1, NULL, "", "AdamW: added to the denominator."},
    {"clip", PARAM_FLOAT, AT(clip), "1", 0, 1e9, NULL, "",
     "Largest global norm of a step's gradient; 0 = off."},
    {"prompt_dropout", PARAM_FLOAT, AT(prompt_dropout), "0", 0, 0.9, NULL, "",
     "Share of the prompt's tokens that become padding, drawn anew in each epoch. Keeps an adapter "
     "from learning the phrases of a small or generated set by heart."},
    {"lead_tokens", PARAM_INT, AT(lead_tokens), "0", 0, 100000, NULL, "tokens",
     "So many tokens at the beginning of every answer weigh lead_weight times as much: where a "
     "decision stands in front of a long text that would drown it."},
    {"lead_weight", PARAM_INT, AT(lead_weight), "1", 1, 1000, NULL, "", "See lead_tokens."},
    {"prompt_weight", PARAM_FLOAT, AT(prompt_weight), "0", 0, 0.999, NULL, "",
     "Weight of predicting the prompt's own tokens beside the answer's, in the gradient only. A "
     "few hundredths keep an adapter general where answers are short and rows are few."},
    {"eval_every", PARAM_INT, AT(eval_every), "0", 0, 1000000000, NULL, "steps",
     "Evaluate on the valid rows so often; 0 = at the end of each epoch. Also before the first and "
     "after the last step."},
    {"keep", PARAM_CHOICE, AT(keep), "best", 0, 0, KEEP, "",
     "Which adapter is written: of the lowest loss on the valid rows, or the last. Without valid "
     "rows always the last."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "",
     "Order of the rows and values of a fresh adapter."},
    {"precision", PARAM_CHOICE, AT(precision), COMPUTE_PRECISION_DEFAULT, 0, 0,
     compute_precision_names, "",
     "Arithmetic of the products with a packed base: exact sums of 16-bit integers with a scale "
     "for each token (an error of about 1e-4), or fp32: slower. The names of the toolkit's flag "
     "mean int16."},
    {"micro_batch_tokens", PARAM_INT, AT(micro_batch_tokens), "2048", 1, 1048576, NULL, "tokens",
     "Tokens of the batch that are computed at a time, or the longest row. Memory grows with it; "
     "the result does not depend on it."},
    {"activation_checkpointing", PARAM_BOOL, AT(activation_checkpointing), "false", 0, 0, NULL, "",
     "Keep only the input of every second layer and compute the rest again for the backward pass: "
     "a fraction of the memory, about a third more time, the same bytes."},
    {"checkpoint_every", PARAM_INT, AT(checkpoint_every), "200", 0, 1000000000, NULL, "steps",
     "Save the state in the work folder so often, to go on after a kill; 0 = only when "
     "interrupted."},
};

static const struct stage_port INS[] = {
    {"train", "tokens", true, "Rows to train on."},
    {"valid", "tokens", false, "Rows to watch, and to choose the best adapter by."},
    {"base", "base", true, "The frozen base."},
    {"init", "adapter", false,
     "Start from this adapter (the recovery adapter); its rank must be the rank asked for. Without "
     "it: A random, B zero."},
    {"against", "metrics", false,
     "Metrics of another training on the same valid rows: this one then says after how many steps "
     "its held-out loss was as low as the other's last (measured at each evaluation)."},
};

static const struct stage_port OUTS[] = {
    {"checkpoint", "adapter", true,
     "The adapter, fp32; its values are rounded to fp16, as the package holds them."},
    {"metrics", "metrics", true, "Losses (before that rounding), steps and tokens."},
    {"report", "report", true, "Loss curves."},
};

static const char *const COPIES[] = {NULL};

static const struct stage_spec SPEC = {
    .name = "train",
    .summary = "Trains a LoRA adapter on conversations.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct train_config),
};

static int publish(const struct stage_run *run, struct train_run *t, struct err *e)
{
    int n_loops = 0, first = 0, rc = 0;
    if (stage_out(run, "checkpoint"))
        rc = train_run_save(t, stage_out(run, "checkpoint"), e);
    if (!rc)
        rc = sample_check_run(&t->samples, &n_loops, &first, e);
    struct json *metrics = train_run_metrics(t, n_loops);
    struct json *report = lora_training_report(&t->training, metrics, "Training");
    if (!rc)
        train_run_findings(t, n_loops, first, report);
    return blocks_publish(run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    struct train_run t = {0};
    int rc = train_run_open(&t, run, e);
    if (!rc)
        rc = lora_training_run(&t.training, e);
    if (!rc)
        rc = publish(run, &t, e);
    train_run_release(&t);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
