#ifndef FMFORGE_PROVENANCE_RUNS_H
#define FMFORGE_PROVENANCE_RUNS_H

/*
 * Recorded runs: one commit of the ledger read whole, and the list of all runs (the ledger's
 * commits, and the lines of runs.log for the runs without one: run_line.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/run_files.h"

/* What an array has, by its names and in their order: a run may have thousands of stages. */
struct run_names {
    struct run_name *items;
    size_t n_items;
};

/* One run. Texts borrow from `shown` and `root`. */
struct run_record {
    struct json *shown; /* answer of fmforge-ledger show, or the like of a folder */
    struct json *root;  /* run.json */
    const char *commit; /* 40 hex digits; of a folder: its path */
    const char *name;   /* of the pipeline */
    int64_t time;
    struct run_names files, stages; /* of both; empty where a record was put together by hand */
};

/* ERR_FORMAT when run.json is damaged. Release afterwards, also after an error. */
int run_record_load(const struct ledger *l, const char *commit, struct run_record *out,
                    struct err *e) MUST_USE;
/* The same of an answer of ledger_show, which it owns from then on. */
int run_record_take(struct json *shown, struct run_record *out, struct err *e) MUST_USE;
/* id: digits of a commit, "last": the newest run (of pipeline `name`, when not NULL), or "last~N":
 * the one N before it. ERR_MISSING when there is none. */
int run_record_find(const struct ledger *l, const char *id, const char *name,
                    struct run_record *out, struct err *e) MUST_USE;
/* The same from a folder that holds a checkout of a run: made toolkits carry theirs. */
int run_record_read_folder(const char *folder, struct run_record *out, struct err *e) MUST_USE;
/* The same of files that have become a commit. */
int run_record_of_files(const struct run_files *f, const char *commit, struct run_record *out,
                        struct err *e) MUST_USE;
void run_record_release(struct run_record *r); /* safe on zeroed and twice */

/* A file of the run, or NULL. Borrowed. */
const char *run_record_file(const struct run_record *r, const char *path);
/* A stage of run.json by its name ("train[rank=8]"), and its "recipe.json" or another file of it.
 * Borrowed, NULL when there is none. */
const struct json *run_record_stage(const struct run_record *r, const char *stage);
const char *run_record_stage_file(const struct run_record *r, const char *stage, const char *file);
/* The overrides that the run had, "NAME=VALUE" each. Texts borrowed; caller xfrees the array. */
const char **run_record_sets(const struct run_record *r, size_t *n_sets);
/* The digest that a `sha256sum` text gives for a path; false when it lists no such path. */
bool run_listed_digest(const char *sums, const char *path, char out[SHA256_HEX + 1]);
/* Compares every file with SHA256SUMS. Appends one text a finding to `damage` (array): unreadable,
 * differing, missing or unlisted files. Returns the number of files that are right. */
size_t run_record_check(const struct run_record *r, struct json *damage);

/* Has this stage of run.json a result in that run? One that a gate held back may have one in the
 * store, with its id in run.json, and none in the run. */
static inline bool run_stage_made(const struct json *stage)
{
    const char *status = json_text_or(stage, "status", "executed");
    return str_eq(status, "executed") || str_eq(status, "reused");
}
/* The stage of run.json with an output of this content id, preferring the instance `prefer` (may be
 * NULL). Borrowed, NULL when none. *output (may be NULL) gets the output's node. */
const struct json *run_record_producer(const struct run_record *r, const char *id_hex,
                                       const char *prefer, const struct json **output);
/* The first of a stage's "inputs" or "outputs" that is of a kind, NULL when there is none.
 * Borrowed. */
const struct json *run_item_of_kind(const struct json *stage, const char *key, const char *kind);

/* All runs, newest first, of one pipeline or of all (NULL): array of {"commit"?,"name","time",
 * "status","summary"}. Without "commit": a line of runs.log. Runs of one pipeline are in the order
 * in which they were recorded, whatever the clock said. */
int runs_list(const struct ledger *l, const char *runs_log, const char *name, struct json **out,
              struct err *e) MUST_USE;

#endif
