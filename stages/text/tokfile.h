#ifndef FMFORGE_TEXT_TOKFILE_H
#define FMFORGE_TEXT_TOKFILE_H

/*
 * A tokens file: rows of token ids with a label bit each. One row is what one training step takes
 * as a unit; it holds one sample, or several packed ones. Every sample starts with EOS, and EOS
 * occurs nowhere else, so a sample begins at each EOS.
 *
 * The label bit of token i says "there is loss on predicting this token", from the tokens of the
 * same sample before it. The first token of a sample (EOS) is never labelled.
 *
 *   offset  bytes
 *   0       8      magic "FMTOKS01"
 *   8       4      version 1
 *   12      4      eos id
 *   16      8      number of rows R
 *   24      8      number of samples
 *   32      8      number of tokens T
 *   40      8      number of labelled tokens
 *   48      8      samples that prep cut at the context (a trainer warns)
 *   56      4      longest row in tokens
 *   60      4      greatest token id
 *   64      32     SHA-256 of the whole file with these 32 bytes zero
 *   96      8 R+8  row starts (u64 token index), R + 1 of them, the last is T
 *   ...     4 T    tokens (u32): bits 0..30 the id, bit 31 the label bit
 *
 * Everything little endian. The reader checks lengths, order of the row starts, the label rule,
 * every count and the sum before it believes anything.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/file.h"

#define TOKFILE_LABEL 0x80000000u

/* What a whole file says about itself. */
struct tokfile_counts {
    uint64_t rows, samples, tokens, labels;
    uint64_t cut_samples; /* samples that were cut to fit the context */
    uint32_t row_tokens_max;
    uint32_t id_max;
};

/* Writing: collects rows in memory, publishes once. Zero-initialised, then init. */
struct tokfile_writer {
    uint32_t eos;
    struct buf starts; /* u64 per row */
    struct buf tokens; /* u32 per token */
    struct tokfile_counts counts;
    bool in_row;
    uint64_t row_start;
};

void tokfile_writer_init(struct tokfile_writer *w, int32_t eos);
/* Starts the next row; the row before ends here. */
void tokfile_writer_row(struct tokfile_writer *w);
/* Adds one sample to the current row. ids[0] must be EOS and no other id EOS; labels[i] != 0 means
 * loss on predicting ids[i]; labels[0] must be 0; ids are not negative (all CHECKed: prep made
 * them). labels NULL: every token but the first is labelled (plain text). */
void tokfile_writer_sample(struct tokfile_writer *w, const int32_t *ids,
                           const unsigned char *labels, size_t n_tokens, bool was_cut);
/* Writes the file. Rows without samples are CHECKed away; a file without rows is fine. */
int tokfile_writer_save(struct tokfile_writer *w, const char *path, struct err *e) MUST_USE;
void tokfile_writer_release(struct tokfile_writer *w); /* safe twice */

/* Reading: the file mapped read-only and fully checked at open. */
struct tokfile {
    struct file_map map;
    uint32_t eos;
    struct tokfile_counts counts;
};

/* Messages start with the path. ERR_FORMAT for whatever is not a sound tokens file. */
int tokfile_open(struct tokfile *t, const char *path, struct err *e) MUST_USE;
void tokfile_close(struct tokfile *t); /* safe on zeroed, safe twice */

uint32_t tokfile_row_tokens(const struct tokfile *t, uint64_t row);
uint32_t tokfile_row_labels(const struct tokfile *t, uint64_t row); /* labelled tokens of the row */
/* Can a model of this vocabulary and context train on it? ERR_CONFIG, with `name`, when no token is
 * labelled, an id or a sample is too large. */
int tokfile_check_model(const struct tokfile *t, const char *name, int vocab, int context,
                        struct err *e) MUST_USE;
/* Token i of a row: its id and label bit. */
int32_t tokfile_id(const struct tokfile *t, uint64_t row, uint32_t i);
bool tokfile_label(const struct tokfile *t, uint64_t row, uint32_t i);

#endif
