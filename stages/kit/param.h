#ifndef FMFORGE_KIT_PARAM_H
#define FMFORGE_KIT_PARAM_H

/*
 * The one table of a stage's parameters. It fills the stage's config struct from the complete
 * config that the engine writes, and makes --describe, --help and the reference pages.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

enum param_type {
    PARAM_INT,    /* int64_t */
    PARAM_FLOAT,  /* double */
    PARAM_BOOL,   /* bool */
    PARAM_TEXT,   /* const char *, borrowed from the config tree */
    PARAM_CHOICE, /* int: index into choices; text in the config */
};

struct param {
    const char *name;
    enum param_type type;
    size_t offset;            /* offsetof(struct <stage>_config, member) */
    const char *default_text; /* "4", "1e-4", "true", "cosine"; NULL = the manifest must give it */
    double min, max;          /* INT and FLOAT, inclusive; both 0 = unbounded */
    const char *const *choices; /* PARAM_CHOICE: NULL-terminated */
    const char *unit;           /* "tokens", "epochs", ...; "" = none */
    const char *help;           /* one sentence */
};

/* Fills config from a complete config object: unknown, missing, mistyped and out-of-range keys are
 * ERR_CONFIG with name, found and expected. `v` must outlive the config (texts are borrowed). */
int param_read(const struct param *params, size_t n_params, const struct json *v, void *config,
               struct err *e) MUST_USE;

/* The --describe array: [{name,type,default,min,max,choices,unit,help}], absent where none. */
struct json *param_describe(const struct param *params, size_t n_params);

#endif
