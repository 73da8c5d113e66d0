/*
 * perplexity: how well a model predicts plain text that it has not seen. The same text and windows
 * whatever the form of the base, so that systems can be compared: dense, rounded, with an adapter.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/stage.h"
#include "stages/model/adapted.h"
#include "stages/model/fmath.h"
#include "stages/model/trainer.h"
#include "stages/text/row_source.h"
#include "stages/text/spm.h"

#define MICRO_TOKENS 2048
#define LN_2 0.693147180559945309417

struct perplexity_config {
    int64_t window, tokens;
};

#define AT(member) offsetof(struct perplexity_config, member)

static const struct param PARAMS[] = {
    {"window", PARAM_INT, AT(window), "256", 16, 1000000, NULL, "tokens",
     "Length of a piece of text, the most that a prediction can see; at most the base's context."},
    {"tokens", PARAM_INT, AT(tokens), "0", 0, 5e10, NULL, "tokens",
     "How much of the text, in whole windows, evenly spaced; 0 = all."},
};

static const struct stage_port INS[] = {
    {"text", "text", true,
     "A .txt or .txt.zst file or a folder of them; documents end with a line <|endoftext|>."},
    {"tokenizer", "tokenizer", true, "The base's SentencePiece model."},
    {"base", "base", true, "The base, in whatever form it is stored."},
    {"adapter", "adapter", false, "An adapter on it."},
    {"package", "package", false, "Or a .fmadapter package on it."},
    {"full", "metrics", false,
     "Of the model before it was rounded, on the same text; with `rounded`."},
    {"rounded", "metrics", false, "Of its plain rounding: share_won_back is of what this loses."},
};

static const struct stage_port OUTS[] = {
    {"metrics", "metrics", true,
     "nats_per_token; perplexity, its exponential; bits_per_byte of the text, which compares "
     "models of different vocabularies; next_token_accuracy; tokens and bytes predicted; with "
     "`full` "
     "and `rounded` share_won_back = (rounded - this) / (rounded - full) of nats_per_token."},
    {"report", "report", true, "The same for people."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const char *const COPIES[] = {NULL};

static const struct stage_spec SPEC = {
    .name = "perplexity",
    .summary = "Measures how well a model predicts plain text.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct perplexity_config),
    .libraries = LIBRARIES,
};

/* What another stage of this kind measured. */
struct other {
    double nats; /* per token */
    int64_t tokens, bytes;
};

struct perplexity {
    const struct stage_run *run;
    const struct perplexity_config *config;
    struct compute compute;
    struct adapted adapted;
    struct spm *spm;
    struct windows text;
    struct row_source rows;
    struct arena batches;
    struct transformer pass;
    unsigned char *piece_bytes; /* (V) bytes of text that a piece stands for */
    struct loss_sum sum;
    int64_t n_bytes;
    bool has_others;
    struct other full, rounded;
};

/* --- the others --------------------------------------------------------------------------------
 */

static int read_other(const struct perplexity *p, const char *port, struct other *o, struct err *e)
{
    struct json *v = NULL;
    int rc = json_read(stage_in(p->run, port), &v, e);
    if (rc)
        return err_wrap(e, "%s", port);
    rc = json_need_f64(v, "nats_per_token", &o->nats, e);
    if (!rc)
        rc = json_need_i64(v, "tokens", &o->tokens, e);
    if (!rc)
        rc = json_need_i64(v, "bytes", &o->bytes, e);
    json_free(v);
    return rc ? err_wrap(e, "%s: not the metrics of a perplexity stage", port) : 0;
}

static int read_others(struct perplexity *p, struct err *e)
{
    bool full = stage_in(p->run, "full") != NULL, rounded = stage_in(p->run, "rounded") != NULL;
    if (full != rounded)
        return err_set(e, ERR_CONFIG, "%s is given without %s: share_won_back needs both",
                       full ? "full" : "rounded", full ? "rounded" : "full");
    p->has_others = full;
    if (!full)
        return 0;
    int rc = read_other(p, "full", &p->full, e);
    if (!rc)
        rc = read_other(p, "rounded", &p->rounded, e);
    if (!rc && p->rounded.nats <= p->full.nats)
        rc = err_set(e, ERR_CONFIG,
                     "rounded: %.6g nats per token, and %.6g of `full`: nothing is lost that could "
                     "be won back",
                     p->rounded.nats, p->full.nats);
    return rc;
}

static int check_other(const struct perplexity *p, const char *port, const struct other *o,
                       struct err *e)
{
    if (o->tokens == p->sum.n_tokens && o->bytes == p->n_bytes)
        return 0;
    return err_set(e, ERR_CONFIG,
                   "%s: measured on %lld tokens and %lld bytes, here are %lld and %lld: give both "
                   "the same text, tokenizer and window",
                   port, (long long)o->tokens, (long long)o->bytes, (long long)p->sum.n_tokens,
                   (long long)p->n_bytes);
}

/* --- bytes of text -----------------------------------------------------------------------------
 */

/* A space is written as U+2581, three bytes; a byte piece as "<0x0A>". The space that is put in
 * front of each document counts as one byte of it. */
static unsigned char bytes_of_piece(const struct buf *piece)
{
    static const char space[] = "\xe2\x96\x81";
    const char *text = piece->bytes;
    size_t n = piece->n_bytes;
    if (n == 6 && memcmp(text, "<0x", 3) == 0)
        return 1;
    for (size_t at = 0; at + 3 <= piece->n_bytes; at++)
        if (memcmp(text + at, space, 3) == 0)
            n -= 2;
    return (unsigned char)(n < 255 ? n : 255);
}

static int count_piece_bytes(struct perplexity *p, struct err *e)
{
    int n = spm_size(p->spm), rc = 0;
    p->piece_bytes = xalloc_array((size_t)n, 1);
    struct buf piece;
    buf_init(&piece, BUF_MAX_DEFAULT);
    for (int32_t id = SPM_UNK + 1; id < n && !rc; id++) {
        piece.n_bytes = 0;
        rc = spm_piece(p->spm, id, &piece, e);
        if (!rc)
            p->piece_bytes[id] = id == p->text.newline ? 1 : bytes_of_piece(&piece);
    }
    buf_release(&piece);
    return rc;
}

/* --- the run -----------------------------------------------------------------------------------
 */

static int open_text(struct perplexity *p, struct err *e)
{
    const struct shape *s = &p->adapted.model.shape;
    int rc = windows_check_length("window", p->config->window, s->context, e);
    if (!rc)
        rc = spm_open(stage_in(p->run, "tokenizer"), &p->spm, e);
    if (!rc)
        rc = spm_check_fills(p->spm, s->vocab, e);
    if (rc)
        return rc;
    struct windows_plan plan = {.window = (int)p->config->window, .in_order = true};
    rc = windows_open(&p->text, stage_in(p->run, "text"), &plan, p->spm, e);
    if (rc)
        return err_wrap(e, "text");
    row_source_of_windows(&p->rows, &p->text);
    return count_piece_bytes(p, e);
}

static int tokens_max(const struct perplexity *p)
{
    return p->config->window > MICRO_TOKENS ? (int)p->config->window : MICRO_TOKENS;
}

static void say_memory(const struct perplexity *p, const struct transformer_plan *plan)
{
    struct plan_mem parts = {0};
    adapted_memory(&p->adapted, &parts);
    plan_mem_add(&parts, "rows of a batch", p->batches.capacity_bytes);
    windows_memory(&p->text, &parts);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", p->compute.space.capacity_bytes);
    transformer_memory(&p->adapted.model.shape, plan, p->run->n_threads, &parts);
    plan_mem_say(&parts, p->run, "a smaller model takes less");
}

static int reserve(struct perplexity *p, struct err *e)
{
    const struct adapter *a = p->adapted.adapter;
    struct transformer_plan plan = {
        .tokens_max = tokens_max(p), .rank = a ? a->rank : 0, .what = TRAIN_NOTHING};
    int rc = arena_reserve(&p->batches, "batches", token_batch_bytes(tokens_max(p)), e);
    if (rc)
        return rc;
    say_memory(p, &plan);
    row_source_reserve(&p->rows, &p->batches, tokens_max(p));
    return transformer_reserve(&p->pass, &p->compute, &p->adapted.model.shape, &plan, e);
}

static int open_all(struct perplexity *p, const struct stage_run *r, struct err *e)
{
    p->run = r;
    p->config = r->config;
    int rc = read_others(p, e);
    if (!rc)
        rc = adapted_open(&p->adapted, stage_in(r, "base"), stage_in(r, "adapter"),
                          stage_in(r, "package"), e);
    if (!rc)
        adapted_halve(&p->adapted);
    if (!rc)
        rc = open_text(p, e);
    if (!rc)
        rc = compute_open(&p->compute, r->n_threads, r->kernels, e);
    return rc ? rc : reserve(p, e);
}

static int loss(void *context, const struct batch *b, float scale, float *grads,
                struct loss_sum *sum, struct err *e)
{
    struct perplexity *p = context;
    CHECK(!grads);
    if (stage_interrupted())
        return err_set(e, ERR_IO, "interrupted");
    for (int t = 0; t < b->n_tokens; t++)
        if (b->target[t] >= 0)
            p->n_bytes += p->piece_bytes[b->target[t]];
    return transformer_loss(&p->pass, &p->adapted.model, p->adapted.adapter, b, scale, NULL, sum,
                            e);
}

static int measure(struct perplexity *p, struct err *e)
{
    struct rows rows = row_source_rows(&p->rows);
    struct trainer t = {.compute = &p->compute,
                        .plan = {.tokens_max = tokens_max(p)},
                        .rows = &rows,
                        .context = p,
                        .loss = loss};
    int64_t wanted = p->config->tokens / p->config->window;
    uint32_t n = rows.n_rows;
    if (p->config->tokens > 0 && wanted < n)
        n = wanted < 1 ? 1 : (uint32_t)wanted;
    return trainer_evaluate(&t, &rows, n, &p->sum, e);
}

static struct json *metrics_of(const struct perplexity *p)
{
    struct json *m = json_new_object();
    double tokens = (double)p->sum.n_tokens, nats = p->sum.loss / tokens;
    json_put_f64(m, "nats_per_token", nats);
    json_put_f64(m, "perplexity", fm_exp(nats < 700 ? nats : 700));
    if (p->n_bytes > 0)
        json_put_f64(m, "bits_per_byte", p->sum.loss / (double)p->n_bytes / LN_2);
    json_put_f64(m, "next_token_accuracy", (double)p->sum.n_correct / tokens);
    json_put_i64(m, "tokens", p->sum.n_tokens);
    json_put_i64(m, "bytes", p->n_bytes);
    if (p->has_others)
        json_put_f64(m, "share_won_back",
                     (p->rounded.nats - nats) / (p->rounded.nats - p->full.nats));
    return m;
}

static int publish(struct perplexity *p, struct err *e)
{
    struct json *metrics = metrics_of(p), *report = blocks_new();
    struct windows no_other = {0};
    blocks_add_numbers(report, "Plain text", metrics);
    windows_report(&p->text, &no_other, report);
    return blocks_publish(p->run, "metrics", metrics, report, 0, e);
}

static void release(struct perplexity *p)
{
    transformer_release(&p->pass);
    arena_release(&p->batches);
    windows_close(&p->text);
    spm_close(p->spm);
    xfree(p->piece_bytes);
    compute_close(&p->compute);
    adapted_release(&p->adapted);
}

static int run(const struct stage_run *r, struct err *e)
{
    struct perplexity p = {0};
    int rc = open_all(&p, r, e);
    if (!rc)
        rc = measure(&p, e);
    if (!rc && p.has_others)
        rc = check_other(&p, "full", &p.full, e);
    if (!rc && p.has_others)
        rc = check_other(&p, "rounded", &p.rounded, e);
    if (!rc)
        rc = publish(&p, e);
    release(&p);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
