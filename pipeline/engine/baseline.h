#ifndef FMFORGE_ENGINE_BASELINE_H
#define FMFORGE_ENGINE_BASELINE_H

/*
 * Accepted results: golden/baselines/<manifest>/<instance>.json, one file for each stage that
 * answers a golden set. Written by `fmforge accept`, read by `drop` gates and by the nightly.
 *
 *   {"schema": 1, "manifest": <its name>, "instance": <quality[toolkit=nano-1.0]>,
 *    "golden": <content id of the set>, "runs": [<ledger commit>, ..], "rows": 500,
 *    "metrics": {"exact_match": 0.86, ..}, "spread": {"exact_match": 0.008, ..}}
 *
 * Files of earlier versions have no "instance", or no "manifest" either, and are taken for what
 * their path says.
 *
 * metrics are means over the accepted runs; spread is their standard deviation (n - 1), there only
 * from two runs on: runs that differ in their seed say how much of a change means nothing.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/store/store.h"

#define BASELINE_ROOT "golden/baselines"
/* From so many accepted runs on their spread says what is allowed. */
#define BASELINE_RUNS_FOR_SPREAD 5

struct baseline {
    struct json *root; /* NULL: there is none */
    char *path;        /* of the file, or NULL */
    /* Borrowed from root; NULL when there is none or it is one of another golden set. */
    const struct json *metrics;
    bool is_of_another_set;
};

/* Where the baseline of an instance is; caller xfrees. */
char *baseline_path(const char *manifest, const char *instance);
/* golden_id: what the stage answers now. A missing file is no error; ERR_FORMAT for a damaged one
 * and for one of another manifest or instance. */
int baseline_read(struct baseline *b, const char *manifest, const char *instance,
                  const char *golden_id, struct err *e) MUST_USE;
/* Whatever set it is one of. */
int baseline_read_any(struct baseline *b, const char *manifest, const char *instance,
                      struct err *e) MUST_USE;
void baseline_release(struct baseline *b); /* safe on zeroed, safe twice */

/* Can the run's value be compared with this? ERR_FORMAT where the run has a share, between 0 and 1,
 * and the baseline a number that is none: one in percent. */
int baseline_check_share(const struct baseline *b, const char *metric, double value,
                         struct err *e) MUST_USE;

/* By how much a metric between 0 and 1 may fall below its baseline before that is a regression:
 * with BASELINE_RUNS_FOR_SPREAD accepted runs or more, 4 spread sqrt(1 + 1/n); else two standard
 * errors of the difference of two shares, 2 sqrt(2 p (1 - p) / rows), with p drawn a little towards
 * 1/2: (p rows + 1) / (rows + 2). Never less than one row. */
double baseline_allowed(const struct baseline *b, const char *metric);

/* Writes the baselines of one or several runs of one manifest, all or (but for a failing disk)
 * none. *n_written counts files. Metrics that a run lacks are left out. ERR_CONFIG when the runs
 * are of different manifests, answer different sets, are the same, or are not `ok`; ERR_MISSING
 * when no stage of them answers a golden set, or the store has no metrics of one any more. */
int baseline_accept(const struct run_record *runs, size_t n_runs, struct store *s,
                    size_t *n_written, struct err *e) MUST_USE;

#endif
