/*
 * eval: greedy answers of a model to a golden set, scored. With an adapter or a package on it, or
 * the base alone.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/eval/expected.h"
#include "stages/kit/stage.h"
#include "stages/model/adapted.h"
#include "stages/model/decoder.h"
#include "stages/model/fmath.h"
#include "stages/text/answers.h"
#include "stages/text/finding.h"
#include "stages/text/prompt_format.h"
#include "stages/text/rules.h"

enum { SYSTEM_KEEP, SYSTEM_DEFAULT };

struct eval_config {
    int64_t max_new_tokens;
    int64_t sequences;
    int system;
    int precision; /* index of compute_precision_names */
};

static const char *const SYSTEM_CHOICES[] = {"keep", "default", NULL};

static const struct param PARAMS[] = {
    {"max_new_tokens", PARAM_INT, offsetof(struct eval_config, max_new_tokens), "96", 1, 4096, NULL,
     "tokens", "An answer is cut there."},
    {"sequences", PARAM_INT, offsetof(struct eval_config, sequences), "16", 1, 256, NULL, "rows",
     "Rows answered at the same time; changes speed and memory, not answers."},
    {"system", PARAM_CHOICE, offsetof(struct eval_config, system), "keep", 0, 0, SYSTEM_CHOICES, "",
     "Rows without a system message stay so, or get the template's default one; as in prep."},
    {"precision", PARAM_CHOICE, offsetof(struct eval_config, precision), COMPUTE_PRECISION_DEFAULT,
     0, 0, compute_precision_names, "", "Arithmetic of the products with the base, as in train."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base model."},
    {"adapter", "adapter", false, "An adapter on it."},
    {"package", "package", false, "Or a .fmadapter package on it."},
    {"tokenizer", "tokenizer", true, "The SentencePiece model."},
    {"template", "template", true, "The prompt format."},
    {"golden", "golden", true, "The golden set to answer."},
    {"against", "answers", false, "Other answers to the same set, to put beside these."},
};

static const struct stage_port OUTS[] = {
    {"answers", "answers", true, "One line per golden row."},
    {"metrics", "metrics", true,
     "The set's metrics; expected_token_probability: how likely the model finds the expected "
     "answers, the geometric mean over their tokens."},
    {"report", "report", true, "Metrics and answers for people."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const char *const COPIES[] = {"golden", "against", NULL};

static const struct stage_spec SPEC = {
    .name = "eval",
    .summary = "Answers a golden set with a model and scores the answers.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct eval_config),
    .libraries = LIBRARIES,
};

/* Everything that lives as long as the run. */
struct eval {
    const struct stage_run *run;
    const struct eval_config *config;
    struct prompt_format format;
    struct goldenset golden;
    struct compute compute;
    struct adapted adapted;
    struct decoder decoder;
    struct sample *prompts; /* by row */
    struct decoder_request *requests;
    size_t n_done;
    char **answers;
    struct json *findings; /* rows of a table in the report */
};

static int open_all(struct eval *v, struct err *e)
{
    const struct stage_run *r = v->run;
    int status =
        prompt_format_open(&v->format, stage_in(r, "tokenizer"), stage_in(r, "template"), e);
    if (status == 0)
        status = goldenset_open(&v->golden, stage_in(r, "golden"), e);
    if (status == 0)
        status = rules_check_special(&v->golden.rows, "golden", &v->format.template, e);
    if (status == 0)
        status = adapted_open(&v->adapted, stage_in(r, "base"), stage_in(r, "adapter"),
                              stage_in(r, "package"), e);
    if (status == 0)
        adapted_halve(&v->adapted);
    if (status == 0)
        status = spm_check_fits(v->format.spm, v->adapted.model.shape.vocab, e);
    if (status == 0)
        status = compute_open(&v->compute, r->n_threads, r->kernels, e);
    v->compute.precision = compute_precision_of(v->config->precision);
    return status;
}

static int render_prompts(struct eval *v, struct err *e)
{
    size_t n = v->golden.rows.n_rows;
    int status = prompt_format_golden(&v->format, &v->golden, v->config->system == SYSTEM_DEFAULT,
                                      v->adapted.model.shape.context, &v->prompts, e);
    v->requests = xalloc_array(n, sizeof *v->requests);
    for (size_t i = 0; i < n && status == 0; i++)
        v->requests[i] = (struct decoder_request){
            .prompt = v->prompts[i].ids,
            .n_prompt = (int)v->prompts[i].n_ids,
            .max_new = (int)v->config->max_new_tokens,
            .out = xalloc_array((size_t)v->config->max_new_tokens, sizeof(int32_t)),
        };
    return status;
}

static void on_progress(void *context, size_t done)
{
    const struct eval *v = context;
    stage_progress(v->run, "answers", (double)(v->n_done + done), (double)v->golden.rows.n_rows);
}

/* Positions that the longest row needs: no more is reserved. */
static int positions_needed(const struct eval *v)
{
    int most = 0;
    for (size_t i = 0; i < v->golden.rows.n_rows; i++) {
        int n = v->requests[i].n_prompt + v->requests[i].max_new;
        most = n > most ? n : most;
    }
    return most < v->adapted.model.shape.context ? most : v->adapted.model.shape.context;
}

static void say_memory(const struct eval *v, const struct decoder_plan *plan)
{
    const struct adapter *adapter = v->adapted.adapter;
    struct plan_mem parts = {0};
    adapted_memory(&v->adapted, &parts);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", v->compute.space.capacity_bytes);
    decoder_memory(&v->adapted.model, plan, adapter ? adapter->rank : 0, v->run->n_threads, &parts);
    stage_say(v->run, "%zu rows, %s, %d at a time", v->golden.rows.n_rows,
              adapter ? "with an adapter" : "the base alone", plan->sequences);
    plan_mem_say(&parts, v->run, "fewer sequences or max_new_tokens take less");
}

static int answer_all(struct eval *v, struct err *e)
{
    size_t n = v->golden.rows.n_rows;
    struct decoder_plan plan = {
        .sequences = (int)((size_t)v->config->sequences < n ? (size_t)v->config->sequences : n),
        .positions = positions_needed(v),
    };
    const struct adapter *adapter = v->adapted.adapter;
    say_memory(v, &plan);
    int status = decoder_reserve(&v->decoder, &v->compute, &v->adapted.model, adapter, &plan, e);
    /* In pieces, so that an interrupt does not wait for the whole set. */
    size_t step = 4 * (size_t)plan.sequences;
    for (v->n_done = 0; v->n_done < n && status == 0; v->n_done += step) {
        size_t n_now = n - v->n_done < step ? n - v->n_done : step;
        status = decoder_greedy(&v->decoder, v->requests + v->n_done, n_now, v->format.stop_ids, 2,
                                on_progress, v, e);
        if (status == 0 && stage_interrupted())
            status = err_set(e, ERR_IO, "interrupted");
    }
    v->answers = xalloc_array(n, sizeof *v->answers);
    for (size_t i = 0; i < n && status == 0; i++) {
        struct buf text;
        buf_init(&text, BUF_MAX_DEFAULT);
        status = render_answer(&v->format.render, v->requests[i].out, (size_t)v->requests[i].n_out,
                               &text, e);
        if (status < 0)
            err_wrap(e, "answer to golden row %zu", i + 1);
        v->answers[i] = xstrdup(buf_text(&text));
        buf_release(&text);
    }
    return status;
}

/* The mean probability of a token of the expected answers: geometric, so a loss turned round. */
static int measure_expected(struct eval *v, struct answers_extra *out, size_t *n_out, struct err *e)
{
    struct expected_job job = {.run = v->run,
                               .adapted = &v->adapted,
                               .format = &v->format,
                               .golden = &v->golden,
                               .prompts = v->prompts,
                               .default_system = v->config->system == SYSTEM_DEFAULT};
    struct loss_sum sum = {0};
    size_t n_left_out = 0;
    decoder_release(&v->decoder); /* one of the two is held at a time */
    int status = expected_measure(&job, &v->compute, &sum, &n_left_out, e);
    v->findings = json_new_array();
    if (n_left_out > 0) {
        stage_say(v->run,
                  "expected_token_probability: %zu rows with their answers do not fit the "
                  "model's context and are left out",
                  n_left_out);
        finding_put(v->findings, "golden",
                    "row that does not fit the model's context with its answer: left out of "
                    "expected_token_probability",
                    n_left_out, "");
    }
    double loss = sum.n_tokens ? sum.loss / (double)sum.n_tokens : 0;
    *out = (struct answers_extra){"expected_token_probability", fm_exp(loss < 700 ? -loss : -700)};
    *n_out = sum.n_tokens > 0;
    return status;
}

static void release(struct eval *v)
{
    size_t n = v->golden.rows.n_rows;
    decoder_release(&v->decoder);
    compute_close(&v->compute);
    adapted_release(&v->adapted);
    for (size_t i = 0; i < n; i++) {
        if (v->prompts)
            sample_release(&v->prompts[i]);
        if (v->requests)
            xfree(v->requests[i].out);
    }
    xfree(v->prompts);
    xfree(v->requests);
    answers_free(v->answers, n);
    json_free(v->findings);
    goldenset_close(&v->golden);
    prompt_format_close(&v->format);
}

static int run(const struct stage_run *r, struct err *e)
{
    struct eval v = {.run = r, .config = r->config};
    int status = open_all(&v, e);
    if (status == 0)
        status = render_prompts(&v, e);
    if (status == 0)
        status = answer_all(&v, e);
    struct answers_extra likely = {0};
    size_t n_extras = 0;
    if (status == 0)
        status = measure_expected(&v, &likely, &n_extras, e);
    if (status == 0) {
        struct answers_job job = {
            .golden = &v.golden,
            .answers = v.answers,
            .against_path = stage_in(r, "against"),
            .extras = &likely,
            .n_extras = n_extras,
            .findings = v.findings,
            .answers_path = stage_out(r, "answers"),
            .metrics_path = stage_out(r, "metrics"),
            .report_path = stage_out(r, "report"),
        };
        status = answers_write(&job, e);
    }
    release(&v);
    return status;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
