#ifndef FMFORGE_TEXT_ANSWERS_H
#define FMFORGE_TEXT_ANSWERS_H

/*
 * The outputs of whatever answers a golden set (eval, lookup): answers.jsonl, metrics.json and the
 * report. An answers file has one line per golden row, in order:
 *
 *   {"answer": .., "expected": .., "prompt": <last user message>, "row": 1}
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "stages/text/goldenset.h"
#include "stages/text/score.h"

/* Report: rows side by side at most; the rest is in the answers file. */
#define ANSWERS_SHOWN 200

/* More metrics than the set's own (similarity of a look-up). */
struct answers_extra {
    const char *name;
    double value;
};

struct answers_job {
    const struct goldenset *golden;
    char *const *answers;     /* one per row */
    const char *against_path; /* an answers file to put beside, or NULL */
    const struct answers_extra *extras;
    size_t n_extras;
    const struct json *findings; /* rows of a table in the report (finding.h), or NULL */
    const char *answers_path;    /* outputs */
    const char *metrics_path;
    const char *report_path;
};

int answers_write(const struct answers_job *job, struct err *e) MUST_USE;

/* Reads an answers file for this set: rows in order, prompts equal. Caller frees each and all. */
int answers_read(const char *path, const struct goldenset *g, char ***answers,
                 struct err *e) MUST_USE;
void answers_free(char **answers, size_t n); /* NULL is fine */

#endif
