#include "pipeline/provenance/audit.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/audit_work.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/signatures.h"
#include "pipeline/provenance/statement.h"

/* ---- findings ---- */

/* Each text once. */
static void add_finding(struct json *list, const char *format, va_list args)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_vprintf(&b, format, args);
    struct json *text = statement_text(buf_text(&b));
    bool known = false;
    for (const struct json *v = json_first(list); v != NULL && !known; v = json_next(v))
        known = json_equal(v, text);
    if (known)
        json_free(text);
    else
        json_append(list, text);
    buf_release(&b);
}

void audit_mismatch(struct audit *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_finding(a->mismatches, format, args);
    va_end(args);
}

void audit_unknown(struct audit *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_finding(a->unknowns, format, args);
    va_end(args);
}

/* A ledger call failed: a mismatch that names the damage when there is one. */
static void ledger_failed(struct audit *a, const struct err *e)
{
    if (e->code != ERR_FORMAT) {
        audit_unknown(a, "%s", e->text);
        return;
    }
    struct json *answer = NULL;
    struct err other = {0};
    audit_mismatch(a, "%s", e->text);
    if (ledger_check(a->ledger, &answer, &other) == 0)
        for (const struct json *d = json_items(answer, "damage"); d != NULL; d = json_next(d))
            audit_mismatch(a, "ledger: %s", json_string(d));
    json_free(answer);
}

/* ---- runs ---- */

static struct run_record *new_record(struct audit *a)
{
    if (a->n_records == AUDIT_RECORDS_MAX) {
        audit_unknown(a, "the chain goes through more than %d runs: it is cut here",
                      AUDIT_RECORDS_MAX);
        return NULL;
    }
    return &a->records[a->n_records];
}

static const struct run_record *known_record(const struct audit *a, const char *commit)
{
    for (size_t i = 0; i < a->n_records; i++)
        if (str_eq(a->records[i].commit, commit))
            return &a->records[i];
    return NULL;
}

static const struct run_record *keep_record(struct audit *a, struct run_record *r)
{
    a->n_records++;
    a->checked.files += run_record_check(r, a->mismatches);
    return r;
}

const struct run_record *audit_load(struct audit *a, const char *commit)
{
    struct err e = {0};
    const struct run_record *known = known_record(a, commit);
    struct run_record *r = known == NULL ? new_record(a) : NULL;
    if (r == NULL)
        return known;
    if (run_record_load(a->ledger, commit, r, &e) == 0)
        return keep_record(a, r);
    ledger_failed(a, &e);
    run_record_release(r);
    return NULL;
}

const struct run_record *audit_load_folder(struct audit *a, const char *folder)
{
    struct err e = {0};
    const struct run_record *known = known_record(a, folder);
    struct run_record *r = known == NULL ? new_record(a) : NULL;
    if (r == NULL)
        return known;
    if (run_record_read_folder(folder, r, &e) == 0)
        return keep_record(a, r);
    audit_unknown(a, "%s", e.text);
    run_record_release(r);
    return NULL;
}

bool audit_find_run(struct audit *a, const char *id_hex, bool made_only,
                    char commit[COMMIT_HEX + 1])
{
    struct json *answer = NULL;
    struct err e = {0};
    bool found = false;
    if (ledger_find_digest(a->ledger, id_hex, &answer, &e) != 0) {
        ledger_failed(a, &e);
        return false;
    }
    for (const struct json *d = json_items(answer, "damage"); d != NULL; d = json_next(d))
        audit_mismatch(a, "ledger: %s", json_string(d));
    const char *where = json_find_text(answer, "where");
    const char *id = json_find_text(answer, "commit");
    if (where != NULL && id != NULL && str_is_hex(id, COMMIT_HEX) &&
        (!made_only || !str_eq(where, "input"))) {
        memcpy(commit, id, COMMIT_HEX + 1);
        found = true;
    }
    json_free(answer);
    return found;
}

/* ---- the target ---- */

/* A file of this store says by its name what it should be: "objects/xx/<id>.zst" or ".planes",
 * "raw/xx/<id>". One of that name elsewhere is a file like any other. */
static bool store_name(const char *path, const char *home, const char *kind, const char *suffix,
                       char id[SHA256_HEX + 1])
{
    const char *base = file_base_name(path);
    if (strlen(base) != SHA256_HEX + strlen(suffix) || !str_ends(base, suffix))
        return false;
    memcpy(id, base, SHA256_HEX);
    id[SHA256_HEX] = '\0';
    char *in_store = xasprintf("%s/%s/%.2s/%s", home, kind, id, base);
    struct stat st, there;
    bool found = str_is_hex(id, SHA256_HEX) && stat(path, &st) == 0 &&
                 stat(in_store, &there) == 0 && st.st_dev == there.st_dev &&
                 st.st_ino == there.st_ino;
    xfree(in_store);
    return found;
}

static int hash_target(struct audit *a, const char *home, struct err *e)
{
    struct content_id id;
    char named[SHA256_HEX + 1];
    if (a->store != NULL && (store_name(a->path, home, "objects", ".zst", named) ||
                             store_name(a->path, home, "objects", ".planes", named))) {
        memcpy(a->id, named, sizeof a->id);
        (void)audit_check_object(a, a->id); /* also what no stage of the walk has made */
        return 0;
    }
    a->is_folder = file_is_folder(a->path);
    int rc = a->is_folder ? sha256_folder(a->path, &a->listing, &id, e)
                          : sha256_file(a->path, &id, NULL, e);
    if (rc != 0)
        return rc;
    memcpy(a->id, id.hex, sizeof a->id);
    if (store_name(a->path, home, "raw", a->is_folder ? ".d" : "", named) &&
        !str_eq(named, a->id)) {
        audit_mismatch(a, "%s: has the SHA-256 %s, not the one of its name", a->path, a->id);
        memcpy(a->id, named, sizeof a->id);
    }
    return 0;
}

static int resolve_target(struct audit *a, const char *home, const char *target, struct err *e)
{
    const char *digest = str_starts(target, "sha256:") ? target + strlen("sha256:") : target;
    if (!file_exists(target) && str_is_hex(digest, SHA256_HEX)) {
        memcpy(a->id, digest, sizeof a->id);
        return 0;
    }
    if (!file_exists(target))
        return err_set(e, ERR_CONFIG, "%s: no such file or folder, and no SHA-256", target);
    a->path = target;
    return hash_target(a, home, e);
}

/* ---- where the target is in a run ---- */

/* The stage that made a file of a folder output: by the lines of artifacts.sha256. */
static const struct json *stage_of_file(const struct run_record *r, const char *id, char **as)
{
    const char *text = run_record_file(r, "artifacts.sha256");
    for (const char *line = text ? text : ""; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        char *path = n > SHA256_HEX + 2 && memcmp(line, id, SHA256_HEX) == 0
                         ? xstrndup(line + SHA256_HEX + 2, n - SHA256_HEX - 2)
                         : NULL;
        for (const struct json *s = path ? json_items(r->root, "stages") : NULL; s;
             s = json_next(s)) {
            char *prefix = xasprintf("%s/", json_text(s, "stage"));
            bool found = str_starts(path, prefix);
            xfree(prefix);
            if (!found)
                continue;
            *as = xasprintf("file %s", path);
            xfree(path);
            return s;
        }
        xfree(path);
        line += n + (line[n] == '\n');
    }
    return NULL;
}

static void add_users(struct audit *a, const struct run_record *r)
{
    for (const struct json *s = json_items(r->root, "stages"); s != NULL; s = json_next(s))
        for (const struct json *i = json_items(s, "inputs"); i != NULL; i = json_next(i)) {
            if (!str_eq(json_text(i, "id"), a->id))
                continue;
            struct json *v = json_new_object();
            json_put(v, "stage", json_clone(json_get(s, "stage")));
            json_put(v, "input", json_clone(json_get(i, "name")));
            json_put(v, "from", json_clone(json_get(i, "from")));
            json_append(a->used_by, v);
        }
}

/* Walks from the target; *as gets what it is in the run (xfree). */
static void follow(struct audit *a, const struct run_record *r, const char *id, char **as)
{
    const struct json *output = NULL;
    const struct json *stage = run_record_producer(r, id, NULL, &output);
    if (stage != NULL)
        *as = xasprintf("output %s of %s", json_text_or(output, "name", "?"),
                        json_find_text(stage, "stage"));
    else
        stage = stage_of_file(r, id, as);
    add_users(a, r);
    if (stage != NULL)
        audit_walk(a, r, stage);
    else if (json_first(a->used_by) != NULL)
        *as = xstrdup(a->path != NULL && audit_walk_folder(a, a->id, a->path)
                          ? "a source of this run, made in another"
                          : "a source: no stage of this run made it");
    else
        audit_unknown(a, "run %.12s names %s, but not as input, output or delivery", r->commit, id);
}

/* ---- signatures ---- */

static void add_signature(struct audit *a, const struct run_record *r, const struct json *found)
{
    struct json *run = json_clone(found);
    json_put_string(run, "name", r->name);
    char *damage = signature_damage(run);
    if (damage != NULL)
        audit_mismatch(a, "ledger: %s", damage);
    else if (str_eq(json_find_text(run, "state"), "unsigned"))
        audit_unknown(a, "run %.12s of %s is unsigned", r->commit, r->name);
    json_append(a->signatures, run);
    xfree(damage);
}

/* Of the runs of the ledger on the way; a checkout beside a file is no commit and has none. */
static void check_signatures(struct audit *a, const char *signers)
{
    a->signatures = json_new_array();
    for (size_t i = 0; i < a->n_records; i++) {
        const struct run_record *r = &a->records[i];
        struct json *found = NULL;
        struct err e = {0};
        if (!str_is_hex(r->commit, COMMIT_HEX))
            continue;
        if (signatures_read(a->ledger, signers, r->commit, &found, &e) != 0)
            audit_unknown(a, "run %.12s: its signature cannot be checked: %s", r->commit, e.text);
        for (const struct json *s = found ? json_first(found) : NULL; s; s = json_next(s))
            add_signature(a, r, s);
        json_free(found);
    }
}

/* ---- the report ---- */

static void start(struct audit *a, const struct ledger *l, const char *home)
{
    struct err ignored = {0};
    *a = (struct audit){.ledger = l};
    buf_init(&a->listing, BUF_MAX_DEFAULT);
    a->chain = json_new_array();
    a->sources = json_new_array();
    a->used_by = json_new_array();
    a->mismatches = json_new_array();
    a->unknowns = json_new_array();
    a->visited = json_new_object();
    a->objects = json_new_object();
    if (store_open_read(home, &a->store, &ignored) != 0)
        a->store = NULL;
}

static struct json *checked_to_json(const struct audit *a)
{
    struct json *v = json_new_object();
    json_put_i64(v, "recipes", (int64_t)a->checked.recipes);
    json_put_i64(v, "statements", (int64_t)a->checked.statements);
    json_put_i64(v, "objects", (int64_t)a->checked.objects);
    json_put_i64(v, "files", (int64_t)a->checked.files);
    return v;
}

/* The lists move into the report. */
static struct json *finish(struct audit *a, const struct run_record *r, const char *as)
{
    struct json *report = json_new_object();
    struct json *target = json_new_object();
    bool wrong = json_first(a->mismatches) != NULL;
    bool open = json_first(a->unknowns) != NULL;
    json_put_string(report, "schema", "fmforge.audit/1");
    json_put_string(report, "status", wrong ? "mismatch" : open ? "unknown" : "proven");
    if (a->path != NULL)
        json_put(target, "path", statement_text(a->path));
    json_put_string(target, "id", a->id);
    json_put_bool(target, "folder", a->is_folder);
    json_put(report, "target", target);
    if (r != NULL) {
        struct json *run = json_new_object();
        json_put_string(run, "commit", r->commit);
        json_put_string(run, "name", r->name);
        json_put_i64(run, "time", r->time);
        json_put(report, "run", run);
    }
    if (as != NULL)
        json_put(report, "as", statement_text(as));
    json_put(report, "chain", a->chain);
    json_put(report, "sources", a->sources);
    json_put(report, "used_by", a->used_by);
    json_put(report, "mismatches", a->mismatches);
    json_put(report, "unknowns", a->unknowns);
    json_put(report, "checked", checked_to_json(a));
    if (a->signatures != NULL)
        json_put(report, "signatures", a->signatures);
    a->chain = a->sources = a->used_by = a->mismatches = a->unknowns = a->signatures = NULL;
    return report;
}

static void release(struct audit *a)
{
    for (size_t i = 0; i < a->n_records; i++)
        run_record_release(&a->records[i]);
    json_free(a->chain);
    json_free(a->sources);
    json_free(a->used_by);
    json_free(a->mismatches);
    json_free(a->unknowns);
    json_free(a->visited);
    json_free(a->objects);
    json_free(a->signatures);
    buf_release(&a->listing);
    store_close(a->store);
}

int audit_make(const struct ledger *l, const char *home, const struct audit_question *q,
               struct json **report, struct err *e)
{
    struct audit *a = xalloc(sizeof *a);
    start(a, l, home);
    char commit[COMMIT_HEX + 1];
    char *as = NULL;
    const struct run_record *r = NULL;
    int rc = resolve_target(a, home, q->target, e);
    if (rc == 0) {
        const char *id = a->id;
        if (q->run != NULL)
            r = audit_load(a, q->run);
        else if (file_exists(l->repo) && audit_find_run(a, a->id, false, commit))
            r = audit_load(a, commit);
        else if (a->path != NULL && audit_walk_folder(a, a->id, a->path))
            as = xstrdup("made by the run in the folder provenance beside it");
        else if (!file_exists(l->repo))
            audit_unknown(a, "there is no ledger at %s", l->repo);
        else if (json_first(a->mismatches) == NULL)
            id = audit_explain(a, &r);
        if (r != NULL && id != NULL)
            follow(a, r, id, &as);
        if (q->signers != NULL)
            check_signatures(a, q->signers);
        *report = finish(a, r, as);
    }
    xfree(as);
    release(a);
    xfree(a);
    return rc;
}
