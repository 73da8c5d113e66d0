/*
 * sample: plain text written by a model itself, document after document, each from nothing. What a
 * draft model is distilled on: it then learns the model's answers on the model's own text.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/plan_mem.h"
#include "stages/kit/stage.h"
#include "stages/model/adapted.h"
#include "stages/model/decoder.h"
#include "stages/model/sampler.h"
#include "stages/text/spm.h"

/* Documents at a time; no byte depends on it. */
#define SEQUENCES 32
/* Of a finished document: its ids, and its text until it is written, some 4 bytes a token in room
 * that doubles. */
#define BYTES_PER_TOKEN 16
/* Draws of one document. */
#define DRAWS_PER_DOCUMENT ((uint64_t)1 << 24)

#define NEWLINE "<n>"
#define END_MARK "\n<|endoftext|>\n"

struct sample_config {
    int64_t tokens, document_tokens, top_k, seed;
    double temperature, top_p;
};

#define AT(member) offsetof(struct sample_config, member)

static const struct param PARAMS[] = {
    {"tokens", PARAM_INT, AT(tokens), "500000", 1, 5e8, NULL, "tokens",
     "How much text, in whole documents; all of it is held in memory."},
    {"document_tokens", PARAM_INT, AT(document_tokens), "255", 1, 1000000, NULL, "tokens",
     "A document is cut there, and ends for whoever reads it; at most the base's context less "
     "one."},
    {"temperature", PARAM_FLOAT, AT(temperature), "1", 1e-3, 100, NULL, "",
     "1: the model's own distribution."},
    {"top_k", PARAM_INT, AT(top_k), "0", 0, 10000000, NULL, "tokens",
     "Sample among so many likeliest tokens only; 0 = all."},
    {"top_p", PARAM_FLOAT, AT(top_p), "1", 1e-6, 1, NULL, "",
     "Then among the fewest likeliest tokens that have this share of the probability."},
    {"seed", PARAM_INT, AT(seed), "1", 0, 4294967295.0, NULL, "", "Of all draws."},
};

static const struct stage_port INS[] = {
    {"base", "base", true, "The base model."},
    {"adapter", "adapter", false, "An adapter on it."},
    {"tokenizer", "tokenizer", true, "The base's SentencePiece model."},
};

static const struct stage_port OUTS[] = {
    {"text", "text", true, "The documents, each with a line <|endoftext|> behind it."},
    {"metrics", "metrics", true, "Documents, tokens, bytes; how many documents were cut."},
    {"report", "report", true, "The same for people, and the first documents."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", NULL};

static const char *const COPIES[] = {NULL};

static const struct stage_spec SPEC = {
    .name = "sample",
    .summary = "Writes plain text sampled from a model.",
    .portable = true,
    .copies = COPIES,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct sample_config),
    .libraries = LIBRARIES,
};

struct document {
    int32_t *ids;
    int n_ids;
    bool is_cut;
};

struct sampling_run {
    const struct stage_run *run;
    const struct sample_config *config;
    struct spm *spm;
    struct compute compute;
    struct adapted adapted;
    struct decoder decoder;
    struct sampler sampler;
    double *p; /* (V) */
    struct document *documents;
    size_t n_documents;          /* begun */
    size_t in_slot[SEQUENCES];   /* the document that a slot writes */
    int32_t sequence[SEQUENCES]; /* slots at work, the first n_slots */
    int32_t next_id[SEQUENCES];
    int n_slots;
    int64_t n_tokens; /* of finished documents */
};

/* --- inputs ------------------------------------------------------------------------------------
 */

static void say_memory(const struct sampling_run *s, const struct decoder_plan *room)
{
    const struct adapter *a = s->adapted.adapter;
    uint64_t tokens = (uint64_t)(s->config->tokens + SEQUENCES * s->config->document_tokens);
    struct plan_mem parts = {.n_parts = 0};
    adapted_memory(&s->adapted, &parts);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", s->compute.space.capacity_bytes);
    decoder_memory(&s->adapted.model, room, a ? a->rank : 0, s->run->n_threads, &parts);
    plan_mem_add(&parts, "distribution",
                 (uint64_t)s->adapted.model.shape.vocab *
                     (sizeof(struct sampler_item) + 2 * sizeof(double)));
    plan_mem_add(&parts, "documents", tokens * BYTES_PER_TOKEN);
    plan_mem_say(&parts, s->run, "fewer tokens take less");
}

static int open_all(struct sampling_run *s, const struct stage_run *r, struct err *e)
{
    s->run = r;
    s->config = r->config;
    const struct sample_config *c = s->config;
    int rc = adapted_open(&s->adapted, stage_in(r, "base"), stage_in(r, "adapter"), NULL, e);
    if (!rc)
        adapted_halve(&s->adapted);
    if (!rc)
        rc = spm_open(stage_in(r, "tokenizer"), &s->spm, e);
    if (!rc)
        rc = compute_open(&s->compute, r->n_threads, r->kernels, e);
    const struct shape *shape = &s->adapted.model.shape;
    if (!rc)
        rc = spm_check_fills(s->spm, shape->vocab, e);
    if (rc)
        return rc;
    if (c->document_tokens >= shape->context)
        return err_set(e, ERR_CONFIG, "document_tokens: %lld, the base takes at most %d",
                       (long long)c->document_tokens, shape->context - 1);
    struct sampling plan = {c->temperature, (int)c->top_k, c->top_p, c->seed};
    struct decoder_plan room = {.sequences = SEQUENCES, .positions = (int)c->document_tokens + 1};
    say_memory(s, &room);
    sampler_init(&s->sampler, &plan, shape->vocab);
    s->p = xalloc_array((size_t)shape->vocab, sizeof *s->p);
    return decoder_reserve(&s->decoder, &s->compute, &s->adapted.model, s->adapted.adapter, &room,
                           e);
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void begin_document(struct sampling_run *s, int slot)
{
    s->documents = xrealloc_array(s->documents, s->n_documents + 1, sizeof *s->documents);
    s->documents[s->n_documents] =
        (struct document){.ids = xalloc_array((size_t)s->config->document_tokens, sizeof(int32_t))};
    s->in_slot[slot] = s->n_documents++;
    s->next_id[slot] = SPM_EOS;
    decoder_reset(&s->decoder, s->sequence[slot]);
}

/* Draws the next token of a slot's document; true when that ends it. */
static bool draw(struct sampling_run *s, int slot)
{
    size_t i = s->in_slot[slot];
    struct document *d = &s->documents[i];
    uint64_t at = (uint64_t)i * DRAWS_PER_DOCUMENT + (uint64_t)d->n_ids;
    int32_t id = sampler_draw(&s->sampler, s->p, SAMPLER_ANSWER, at);
    if (id == SPM_EOS)
        return true;
    d->ids[d->n_ids++] = id;
    s->next_id[slot] = id;
    d->is_cut = d->n_ids == s->config->document_tokens;
    return d->is_cut;
}

static void leave_slot(struct sampling_run *s, int slot)
{
    int last = --s->n_slots;
    int32_t sequence = s->sequence[slot];
    s->sequence[slot] = s->sequence[last];
    s->sequence[last] = sequence;
    s->in_slot[slot] = s->in_slot[last];
    s->next_id[slot] = s->next_id[last];
}

/* One token for every document at work. Downwards: a slot that is left takes the last one's. */
static int step(struct sampling_run *s, struct err *e)
{
    int rc = decoder_step(&s->decoder, s->sequence, s->next_id, s->n_slots, e);
    for (int slot = s->n_slots - 1; !rc && slot >= 0; slot--) {
        const float *logits = decoder_logits(&s->decoder, s->sequence[slot]);
        if (!ops_all_finite(&s->compute, (size_t)s->sampler.vocab, logits))
            return err_set(e, ERR_NUMERIC, "document %zu: the logits are not finite",
                           s->in_slot[slot] + 1);
        sampler_distribution(&s->sampler, logits, s->p);
        if (!draw(s, slot))
            continue;
        struct document *d = &s->documents[s->in_slot[slot]];
        d->ids = xrealloc_array(d->ids, (size_t)d->n_ids, sizeof *d->ids);
        s->n_tokens += d->n_ids + 1;
        if (s->n_tokens < s->config->tokens)
            begin_document(s, slot);
        else
            leave_slot(s, slot);
    }
    return rc;
}

/* Every document that was begun is finished: which are kept then depends on their order alone. */
static int write_documents(struct sampling_run *s, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < SEQUENCES; i++) {
        s->sequence[i] = i;
        begin_document(s, i);
    }
    s->n_slots = SEQUENCES;
    while (!rc && s->n_slots > 0) {
        if (stage_interrupted())
            return err_set(e, ERR_IO, "interrupted");
        rc = step(s, e);
        if (s->n_tokens < s->config->tokens)
            stage_progress(s->run, "tokens", (double)s->n_tokens, (double)s->config->tokens);
    }
    return rc;
}

/* --- result ------------------------------------------------------------------------------------
 */

/* What cannot stand in a text file is a space: bytes below it, and pieces without a meaning. */
static void add_plain(struct buf *out, const char *text, size_t n)
{
    size_t newline = strlen(NEWLINE);
    for (size_t at = 0; at < n; at++) {
        if (n - at >= newline && memcmp(text + at, NEWLINE, newline) == 0) {
            buf_add_text(out, "\n");
            at += newline - 1;
        } else {
            char c = (unsigned char)text[at] < ' ' ? ' ' : text[at];
            buf_add(out, &c, 1);
        }
    }
}

static int add_document(const struct sampling_run *s, const struct document *d, struct buf *out,
                        struct err *e)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    int rc = spm_decode(s->spm, d->ids, (size_t)d->n_ids, &text, e);
    if (!rc)
        add_plain(out, text.bytes, text.n_bytes);
    buf_release(&text);
    return rc;
}

static int publish(const struct sampling_run *s, struct err *e)
{
    enum { SHOWN = 3 };
    struct buf text, shown;
    int64_t n_tokens = 0, n_cut = 0, n = 0;
    struct json *report = blocks_new(), *metrics = json_new_object();
    buf_init(&text, (size_t)4 << 30);
    buf_init(&shown, (size_t)4 << 30);
    int rc = 0;
    for (; !rc && (size_t)n < s->n_documents && n_tokens < s->config->tokens; n++) {
        const struct document *d = &s->documents[n];
        size_t before = text.n_bytes;
        rc = add_document(s, d, &text, e);
        if (n < SHOWN)
            buf_printf(&shown, "%s%.*s", n ? "\n\n" : "", (int)(text.n_bytes - before),
                       text.bytes ? text.bytes + before : "");
        buf_add_text(&text, END_MARK);
        n_tokens += d->n_ids + 1;
        n_cut += d->is_cut;
    }
    json_put_i64(metrics, "documents", n);
    json_put_i64(metrics, "cut_documents", n_cut);
    json_put_i64(metrics, "tokens", n_tokens);
    json_put_i64(metrics, "bytes", (int64_t)text.n_bytes);
    blocks_add_text(report, "The first documents", buf_text(&shown));
    if (!rc && stage_out(s->run, "text"))
        rc = file_publish(stage_out(s->run, "text"), text.bytes, text.n_bytes, 0644, e);
    rc = blocks_publish(s->run, "metrics", metrics, report, rc, e);
    buf_release(&shown);
    buf_release(&text);
    return rc;
}

static void release(struct sampling_run *s)
{
    for (size_t i = 0; i < s->n_documents; i++)
        xfree(s->documents[i].ids);
    xfree(s->documents);
    xfree(s->p);
    sampler_release(&s->sampler);
    decoder_release(&s->decoder);
    spm_close(s->spm);
    compute_close(&s->compute);
    adapted_release(&s->adapted);
}

static int run(const struct stage_run *r, struct err *e)
{
    struct sampling_run s = {0};
    int rc = open_all(&s, r, e);
    if (!rc)
        rc = write_documents(&s, e);
    if (!rc)
        rc = publish(&s, e);
    release(&s);
    return rc;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
