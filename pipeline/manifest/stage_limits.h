#ifndef FMFORGE_MANIFEST_STAGE_LIMITS_H
#define FMFORGE_MANIFEST_STAGE_LIMITS_H

/*
 * What a stage may take, `limits: { seconds: 3600, memory: 8G, retries: 1, grace: 60 }` of the
 * manifest. Limits reach no output and are in no key. The engine's watch enforces them.
 */

#include <stdint.h>

#include "pipeline/manifest/yaml_doc.h"

struct stage_limits {
    int64_t seconds;       /* of one try; 0: no limit */
    uint64_t memory_bytes; /* 0: no limit */
    int64_t retries;       /* tries after the first that failed */
    int64_t grace_seconds; /* between "stop" and "die" */
};

#define STAGE_LIMITS_GRACE 60 /* a step of the full model and its checkpoint take half of it */

/* n is the mapping, or NULL: no limits. `what` names the stage in messages. */
int stage_limits_read(const struct yaml_doc *d, const struct doc_node *n, const char *what,
                      struct stage_limits *out, struct err *e) MUST_USE;

#endif
