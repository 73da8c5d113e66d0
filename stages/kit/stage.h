#ifndef FMFORGE_KIT_STAGE_H
#define FMFORGE_KIT_STAGE_H

/*
 * The contract of a stage program (stages/README.md):
 *
 *   stage-NAME --config cfg.json --in NAME=PATH ... --out NAME=PATH ...
 *              [--work DIR] [--events PATH] [--threads N] [--kernels NAME]
 *   stage-NAME --describe | --help
 *
 * The options in brackets never change an output byte. A stage reads its inputs and writes below
 * its outputs, its work folder and its events file, and touches nothing else. Each output path does
 * not exist when the stage starts; the stage makes a file or a folder there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "stages/kit/param.h"

struct stage_port {
    const char *name;
    /* What the bytes are: "text", "rows", "tokenizer", "tokenizer_config", "template", "shape",
     * "tokens", "base", "adapter", "draft", "golden", "answers", "metrics", "report", "signature",
     * "export", "package", "toolkit", "torch", "peft", "mlx"; of tools also "path" (anything) and
     * "facets" (what a toolkit has, as JSON: toolkit_dir_to_json of the engine). The engine checks
     * that a stage's output of kind K feeds inputs of K. */
    const char *kind;
    bool required; /* outputs: always true */
    const char *help;
};

/* What is not done without an optional input. The engine remarks it where a manifest does not give
 * this input, but another stage one of the same kind. */
struct stage_without {
    const char *in, *what;
};

struct stage_spec {
    const char *name;    /* "train"; the program is stage-train */
    const char *summary; /* one sentence */
    bool is_tool;        /* prints to the user, is never cached (generate) */
    const char *subject; /* tools: the input that is given without its name, or NULL */
    bool portable;       /* output bytes do not depend on the CPU */
    /* Names of the inputs that could be had back from its outputs, whole or in good part; ends with
     * NULL. NULL alone: all of them. What is made from a private input leaves for a shared cache
     * only where it is not such a copy. */
    const char *const *copies;
    const struct stage_without *without; /* ends with NULL names, or NULL */
    const struct stage_port *ins;
    size_t n_ins;
    const struct stage_port *outs;
    size_t n_outs;
    const struct param *params;
    size_t n_params;
    size_t config_bytes; /* sizeof(struct <stage>_config); may be 0 */
    const char *const
        *libraries; /* sonames that can reach an output byte; NULL-terminated or NULL */
};

#define STAGE_PORTS_MAX 32

struct stage_run {
    const struct stage_spec *spec;
    const void *config;                     /* the stage's config struct, complete and checked */
    const struct json *config_tree;         /* the same as read */
    const char *in_paths[STAGE_PORTS_MAX];  /* by index in spec->ins; NULL = optional, not given */
    const char *out_paths[STAGE_PORTS_MAX]; /* by index in spec->outs; NULL only if not asked for */
    const char *work;    /* folder that survives a kill; NULL when run by hand without one */
    const char *events;  /* path or NULL */
    int n_threads;       /* >= 1 */
    const char *kernels; /* "auto", "portable", "avx2", "avx512", "amx", "neon" */
};

/* Parses, validates, runs; prints "stage: message" to stderr; returns the exit status
 * (0 done, 1 failed, 2 usage or config, 130 interrupted). A stage's main is this one call. */
int stage_main(int argc, char **argv, const struct stage_spec *spec,
               int (*run)(const struct stage_run *run, struct err *e));

/* By port name; CHECKs that the port exists. NULL when optional and not given. */
const char *stage_in(const struct stage_run *run, const char *name);
const char *stage_out(const struct stage_run *run, const char *name);

/* Appends one event line {"event":type, ...fields} to the events file; takes `fields` (an object or
 * NULL). A lost event fails nothing. Times and speeds go here, never into outputs: the numbers of a
 * last event of the type "measured" are shown on the page of the run. */
void stage_event(const struct stage_run *run, const char *type, struct json *fields);
/* {"event":"progress","done":..,"of":..,"note":..}; at most five a second; also a line on stderr
 * when that is a terminal. */
void stage_progress(const struct stage_run *run, const char *note, double done, double of);
/* Text for people on stderr: "train: ...". */
void stage_say(const struct stage_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* True once SIGINT or SIGTERM came: save what is worth it and return ERR_IO "interrupted". Never in
 * a tool, which these signals end. */
bool stage_interrupted(void);

#endif
