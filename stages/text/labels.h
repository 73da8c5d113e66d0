#ifndef FMFORGE_TEXT_LABELS_H
#define FMFORGE_TEXT_LABELS_H

/*
 * Labels that are asked for and never taught. An answer has labels where answers choose from a few
 * values: a field of a JSON object, an item of a JSON array, or the whole text. Values are labels
 * when the training rows hold each at least twice in the mean, and at most LABELS_MAX different
 * ones; where no training row has any value there, everything asked for is unknown.
 */

#include "pipeline/base/json.h"
#include "stages/text/chat.h"
#include "stages/text/goldenset.h"

/* More different values than this are free text. */
#define LABELS_MAX 512

/* A finding for each field that has labels in held_out which no training row has: how many rows,
 * which labels, and the nearest one that is known. set: where it has fields, only the matched ones
 * are looked at; or NULL. name: of held_out, for messages. */
void labels_check(const struct chat_list *train, const struct chat_list *held_out,
                  const struct goldenset *set, const char *name, struct json *findings);

#endif
