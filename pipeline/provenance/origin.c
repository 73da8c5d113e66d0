#include "pipeline/provenance/origin.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/audit.h"
#include "pipeline/store/store.h"

static bool is_one_of(const char *kind, const char *const *kinds, size_t n)
{
    for (size_t i = 0; i < n && kind != NULL; i++)
        if (str_eq(kind, kinds[i]))
            return true;
    return false;
}

static bool is_model(const char *kind)
{
    static const char *const kinds[] = {"package", "adapter", "base", "draft",
                                        "mlx",     "peft",    "torch"};
    return is_one_of(kind, kinds, sizeof kinds / sizeof kinds[0]);
}

bool origin_is_data(const char *kind)
{
    static const char *const kinds[] = {"rows", "text", "golden", "tokens"};
    return is_one_of(kind, kinds, sizeof kinds / sizeof kinds[0]);
}

/* ---- which thing ---- */

/* The one thing that a run delivered. */
static int delivered(const struct ledger *l, const char *id, struct origin *o,
                     char digest[SHA256_HEX + 1], struct err *e)
{
    struct buf names;
    size_t n = 0;
    const char *found = NULL;
    int rc = run_record_find(l, id, NULL, &o->run, e);
    if (rc < 0)
        return rc;
    buf_init(&names, BUF_MAX_DEFAULT);
    for (const struct json *d = json_items(o->run.root, "deliveries"); d; d = json_next(d), n++) {
        found = json_find_text(d, "id");
        buf_printf(&names, " %s", json_text_or(d, "path", "?"));
    }
    if (n != 1 || found == NULL || !str_is_hex(found, SHA256_HEX))
        rc = err_set(e, ERR_CONFIG, "run %.12s delivered %zu packages, expected one:%s%s",
                     o->run.commit, n, buf_text(&names),
                     n > 0 ? "; give the path of one"
                           : " give a path or a SHA-256 (fmforge log --run shows what it made)");
    else
        memcpy(digest, found, SHA256_HEX + 1);
    buf_release(&names);
    return rc;
}

static bool is_digest(const char *target)
{
    return str_is_hex(str_starts(target, "sha256:") ? target + 7 : target, SHA256_HEX);
}

static int find_audit(const struct ledger *l, const char *home, const char *target,
                      struct origin *o, struct err *e)
{
    char digest[SHA256_HEX + 1];
    struct audit_question q = {.target = target};
    if (!file_exists(target) && !is_digest(target)) {
        struct err why = {0};
        int rc = delivered(l, target, o, digest, &why);
        if (rc == ERR_MISSING || rc == ERR_CONFIG)
            return err_set(e, ERR_CONFIG,
                           "%s: expected a file, a SHA-256, or a run (6 to 40 digits of its id, "
                           "last, last~N): %s",
                           target, why.text);
        if (rc < 0)
            return err_set(e, rc, "%s", why.text);
        q.target = digest;
        q.run = o->run.commit;
    }
    int rc = audit_make(l, home, &q, &o->audit, e);
    const struct json *wrong = rc == 0 ? json_items(o->audit, "mismatches") : NULL;
    if (wrong != NULL)
        rc = err_set(e, ERR_FORMAT, "%s: %s; fmforge audit says more", target, json_string(wrong));
    return rc;
}

/* ---- how it did ---- */

static void read_metrics(struct store *s, const struct json *stage, struct json *result)
{
    const struct json *output = run_item_of_kind(stage, "outputs", "metrics");
    const char *id = json_find_text(output, "id");
    struct json *metrics = NULL;
    struct buf b;
    struct err gone = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    if (s != NULL && id != NULL && str_is_hex(id, SHA256_HEX) &&
        store_get_bytes(s, id, LIMIT_JSON_BYTES, &b, &gone) == 0 &&
        json_parse(buf_text(&b), b.n_bytes, &metrics, &gone) == 0 &&
        json_type(metrics) == JSON_OBJECT)
        json_put(result, "metrics", metrics);
    else
        json_put(result, "metrics", json_new_null());
    buf_release(&b);
}

static struct json *gates_of(const struct run_record *r, const char *stage)
{
    struct json *list = json_new_array();
    for (const struct json *g = json_items(r->root, "gates"); g != NULL; g = json_next(g))
        if (str_eq(json_text(g, "stage"), stage))
            json_append(list, json_clone(g));
    return list;
}

/* The thing itself, or the adapter that a package has in it. */
static bool is_it(const struct origin *o, const char *id)
{
    const struct json *adapter = run_item_of_kind(o->stage, "inputs", "adapter");
    const char *inside = json_find_text(adapter, "id");
    return id != NULL &&
           (str_eq(id, json_find_text(o->made, "id")) || (inside != NULL && str_eq(id, inside)));
}

static void find_results(struct origin *o, struct store *s)
{
    o->results = json_new_array();
    for (const struct json *t = json_items(o->run.root, "stages"); t != NULL; t = json_next(t)) {
        const struct json *golden = run_item_of_kind(t, "inputs", "golden");
        const char *name = json_find_text(t, "stage");
        bool found = false;
        for (const struct json *i = json_items(t, "inputs"); i != NULL; i = json_next(i))
            found = found || is_it(o, json_find_text(i, "id"));
        if (!found || golden == NULL || name == NULL ||
            run_item_of_kind(t, "outputs", "metrics") == NULL)
            continue;
        struct json *result = json_new_object();
        struct json *set = json_new_object();
        json_put(set, "from", json_clone(json_get(golden, "from")));
        json_put(set, "id", json_clone(json_get(golden, "id")));
        json_put_string(result, "stage", name);
        json_put(result, "golden", set);
        read_metrics(s, t, result);
        json_put(result, "gates", gates_of(&o->run, name));
        json_append(o->results, result);
    }
}

/* A value of toolkit.yaml: the store keeps it as a JSON string. */
static void read_signature(struct origin *o, struct store *s)
{
    const struct json *in = origin_input(o, "signature");
    struct json *v = NULL;
    struct buf b;
    struct err gone = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    if (s != NULL && in != NULL &&
        store_get_bytes(s, json_find_text(in, "id"), 4096, &b, &gone) == 0 &&
        json_parse(buf_text(&b), b.n_bytes, &v, &gone) == 0 && json_type(v) == JSON_STRING &&
        str_is_hex(json_string(v), 40))
        o->signature = xstrdup(json_string(v));
    json_free(v);
    buf_release(&b);
}

/* ---- the whole ---- */

/* The output of the run that has the target's id. */
static int find_output(struct origin *o, const char *target, struct err *e)
{
    const char *id = json_find_text(json_get(o->audit, "target"), "id");
    const struct json *stage = run_record_producer(&o->run, id, NULL, &o->made);
    const char *as = json_find_text(o->audit, "as");
    o->stage = json_items(o->audit, "chain");
    if (stage == NULL || o->stage == NULL || o->made == NULL)
        return err_set(e, ERR_CONFIG,
                       "%s: in run %.12s it is %s; expected something that a stage made, whole: a "
                       "package's folder, an output's SHA-256",
                       target, o->run.commit, as != NULL ? as : "not an output");
    o->is_model = is_model(json_find_text(o->made, "kind"));
    return 0;
}

int origin_find(const struct ledger *l, const char *home, const char *target, struct origin *out,
                struct err *e)
{
    struct store *s = NULL;
    *out = (struct origin){0};
    int rc = store_open_read(home, &s, e);
    if (rc == 0)
        rc = find_audit(l, home, target, out, e);
    const char *commit = rc == 0 ? json_find_text(json_get(out->audit, "run"), "commit") : NULL;
    if (rc == 0 && commit == NULL)
        rc = err_set(e, ERR_CONFIG, "%s: no run of %s names it", target, l->repo);
    if (rc == 0) {
        run_record_release(&out->run);
        rc = run_record_load(l, commit, &out->run, e);
    }
    if (rc == 0)
        rc = find_output(out, target, e);
    if (rc == 0) {
        find_results(out, s);
        read_signature(out, s);
    }
    store_close(s);
    return rc;
}

void origin_release(struct origin *o)
{
    json_free(o->audit);
    json_free(o->results);
    run_record_release(&o->run);
    xfree(o->signature);
    *o = (struct origin){0};
}

const struct json *origin_input(const struct origin *o, const char *kind)
{
    for (const struct json *s = json_items(o->audit, "chain"); s != NULL; s = json_next(s))
        if (run_item_of_kind(s, "inputs", kind) != NULL)
            return run_item_of_kind(s, "inputs", kind);
    return NULL;
}

const char *origin_config(const struct origin *o, const char *key)
{
    const char *text = json_find_text(json_get(o->stage, "config"), key);
    return text != NULL && *text != '\0' ? text : NULL;
}

const char *origin_name(const struct origin *o)
{
    const char *name = origin_config(o, "name");
    return name != NULL ? name : o->run.name;
}
