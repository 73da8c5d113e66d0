/*
 * generate (a tool): one prompt in, one answer on stdout. Greedy; from the base alone, an adapter
 * or a .fmadapter package: the answer to a package is that to the checkpoint it was made from.
 */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"
#include "stages/model/decoder.h"
#include "stages/model/fmadapter.h"
#include "stages/text/render.h"
#include "stages/text/rules.h"

struct generate_config {
    const char *prompt;
    const char *system;
    int64_t max_new_tokens;
    double temperature;
};

static const struct param PARAMS[] = {
    {"prompt", PARAM_TEXT, offsetof(struct generate_config, prompt), NULL, 0, 0, NULL, "",
     "The user's message."},
    {"system", PARAM_TEXT, offsetof(struct generate_config, system), "", 0, 0, NULL, "",
     "The system message; empty: none."},
    {"max_new_tokens", PARAM_INT, offsetof(struct generate_config, max_new_tokens), "128", 1,
     1048576, NULL, "tokens", "The answer is cut there."},
    {"temperature", PARAM_FLOAT, offsetof(struct generate_config, temperature), "0", 0, 100, NULL,
     "", "0: the likeliest token each time. Other values come with sampling."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base model."},
    {"adapter", "adapter", false, "An adapter file, or a .fmadapter folder."},
    {"package", "package", false, "A .fmadapter folder."},
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
    struct template template;
    struct spm *spm;
    struct render render;
    struct compute compute;
    struct model model;
    struct adapter adapter;
    bool has_adapter;
    struct sample prompt;
    struct decoder decoder;
    int32_t *out;
};

static int open_all(struct generate *g, struct err *e)
{
    const char *adapter = stage_in(g->run, "adapter");
    const char *package = stage_in(g->run, "package");
    struct content_id base = {0};
    if (adapter && package)
        return err_set(e, ERR_CONFIG, "inputs adapter and package: only one of them may be given");
    if (adapter && file_is_folder(adapter)) {
        package = adapter;
        adapter = NULL;
    }
    int status = template_read(&g->template, stage_in(g->run, "template"), e);
    if (status == 0)
        status = spm_open(stage_in(g->run, "tokenizer"), &g->spm, e);
    if (status == 0)
        status = render_init(&g->render, g->spm, &g->template, e);
    if (status == 0)
        status = model_open(&g->model, stage_in(g->run, "base"), e);
    if (status == 0 && spm_size(g->spm) > g->model.shape.vocab)
        status = err_set(e, ERR_CONFIG, "the tokenizer has %d pieces, the base only %d",
                         spm_size(g->spm), g->model.shape.vocab);
    if (status == 0 && adapter)
        status = adapter_open(&g->adapter, adapter, &g->model.shape, e);
    if (status == 0 && package)
        status = fmadapter_open(package, &g->model.shape, &g->adapter, NULL, e);
    if (status == 0 && (adapter || package))
        status = sha256_file(stage_in(g->run, "base"), &base, NULL, e);
    if (status == 0 && (adapter || package))
        status = adapter_check_base(&g->adapter, &base, e);
    g->has_adapter = status == 0 && (adapter || package);
    if (status == 0)
        status = compute_open(&g->compute, g->run->n_threads, g->run->kernels, e);
    return status;
}

/* The same rules as for a training row: a special piece in a message would be read as a turn. */
static int check_text(const struct generate *g, const char *name, const char *text, struct err *e)
{
    const char *piece = rules_find_special(&g->template, text);
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
    status = render_prompt(&g->render, messages, n, false, &g->prompt, e);
    for (size_t i = 0; i < n; i++)
        xfree(messages[i].content);
    if (status == 0 && g->prompt.n_ids >= (size_t)g->model.shape.context)
        return err_set(e, ERR_LIMIT, "the prompt has %zu tokens, the model's context is %d",
                       g->prompt.n_ids, g->model.shape.context);
    return status;
}

static int answer(struct generate *g, struct buf *text, struct err *e)
{
    int context = g->model.shape.context;
    int room = context - (int)g->prompt.n_ids;
    int max_new = g->config->max_new_tokens < room ? (int)g->config->max_new_tokens : room;
    struct decoder_plan plan = {.sequences = 1, .positions = (int)g->prompt.n_ids + max_new};
    const int32_t stops[] = {SPM_EOS, g->render.ids[TEMPLATE_TURN_END]};
    g->out = xalloc_array((size_t)max_new, sizeof *g->out);
    struct decoder_request request = {
        .prompt = g->prompt.ids,
        .n_prompt = (int)g->prompt.n_ids,
        .max_new = max_new,
        .out = g->out,
    };
    int status = decoder_reserve(&g->decoder, &g->compute, &g->model,
                                 g->has_adapter ? &g->adapter : NULL, &plan, e);
    if (status == 0)
        status = decoder_greedy(&g->decoder, &request, 1, stops, 2, NULL, NULL, e);
    if (status == 0)
        status = render_answer(&g->render, request.out, (size_t)request.n_out, text, e);
    if (status == 0 && !request.stopped && max_new < g->config->max_new_tokens)
        stage_say(g->run, "the answer was cut: the model's context of %d tokens is full", context);
    return status;
}

static int run(const struct stage_run *r, struct err *e)
{
    struct generate g = {.run = r, .config = r->config};
    struct buf text;
    if (g.config->temperature > 0)
        return err_set(e, ERR_CONFIG,
                       "temperature: expected 0, found %g: other values come with sampling",
                       g.config->temperature);
    buf_init(&text, BUF_MAX_DEFAULT);
    int status = open_all(&g, e);
    if (status == 0)
        status = render_request(&g, e);
    if (status == 0)
        status = answer(&g, &text, e);
    if (status == 0) {
        buf_add_char(&text, '\n');
        if (fwrite(text.bytes, 1, text.n_bytes, stdout) != text.n_bytes || fflush(stdout) != 0)
            status = err_set(e, ERR_IO, "stdout: cannot write");
    }
    decoder_release(&g.decoder);
    compute_close(&g.compute);
    adapter_release(&g.adapter);
    model_release(&g.model);
    sample_release(&g.prompt);
    xfree(g.out);
    spm_close(g.spm);
    template_release(&g.template);
    buf_release(&text);
    return status;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
