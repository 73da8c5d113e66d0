#ifndef FMFORGE_TEXT_RULES_H
#define FMFORGE_TEXT_RULES_H

/*
 * What can be wrong with a set of rows although each line is sound. Every row is looked at.
 *
 * Refused: special pieces of the template (and U+2581, which SentencePiece reads as a space)
 * written out in a message, because the model would take them for turns. Warned of: rows that
 * occur twice, one prompt with different answers, rows with and without system message in one set,
 * empty messages. What two sets have in common: leak.h.
 */

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/text/chat.h"
#include "stages/text/finding.h"
#include "stages/text/template.h"

/* Findings are rows of a table with FINDING_COLUMNS (finding.h). */

/* What a message may not hold, and text does: borrowed, NULL when there is nothing. */
const char *rules_find_special(const struct template *t, const char *text);
/* That no message of the rows holds any; the error names the lines. */
int rules_check_special(const struct chat_list *rows, const char *name, const struct template *t,
                        struct err *e) MUST_USE;
/* The rows of one file against the rules of a set. name: "raw", for messages. */
int rules_check(const struct chat_list *rows, const char *name, const struct template *t,
                struct json *findings, struct err *e) MUST_USE;
/* Rows that are asked otherwise than the training rows teach: all without a system message that
 * these all have, or the other way round. */
void rules_check_systems(const struct chat_list *train, const struct chat_list *rows,
                         const char *name, struct json *findings);
#endif
