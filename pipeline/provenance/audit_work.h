#ifndef FMFORGE_PROVENANCE_AUDIT_WORK_H
#define FMFORGE_PROVENANCE_AUDIT_WORK_H

/* What the parts of the audit share: audit.c (target), audit_find.c (bytes that no run lists),
 * audit_chain.c (from stage to stage), audit_text.c. */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/provenance/runs.h"
#include "pipeline/store/store.h"

#define AUDIT_RECORDS_MAX 16

struct audit {
    const struct ledger *ledger;
    struct store *store; /* NULL: there is none */
    const char *path;    /* NULL: the target is a digest */
    char id[SHA256_HEX + 1];
    bool is_folder;
    struct buf listing; /* of a folder */

    struct run_record records[AUDIT_RECORDS_MAX]; /* the first has the target */
    size_t n_records;
    struct json *chain;
    struct json *sources;
    struct json *used_by;
    struct json *mismatches;
    struct json *unknowns;
    struct json *visited;    /* "record instance" -> true */
    struct json *objects;    /* id -> "present", "absent", "damaged" */
    struct json *signatures; /* of the ledger's runs among the records; NULL: not asked for */
    struct {
        size_t recipes, statements, objects, files;
    } checked;
};

void audit_mismatch(struct audit *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void audit_unknown(struct audit *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Loads a run and checks its files once; NULL when it cannot be read (then that is recorded). */
const struct run_record *audit_load(struct audit *a, const char *commit);
/* A run that a folder holds. NULL when there is none. */
const struct run_record *audit_load_folder(struct audit *a, const char *folder);
/* Commit of the newest run that has made the digest; without one, and unless made_only, of the
 * newest that has it in run.json. */
bool audit_find_run(struct audit *a, const char *id_hex, bool made_only,
                    char commit[COMMIT_HEX + 1]);

/* Reads an object of the store once, in each form that is there: "present", "absent", or "damaged",
 * which is a mismatch. */
const char *audit_check_object(struct audit *a, const char *id_hex);
/* Adds a stage and all before it to the chain, checking each. */
void audit_walk(struct audit *a, const struct run_record *r, const struct json *stage);

/* The same from the run in the folder "provenance" beside a file; false when that made no such id.
 */
bool audit_walk_folder(struct audit *a, const char *id, const char *path);

/* The target's bytes are in no run: which run made something that should be equal? Records the
 * differences, or an unknown. Returns the id of what it should be, or NULL. Borrowed. */
const char *audit_explain(struct audit *a, const struct run_record **run);

#endif
