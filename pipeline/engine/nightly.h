#ifndef FMFORGE_ENGINE_NIGHTLY_H
#define FMFORGE_ENGINE_NIGHTLY_H

/*
 * The nightly: several manifests, each run and recorded whatever becomes of the others, and every
 * golden metric compared with its accepted baseline (baseline.h).
 *
 * A metric between 0 and 1 that is more below its baseline than is allowed is a regression: what is
 * allowed is said by a `drop` gate on it, else by baseline_allowed. Other metrics (counts) are
 * shown only.
 */

#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/store/store.h"

struct nightly_item {
    char *path;         /* of the manifest */
    char *name;         /* or NULL when it could not be read */
    const char *status; /* ok, gates, failed, interrupted, skipped, error, not run */
    char *reason;       /* of skipped, failed and error, or NULL; any bytes, as path */
    bool has_page;      /* its run has drawn one, below the folder of pages by its name */
    char *commit;       /* of the run, or NULL */
    struct json *run;   /* run.json, or NULL */
    struct json
        *changes; /* array, or NULL: {"stage","metric","value","baseline","change",
                   * "allowed","verdict": regression | gone | ok | better | shown |
                   * "no baseline" | "another golden set"}; absent members where there is none */
    double seconds;
    size_t n_regressions, n_gates_failed;
};

struct nightly {
    const char *date; /* 2026-01-31 */
    struct nightly_item *items;
    size_t n_items;
};

void nightly_release(struct nightly *n); /* safe on zeroed */

/* Fills changes, run, commit and the counts of an item from its recorded run. ERR_MISSING when the
 * store cannot give metrics that the run recorded, ERR_FORMAT for a damaged baseline. */
int nightly_compare(struct nightly_item *item, const struct run_record *r, struct store *s,
                    struct err *e) MUST_USE;

/* Its status for people: "worse" where it ended well and a metric regressed or is gone. */
const char *nightly_item_word(const struct nightly_item *item);
/* Is this change a regression, or a metric that is gone? */
bool nightly_is_worse(const struct json *change);
/* 3 when a metric regressed or is gone, or a gate does not hold; else 1 when a manifest failed;
 * else 0. */
int nightly_exit_status(const struct nightly *n);

/* The page document (pipeline/report/page.h) and JUnit's XML; what people read at the end. */
struct json *nightly_page(const struct nightly *n);
void nightly_junit(const struct nightly *n, struct buf *out);
void nightly_to_text(const struct nightly *n, struct buf *out);
/* {"schema":"fmforge.nightly/1","date","exit_status","manifests":[{"path","name","status","reason","commit",
 * "regressions","gates_failed","changes"}]}; the caller frees it. */
struct json *nightly_to_json(const struct nightly *n);

#endif
