#ifndef FMFORGE_MANIFEST_TOOLKIT_DIR_H
#define FMFORGE_MANIFEST_TOOLKIT_DIR_H

/*
 * A toolkit folder: toolkit.yaml names a base model version and its facets. A stage sees only the
 * facets that its manifest entry names (toolkit.tokenizer, toolkit.recovery, ...).
 *
 *   fmforge_toolkit: 1
 *   name: nano
 *   version: 0.1                       # text: 26.10 stays 26.10
 *   signature: 0123...                 # 40 hex digits
 *   os: ["26.0"]
 *   facets:
 *     tokenizer: tokenizer.model       # a path in this folder
 *     recovery: { by: rank, 8: recovery-8.safetensors, 16: recovery-16.safetensors }
 *     export: { format: fmadapter, lora_rank: 32 }        # a value: a small JSON file
 *     layers: { value: 8 }                                # a value, said outright
 *     base: { path: base.safetensors, private: true }
 *     imported: { run: import, inputs: { pt: assets/base-model.pt } }   # made by a stage
 *     vendor: { path: assets/v.bin, missing: "how to get it" }          # the user's to supply
 *
 * `signature` and `os` are value facets without being listed.
 *
 * A folder without toolkit.yaml is a toolkit too where a layout of TOOLKIT_SHELF fits it
 * (layout.h).
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "pipeline/manifest/yaml_doc.h"

enum facet_type { FACET_PATH, FACET_VALUE, FACET_CHOICE, FACET_STAGE };

struct facet {
    const char *name;
    struct yaml_mark mark;
    enum facet_type type;
    const struct doc_node *node; /* CHOICE: the mapping; STAGE: run, inputs, with */
    char *path;                  /* PATH: joined with the folder; owned */
    char *value;                 /* VALUE: canonical JSON; owned */
    const char *by;              /* CHOICE: name of the parameter that chooses */
    bool is_private;             /* never leaves for a shared cache */
    const char *missing;         /* what to say where a file of it is absent; NULL: nothing */
};

#define TOOLKIT_FACETS_MAX 64
#define TOOLKIT_SIGNATURE_DIGITS 40
/* Where the shipped toolkits and layouts are, in the working folder. */
#define TOOLKIT_SHELF "configs/toolkits"

struct toolkit_dir {
    struct yaml_doc doc; /* toolkit.yaml, or the layout */
    /* By a layout: the shipped toolkit whose signature the folder has; owned. Else NULL. */
    struct toolkit_dir *version_of;
    char *folder;
    const char *name, *version, *signature;
    char *label; /* "nano-0.1" */
    struct facet facets[TOOLKIT_FACETS_MAX];
    size_t n_facets;
};

/* Reads folder/toolkit.yaml and checks that it is well-formed, not that its files are there; where
 * the folder has none, by the layout that fits it. Release also after an error. */
int toolkit_dir_open(struct toolkit_dir *t, const char *folder, struct err *e) MUST_USE;
/* Is the folder one that toolkit_dir_open is for: with toolkit.yaml, or as a layout knows them? */
bool toolkit_dir_is_one(const char *folder);
void toolkit_dir_release(struct toolkit_dir *t); /* safe on zeroed */

/* NULL when it has none of that name. */
const struct facet *toolkit_dir_facet(const struct toolkit_dir *t, const char *name);
/* The names of all facets; at most TOOLKIT_FACETS_MAX; returns how many. */
size_t toolkit_dir_names(const struct toolkit_dir *t, const char **names);
/* FACET_CHOICE: the path (caller xfrees) under `choice`; NULL when there is none. */
char *toolkit_dir_choice(const struct toolkit_dir *t, const struct facet *f, const char *choice);
/* "8, 16, 32": the choices of a facet, for messages; caller xfrees. */
char *toolkit_dir_choices(const struct facet *f);
/* What it has, for a tool: name, version, label, folder, signature, description and the facets with
 * their values or paths and whether those are there. Caller frees. */
struct json *toolkit_dir_to_json(const struct toolkit_dir *t);
/* For messages: that `path`, which facet f needs, is not there, where to put it and what f says
 * about it; caller xfrees. */
char *toolkit_dir_missing(const struct toolkit_dir *t, const struct facet *f, const char *path);

/* --- between toolkit_dir.c and layout_match.c --- */

/* Reads `facets` of t->doc into t->facets. */
int toolkit_dir_read_facets(struct toolkit_dir *t, struct err *e) MUST_USE;
/* Is it a key of a facet with `by` that is no choice? */
bool toolkit_dir_is_common_key(const char *key);

#endif
