#ifndef FMFORGE_STORE_ACTION_H
#define FMFORGE_STORE_ACTION_H

/*
 * One action record: what an action key produced. On disk two lines, actions/xx/<key>:
 *
 *   {"key":..,"origin":..,"outputs":[{"bytes":..,"folder":..,"id":..,"kind":..,"name":..},..],
 *    "schema":1,"stage":..,"statement":..}           canonical JSON
 *   <sha256 of line 1 without its newline>
 *
 * origin is the url of the shared cache that the record and its objects came from; a record of what
 * was made here has none, and none is ever sent with one. A record that does not match its second
 * line, its name or the schema is damaged.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"

#define ACTION_NAME_BYTES 64
#define ACTION_KIND_BYTES 32
#define ACTION_OUTPUTS_MAX 32
#define ACTION_ORIGIN_BYTES 256

struct action_output {
    char name[ACTION_NAME_BYTES];
    char kind[ACTION_KIND_BYTES];
    struct content_id id; /* of a folder: of its listing */
    bool is_folder;
    uint64_t n_bytes; /* raw; of a folder: the sum over its files */
};

struct action {
    struct content_id key;
    char stage[ACTION_NAME_BYTES]; /* kind of stage: "train" */
    struct action_output outputs[ACTION_OUTPUTS_MAX];
    size_t n_outputs;
    struct content_id statement;      /* hex[0] == 0: none */
    char origin[ACTION_ORIGIN_BYTES]; /* "": made here */
};

/* The record's bytes, appended to out. */
void action_write(const struct action *a, struct buf *out);
/* Reads a record back; ERR_FORMAT says what is wrong. `key_hex` is the name it was found under. */
int action_parse(const char *text, size_t n_bytes, const char *key_hex, struct action *out,
                 struct err *e) MUST_USE;

#endif
