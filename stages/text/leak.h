#ifndef FMFORGE_TEXT_LEAK_H
#define FMFORGE_TEXT_LEAK_H

/*
 * Rows that are measured and learned from as well. A model learns every answer of a row, not only
 * the last one, so each of a row's turns counts. A row is measured by its last answer; it is
 * learned from when somewhere in a row of the others
 *
 * - everything before an answer is the measured row's prompt, whatever the answer; or
 * - its turns, questions and answers, stand one behind the other, whatever stands before them:
 *   another system message, or an earlier turn, makes no other question of it.
 *
 * One question under two system messages with two answers is two tasks, and no leak. Texts are
 * compared as letters.h has them. Near repeats, by the words of a user's text, are only said.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/text/chat.h"

/* Two user texts whose different words agree to this share are near repeats. */
#define LEAK_NEAR_SHARE 0.75

/* Rows that are learned from (or chosen by) against rows held out of them. An error names files;
 * a finding, which no path may reach, the inputs. */
struct leak {
    const struct chat_list *rows;
    const char *rows_name;  /* "training" */
    const char *rows_input; /* "raw" */
    const struct chat_list *held_out;
    const char *name;  /* of held_out: "golden", "valid" */
    const char *input; /* "golden", "raw" */
    bool refused;      /* a leak is an error, else a finding */
};

/* Findings are rows of a table with FINDING_COLUMNS (finding.h). */
int leak_check(const struct leak *l, struct json *findings, struct err *e) MUST_USE;
/* Takes the rows that leak_check would name out of `rows`, which is l->rows, and says how many as a
 * finding. Returns their number. */
size_t leak_drop(const struct leak *l, struct chat_list *rows, struct json *findings);

#endif
