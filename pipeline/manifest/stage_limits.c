#include "pipeline/manifest/stage_limits.h"

#include <stdio.h>

#include "pipeline/base/str.h"

#define SECONDS_MAX ((int64_t)366 * 86400)
#define RETRIES_MAX 100
#define MEMORY_MIN ((uint64_t)1 << 20) /* a process alone takes more */

static int wrong(const struct yaml_doc *d, const struct doc_node *v, const char *expected,
                 struct err *e)
{
    if (v->type != DOC_SCALAR)
        return doc_fail(d, v->mark, e, "limit `%s`: expected %s, found %s", v->key, expected,
                        doc_type_name(v->type));
    return doc_fail(d, v->mark, e, "limit `%s`: expected %s, found `%s`%s", v->key, expected,
                    v->text, v->text[0] == '$' ? " (limits take no variables)" : "");
}

static int read_count(const struct yaml_doc *d, const struct doc_node *v, int64_t min, int64_t max,
                      int64_t *out, struct err *e)
{
    char expected[96];
    if (v->type == DOC_SCALAR && str_to_i64(v->text, out) && *out >= min && *out <= max)
        return 0;
    snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)min,
             (long long)max);
    return wrong(d, v, expected, e);
}

int stage_limits_read(const struct yaml_doc *d, const struct doc_node *n, const char *what,
                      struct stage_limits *out, struct err *e)
{
    static const char *const known[] = {"seconds", "memory", "retries", "grace"};
    *out = (struct stage_limits){.grace_seconds = STAGE_LIMITS_GRACE};
    if (!n)
        return 0;
    int rc = doc_need(d, n, DOC_MAP, what, e);
    if (rc == 0)
        rc = doc_only_keys(d, n, what, known, sizeof known / sizeof known[0], e);
    for (const struct doc_node *v = rc == 0 ? n->first : NULL; v && rc == 0; v = v->next) {
        if (str_eq(v->key, "seconds"))
            rc = read_count(d, v, 1, SECONDS_MAX, &out->seconds, e);
        else if (str_eq(v->key, "retries"))
            rc = read_count(d, v, 0, RETRIES_MAX, &out->retries, e);
        else if (str_eq(v->key, "grace"))
            rc = read_count(d, v, 0, SECONDS_MAX, &out->grace_seconds, e);
        else if (v->type != DOC_SCALAR || !str_to_bytes(v->text, &out->memory_bytes) ||
                 out->memory_bytes < MEMORY_MIN)
            rc = wrong(d, v, "bytes such as 512M or 8G, at least 1M", e);
    }
    return rc;
}
