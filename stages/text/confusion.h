#ifndef FMFORGE_TEXT_CONFUSION_H
#define FMFORGE_TEXT_CONFUSION_H

/* Which label was expected and which was answered: a matrix block for each field that is matched,
 * and for text answers that are labels. */

#include "pipeline/base/json.h"
#include "stages/text/goldenset.h"

/* More different labels than this are no classes. */
#define CONFUSION_LABELS_MAX 80

/* Adds the blocks that make sense to a report. answers: one text per row of the set. Rows are the
 * expected labels in order of bytes; columns are the same and then whatever is none of them. A
 * label belongs to classes when there are at least twice as many rows as labels. */
void confusion_add(struct json *report, const struct goldenset *g, char *const *answers);

#endif
