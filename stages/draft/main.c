/*
 * draft: the small model that proposes tokens for speculative decoding, distilled from base and
 * adapter on the adapter's own rows, or from the base alone on plain text.
 */

#include <stddef.h>
#include <stdio.h>

#include "pipeline/base/check.h"
#include "stages/draft/draft_run.h"
#include "stages/kit/blocks.h"

#define AT(member) offsetof(struct draft_config, member)

static const struct param PARAMS[] = {
    {"epochs", PARAM_INT, AT(epochs), "2", 1, 10000, NULL, "epochs",
     "Passes over the rows; counts only while tokens is 0."},
    {"tokens", PARAM_INT, AT(tokens), "0", 0, 1e15, NULL, "tokens",
     "How many tokens to distil on, in place of epochs; 0 = epochs."},
    {"ce_tokens", PARAM_INT, AT(ce_tokens), "0", 0, 1e15, NULL, "tokens",
     "First learn the rows themselves for so many tokens (cross entropy): for a fresh draft."},
    {"batch_tokens", PARAM_INT, AT(batch_tokens), "4096", 16, 1e9, NULL, "tokens",
     "Tokens per optimiser step, in whole rows of mean length."},
    {"window", PARAM_INT, AT(window), "256", 16, 1000000, NULL, "tokens",
     "Length of a piece of plain text."},
    {"mix", PARAM_TEXT, AT(mix), "", 0, 0, NULL, "",
     "How often text files are repeated, by name without suffix: \"books=1,talk=2.5\"; others "
     "once."},
    {"valid_tokens", PARAM_INT, AT(valid_tokens), "16384", 16, 5e10, NULL, "tokens",
     "Held-out plain text per evaluation; a tokens file is always used whole."},
    {"evaluations", PARAM_INT, AT(evaluations), "4", 1, 1000, NULL, "",
     "How many times the valid rows are measured, besides the start."},
    {"learning_rate", PARAM_FLOAT, AT(learning_rate), "1e-3", 1e-8, 1, NULL, "",
     "Rate after the warmup; constant."},
    {"warmup_fraction", PARAM_FLOAT, AT(warmup_fraction), "0.05", 0, 1, NULL, "",
     "Share of all steps in which the rate rises. The toolkit takes one epoch."},
    {"weight_decay", PARAM_FLOAT, AT(weight_decay), "0.01", 0, 10, NULL, "",
     "Of AdamW, decoupled; not on norms."},
    {"clip", PARAM_FLOAT, AT(clip), "1", 0, 1e9, NULL, "",
     "Largest global norm of a step's gradient; 0 = off."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "",
     "Order of the rows and values of a fresh draft."},
    {"checkpoint_every", PARAM_INT, AT(checkpoint_every), "200", 0, 1000000000, NULL, "steps",
     "Save the state in the work folder so often; 0 = only when interrupted."},
};

static const struct stage_port INS[] = {
    {"train", "tokens", false, "Rows to distil on; or give text."},
    {"valid", "tokens", false, "Rows to measure on."},
    {"text", "text", false, "Plain text to distil on, in place of train."},
    {"valid_text", "text", false, "Held-out plain text to measure on."},
    {"tokenizer", "tokenizer", false, "The base's SentencePiece model; needed with text."},
    {"base", "base", true, "The teacher."},
    {"adapter", "adapter", false, "The teacher's adapter."},
    {"draft", "draft", false, "The draft to start from; or give shape."},
    {"shape", "shape", false, "Dimensions of a fresh draft."},
};

static const struct stage_port OUTS[] = {
    {"draft", "draft", true, "The draft model, BF16."},
    {"metrics", "metrics", true,
     "kl per labelled token, and acceptance_1 .. acceptance_5: the chance that so many drafted "
     "tokens are all kept."},
    {"report", "report", true, "Loss curves."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const struct stage_spec SPEC = {
    .name = "draft",
    .summary = "Distils the draft model of speculative decoding.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct draft_config),
    .libraries = LIBRARIES,
};

static int measure(struct draft_run *d, struct json *m, struct err *e)
{
    double kl = 0, acceptance[DISTIL_DRAFT_TOKENS], expected = 1;
    int rc = distil_measure(&d->distil, &kl, acceptance, e);
    if (rc)
        return rc;
    json_put_f64(m, "kl", kl);
    for (int k = 0; k < DISTIL_DRAFT_TOKENS; k++) {
        char name[32];
        int n = snprintf(name, sizeof name, "acceptance_%d", k + 1);
        CHECK(n > 0 && (size_t)n < sizeof name);
        json_put_f64(m, name, acceptance[k]);
        expected += acceptance[k];
    }
    json_put_f64(m, "tokens_per_pass", expected);
    json_put_f64(m, "kl_before", d->distil.kl.valid_curve.points[0].loss);
    return 0;
}

static struct json *report_of(struct draft_run *d, const struct json *metrics)
{
    struct json *report = blocks_new();
    blocks_add_numbers(report, "Draft", metrics);
    if (d->distil.options.ce_steps > 0)
        train_loop_chart(&d->distil.ce, "Cross entropy of the fresh draft", report);
    train_loop_chart(&d->distil.kl, "Reverse KL to the teacher", report);
    windows_report(&d->text, &d->valid_text, report);
    return report;
}

static int publish(const struct stage_run *run, struct draft_run *d, struct err *e)
{
    struct json *metrics = json_new_object();
    json_put_i64(metrics, "rows", d->rows.n_rows);
    json_put_i64(metrics, "steps", d->distil.kl.state.step);
    json_put_i64(metrics, "tokens", d->distil.kl.state.n_input_tokens);
    json_put_f64(metrics, "train_kl", d->distil.kl.state.last_train_loss);
    int rc = d->valid_rows.n_rows ? measure(d, metrics, e) : 0;
    struct json *report = report_of(d, metrics);
    if (!rc && stage_out(run, "draft"))
        rc = draft_run_save(d, stage_out(run, "draft"), e);
    return blocks_publish(run, "metrics", metrics, report, rc, e);
}

static int run(const struct stage_run *run, struct err *e)
{
    struct draft_run d = {0};
    int rc = draft_run_open(&d, run, e);
    if (!rc)
        rc = distil_run(&d.distil, e);
    if (!rc)
        rc = publish(run, &d, e);
    draft_run_release(&d);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
