#ifndef FMFORGE_TEXT_WINDOWS_H
#define FMFORGE_TEXT_WINDOWS_H

/*
 * Plain text for pre-training and distillation: documents, tokenised, cut into windows.
 *
 * Input is one file or a folder, as corpus.h reads it. A document ends at a line `<|endoftext|>`
 * and becomes EOS and its tokens ("\n" as the piece `<n>`, as in prompts); the documents of one
 * file are one stream. A window is EOS and then `window` - 1 tokens of a stream, so that every
 * segment begins with EOS as every prompt does; where the stream itself has EOS the window is one
 * token shorter. Each token predicts the next one, the last of a document the EOS of the next.
 *
 * Windows are rows, counted per epoch. The windows of each epoch begin at another phase. A file of
 * weight w gives w times its windows per epoch; a share below 1 moves through the file from epoch
 * to epoch. Everything is a pure function of (seed, epoch, row).
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "stages/kit/plan_mem.h"
#include "stages/kit/rng.h"
#include "stages/text/batch.h"
#include "stages/text/corpus.h"
#include "stages/text/spm.h"

#define WINDOWS_FILES_MAX 4096
/* Text of one file; all of it is in memory while it is tokenised. */
#define WINDOWS_FILE_BYTES_MAX ((uint64_t)4 << 30)

struct windows_plan {
    int window;             /* tokens, at least 16 */
    const char *mix;        /* "books=1,talk=2.5": weight by base name without suffix; else 1 */
    double repeat_fraction; /* share of windows whose second half is made of pieces of the first */
    int64_t seed;
    bool in_order; /* always phase 0 and no repeats: held-out text */
};

struct window_file {
    char *name; /* "books" */
    double weight;
    int32_t *ids;
    uint64_t n_ids;
    uint64_t n_windows; /* without weight */
    uint32_t first_row, n_rows;
};

struct windows {
    struct windows_plan plan; /* mix is not kept */
    struct window_file *files;
    size_t n_files;
    uint32_t n_rows;
    uint64_t n_tokens, n_documents;
    int32_t newline; /* id of `<n>`, -1 when the model has none */
    struct rng phase, choice;
    int32_t *scratch;         /* window + 1 */
    struct corpus corpus;     /* what was found in the files */
    struct finding too_short; /* files */
};

/* Is a window no longer than a model's context? ERR_CONFIG with the name of the parameter. */
int windows_check_length(const char *param, int64_t tokens, int context, struct err *e) MUST_USE;
/* Reads and tokenises everything. ERR_CONFIG when the mix names a file that is not there, when
 * there is no window at all; what corpus.h refuses. The caller names the input. */
int windows_open(struct windows *w, const char *path, const struct windows_plan *plan,
                 struct spm *spm, struct err *e) MUST_USE;
void windows_close(struct windows *w); /* safe on zeroed, safe twice */
/* The tokens that it keeps. */
void windows_memory(const struct windows *w, struct plan_mem *out);

/* Adds what was odd about the texts to a report, and forgets it; nothing when nothing was. valid: a
 * zeroed one when there is none. */
void windows_report(struct windows *text, struct windows *valid, struct json *report);

/* Tokens of a row; all of them are labelled. */
uint32_t windows_row_tokens(const struct windows *w, int64_t epoch, uint32_t row);
/* Appends the row to a batch; it must fit (CHECK). */
void windows_add_row(struct windows *w, int64_t epoch, uint32_t row, struct token_batch *b);

#endif
