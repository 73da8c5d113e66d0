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

/* --- between reproduce.c and reproduce_files.c --- */

/* Lays out manifest, toolkits and inputs below `root`, which exists. *work: the folder in it that
 * is the working directory, *manifest: the manifest's path there; caller xfrees both. What cannot
 * be had is appended to `unknown`, one text each. s: where objects are. */
int reproduce_lay_out(const struct run_record *r, struct store *s, const char *root, char **work,
                      char **manifest, struct json *unknown, struct err *e) MUST_USE;
/* Names in `unknown` every stage program and library that is not the recorded one. */
int reproduce_check_programs(const struct run_record *r, const char *program_folder,
                             struct json *unknown, struct err *e) MUST_USE;

#endif
