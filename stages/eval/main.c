/*
 * eval: greedy answers of a model to a golden set, scored. With an adapter or a package on it, or
 * the base alone.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"
#include "stages/model/decoder.h"
#include "stages/model/fmadapter.h"
#include "stages/text/answers.h"
#include "stages/text/render.h"
#include "stages/text/rules.h"

enum { SYSTEM_KEEP, SYSTEM_DEFAULT };

struct eval_config {
    int64_t max_new_tokens;
    int64_t sequences;
    int system;
};

static const char *const SYSTEM_CHOICES[] = {"keep", "default", NULL};

static const struct param PARAMS[] = {
    {"max_new_tokens", PARAM_INT, offsetof(struct eval_config, max_new_tokens), "96", 1, 4096, NULL,
     "tokens", "An answer is cut there."},
    {"sequences", PARAM_INT, offsetof(struct eval_config, sequences), "16", 1, 256, NULL, "rows",
     "Rows answered at the same time; changes speed and memory, not answers."},
    {"system", PARAM_CHOICE, offsetof(struct eval_config, system), "keep", 0, 0, SYSTEM_CHOICES, "",
     "Rows without a system message stay so, or get the template's default one; as in prep."},
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
    {"metrics", "metrics", true, "The set's metrics."},
    {"report", "report", true, "Metrics and answers for people."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const struct stage_spec SPEC = {
    .name = "eval",
    .summary = "Answers a golden set with a model and scores the answers.",
    .portable = true,
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
    struct template template;
    struct spm *spm;
    struct render render;
    struct goldenset golden;
    struct compute compute;
    struct model model;
    struct adapter adapter;
    bool has_adapter;
    struct decoder decoder;
    struct sample *prompts; /* by row */
    struct decoder_request *requests;
    size_t n_done;
    char **answers;
};

static int open_texts(struct eval *v, struct err *e)
{
    int status = template_read(&v->template, stage_in(v->run, "template"), e);
    if (status == 0)
        status = spm_open(stage_in(v->run, "tokenizer"), &v->spm, e);
    if (status == 0)
        status = render_init(&v->render, v->spm, &v->template, e);
    if (status == 0)
        status = goldenset_open(&v->golden, stage_in(v->run, "golden"), e);
    if (status == 0)
        status = rules_check_special(&v->golden.rows, "golden", &v->template, e);
    return status;
}

static int open_model(struct eval *v, struct err *e)
{
    const char *adapter = stage_in(v->run, "adapter");
    const char *package = stage_in(v->run, "package");
    struct content_id base = {0};
    if (adapter && package)
        return err_set(e, ERR_CONFIG, "inputs adapter and package: only one of them may be given");
    int status = model_open(&v->model, stage_in(v->run, "base"), e);
    if (status == 0 && spm_size(v->spm) > v->model.shape.vocab)
        status = err_set(e, ERR_CONFIG, "the tokenizer has %d pieces, the base only %d",
                         spm_size(v->spm), v->model.shape.vocab);
    if (status == 0 && adapter)
        status = adapter_open(&v->adapter, adapter, &v->model.shape, e);
    if (status == 0 && package)
        status = fmadapter_open(package, &v->model.shape, &v->adapter, NULL, e);
    if (status == 0 && (adapter || package))
        status = sha256_file(stage_in(v->run, "base"), &base, NULL, e);
    if (status == 0 && (adapter || package))
        status = adapter_check_base(&v->adapter, &base, e);
    v->has_adapter = status == 0 && (adapter || package);
    if (status == 0)
        status = compute_open(&v->compute, v->run->n_threads, v->run->kernels, e);
    return status;
}

static int render_prompts(struct eval *v, struct err *e)
{
    size_t n = v->golden.rows.n_rows;
    int context = v->model.shape.context;
    v->prompts = xalloc_array(n, sizeof *v->prompts);
    v->requests = xalloc_array(n, sizeof *v->requests);
    for (size_t i = 0; i < n; i++) {
        const struct chat *c = &v->golden.rows.rows[i];
        struct sample *s = &v->prompts[i];
        int status = render_prompt(&v->render, c->messages, c->n_messages - 1,
                                   v->config->system == SYSTEM_DEFAULT, s, e);
        if (status < 0)
            return err_wrap(e, "golden row %zu", i + 1);
        if (s->n_ids >= (size_t)context)
            return err_set(e, ERR_LIMIT,
                           "golden row %zu: the prompt has %zu tokens, the model's context is %d",
                           i + 1, s->n_ids, context);
        v->requests[i] = (struct decoder_request){
            .prompt = s->ids,
            .n_prompt = (int)s->n_ids,
            .max_new = (int)v->config->max_new_tokens,
            .out = xalloc_array((size_t)v->config->max_new_tokens, sizeof(int32_t)),
        };
    }
    return 0;
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
    return most < v->model.shape.context ? most : v->model.shape.context;
}

static int answer_all(struct eval *v, struct err *e)
{
    size_t n = v->golden.rows.n_rows;
    struct decoder_plan plan = {
        .sequences = (int)((size_t)v->config->sequences < n ? (size_t)v->config->sequences : n),
        .positions = positions_needed(v),
    };
    char size[16];
    const struct adapter *adapter = v->has_adapter ? &v->adapter : NULL;
    const int32_t stops[] = {SPM_EOS, v->render.ids[TEMPLATE_TURN_END]};
    size_t bytes =
        decoder_bytes(&v->model.shape, &plan, adapter ? adapter->rank : 0, v->run->n_threads);
    stage_say(v->run, "%zu rows, %s, memory %s", n, adapter ? "with an adapter" : "the base alone",
              str_format_bytes(bytes, size));
    int status = decoder_reserve(&v->decoder, &v->compute, &v->model, adapter, &plan, e);
    /* In pieces, so that an interrupt does not wait for the whole set. */
    size_t step = 4 * (size_t)plan.sequences;
    for (v->n_done = 0; v->n_done < n && status == 0; v->n_done += step) {
        size_t n_now = n - v->n_done < step ? n - v->n_done : step;
        status = decoder_greedy(&v->decoder, v->requests + v->n_done, n_now, stops, 2, on_progress,
                                v, e);
        if (status == 0 && stage_interrupted())
            status = err_set(e, ERR_IO, "interrupted");
    }
    v->answers = xalloc_array(n, sizeof *v->answers);
    for (size_t i = 0; i < n && status == 0; i++) {
        struct buf text;
        buf_init(&text, BUF_MAX_DEFAULT);
        status =
            render_answer(&v->render, v->requests[i].out, (size_t)v->requests[i].n_out, &text, e);
        if (status < 0)
            err_wrap(e, "answer to golden row %zu", i + 1);
        v->answers[i] = xstrdup(buf_text(&text));
        buf_release(&text);
    }
    return status;
}

static void release(struct eval *v)
{
    size_t n = v->golden.rows.n_rows;
    decoder_release(&v->decoder);
    compute_close(&v->compute);
    adapter_release(&v->adapter);
    model_release(&v->model);
    for (size_t i = 0; i < n; i++) {
        if (v->prompts)
            sample_release(&v->prompts[i]);
        if (v->requests)
            xfree(v->requests[i].out);
    }
    xfree(v->prompts);
    xfree(v->requests);
    answers_free(v->answers, n);
    goldenset_close(&v->golden);
    spm_close(v->spm);
    template_release(&v->template);
}

static int run(const struct stage_run *r, struct err *e)
{
    struct eval v = {.run = r, .config = r->config};
    int status = open_texts(&v, e);
    if (status == 0)
        status = open_model(&v, e);
    if (status == 0)
        status = render_prompts(&v, e);
    if (status == 0)
        status = answer_all(&v, e);
    if (status == 0) {
        struct answers_job job = {
            .golden = &v.golden,
            .answers = v.answers,
            .against_path = stage_in(r, "against"),
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
