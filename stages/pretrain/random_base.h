#ifndef FMFORGE_PRETRAIN_RANDOM_BASE_H
#define FMFORGE_PRETRAIN_RANDOM_BASE_H

/* Mode random: a packed base of random codes, for tests and for measuring speed and memory at any
 * shape. Nothing is trained, and no dense copy is made: the output dense is the same file. Ranges
 * of keys and values come from one pass over random ids. */

#include "stages/kit/stage.h"

int random_base(const struct stage_run *run, struct err *e) MUST_USE;

#endif
