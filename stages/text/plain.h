#ifndef FMFORGE_TEXT_PLAIN_H
#define FMFORGE_TEXT_PLAIN_H

/*
 * Is it plain text? A file that begins as another kind of file does, NUL bytes and invalid UTF-8
 * are refused at once. Control characters other than tab, newline, carriage return and form feed,
 * those of U+0080 to U+009F (Windows-1252 taken for Latin-1), and U+FFFD (what a wrong conversion
 * has put for a character that is lost) are odd: corpora of megabytes have one or two of them,
 * which are found and said. Text of which they are PLAIN_ODD_SHARE, or a line of which they are
 * PLAIN_LINE_SHARE, is refused: binary data, terminal codes, a text that was broken before.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "stages/text/finding.h"

/* One in so many bytes of a file, or of one line, is too many ... */
#define PLAIN_ODD_SHARE 1000
#define PLAIN_LINE_SHARE 10
/* ... but fewer than these never are. */
#define PLAIN_ODD_MIN 8

struct plain {
    struct finding controls, broken; /* of all texts that were checked */
};

/* path: for the error. place: what findings put before a line's number, "books.txt:" or "". */
int plain_check(const char *path, const char *place, const struct buf *text, struct plain *found,
                struct err *e) MUST_USE;
void plain_release(struct plain *p); /* safe on zeroed, safe twice */

#endif
