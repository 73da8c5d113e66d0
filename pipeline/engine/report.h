#ifndef FMFORGE_ENGINE_REPORT_H
#define FMFORGE_ENGINE_REPORT_H

/*
 * The page of one recorded run, reports/<name>/index.html. What ran, why, gates, times and hashes
 * come from the ledger's commit; metrics and drawings are the stages' own outputs of the kinds
 * "metrics" and "report", read from the store. The engine knows no metric by name.
 */

#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/store/store.h"

struct report_page {
    char *path;        /* caller xfrees */
    size_t n_findings; /* of all its stages (report_findings.h) */
};

/* Draws the page of a run into root/<name>/index.html. What the store does not have any more is
 * said in its place. */
int report_write(const struct run_record *r, struct store *s, const char *root,
                 struct report_page *page, struct err *e) MUST_USE;

/* One JSON output of a stage of run.json by its kind; NULL when it has none or the store cannot
 * give it (then *missing says so, when not NULL). The caller frees it. */
struct json *report_output(struct store *s, const struct json *stage, const char *kind,
                           bool *missing);

#endif
