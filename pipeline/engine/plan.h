#ifndef FMFORGE_ENGINE_PLAN_H
#define FMFORGE_ENGINE_PLAN_H

/*
 * The plan: for each instance its recipe, its action key and whether the store has the result.
 * Keys are built from content ids, so what comes after a stage that must run has no key yet; once
 * that stage has run, plan_resolve gives it one. The same recipe bytes are the key and, compared
 * with those of the last run, the explanation.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/graph.h"
#include "pipeline/store/store.h"

struct plan_input {
    struct content_id id;
    bool is_folder;
    uint64_t n_bytes;
};

struct plan_item {
    bool has_key; /* every input's id is known */
    struct content_id key;
    struct buf recipe;
    bool cached;
    struct action action;      /* when cached or executed */
    struct plan_input *inputs; /* one per input of the instance; valid with has_key */
};

struct plan {
    const struct graph *graph;
    struct store *store; /* NULL: there is none yet */
    struct plan_item *items;
    struct json *last; /* last/<name>.json: {"schema":1,"stages":{instance: key}}; may be NULL */
};

/* Resolves everything that is known now. Writes nothing. */
int plan_open(struct plan *p, const struct graph *g, struct store *store, struct err *e) MUST_USE;
void plan_release(struct plan *p); /* safe on zeroed */

/* Recipe, key and stored result of one instance; has_key stays false while an input is unknown. */
int plan_resolve(struct plan *p, size_t i, struct err *e) MUST_USE;

/* Key of this instance's newest run, or NULL. Borrowed. */
const char *plan_last_key(const struct plan *p, size_t i);
/* The recipe as far as it is known: an input that is not made yet is taken as that of `last`, the
 * recipe of the newest run. Nothing when that is damaged. */
void plan_known_recipe(const struct plan *p, size_t i, const struct buf *last, struct buf *out);
/* One line: why it runs, or that it is there. Caller xfrees. */
char *plan_why(const struct plan *p, size_t i);

/* One output of a finished instance, by its place in the description; NULL when there is none. */
const struct action_output *plan_output(const struct plan *p, size_t i, size_t i_output);

/* "data.train", "nano-0.1/base" or a path: where an input comes from. Caller xfrees. */
char *plan_input_from(const struct graph *g, const struct graph_input *in);

struct plan_cost;
struct plan_gates;
/* The documents of --json, owned by the caller. cost: what is expected; gates: what is known of
 * them; or NULL. */
struct json *plan_to_json(const struct plan *p, const struct plan_cost *cost,
                          const struct plan_gates *gates);
struct json *plan_inputs_to_json(const struct plan *p, size_t i);
struct json *plan_outputs_to_json(const struct plan *p, size_t i);
/* The words of plan_why, for who knows them without a plan (plan_memory.h). Callers xfree. */
#define PLAN_WHY_CACHED "same recipe, its result is there"
#define PLAN_WHY_FETCHED "same recipe, its result is from " /* and the url of a shared cache */
char *plan_why_input(const char *port, const char *old_hex, const char *new_hex, const char *from,
                     size_t n_changes);
/* own: what has changed of it besides, or NULL */
char *plan_why_waits(const char *own, const char *port, const char *producer);

/* One line of the table for people. */
struct plan_row {
    const char *name; /* borrowed */
    char *why;
    bool cached;
    double seconds;   /* negative: unknown */
    const char *held; /* why it would be held back, or NULL; borrowed */
};
void plan_rows_to_text(const char *pipeline, const struct plan_row *rows, size_t n, bool has_costs,
                       struct buf *out);

/* A table for people. */
void plan_to_text(const struct plan *p, const struct plan_cost *cost,
                  const struct plan_gates *gates, struct buf *out);

#endif
