#ifndef FMFORGE_TEXT_PROMPT_FORMAT_H
#define FMFORGE_TEXT_PROMPT_FORMAT_H

/* A tokenizer and a template, opened together: all that turns messages into ids and ids into text.
 */

#include "stages/text/goldenset.h"
#include "stages/text/render.h"

struct prompt_format {
    struct template template;
    struct spm *spm;
    struct render render;
    int32_t stop_ids[2]; /* generation ends there: end of text, end of turn */
};

/* ERR_FORMAT when the tokenizer lacks a piece of the template. */
int prompt_format_open(struct prompt_format *f, const char *tokenizer_path,
                       const char *template_path, struct err *e) MUST_USE;
/* The prompts of a golden set by row, each shorter than the model's context (else ERR_LIMIT): what
 * the rows' last messages answer. Caller releases each and frees all, also after an error. */
int prompt_format_golden(const struct prompt_format *f, const struct goldenset *g,
                         bool default_system, int context, struct sample **prompts,
                         struct err *e) MUST_USE;
void prompt_format_close(struct prompt_format *f); /* safe on zeroed, safe twice */

#endif
