#ifndef FMFORGE_TEXT_LETTERS_H
#define FMFORGE_TEXT_LETTERS_H

/*
 * A message as it is compared with others: letters (those of ASCII in lower case), digits,
 * operators, and a space between two numbers. Marks and other spaces make no other message. A
 * message that has none of these is all of itself.
 */

#include "pipeline/base/buf.h"

void letters_write(const char *text, struct buf *out); /* appended */

#endif
