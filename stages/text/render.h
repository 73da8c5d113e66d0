#ifndef FMFORGE_TEXT_RENDER_H
#define FMFORGE_TEXT_RENDER_H

/*
 * Conversations as token ids with a label mask.
 *
 * The text of a sample is the concatenation of its turns (template.h), with "\n" replaced by the
 * newline piece. Its ids are EOS and then the ids of the whole text less the first one, which is
 * the space that SentencePiece puts in front. Labelled are, in every assistant turn, the ids after
 * the generation prefix `<turn_start> assistant<n>`, up to and with `<turn_end>`.
 *
 * Where a label begins is known by construction, not found again in the ids: the turn's head and
 * its body are encoded apart, which is possible because special pieces never join with their
 * neighbours. Each time it is checked that the parts give the ids of the whole, and that there are
 * no more special pieces among them than in the text. Text that holds a special piece as such is
 * refused before (rules_find_special).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "stages/text/chat.h"
#include "stages/text/spm.h"
#include "stages/text/template.h"

struct render {
    struct spm *spm;                 /* borrowed */
    const struct template *template; /* borrowed */
    int32_t ids[TEMPLATE_N_PIECES];  /* of the special pieces; -1: an executable piece is absent */
    int32_t space_id;
};

struct sample {
    int32_t *ids;
    unsigned char *labels; /* 1: loss on predicting this token */
    size_t n_ids;
    size_t capacity;
};

/* ERR_FORMAT when the tokenizer lacks a piece of the template. */
int render_init(struct render *r, struct spm *spm, const struct template *t,
                struct err *e) MUST_USE;

/* A whole conversation. default_system: give a row without a system message the template's. The
 * sample is overwritten and may be used again. */
int render_chat(const struct render *r, const struct chat *c, bool default_system,
                struct sample *out, struct err *e) MUST_USE;
/* Messages and the generation prompt: what an answer is generated from. */
int render_prompt(const struct render *r, const struct chat_message *messages, size_t n_messages,
                  bool default_system, struct sample *out, struct err *e) MUST_USE;
/* Generated ids as text (appended): the reverse of what a body's encoding did, so that encoding an
 * answer and reading it back gives the same bytes. NUL reads as U+FFFD, an id of a vocabulary that
 * is padded beyond the tokenizer's pieces as the unknown piece. */
int render_answer(const struct render *r, const int32_t *ids, size_t n_ids, struct buf *out,
                  struct err *e) MUST_USE;

/* The sample as people read it: labelled runs in [[ and ]]; appended. */
int render_show(const struct render *r, const struct sample *s, struct buf *out,
                struct err *e) MUST_USE;

void sample_release(struct sample *s); /* safe on zeroed, safe twice */

#endif
