/*
 * vocab: a SentencePiece model from plain text. The lines are given to SentencePiece from memory,
 * in order, on one thread: the same text and parameters give the same bytes.
 */

#include <stddef.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/kit/stage.h"
#include "stages/text/spm.h"
#include "stages/text/template.h"
#include "stages/vocab/lines.h"

/* Bytes per token are measured on that many lines. */
#define MEASURE_LINES 20000

struct vocab_config {
    int64_t vocab;
    double character_coverage;
    bool split_digits;
    int64_t lines_max;
    int64_t line_bytes_max;
    const char *skip;
};

static const struct param PARAMS[] = {
    {"vocab", PARAM_INT, offsetof(struct vocab_config, vocab), "4096", 400, 500000, NULL, "pieces",
     "Size of the vocabulary, with special and byte pieces."},
    {"character_coverage", PARAM_FLOAT, offsetof(struct vocab_config, character_coverage), "0.9995",
     0.9, 1, NULL, "",
     "Share of the text's characters that get a piece; the rest is written in bytes."},
    {"split_digits", PARAM_BOOL, offsetof(struct vocab_config, split_digits), "true", 0, 0, NULL,
     "", "Make every digit a piece of its own."},
    {"lines_max", PARAM_INT, offsetof(struct vocab_config, lines_max), "200000", 1, 100000000, NULL,
     "lines", "Train on at most so many lines, evenly spaced over the text."},
    {"line_bytes_max", PARAM_INT, offsetof(struct vocab_config, line_bytes_max), "8192", 64,
     1048576, NULL, "bytes", "Cut longer lines at a space."},
    {"skip", PARAM_TEXT, offsetof(struct vocab_config, skip), "", 0, 0, NULL, "",
     "Files of the folder to leave out (held-out text), by name without suffix: \"valid,test\"."},
};

static const struct stage_port INS[] = {
    {"text", "text", true,
     "A .txt or .txt.zst file or a folder of them; documents end with <|endoftext|>."},
};

static const struct stage_port OUTS[] = {
    {"tokenizer", "tokenizer", true, "The SentencePiece model."},
    {"report", "report", true, "Size and bytes per token."},
};

static const char *const LIBRARIES[] = {"libsentencepiece.so.0", "libsentencepiece_train.so.0",
                                        NULL};

static const struct stage_spec SPEC = {
    .name = "vocab",
    .summary = "Trains a SentencePiece tokenizer on plain text.",
    .portable = true,
    .ins = INS,
    .n_ins = sizeof INS / sizeof INS[0],
    .outs = OUTS,
    .n_outs = sizeof OUTS / sizeof OUTS[0],
    .params = PARAMS,
    .n_params = sizeof PARAMS / sizeof PARAMS[0],
    .config_bytes = sizeof(struct vocab_config),
    .libraries = LIBRARIES,
};

static bool next_line(void *context, const char **line, size_t *n_bytes)
{
    return !stage_interrupted() && lines_walk_next(context, line, n_bytes);
}

static int train(const struct lines *lines, const struct vocab_config *config, struct buf *model,
                 struct err *e)
{
    struct lines_walk walk = lines_walk_open(lines, (uint64_t)config->lines_max);
    struct spm_training training = {
        .vocab = (int)config->vocab,
        .character_coverage = config->character_coverage,
        .split_digits = config->split_digits,
        .symbols = TEMPLATE_PIECES,
        .n_symbols = TEMPLATE_N_PIECES,
        .line_bytes_max = (size_t)config->line_bytes_max,
        .next = next_line,
        .context = &walk,
    };
    int status = spm_train(&training, model, e);
    if (status == 0 && stage_interrupted())
        return err_set(e, ERR_IO, "interrupted");
    return status;
}

struct measure {
    uint64_t n_lines, n_bytes, n_tokens;
};

static int measure(const struct lines *lines, const struct buf *model, struct measure *m,
                   struct err *e)
{
    struct spm *spm = NULL;
    struct lines_walk walk = lines_walk_open(lines, MEASURE_LINES);
    const char *line = NULL;
    size_t n_bytes = 0;
    int status = spm_open_bytes(buf_text(model), model->n_bytes, &spm, e);
    while (status == 0 && lines_walk_next(&walk, &line, &n_bytes)) {
        int32_t *ids = NULL;
        size_t n_ids = 0;
        status = spm_encode(spm, line, n_bytes, &ids, &n_ids, e);
        xfree(ids);
        m->n_lines++;
        m->n_bytes += n_bytes;
        m->n_tokens += n_ids;
    }
    spm_close(spm);
    return status;
}

static void add_findings(struct json *report, struct lines *lines)
{
    struct json *rows = json_new_array();
    corpus_take_findings(&lines->corpus, "text", rows);
    if (lines->n_cuts > 0)
        finding_put(rows, "text", "cuts of lines longer than line_bytes_max", lines->n_cuts, "");
    finding_add_table(report, rows);
}

static int write_report(const char *path, struct lines *lines, const struct measure *m,
                        const struct vocab_config *config, size_t model_bytes, struct err *e)
{
    struct json *report = blocks_new();
    struct json *rows = blocks_add_values(report, "Tokenizer");
    blocks_value(rows, "pieces", json_new_i64(config->vocab));
    blocks_value(rows, "model bytes", json_new_i64((int64_t)model_bytes));
    blocks_value(rows, "text bytes", json_new_i64((int64_t)lines->n_bytes));
    blocks_value(rows, "text lines", json_new_i64((int64_t)lines->n_lines));
    blocks_value(rows, "measured lines", json_new_i64((int64_t)m->n_lines));
    blocks_value(rows, "measured tokens", json_new_i64((int64_t)m->n_tokens));
    if (m->n_tokens > 0)
        blocks_value(rows, "bytes per token",
                     json_new_f64((double)m->n_bytes / (double)m->n_tokens));
    add_findings(report, lines);
    int status = blocks_save(report, path, e);
    json_free(report);
    return status;
}

static int run(const struct stage_run *r, struct err *e)
{
    const struct vocab_config *config = r->config;
    struct lines lines = {0};
    struct measure m = {0};
    struct buf model;
    buf_init(&model, BUF_MAX_DEFAULT);
    int status =
        lines_read(&lines, stage_in(r, "text"), config->skip, (size_t)config->line_bytes_max, e);
    if (status == 0) {
        stage_say(r, "%llu lines, %llu bytes of text", (unsigned long long)lines.n_lines,
                  (unsigned long long)lines.n_bytes);
        status = train(&lines, config, &model, e);
    }
    if (status == 0)
        status = measure(&lines, &model, &m, e);
    if (status == 0)
        status = file_write(stage_out(r, "tokenizer"), model.bytes, model.n_bytes, e);
    if (status == 0)
        status = write_report(stage_out(r, "report"), &lines, &m, config, model.n_bytes, e);
    lines_release(&lines);
    buf_release(&model);
    return status;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &SPEC, run);
}
