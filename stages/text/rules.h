#ifndef FMFORGE_TEXT_RULES_H
#define FMFORGE_TEXT_RULES_H

/*
 * What can be wrong with a set of rows although each line is sound. Every row is looked at.
 *
 * Refused: special pieces of the template (and U+2581, which SentencePiece reads as a space)
 * written out in a message, because the model would take them for turns; golden rows whose prompt
 * is also a training prompt (by letters, digits and operators, case ignored). Warned of: rows that
 * occur twice, one prompt with different answers, rows with and without system message in one set,
 * empty messages, near repeats between training and held-out rows.
 */

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/text/chat.h"
#include "stages/text/finding.h"
#include "stages/text/template.h"

/* Two user texts whose different words agree to this share are near repeats. */
#define RULES_NEAR_SHARE 0.75

/* Findings are rows of a table with FINDING_COLUMNS (finding.h). */

/* What a message may not hold, and text does: borrowed, NULL when there is nothing. */
const char *rules_find_special(const struct template *t, const char *text);
/* That no message of the rows holds any; the error names the lines. */
int rules_check_special(const struct chat_list *rows, const char *name, const struct template *t,
                        struct err *e) MUST_USE;
/* The rows of one file against the rules of a set. name: "raw", for messages. */
int rules_check(const struct chat_list *rows, const char *name, const struct template *t,
                struct json *findings, struct err *e) MUST_USE;
/* Rows that are learned from (or chosen by) against rows held out of them. */
struct rules_leak {
    const struct chat_list *rows;
    const char *rows_name; /* "training" */
    const struct chat_list *held_out;
    const char *name; /* of held_out: "golden" */
    bool refused;     /* the same prompt in both is an error, else a finding */
};

int rules_check_leak(const struct rules_leak *leak, struct json *findings, struct err *e) MUST_USE;

/* Takes out the training rows whose prompt is one of held_out (compared as rules_check_leak does)
 * and says how many as a finding. Returns their number. */
size_t rules_drop_leaks(struct chat_list *train, const struct chat_list *held_out, const char *name,
                        struct json *findings);

#endif
