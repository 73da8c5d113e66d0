#ifndef FMFORGE_MANIFEST_REMOTE_SPEC_H
#define FMFORGE_MANIFEST_REMOTE_SPEC_H

/*
 * A shared cache, `remote:` of the manifest. It reaches no output and is in no key.
 *
 *   remote:
 *     url: https://cache.example/fmforge   # below it ac/<key> and cas/<sha256>
 *     mode: readwrite                      # read (default) or readwrite
 *     timeout: 3                           # seconds that an answer may take to come, or to go on
 *     wait: 30                             # seconds that the end of a run waits for what is sent
 *     ca: certs/ours.pem                   # whom TLS trusts; default: the system's list
 *     netrc: ~/.netrc                      # a login by host (netrc(5)) ...
 *     token: CACHE_TOKEN                   # ... or the environment variable with a bearer token
 *
 * The manifest is recorded and shared, so no password and no token is ever written in it. A login
 * goes over https, or to this machine itself (127.0.0.1, [::1], localhost).
 */

#include <stdbool.h>
#include <stdint.h>

#include "pipeline/manifest/yaml_doc.h"

#define REMOTE_URL_BYTES 255
#define REMOTE_TIMEOUT_DEFAULT 3
#define REMOTE_WAIT_DEFAULT 30

/* All text is borrowed from the document. */
struct remote_spec {
    const char *url; /* without the slash at its end; NULL: there is no remote */
    int n_url;       /* its length */
    bool writes;
    int64_t timeout_seconds, wait_seconds;
    const char *ca, *netrc, *token; /* or NULL */
    struct yaml_mark mark;
};

/* n is the mapping, or NULL: no remote. */
int remote_spec_read(const struct yaml_doc *d, const struct doc_node *n, struct remote_spec *out,
                     struct err *e) MUST_USE;

#endif
