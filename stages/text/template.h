#ifndef FMFORGE_TEXT_TEMPLATE_H
#define FMFORGE_TEXT_TEMPLATE_H

/*
 * The prompt format of a toolkit: the special pieces and the default system message. A turn reads
 *
 *     <turn_start> ROLE<n>CONTENT<turn_end>
 *
 * and turns follow each other without anything between. The file is JSON with exactly the keys
 * turn_start, turn_end, newline and default_system.
 */

#include <stddef.h>

#include "pipeline/base/err.h"

/* The pieces of this class of model, in the order the vocab stage gives them ids. */
enum template_piece {
    TEMPLATE_TURN_START,
    TEMPLATE_TURN_END,
    TEMPLATE_NEWLINE,
    TEMPLATE_EXECUTABLE_START,
    TEMPLATE_EXECUTABLE_END,
    TEMPLATE_N_PIECES,
};
extern const char *const TEMPLATE_PIECES[TEMPLATE_N_PIECES];

/* pieces[TURN_START, TURN_END, NEWLINE] are the file's; the executable pieces are fixed. */
struct template
{
    char *pieces[TEMPLATE_N_PIECES];
    char *default_system;
};

int template_read(struct template *t, const char *path, struct err *e) MUST_USE;
int template_parse(struct template *t, const char *text, size_t n_bytes, struct err *e) MUST_USE;
void template_release(struct template *t); /* safe on zeroed, safe twice */

/* The special piece that occurs first in text, NULL when none does. Borrowed from t. */
const char *template_find(const struct template *t, const char *text);

#endif
