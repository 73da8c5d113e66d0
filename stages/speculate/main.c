/*
 * speculate: what a draft model is worth for a task. Answers a golden set with the draft and
 * without; greedy answers must be the same. Metrics say how many drafted tokens the base keeps and
 * how many tokens one of its passes gives. The times of both ways are in no output: they go to the
 * log and, as what was measured, into the statement and so on the page.
 */

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/stage.h"
#include "stages/model/adapted.h"
#include "stages/model/generation.h"
#include "stages/text/prompt_format.h"
#include "stages/text/rules.h"

enum { SYSTEM_KEEP, SYSTEM_DEFAULT };

struct speculate_config {
    int64_t max_new_tokens, draft_tokens, top_k, seed, rows_max;
    double temperature, top_p, draft_confidence;
    int system;
    int precision; /* index of compute_precision_names */
};

static const char *const SYSTEM_CHOICES[] = {"keep", "default", NULL};

#define AT(member) offsetof(struct speculate_config, member)

static const struct param PARAMS[] = {
    {"max_new_tokens", PARAM_INT, AT(max_new_tokens), "96", 1, 4096, NULL, "tokens",
     "An answer is cut there."},
    {"draft_tokens", PARAM_INT, AT(draft_tokens), "3", 1, GENERATION_DRAFT_TOKENS_MAX, NULL,
     "tokens", "Proposed at a time."},
    {"draft_confidence", PARAM_FLOAT, AT(draft_confidence), "0", 0, 1, NULL, "",
     "Greedy: no token that the draft holds less likely is proposed; 0 = propose always."},
    {"temperature", PARAM_FLOAT, AT(temperature), "0", 0, 100, NULL, "", "0: greedy answers."},
    {"top_k", PARAM_INT, AT(top_k), "0", 0, 10000000, NULL, "tokens",
     "Sample among so many likeliest tokens only; 0 = all."},
    {"top_p", PARAM_FLOAT, AT(top_p), "1", 1e-6, 1, NULL, "",
     "Then among the fewest likeliest tokens that have this share of the probability."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "", "Of the sampled answers."},
    {"rows_max", PARAM_INT, AT(rows_max), "0", 0, 1000000000, NULL, "rows",
     "Only the first rows of the set; 0 = all."},
    {"system", PARAM_CHOICE, AT(system), "keep", 0, 0, SYSTEM_CHOICES, "",
     "Rows without a system message stay so, or get the template's default one; as in prep."},
    {"precision", PARAM_CHOICE, AT(precision), COMPUTE_PRECISION_DEFAULT, 0, 0,
     compute_precision_names, "", "Arithmetic of the products with both models, as in eval."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base model."},
    {"adapter", "adapter", false, "An adapter on it."},
    {"package", "package", false, "Or a .fmadapter package on it."},
    {"draft", "draft", true, "The draft model."},
    {"tokenizer", "tokenizer", true, "The SentencePiece model."},
    {"template", "template", true, "The prompt format."},
    {"golden", "golden", true, "The golden set to answer."},
};

static const struct stage_port OUTS[] = {
    {"metrics", "metrics", true,
     "acceptance: share of the judged tokens that the base kept; acceptance_1, ..: the chance that "
     "so many drafted tokens are all kept; tokens_per_pass: of the base."},
    {"report", "report", true, "The same for people."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const char *const COPIES[] = {"golden", NULL};

static const struct stage_spec SPEC = {
    .name = "speculate",
    .summary = "Measures a draft model: how many of its tokens the base keeps.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct speculate_config),
    .libraries = LIBRARIES,
};

enum { ALONE, DRAFTED, N_WAYS };

/* Everything that lives as long as the run. */
struct speculate {
    const struct stage_run *run;
    const struct speculate_config *config;
    struct prompt_format format;
    struct goldenset golden;
    struct compute compute;
    struct adapted adapted;
    struct model draft;
    struct sample *prompts;
    size_t n_rows;
    struct decoder decoder, draft_decoder;
    struct generation ways[N_WAYS];
    double seconds[N_WAYS];
    int32_t *out[N_WAYS];
};

static int open_models(struct speculate *s, struct err *e)
{
    const struct stage_run *r = s->run;
    int rc = adapted_open(&s->adapted, stage_in(r, "base"), stage_in(r, "adapter"),
                          stage_in(r, "package"), e);
    if (rc == 0)
        adapted_halve(&s->adapted);
    if (rc == 0)
        rc = spm_check_fits(s->format.spm, s->adapted.model.shape.vocab, e);
    if (rc == 0)
        rc = adapted_open_draft(&s->adapted, stage_in(r, "draft"), &s->draft, e);
    if (rc == 0)
        rc = compute_open(&s->compute, r->n_threads, r->kernels, e);
    s->compute.precision = compute_precision_of(s->config->precision);
    return rc;
}

static int open_all(struct speculate *s, struct err *e)
{
    const struct stage_run *r = s->run;
    int rc = prompt_format_open(&s->format, stage_in(r, "tokenizer"), stage_in(r, "template"), e);
    if (rc == 0)
        rc = goldenset_open(&s->golden, stage_in(r, "golden"), e);
    if (rc == 0)
        rc = rules_check_special(&s->golden.rows, "golden", &s->format.template, e);
    if (rc == 0)
        rc = open_models(s, e);
    if (rc == 0)
        rc = prompt_format_golden(&s->format, &s->golden, s->config->system == SYSTEM_DEFAULT,
                                  s->adapted.model.shape.context, &s->prompts, e);
    s->n_rows = s->golden.rows.n_rows;
    if (s->config->rows_max > 0 && (uint64_t)s->config->rows_max < s->n_rows)
        s->n_rows = (size_t)s->config->rows_max;
    return rc;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static void say_memory(const struct speculate *s, const struct decoder_plan *base,
                       const struct decoder_plan *draft)
{
    const struct adapter *a = s->adapted.adapter;
    struct plan_mem parts = {0};
    adapted_memory(&s->adapted, &parts);
    model_memory(&s->draft, &parts);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", s->compute.space.capacity_bytes);
    decoder_memory(&s->adapted.model, base, a ? a->rank : 0, s->run->n_threads, &parts);
    decoder_memory(&s->draft, draft, 0, s->run->n_threads, &parts);
    plan_mem_say(&parts, s->run, "fewer max_new_tokens take less");
}

static int reserve(struct speculate *s, struct err *e)
{
    const struct speculate_config *c = s->config;
    struct generation_plan plan = {
        .sampling = {c->temperature, (int)c->top_k, c->top_p, c->seed},
        .draft_tokens = (int)c->draft_tokens,
        .draft_confidence = c->draft_confidence,
        .stop_ids = s->format.stop_ids,
        .n_stop = 2,
    };
    int longest = 0;
    for (size_t i = 0; i < s->n_rows; i++)
        longest = (int)s->prompts[i].n_ids > longest ? (int)s->prompts[i].n_ids : longest;
    longest += (int)c->max_new_tokens;
    struct decoder_plan base = {.sequences = 1,
                                .positions = smaller(longest, s->adapted.model.shape.context)};
    struct decoder_plan draft = {.sequences = 1,
                                 .positions = smaller(longest, s->draft.shape.context)};
    say_memory(s, &base, &draft);
    int rc =
        decoder_reserve(&s->decoder, &s->compute, &s->adapted.model, s->adapted.adapter, &base, e);
    if (rc == 0)
        rc = decoder_reserve(&s->draft_decoder, &s->compute, &s->draft, NULL, &draft, e);
    if (rc != 0)
        return rc;
    for (int way = 0; way < N_WAYS; way++) {
        generation_init(&s->ways[way], &s->decoder, way == DRAFTED ? &s->draft_decoder : NULL,
                        &plan);
        s->out[way] = xalloc_array((size_t)c->max_new_tokens, sizeof *s->out[way]);
    }
    return 0;
}

static double now_seconds(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Each row both ways, one behind the other, so that a busy machine slows both alike. */
static int answer_row(struct speculate *s, size_t row, struct err *e)
{
    struct decoder_request r[N_WAYS];
    for (int way = 0; way < N_WAYS; way++) {
        double start = now_seconds();
        r[way] = (struct decoder_request){.prompt = s->prompts[row].ids,
                                          .n_prompt = (int)s->prompts[row].n_ids,
                                          .max_new = (int)s->config->max_new_tokens,
                                          .out = s->out[way]};
        int rc = generation_answer(&s->ways[way], &r[way], e);
        if (rc != 0)
            return err_wrap(e, "golden row %zu", row + 1);
        s->seconds[way] += now_seconds() - start;
    }
    size_t bytes = (size_t)r[ALONE].n_out * sizeof(int32_t);
    if (s->config->temperature <= 0)
        CHECK(r[ALONE].n_out == r[DRAFTED].n_out &&
              memcmp(s->out[ALONE], s->out[DRAFTED], bytes) == 0);
    return 0;
}

static int answer_all(struct speculate *s, struct err *e)
{
    for (size_t i = 0; i < s->n_rows; i++) {
        int rc = answer_row(s, i, e);
        if (rc == 0 && stage_interrupted())
            rc = err_set(e, ERR_IO, "interrupted");
        if (rc != 0)
            return rc;
        stage_progress(s->run, "answers", (double)(i + 1), (double)s->n_rows);
    }
    return 0;
}

/* Another machine has other times, so they are no output. */
static void tell_times(const struct speculate *s)
{
    double alone = s->seconds[ALONE], drafted = s->seconds[DRAFTED];
    double times = drafted > 0 ? alone / drafted : 0;
    struct json *fields = json_new_object();
    json_put_f64(fields, "seconds_alone", alone);
    json_put_f64(fields, "seconds_with_the_draft", drafted);
    json_put_f64(fields, "times_as_fast", times);
    stage_event(s->run, "measured", fields);
    stage_say(s->run, "%zu rows: %.2f s alone, %.2f s with the draft, %.2f times as fast%s",
              s->n_rows, alone, drafted, times,
              times < 1 ? ": on this machine the draft costs time" : "");
}

static double ratio(int64_t a, int64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static int write_outputs(const struct speculate *s, struct err *e)
{
    static const char *const columns[] = {"drafted token", "judged", "kept",
                                          "chance that all up to it are kept", NULL};
    const struct generation_counts *n = &s->ways[DRAFTED].counts;
    struct json *metrics = json_new_object(), *report = blocks_new();
    struct json *rows = blocks_add_table(report, "table", "The draft", columns);
    int64_t judged = 0, kept = 0;
    double chance = 1;
    for (int k = 0; k < s->config->draft_tokens; k++) {
        char name[32];
        int length = snprintf(name, sizeof name, "acceptance_%d", k + 1);
        CHECK(length > 0 && (size_t)length < sizeof name);
        chance *= ratio(n->kept[k], n->judged[k]);
        judged += n->judged[k];
        kept += n->kept[k];
        if (n->judged[0] > 0) /* else the prompts leave the draft no room */
            json_put_f64(metrics, name, chance);
        struct json *row = blocks_row(rows);
        json_append(row, json_new_i64(k + 1));
        json_append(row, json_new_i64(n->judged[k]));
        json_append(row, json_new_i64(n->kept[k]));
        json_append(row, json_new_f64(chance));
    }
    if (judged > 0)
        json_put_f64(metrics, "acceptance", ratio(kept, judged));
    json_put_f64(metrics, "tokens_per_pass", ratio(n->tokens, n->base_passes));
    json_put_i64(metrics, "tokens", n->tokens);
    json_put_i64(metrics, "base_passes", n->base_passes);
    json_put_i64(metrics, "rows", (int64_t)s->n_rows);
    return blocks_publish(s->run, "metrics", metrics, report, 0, e);
}

static void release(struct speculate *s)
{
    for (int way = 0; way < N_WAYS; way++) {
        generation_release(&s->ways[way]);
        xfree(s->out[way]);
    }
    decoder_release(&s->draft_decoder);
    decoder_release(&s->decoder);
    compute_close(&s->compute);
    model_release(&s->draft);
    adapted_release(&s->adapted);
    for (size_t i = 0; s->prompts && i < s->golden.rows.n_rows; i++)
        sample_release(&s->prompts[i]);
    xfree(s->prompts);
    goldenset_close(&s->golden);
    prompt_format_close(&s->format);
}

static int run(const struct stage_run *r, struct err *e)
{
    struct speculate s = {.run = r, .config = r->config};
    int rc = open_all(&s, e);
    if (rc == 0)
        rc = reserve(&s, e);
    if (rc == 0)
        rc = answer_all(&s, e);
    if (rc == 0)
        rc = write_outputs(&s, e);
    if (rc == 0)
        tell_times(&s);
    release(&s);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
