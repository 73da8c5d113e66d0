#ifndef FMFORGE_TEXT_SPLIT_H
#define FMFORGE_TEXT_SPLIT_H

/*
 * Which rows are held out for validation: those whose hash of content and seed falls below the
 * wanted share. Adding or removing a row moves no other, and equal rows stay on one side.
 */

#include <stdbool.h>
#include <stdint.h>

#include "stages/text/chat.h"

bool split_is_held_out(const struct chat *c, double fraction, int64_t seed);

#endif
