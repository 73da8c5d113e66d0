#ifndef FMFORGE_STORE_REMOTE_SEND_H
#define FMFORGE_STORE_REMOTE_SEND_H

/*
 * From the store to a shared cache (remote_fetch.h has its form): first every object that is not
 * there yet, then the record, so that a record on the server is always whole. Whether a result may
 * leave was decided by whoever asks.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/store/remote_http.h"
#include "pipeline/store/store.h"

/* log_hex: of its log, or NULL. replace: what is there under these names is wrong. *n_bytes: what
 * was sent. Return codes as in remote_http.h; what is wrong with this store is ERR_FORMAT. */
int remote_send(struct http *h, struct store *s, const char *key_hex, const char *log_hex,
                bool replace, uint64_t *n_bytes, struct err *e) MUST_USE;

#endif
