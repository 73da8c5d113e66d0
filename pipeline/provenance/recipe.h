#ifndef FMFORGE_PROVENANCE_RECIPE_H
#define FMFORGE_PROVENANCE_RECIPE_H

/*
 * The recipe: everything that decides a stage's output bytes, as canonical JSON (RFC 8785):
 *
 *   {"binary":"<id>","config":{..},"inputs":{"train":"<id>",..},"libraries":{"libx.so.0":"<id>"},
 *    "outputs":["checkpoint",..],"profile":{"portable":true},"schema":1,"stage":"train"}
 *
 * Its SHA-256 is the action key and its content id in the store; the difference of two recipes is
 * the explanation of a rerun. No path, time, host, user or thread count is in it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/base/sha256.h"

#define RECIPE_SCHEMA 1
#define RECIPE_INPUTS_MAX 64
#define RECIPE_LIBRARIES_MAX 16
#define RECIPE_OUTPUTS_MAX 32

struct recipe_item {
    const char *name;
    const char *id; /* 64 hex digits */
};

/* All pointers are borrowed: from the caller, or from `root` after recipe_parse. Items may come in
 * any order; equal names are our mistake (CHECK). */
struct recipe {
    const char *stage;  /* kind: "train" */
    const char *binary; /* content id of the stage program */
    struct recipe_item libraries[RECIPE_LIBRARIES_MAX];
    size_t n_libraries;
    const struct json *config; /* object, complete: every default written */
    struct recipe_item inputs[RECIPE_INPUTS_MAX];
    size_t n_inputs;
    const char *outputs[RECIPE_OUTPUTS_MAX];
    size_t n_outputs;
    const struct json *profile; /* object; NULL writes {"portable":true} */
    struct json *root;          /* owned by recipe_parse; NULL when filled by hand */
};

/* Canonical bytes into out (cleared first). */
void recipe_write(const struct recipe *r, struct buf *out);
/* The action key of those bytes. */
struct content_id recipe_key(const struct buf *bytes);

/* Reads a recipe; unknown keys and other schemas are ERR_FORMAT. Release afterwards. */
int recipe_parse(const char *text, size_t n_bytes, struct recipe *out, struct err *e) MUST_USE;
void recipe_release(struct recipe *r); /* frees root; safe on zeroed and twice */

/* One differing field: "config.rank", "inputs.train", "binary", "outputs[1]". */
struct recipe_change {
    char *path;
    char *old_value; /* canonical JSON; NULL: not there */
    char *new_value;
};

struct recipe_diff {
    struct recipe_change *changes;
    size_t n_changes;
};

/* All differing fields of two recipes (their bytes), in the order schema, stage, binary, libraries,
 * profile, config, inputs, outputs; names sorted within. out needs no init. */
int recipe_diff(const char *old_text, size_t n_old, const char *new_text, size_t n_new,
                struct recipe_diff *out, struct err *e) MUST_USE;
void recipe_diff_release(struct recipe_diff *d);

#endif
