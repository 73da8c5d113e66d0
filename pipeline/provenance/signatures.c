#include "pipeline/provenance/signatures.h"
#include "pipeline/base/clock.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/statement.h"

static bool is_state(const struct json *run, const char *state)
{
    return str_eq(json_text(run, "state"), state);
}

int signatures_read(const struct ledger *l, const char *signers, const char *commit,
                    struct json **runs, struct err *e)
{
    struct json *answer = NULL;
    const struct json *found = NULL;
    int rc = ledger_signatures(l, signers, commit, &answer, e);
    if (rc == 0)
        rc = json_need_array(answer, "signatures", &found, e);
    *runs = json_new_array();
    for (const struct json *f = rc == 0 ? json_first(found) : NULL; f; f = json_next(f)) {
        struct json *run = json_clone(f);
        const char *ref = json_text(f, "ref");
        if (str_starts(ref, "refs/prov/"))
            json_put_string(run, "name", ref + strlen("refs/prov/"));
        json_append(*runs, run);
    }
    json_free(answer);
    if (rc != 0) {
        json_free(*runs);
        *runs = NULL;
    }
    return rc;
}

char *signature_damage(const struct json *run)
{
    if (is_state(run, "good") || is_state(run, "unsigned"))
        return NULL;
    return xasprintf("run %.12s%s%s: its signature is bad: %s", json_text_or(run, "commit", "?"),
                     json_find_text(run, "name") ? " of " : "", json_text(run, "name"),
                     json_text_or(run, "reason", "no reason is given"));
}

static void run_to_text(const struct json *run, struct buf *out)
{
    char when[25];
    clock_text((long long)json_number_or(run, "time", 0) * 1000, when);
    buf_printf(out, "  %.12s  %.10s %.8s  %s: ", json_text_or(run, "commit", "?"), when, when + 11,
               json_text_or(run, "name", "?"));
    if (is_state(run, "good"))
        buf_printf(out, "signed by %s (%s)\n", json_text_or(run, "by", "?"),
                   json_text_or(run, "key", "?"));
    else if (is_state(run, "unsigned"))
        buf_add_text(out, "unsigned\n");
    else
        buf_printf(out, "BAD: %s\n", json_text_or(run, "reason", "no reason is given"));
}

void signatures_to_text(const struct json *runs, struct buf *out)
{
    size_t n_good = 0, n_unsigned = 0, n_all = json_count(runs);
    if (n_all == 0)
        return;
    buf_add_text(out, "signatures\n");
    for (const struct json *run = json_first(runs); run != NULL; run = json_next(run)) {
        run_to_text(run, out);
        n_good += is_state(run, "good");
        n_unsigned += is_state(run, "unsigned");
    }
    buf_printf(out, "  %zu run%s: %zu signed, %zu unsigned, %zu bad\n", n_all,
               n_all == 1 ? "" : "s", n_good, n_unsigned, n_all - n_good - n_unsigned);
}
