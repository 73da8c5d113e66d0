#include "pipeline/manifest/stage_limits.h"

#include "pipeline/base/str.h"

#define SECONDS_MAX ((int64_t)366 * 86400)
#define RETRIES_MAX 100
#define MEMORY_MIN ((uint64_t)1 << 20) /* a process alone takes more */
#define COUNT "a whole number"

int stage_limits_read(const struct yaml_doc *d, const struct doc_node *n, const char *what,
                      struct stage_limits *out, struct err *e)
{
    static const char *const known[] = {"seconds", "memory", "retries", "grace"};
    const struct doc_section s = {d, "limit", "limits take no variables"};
    *out = (struct stage_limits){.grace_seconds = STAGE_LIMITS_GRACE};
    if (!n)
        return 0;
    int rc = doc_need(d, n, DOC_MAP, what, e);
    if (rc == 0)
        rc = doc_only_keys(d, n, what, known, sizeof known / sizeof known[0], e);
    for (const struct doc_node *v = rc == 0 ? n->first : NULL; v && rc == 0; v = v->next) {
        if (str_eq(v->key, "seconds"))
            rc = doc_read_i64(&s, v, (struct doc_range){COUNT, 1, SECONDS_MAX}, &out->seconds, e);
        else if (str_eq(v->key, "retries"))
            rc = doc_read_i64(&s, v, (struct doc_range){COUNT, 0, RETRIES_MAX}, &out->retries, e);
        else if (str_eq(v->key, "grace"))
            rc = doc_read_i64(&s, v, (struct doc_range){COUNT, 0, SECONDS_MAX}, &out->grace_seconds,
                              e);
        else if (v->type != DOC_SCALAR || !str_to_bytes(v->text, &out->memory_bytes) ||
                 out->memory_bytes < MEMORY_MIN)
            rc = doc_wrong(&s, v, "bytes such as 512M or 8G, at least 1M", e);
    }
    return rc;
}
