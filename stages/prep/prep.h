#ifndef FMFORGE_PREP_PREP_H
#define FMFORGE_PREP_PREP_H

/* Rows to tokens: what becomes of long ones, how they are packed. */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "stages/text/chat.h"
#include "stages/text/finding.h"
#include "stages/text/render.h"
#include "stages/text/tokfile.h"

enum prep_long {
    PREP_LONG_REFUSE,
    PREP_LONG_CUT,
};

enum prep_leaks {
    PREP_LEAKS_REFUSE,
    PREP_LEAKS_DROP,
};

enum prep_system {
    PREP_SYSTEM_KEEP,
    PREP_SYSTEM_DEFAULT,
};

struct prep_config {
    double valid_fraction;
    int64_t max_length;
    bool pack;
    int64_t pack_length;
    int long_rows; /* enum prep_long */
    int leaks;     /* enum prep_leaks */
    int system;    /* enum prep_system */
    bool objects;
    int64_t seed;
};

/* Lengths in tokens by powers of two: bin i counts lengths in (2^(i-1), 2^i]. */
#define PREP_LENGTH_BINS 20

struct prep_counts {
    uint64_t rows;       /* read */
    uint64_t samples;    /* written */
    uint64_t cut;        /* cut at max_length */
    uint64_t empty;      /* left out: the cut left nothing to learn */
    uint64_t tokens_max; /* of the longest sample before cutting */
    uint64_t lengths[PREP_LENGTH_BINS];
};

/* Where samples go: one tokens file. */
struct prep_sink {
    struct tokfile_writer writer;
    uint64_t row_tokens; /* in the open row */
    struct prep_counts counts;
    struct finding changed; /* answers that the tokenizer does not give back as they are */
};

/* Renders a sample of each row for which held_out matches and adds it to the sink. Too long rows
 * under PREP_LONG_REFUSE are one error that names them all. held_out NULL: every row. */
int prep_add_rows(struct prep_sink *sink, const struct chat_list *rows, const bool *held_out,
                  bool wanted, const struct render *render, const struct prep_config *config,
                  struct err *e) MUST_USE;

#endif
