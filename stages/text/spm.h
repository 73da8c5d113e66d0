#ifndef FMFORGE_TEXT_SPM_H
#define FMFORGE_TEXT_SPM_H

/*
 * A SentencePiece model: text to token ids and back, and its training. SentencePiece itself is
 * known only to spm_shim.cc. Ids 0..3 are <pad>, </s> (end of text, and the first token of every
 * sample), <s> and <unk>; 256 byte pieces stand in for what has no piece. A model that is trained
 * here does not normalise: decode(encode(text)) gives the same bytes, with two exceptions that
 * callers must know: the character U+2581 reads as a space, and control pieces (ids 0..2) decode to
 * nothing. A model of somebody else may normalise (SentencePiece's default is NFKC): then a text
 * can get longer, other letters, and special pieces where it had look-alikes (render.h refuses
 * those).
 *
 * spm_encode puts a space in front of the text (the dummy prefix): the first id is the piece of
 * that space, alone or joined with what follows. In front of a user-defined symbol it is always
 * alone. spm_decode takes one space away at the front. stages/text/render.h encodes prompts.
 *
 * One spm may be used by several threads at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

enum spm_special {
    SPM_PAD = 0,
    SPM_EOS = 1,
    SPM_BOS = 2,
    SPM_UNK = 3,
};

/* More pieces than any model of the class has (153,600), less than an int could break. */
#define SPM_PIECES_MAX 1000000
/* A model file; the toolkit's has 2.7 MB. */
#define SPM_MODEL_BYTES_MAX ((uint64_t)64 << 20)

struct spm; /* opaque: a SentencePiece processor */

/* Reads a model file. ERR_FORMAT when SentencePiece does not take it. */
int spm_open(const char *path, struct spm **out, struct err *e) MUST_USE;
/* The same from memory; bytes are borrowed for the call. */
int spm_open_bytes(const void *bytes, size_t n_bytes, struct spm **out, struct err *e) MUST_USE;
void spm_close(struct spm *s); /* NULL is fine */

int spm_size(const struct spm *s); /* number of pieces = size of the vocabulary */

/* Every id has a row in a model's embedding: at most `vocab` pieces, else ERR_CONFIG. */
int spm_check_fits(const struct spm *s, int vocab, struct err *e) MUST_USE;
/* Exactly `vocab`, else ERR_CONFIG: tokenizer and model were made for each other. */
int spm_check_fills(const struct spm *s, int vocab, struct err *e) MUST_USE;

/* *n_ids ids; caller xfrees them, they are NULL after a failure. text may hold any bytes; invalid
 * UTF-8 is ERR_FORMAT. */
int spm_encode(struct spm *s, const char *text, size_t n_bytes, int32_t **ids, size_t *n_ids,
               struct err *e) MUST_USE;
/* Appends the text to out (initialised by the caller). An id outside the vocabulary is ERR_FORMAT.
 */
int spm_decode(struct spm *s, const int32_t *ids, size_t n_ids, struct buf *out,
               struct err *e) MUST_USE;

/* The id of a piece, -1 when the model has no such piece. */
int32_t spm_piece_id(struct spm *s, const char *piece);
/* The piece as the model writes it ("▁the", "<0x0A>"); appended to out. */
int spm_piece(struct spm *s, int32_t id, struct buf *out, struct err *e) MUST_USE;

/* How to train: byte-pair encoding with byte fallback, one thread, no shuffling. */
struct spm_training {
    int vocab;                  /* pieces in all */
    double character_coverage;  /* share of characters that get a piece, (0, 1] */
    bool split_digits;          /* every digit its own piece */
    const char *normalisation;  /* a rule of SentencePiece's; NULL = "identity", text as it is */
    const char *const *symbols; /* user-defined pieces, never split or merged */
    size_t n_symbols;
    size_t line_bytes_max; /* no line is longer (a longer one would be left out) */
    /* Gives the next line without its newline; false at the end. Borrowed until the next call. */
    bool (*next)(void *context, const char **line, size_t *n_bytes);
    void *context;
};

/* Trains; model (initialised by the caller, cleared first) gets the bytes of the model file. */
int spm_train(const struct spm_training *t, struct buf *model, struct err *e) MUST_USE;

#endif
