#include "stages/text/spm.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/spm_shim.h"

struct spm {
    struct spm_shim *shim;
    int n_pieces;
};

int spm_open_bytes(const void *bytes, size_t n_bytes, struct spm **out, struct err *e)
{
    char reason[SPM_SHIM_ERROR_BYTES] = "";
    struct spm_shim *shim = NULL;
    *out = NULL;
    if (n_bytes == 0)
        return err_set(e, ERR_FORMAT, "tokenizer model: the file is empty");
    if (spm_shim_open(bytes, n_bytes, &shim, reason) < 0)
        return err_set(e, ERR_FORMAT, "tokenizer model: SentencePiece does not take it: %s",
                       reason);
    int n_pieces = spm_shim_size(shim);
    if (n_pieces < 1 || n_pieces > SPM_PIECES_MAX) {
        spm_shim_close(shim);
        return err_set(e, ERR_LIMIT, "tokenizer model: %d pieces (SPM_PIECES_MAX is %d)", n_pieces,
                       SPM_PIECES_MAX);
    }
    struct spm *s = xalloc(sizeof *s);
    s->shim = shim;
    s->n_pieces = n_pieces;
    *out = s;
    return 0;
}

int spm_open(const char *path, struct spm **out, struct err *e)
{
    struct buf bytes;
    *out = NULL;
    buf_init(&bytes, BUF_MAX_DEFAULT);
    int status = file_read(path, SPM_MODEL_BYTES_MAX, &bytes, e);
    if (status == 0) {
        status = spm_open_bytes(buf_text(&bytes), bytes.n_bytes, out, e);
        if (status < 0)
            status = err_wrap(e, "%s", path);
    }
    buf_release(&bytes);
    return status;
}

void spm_close(struct spm *s)
{
    if (!s)
        return;
    spm_shim_close(s->shim);
    xfree(s);
}

int spm_size(const struct spm *s)
{
    return s->n_pieces;
}

int spm_check_fits(const struct spm *s, int vocab, struct err *e)
{
    if (spm_size(s) <= vocab)
        return 0;
    return err_set(e, ERR_CONFIG, "the tokenizer has %d pieces, the model only %d", spm_size(s),
                   vocab);
}

int spm_check_fills(const struct spm *s, int vocab, struct err *e)
{
    if (spm_size(s) == vocab)
        return 0;
    return err_set(e, ERR_CONFIG, "the tokenizer has %d pieces, the model a vocabulary of %d",
                   spm_size(s), vocab);
}

int spm_encode(struct spm *s, const char *text, size_t n_bytes, int32_t **ids, size_t *n_ids,
               struct err *e)
{
    char reason[SPM_SHIM_ERROR_BYTES] = "";
    size_t n_valid = str_utf8_prefix(text, n_bytes);
    *ids = NULL;
    *n_ids = 0;
    if (n_valid != n_bytes)
        return err_set(e, ERR_FORMAT, "text to encode: invalid UTF-8 at byte %zu", n_valid + 1);
    if (spm_shim_encode(s->shim, text, n_bytes, ids, n_ids, reason) < 0)
        return err_set(e, ERR_FORMAT, "SentencePiece cannot encode: %s", reason);
    return 0;
}

static int check_id(const struct spm *s, int32_t id, struct err *e)
{
    if (id < 0 || id >= s->n_pieces)
        return err_set(e, ERR_FORMAT, "token id %d is outside the vocabulary of %d pieces", (int)id,
                       s->n_pieces);
    return 0;
}

int spm_decode(struct spm *s, const int32_t *ids, size_t n_ids, struct buf *out, struct err *e)
{
    char reason[SPM_SHIM_ERROR_BYTES] = "";
    char *text = NULL;
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_ids; i++) {
        int status = check_id(s, ids[i], e);
        if (status < 0)
            return status;
    }
    if (n_ids == 0)
        return 0;
    if (spm_shim_decode(s->shim, ids, n_ids, &text, &n_bytes, reason) < 0)
        return err_set(e, ERR_FORMAT, "SentencePiece cannot decode: %s", reason);
    buf_add(out, text, n_bytes);
    xfree(text);
    return 0;
}

int32_t spm_piece_id(struct spm *s, const char *piece)
{
    int32_t id = spm_shim_piece_id(s->shim, piece);
    if (id < 0 || id >= s->n_pieces)
        return -1;
    /* SentencePiece gives <unk> for what it does not know. */
    char reason[SPM_SHIM_ERROR_BYTES] = "";
    char *name = NULL;
    size_t n_bytes = 0;
    if (spm_shim_piece(s->shim, id, &name, &n_bytes, reason) < 0)
        return -1;
    bool same = n_bytes == strlen(piece) && memcmp(name, piece, n_bytes) == 0;
    xfree(name);
    return same ? id : -1;
}

int spm_piece(struct spm *s, int32_t id, struct buf *out, struct err *e)
{
    char reason[SPM_SHIM_ERROR_BYTES] = "";
    char *name = NULL;
    size_t n_bytes = 0;
    int status = check_id(s, id, e);
    if (status < 0)
        return status;
    if (spm_shim_piece(s->shim, id, &name, &n_bytes, reason) < 0)
        return err_set(e, ERR_FORMAT, "SentencePiece has no piece %d: %s", (int)id, reason);
    buf_add(out, name, n_bytes);
    xfree(name);
    return 0;
}

/* JSON and code are typed in ASCII, whatever the text to train on is about: all of it is required.
 */
#define REQUIRED_CHARACTERS \
    "!\"#$%&'()*+,-./"      \
    "0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

/* The lines of the caller, and one behind them with every required character apart: SentencePiece
 * aborts on a required character that no line has. */
struct train_lines {
    const struct spm_training *training;
    char last[2 * sizeof REQUIRED_CHARACTERS];
    bool is_last_given;
};

static int train_next(void *context, const char **line, size_t *n_bytes)
{
    struct train_lines *l = context;
    if (l->training->next(l->training->context, line, n_bytes))
        return 1;
    if (l->is_last_given)
        return 0;
    size_t n = 0;
    for (const char *c = REQUIRED_CHARACTERS; *c; c++) {
        l->last[n++] = *c;
        l->last[n++] = ' ';
    }
    l->is_last_given = true;
    *line = l->last;
    *n_bytes = n - 1;
    return 1;
}

int spm_train(const struct spm_training *t, struct buf *model, struct err *e)
{
    char reason[SPM_SHIM_ERROR_BYTES] = "";
    char vocab[24];
    char line_max[24];
    struct buf coverage;
    struct buf symbols;
    CHECK(t->vocab > 0 && t->next);
    buf_init(&coverage, 64);
    buf_init(&symbols, BUF_MAX_DEFAULT);
    /* Not printf: the decimal point must not depend on the locale. */
    json_add_number(&coverage, t->character_coverage);
    for (size_t i = 0; i < t->n_symbols; i++) {
        if (i > 0)
            buf_add_char(&symbols, ',');
        buf_add_text(&symbols, t->symbols[i]);
    }
    snprintf(vocab, sizeof vocab, "%d", t->vocab);
    size_t longest = 2 * sizeof REQUIRED_CHARACTERS; /* the last line; longer ones are left out */
    longest = t->line_bytes_max > longest ? t->line_bytes_max : longest;
    snprintf(line_max, sizeof line_max, "%zu", longest + 1);
    const struct spm_shim_setting settings[] = {
        {"model_type", "bpe"},
        {"vocab_size", vocab},
        {"character_coverage", buf_text(&coverage)},
        {"byte_fallback", "true"},
        {"split_digits", t->split_digits ? "true" : "false"},
        {"user_defined_symbols", buf_text(&symbols)},
        {"required_chars", REQUIRED_CHARACTERS},
        {"max_sentence_length", line_max},
        {"pad_id", "0"},
        {"eos_id", "1"},
        {"bos_id", "2"},
        {"unk_id", "3"},
        /* A piece that is unknown and has no bytes shows as U+FFFD, never as an invented word. */
        {"unk_surface", "\xEF\xBF\xBD"},
        {"normalization_rule_name", t->normalisation ? t->normalisation : "identity"},
        {"add_dummy_prefix", "true"},
        {"remove_extra_whitespaces", "false"},
        {"allow_whitespace_only_pieces", "true"},
        {"shuffle_input_sentence", "false"},
        {"input_sentence_size", "0"},
        {"num_threads", "1"},
        {"minloglevel", "3"},
    };
    struct train_lines lines = {.training = t};
    char *bytes = NULL;
    size_t n_bytes = 0;
    int status = 0;
    buf_clear(model);
    if (spm_shim_train(settings, sizeof settings / sizeof settings[0], train_next, &lines, &bytes,
                       &n_bytes, reason) < 0)
        status = err_set(e, ERR_FORMAT, "SentencePiece cannot train: %s", reason);
    else
        buf_add(model, bytes, n_bytes);
    xfree(bytes);
    buf_release(&coverage);
    buf_release(&symbols);
    return status;
}
