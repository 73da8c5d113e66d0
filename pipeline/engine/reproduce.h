#ifndef FMFORGE_ENGINE_REPRODUCE_H
#define FMFORGE_ENGINE_REPRODUCE_H

/*
 * A recorded run, made once more: its manifest and toolkit.yaml files come from the ledger, its
 * inputs from the working tree where their SHA-256 still is the recorded one, else from the store;
 * all of it is laid out in a folder of its own, run there with a store of its own, and the digest
 * of every output is compared with the recorded one. The report:
 *
 *   {"schema":"fmforge.reproduce/1","commit","name","status":"same"|"different"|"unknown","first":stage|null,
 *    "stages":[{"stage","status":"same"|"different"|"missing","reason"?,
 *               "outputs":[{"name","recorded","now"|null}]}],
 *    "unknown":["input rows.jsonl of data: ..."]}
 *
 * unknown: something that the run was made from is gone or is another; then nothing is run and
 * there are no stages. first: the first stage, in the order of the run, with another output.
 */

#include <stdbool.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/run.h"
#include "pipeline/engine/term.h"
#include "pipeline/provenance/runs.h"

struct reproduce_options {
    const char *program_folder; /* absolute: stages and fmforge-ledger */
    const char *home; /* the store that may have inputs; a temporary folder is made there */
    const char *into; /* a new or empty folder that stays, or NULL */
    int jobs, threads;
    const char *kernels;
};

/* Exit status 0 same, 1 different, 4 unknown, 130 interrupted (no report then), or a negative
 * error. Notes of the run go to term->note. Caller frees the report. */
int reproduce_run(const struct run_record *r, const struct reproduce_options *o,
                  const struct term *term, struct json **report, struct err *e) MUST_USE;
void reproduce_to_text(const struct json *report, struct buf *out);

/* --- between the reproduce_*.c --- */

/* What the steps of one reproduction share. */
struct reproduction {
    const struct run_record *run;
    const struct reproduce_options *options;
    const struct term *term;
    struct store *store;  /* where objects are */
    char *root;           /* holds all of it */
    char *work;           /* the working directory, in root */
    char *manifest;       /* its path there */
    struct json *unknown; /* what cannot be had, one text each */
};

/* Lays out manifest, toolkits and inputs below root, which exists, and fills work and manifest. */
int reproduce_lay_out(struct reproduction *p, struct err *e) MUST_USE;
/* Names in `unknown` every stage program and library that is not the recorded one. */
int reproduce_check_programs(const struct reproduction *p, struct err *e) MUST_USE;

#endif
