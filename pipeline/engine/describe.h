#ifndef FMFORGE_ENGINE_DESCRIBE_H
#define FMFORGE_ENGINE_DESCRIBE_H

/*
 * What stages say about themselves. `stage-NAME --describe` is run once per binary: its answer is
 * kept under the binary's content id and name in describe/ of the store (JSON, and its SHA-256),
 * so that a run where nothing changed starts no process. Libraries that can reach an output byte
 * are hashed where the loader maps them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/base/sha256.h"
#include "pipeline/store/seen.h"
#include "pipeline/store/store.h"

enum param_kind { DESC_INT, DESC_FLOAT, DESC_BOOL, DESC_TEXT, DESC_CHOICE };

#define DESC_PORTS_MAX 32
#define DESC_PARAMS_MAX 64
#define DESC_LIBRARIES_MAX 16

/* All text is borrowed from the description's root. */
struct desc_port {
    const char *name, *kind, *help;
    bool required;
    const char *without; /* of an optional input: what is not done without it; "" says nothing */
};

struct desc_param {
    const char *name, *unit, *help;
    enum param_kind type;
    const struct json *default_value; /* NULL: the manifest must give it */
    bool bounded;
    double min, max;
    const struct json *choices; /* array of texts; DESC_CHOICE */
};

struct desc_library {
    const char *name; /* as the stage says: "libsentencepiece.so.0" */
    const char *path; /* what the loader maps */
    struct content_id id;
};

struct stage_desc {
    char *name;    /* "train" */
    char *program; /* path of stage-train */
    struct content_id binary;
    const char *summary;
    bool is_tool, portable;
    const char *subject; /* of a tool: the input that is given without its name, or NULL */
    /* Names of inputs that could be had back from its outputs; NULL: it does not say, so all. */
    const struct json *copies;
    struct desc_port ins[DESC_PORTS_MAX], outs[DESC_PORTS_MAX];
    size_t n_ins, n_outs;
    struct desc_param params[DESC_PARAMS_MAX];
    size_t n_params;
    struct desc_library libraries[DESC_LIBRARIES_MAX];
    size_t n_libraries;
    const struct json *profile; /* what a stage that is not portable depends on, or NULL */
    struct json *root;
};

/* The stages of one folder, described when asked for. */
struct describe {
    const char *folder;  /* build/bin */
    struct store *store; /* NULL: nothing is cached */
    bool may_write;      /* false for plan and why */
    struct stage_desc **items;
    size_t n_items;
};

void describe_init(struct describe *d, const char *folder, struct store *store, bool may_write);
void describe_release(struct describe *d);

/* *out is NULL when there is no such stage; borrowed until describe_release. */
int describe_find(struct describe *d, const char *name, const struct stage_desc **out,
                  struct err *e) MUST_USE;
/* Names of all stages in the folder, sorted; *names and each name are xfreed by the caller. */
size_t describe_names(const struct describe *d, char ***names);

/* What the descriptions that were asked for stand on; not sound when one depends on the CPU. */
void describe_see(const struct describe *d, struct seen *s);

/* Reads a description; the text parts live as long as `root`, which the description then owns. */
int stage_desc_read(struct stage_desc *d, struct json *root, struct err *e) MUST_USE;
const struct desc_port *stage_desc_in(const struct stage_desc *d, const char *name);
const struct desc_port *stage_desc_out(const struct stage_desc *d, const char *name);
/* Could input `name` be had back from what the stage makes of it? */
bool stage_desc_copies(const struct stage_desc *d, const char *name);
const struct desc_param *stage_desc_param(const struct stage_desc *d, const char *name);

#endif
