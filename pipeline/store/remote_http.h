#ifndef FMFORGE_STORE_REMOTE_HTTP_H
#define FMFORGE_STORE_REMOTE_HTTP_H

/*
 * HTTP as a shared cache needs it: GET, HEAD and PUT below one url. The only user of libcurl. TLS
 * is always verified, no redirect is followed, no proxy is asked, and nothing is taken from the
 * environment. Every function answers
 *
 *   0            done
 *   ERR_MISSING  there is no such thing (404, 410)
 *   ERR_FORMAT   another answer than asked for: a redirect, more or fewer bytes
 *   ERR_LIMIT    more bytes than allowed; no room for them here
 *   ERR_CONFIG   this may not be written there (PUT: any other 4xx)
 *   ERR_NUMERIC  it would not be here in time (http_hurry)
 *   ERR_IO       there is no connection, no answer in time, or the server says that it cannot
 *
 * with the whole url in the message.
 */

#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/sha256.h"

struct http_settings {
    const char *url;
    int timeout_seconds;
    const char *ca, *netrc, *token; /* or NULL */
};

struct http; /* opaque: a connection */

/* Settings are borrowed until http_close. ERR_CONFIG: the login's or the CA's file cannot be read.
 */
int http_open(const struct http_settings *s, struct http **out, struct err *e) MUST_USE;
void http_close(struct http *h); /* NULL is fine */

/* The next http_get calls together may take limit_ms, for n_bytes: whoever is too slow for that is
 * given up as soon as it shows. */
void http_hurry(struct http *h, int64_t limit_ms, uint64_t n_bytes);
/* So many of them are not asked for. */
void http_skip(struct http *h, uint64_t n_bytes);
/* The next ones may take as long as the timeout, each as a whole; as it is after http_open. */
void http_unhurry(struct http *h);

/* Into the new file `to`, at most max_bytes; *id is their hash. No file is left after an error. */
int http_get(struct http *h, const char *path, uint64_t max_bytes, const char *to,
             struct content_id *id, uint64_t *n_bytes, struct err *e) MUST_USE;
/* Is it there, with so many bytes? ERR_MISSING when it is not. */
int http_head(struct http *h, const char *path, uint64_t n_bytes, struct err *e) MUST_USE;
int http_put(struct http *h, const char *path, const void *bytes, uint64_t n_bytes,
             struct err *e) MUST_USE;

#endif
