#ifndef FMFORGE_STORE_REMOTE_FETCH_H
#define FMFORGE_STORE_REMOTE_FETCH_H

/*
 * From a shared cache into the store. On the server, below its url (the form of bazel-remote):
 *
 *   ac/<action key>    an action record (action.h), without origin
 *   cas/<content id>   raw bytes: a file, a folder's listing, a statement, a log
 *
 * Nothing is believed: a record must be whole and of its key, every object's bytes are hashed
 * before they are stored, and no answer may be longer than the record allows. What is refused has
 * left objects at most, which nothing names and gc removes. Return codes as in remote_http.h.
 */

#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/store/remote_http.h"
#include "pipeline/store/store.h"

/* A record of ACTION_OUTPUTS_MAX outputs is about 10 KB. */
#define REMOTE_RECORD_BYTES_MAX ((uint64_t)1 << 20)
/* Statements, logs and listings have no length in a record. */
#define REMOTE_TEXT_BYTES_MAX ((uint64_t)64 << 20)

struct remote_fetch {
    struct http *http;
    struct store *store;
    struct action action; /* of the newest record */
};

/* The record of a key and its statement; *path is a file with the record's two lines, in the
 * store's temporary folder; caller xfrees. */
int remote_fetch_record(struct remote_fetch *f, const char *key_hex, char **path,
                        struct err *e) MUST_USE;
/* Every object that this record names, and the log (NULL: none; one that is not there is missed by
 * nobody), in limit_ms. */
int remote_fetch_objects(struct remote_fetch *f, const char *key_hex, int64_t limit_ms,
                         const char *log_hex, uint64_t *n_bytes, struct err *e) MUST_USE;

#endif
