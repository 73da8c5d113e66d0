#ifndef FMFORGE_TEXT_GOLDENSET_H
#define FMFORGE_TEXT_GOLDENSET_H

/*
 * A golden set: rows that are answered, never trained on. The last message of each row is the
 * expected answer. Either a JSONL file of rows alone, whose answers are JSON when every expected
 * one is an object or an array, and text otherwise; or a folder with set.json and a file of rows:
 *
 *   {"rows": "rows.jsonl", "answer": "text" | "json",
 *    "fields": {"team": {"metric": "match"},
 *               "subject": {"metric": "overlap", "distinct": true}}}
 *
 * fields belong to JSON answers: match = the expected value, overlap = a content word of the last
 * user message; distinct: how many different values there are.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "stages/text/chat.h"

enum golden_metric {
    GOLDEN_MATCH,
    GOLDEN_OVERLAP,
};

struct golden_field {
    char *name;
    enum golden_metric metric;
    bool distinct;
};

#define GOLDEN_FIELDS_MAX 32

struct goldenset {
    struct chat_list rows;
    bool is_json;                                  /* answers are JSON objects or arrays */
    struct golden_field fields[GOLDEN_FIELDS_MAX]; /* sorted by name */
    size_t n_fields;
};

/* Strict; in a JSON set every expected answer must be an object or an array, and where there are
 * fields an object with every field as text. */
int goldenset_open(struct goldenset *g, const char *path, struct err *e) MUST_USE;
void goldenset_close(struct goldenset *g); /* safe on zeroed, safe twice */

#endif
