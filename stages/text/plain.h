#ifndef FMFORGE_TEXT_PLAIN_H
#define FMFORGE_TEXT_PLAIN_H

/*
 * Is it plain text? A file that begins as another kind of file does, NUL bytes and invalid UTF-8
 * are refused at once. Control characters other than tab, newline, carriage return and form feed,
 * those of U+0080 to U+009F (Windows-1252 taken for Latin-1), and U+FFFD (what a wrong conversion
 * has put for a character that is lost) are odd: corpora of megabytes have one or two of them, a
 * weak model writes some, and so they are found and said. Text that is full of them is refused:
 * binary data, terminal codes, a text that was broken before.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "stages/text/finding.h"

/* Full: of a file one in so many bytes is a control character, or U+FFFD ... */
#define PLAIN_CONTROL_SHARE 100
#define PLAIN_BROKEN_SHARE 10
#define PLAIN_LINE_SHARE 10 /* or either of a line; */
#define PLAIN_ODD_MIN 8     /* fewer than these never are too many */

struct plain {
    struct finding controls, broken; /* of all texts that were checked */
};

/* path: for the error. place: what findings put before a line's number, "books.txt:" or "". */
int plain_check(const char *path, const char *place, const struct buf *text, struct plain *found,
                struct err *e) MUST_USE;
void plain_release(struct plain *p); /* safe on zeroed, safe twice */

#endif
