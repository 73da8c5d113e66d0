/*
 * generate (a tool): one prompt in, one answer on stdout as it grows. Greedy or sampled, with a
 * draft model or without; from the base alone, an adapter or a .fmadapter package: the answer to a
 * package is that to the checkpoint it was made from, and a draft changes no greedy answer.
 */

#include <stddef.h>
#include <stdio.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"
#include "stages/model/adapted.h"
#include "stages/model/generation.h"
#include "stages/text/answer_stream.h"
#include "stages/text/prompt_format.h"
#include "stages/text/rules.h"

struct generate_config {
    const char *prompt;
    const char *system;
    int64_t max_new_tokens, top_k, seed, draft_tokens;
    double temperature, top_p, draft_confidence;
    int precision; /* index of compute_precision_names */
};

#define AT(member) offsetof(struct generate_config, member)

static const struct param PARAMS[] = {
    {"prompt", PARAM_TEXT, AT(prompt), NULL, 0, 0, NULL, "", "The user's message."},
    {"system", PARAM_TEXT, AT(system), "", 0, 0, NULL, "", "The system message; empty: none."},
    {"max_new_tokens", PARAM_INT, AT(max_new_tokens), "128", 1, 1048576, NULL, "tokens",
     "The answer is cut there."},
    {"temperature", PARAM_FLOAT, AT(temperature), "0", 0, 100, NULL, "",
     "0: the likeliest token each time; 1: the model's own distribution."},
    {"top_k", PARAM_INT, AT(top_k), "0", 0, 10000000, NULL, "tokens",
     "Sample among so many likeliest tokens only; 0 = all."},
    {"top_p", PARAM_FLOAT, AT(top_p), "1", 1e-6, 1, NULL, "",
     "Then among the fewest likeliest tokens that have this share of the probability."},
    {"precision", PARAM_CHOICE, AT(precision), COMPUTE_PRECISION_DEFAULT, 0, 0,
     compute_precision_names, "",
     "Arithmetic of the products with the base: fp32, or exact sums of 16-bit integers, faster."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "",
     "The same seed gives the same answer."},
    {"draft_tokens", PARAM_INT, AT(draft_tokens), "3", 1, GENERATION_DRAFT_TOKENS_MAX, NULL,
     "tokens", "Proposed at a time by the draft, when there is one."},
    {"draft_confidence", PARAM_FLOAT, AT(draft_confidence), "0.7", 0, 1, NULL, "",
     "Greedy: no token that the draft holds less likely is proposed; 0 = propose always."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base model."},
    {"adapter", "adapter", false, "An adapter file, or a .fmadapter folder."},
    {"package", "package", false, "A .fmadapter folder."},
    {"draft", "draft", false,
     "A draft model: the same distribution of answers; faster where a pass over a few tokens is "
     "cheap."},
    {"tokenizer", "tokenizer", true, "The SentencePiece model."},
    {"template", "template", true, "The prompt format."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const struct stage_spec SPEC = {
    .name = "generate",
    .summary = "Answers one prompt.",
    .is_tool = true,
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct generate_config),
    .libraries = LIBRARIES,
};

/* Everything that lives as long as the run. */
struct generate {
    const struct stage_run *run;
    const struct generate_config *config;
    struct prompt_format format;
    struct compute compute;
    struct adapted adapted;
    struct model draft;
    struct sample prompt;
    struct decoder decoder, draft_decoder;
    struct generation generation;
    struct answer_stream stream;
    struct err stream_error;
    int32_t *out;
};

static int open_all(struct generate *g, struct err *e)
{
    const struct stage_run *r = g->run;
    int status =
        prompt_format_open(&g->format, stage_in(r, "tokenizer"), stage_in(r, "template"), e);
    if (status == 0)
        status = adapted_open(&g->adapted, stage_in(r, "base"), stage_in(r, "adapter"),
                              stage_in(r, "package"), e);
    if (status == 0)
        adapted_halve(&g->adapted);
    if (status == 0)
        status = spm_check_fits(g->format.spm, g->adapted.model.shape.vocab, e);
    if (status == 0 && stage_in(r, "draft"))
        status = adapted_open_draft(&g->adapted, stage_in(r, "draft"), &g->draft, e);
    if (status == 0)
        status = compute_open(&g->compute, r->n_threads, r->kernels, e);
    g->compute.precision = compute_precision_of(g->config->precision);
    return status;
}

/* The same rules as for a training row: a special piece in a message would be read as a turn. */
static int check_text(const struct generate *g, const char *name, const char *text, struct err *e)
{
    const char *piece = rules_find_special(&g->format.template, text);
    if (piece)
        return err_set(e, ERR_CONFIG,
                       "%s: holds the special piece %s, which the model would read as "
                       "the end or start of a turn",
                       name, piece);
    return 0;
}

static int render_request(struct generate *g, struct err *e)
{
    struct chat_message messages[2] = {0};
    size_t n = 0;
    int status = check_text(g, "system", g->config->system, e);
    if (status == 0)
        status = check_text(g, "prompt", g->config->prompt, e);
    if (status < 0)
        return status;
    if (g->config->system[0] != '\0')
        messages[n++] =
            (struct chat_message){.role = CHAT_SYSTEM, .content = xstrdup(g->config->system)};
    messages[n++] = (struct chat_message){.role = CHAT_USER, .content = xstrdup(g->config->prompt)};
    status = render_prompt(&g->format.render, messages, n, false, &g->prompt, e);
    for (size_t i = 0; i < n; i++)
        xfree(messages[i].content);
    if (status == 0 && g->prompt.n_ids >= (size_t)g->adapted.model.shape.context)
        return err_set(e, ERR_LIMIT, "the prompt has %zu tokens, the model's context is %d",
                       g->prompt.n_ids, g->adapted.model.shape.context);
    return status;
}

static int put(const char *text, size_t n_bytes, struct err *e)
{
    if (fwrite(text, 1, n_bytes, stdout) != n_bytes || fflush(stdout) != 0)
        return err_set(e, ERR_IO, "stdout: cannot write");
    return 0;
}

static int stream(struct generate *g, const int32_t *ids, int n_ids, bool last, struct err *e)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    int status = answer_stream_add(&g->stream, ids, (size_t)n_ids, last, &text, e);
    if (status == 0 && last)
        buf_add_char(&text, '\n');
    if (status == 0 && text.n_bytes > 0)
        status = put(text.bytes, text.n_bytes, e);
    buf_release(&text);
    return status;
}

static bool on_tokens(void *context, const int32_t *ids, int n_ids)
{
    struct generate *g = context;
    return stream(g, ids, n_ids, false, &g->stream_error) == 0;
}

/* Who waits for an answer is told of the memory only where there is too little: `inspect` plans it.
 */
static void warn_of_memory(const struct generate *g, const struct decoder_plan *plan,
                           const struct decoder_plan *of_draft)
{
    const struct adapter *a = g->adapted.adapter;
    struct plan_mem parts = {0};
    decoder_memory(&g->adapted.model, plan, a ? a->rank : 0, g->run->n_threads, &parts);
    if (g->draft.layers)
        decoder_memory(&g->draft, of_draft, 0, g->run->n_threads, &parts);
    char *shortage = plan_mem_shortage(&parts, "a shorter prompt and --max-new-tokens take less");
    if (shortage)
        stage_say(g->run, "warning: memory: %s", shortage);
    xfree(shortage);
}

static int reserve(struct generate *g, int positions, struct err *e)
{
    const struct generate_config *c = g->config;
    struct decoder_plan plan = {.sequences = 1, .positions = positions}, small = plan;
    struct generation_plan how = {
        .sampling = {c->temperature, (int)c->top_k, c->top_p, c->seed},
        .draft_tokens = (int)c->draft_tokens,
        .draft_confidence = c->draft_confidence,
        .stop_ids = g->format.stop_ids,
        .n_stop = 2,
    };
    bool has_draft = g->draft.layers != NULL;
    if (small.positions > g->draft.shape.context)
        small.positions = g->draft.shape.context;
    warn_of_memory(g, &plan, &small);
    int status =
        decoder_reserve(&g->decoder, &g->compute, &g->adapted.model, g->adapted.adapter, &plan, e);
    if (status == 0 && has_draft)
        status = decoder_reserve(&g->draft_decoder, &g->compute, &g->draft, NULL, &small, e);
    if (status == 0)
        generation_init(&g->generation, &g->decoder, has_draft ? &g->draft_decoder : NULL, &how);
    g->generation.on_tokens = on_tokens;
    g->generation.context = g;
    return status;
}

/* A draft is said to bring nothing below so many tokens per pass, once there were that many. */
#define NO_GAIN 1.1
#define FEW_PASSES 8

static void say_draft(const struct generate *g)
{
    const struct generation_counts *n = &g->generation.counts;
    int64_t drafted = 0, kept = 0;
    for (int i = 0; i < GENERATION_DRAFT_TOKENS_MAX; i++) {
        drafted += n->judged[i];
        kept += n->kept[i];
    }
    if (!g->generation.draft || n->base_passes == 0)
        return;
    double per_pass = (double)n->tokens / (double)n->base_passes;
    stage_say(g->run, "draft: %lld tokens kept, %lld refused, %.2f tokens per pass of the base",
              (long long)kept, (long long)(drafted - kept), per_pass);
    if (n->base_passes >= FEW_PASSES && drafted == 0)
        stage_say(g->run, "draft: this one proposed nothing: it is never as sure as "
                          "--draft-confidence asks, or the prompt fills its context");
    else if (n->base_passes >= FEW_PASSES && per_pass < NO_GAIN)
        stage_say(g->run, "draft: this one does not speed such answers up: distil one on the task "
                          "(stage draft), or go without");
}

/* Options that are not at their defaults (PARAMS) and change nothing without another one. */
static void say_unused(const struct generate *g)
{
    const struct generate_config *c = g->config;
    bool greedy = c->temperature <= 0;
    const char *const top_k = greedy && c->top_k != 0 ? " --top-k" : "";
    const char *const top_p = greedy && c->top_p < 1 ? " --top-p" : "";
    const char *const seed = greedy && c->seed != 1 ? " --seed" : "";
    if (*top_k || *top_p || *seed)
        stage_say(g->run,
                  "not used:%s%s%s: at --temperature 0 the likeliest token is taken each time",
                  top_k, top_p, seed);
    bool drafts = stage_in(g->run, "draft") != NULL;
    const char *const tokens = !drafts && c->draft_tokens != 3 ? " --draft-tokens" : "";
    const char *const sure = !drafts && c->draft_confidence != 0.7 ? " --draft-confidence" : "";
    if (*tokens || *sure)
        stage_say(g->run, "not used:%s%s: there is no --draft", tokens, sure);
}

/* One that the model did not end itself. */
static void say_cut(const struct generate *g, const struct decoder_request *request)
{
    int64_t wanted = g->config->max_new_tokens;
    if (request->stopped)
        return;
    if (request->max_new < wanted)
        stage_say(g->run, "the answer was cut: the model's context of %d tokens is full",
                  g->adapted.model.shape.context);
    else
        stage_say(g->run, "the answer was cut: --max-new-tokens is %lld", (long long)wanted);
}

static int answer(struct generate *g, struct err *e)
{
    int context = g->adapted.model.shape.context;
    int room = context - (int)g->prompt.n_ids + 1; /* the last token of an answer is not fed */
    int max_new = g->config->max_new_tokens < room ? (int)g->config->max_new_tokens : room;
    g->out = xalloc_array((size_t)max_new, sizeof *g->out);
    struct decoder_request request = {
        .prompt = g->prompt.ids,
        .n_prompt = (int)g->prompt.n_ids,
        .max_new = max_new,
        .out = g->out,
    };
    g->stream.render = &g->format.render;
    int positions = request.n_prompt + max_new < context ? request.n_prompt + max_new : context;
    int status = reserve(g, positions, e);
    if (status == 0)
        status = generation_answer(&g->generation, &request, e);
    if (status == 0 && g->stream_error.code != 0) {
        *e = g->stream_error;
        return e->code;
    }
    if (status == 0)
        status = stream(g, request.out, request.n_out, true, e);
    if (status == 0)
        say_draft(g);
    if (status == 0)
        say_cut(g, &request);
    return status;
}

static int run(const struct stage_run *r, struct err *e)
{
    struct generate g = {.run = r, .config = r->config};
    int status = open_all(&g, e);
    if (status == 0)
        status = render_request(&g, e);
    if (status == 0)
        say_unused(&g);
    if (status == 0)
        status = answer(&g, e);
    generation_release(&g.generation);
    decoder_release(&g.draft_decoder);
    decoder_release(&g.decoder);
    compute_close(&g.compute);
    model_release(&g.draft);
    adapted_release(&g.adapted);
    sample_release(&g.prompt);
    xfree(g.out);
    prompt_format_close(&g.format);
    return status;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
