#ifndef FMFORGE_TEXT_ANSWER_STREAM_H
#define FMFORGE_TEXT_ANSWER_STREAM_H

/*
 * The text of an answer while it grows. What was given out is never taken back: the bytes of a
 * character that has no piece, and a tail that may become a newline piece, wait for the tokens that
 * complete them. All parts together are the text that render_answer gives.
 */

#include "stages/text/render.h"

struct answer_stream {
    const struct render *render; /* borrowed */
    size_t n_given;              /* bytes */
};

/* Appends to out what is new in the answer of n_ids tokens, of which earlier calls had fewer. last:
 * nothing waits any more. */
int answer_stream_add(struct answer_stream *s, const int32_t *ids, size_t n_ids, bool last,
                      struct buf *out, struct err *e) MUST_USE;

#endif
