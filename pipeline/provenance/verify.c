#include "pipeline/provenance/verify.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/recipe.h"
#include "pipeline/provenance/signatures.h"
#include "pipeline/provenance/statement.h"
#include "pipeline/store/listing.h"
#include "pipeline/store/store.h"

struct verify {
    const struct ledger *ledger;
    const char *signers; /* or NULL */
    struct store *store;
    struct json *damage;
    struct json *bad; /* ids of damaged objects -> true */
    uint64_t n_objects, n_object_bytes, n_raw, n_actions;
    struct json *ledger_counts; /* or NULL */
    struct json *signatures;    /* or NULL */
};

static void add(struct verify *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct verify *v, const char *format, ...)
{
    struct buf b;
    va_list args;
    buf_init(&b, BUF_MAX_DEFAULT);
    va_start(args, format);
    buf_vprintf(&b, format, args);
    va_end(args);
    json_append(v->damage, statement_text(buf_text(&b)));
    buf_release(&b);
}

/* ---- walking "kind/xx/NAME" ---- */

typedef void visit_function(struct verify *v, const char *path, const char *name);

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in a folder, sorted; each and the array are xfreed. */
static char **read_names(struct verify *v, const char *path, size_t *n)
{
    char **names = NULL;
    *n = 0;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        if (errno != ENOENT)
            add(v, "store: %s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    const struct dirent *entry = NULL;
    while ((entry = readdir(dir)) != NULL) {
        if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, ".."))
            continue;
        if ((*n & (*n - 1)) == 0)
            names = xrealloc_array(names, *n == 0 ? 1 : *n * 2, sizeof *names);
        names[(*n)++] = xstrdup(entry->d_name);
    }
    closedir(dir);
    if (*n > 0)
        qsort(names, *n, sizeof *names, by_text);
    return names;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        xfree(names[i]);
    xfree(names);
}

static void walk(struct verify *v, const char *kind, visit_function *visit)
{
    char *root = store_path(v->store, kind);
    size_t n_folders = 0;
    char **folders = read_names(v, root, &n_folders);
    for (size_t i = 0; i < n_folders; i++) {
        char *folder = file_join(root, folders[i]);
        size_t n_names = 0;
        char **names = read_names(v, folder, &n_names);
        for (size_t k = 0; k < n_names; k++) {
            char *path = file_join(folder, names[k]);
            if (strncmp(names[k], folders[i], 2) != 0 || strlen(folders[i]) != 2)
                add(v, "store: %s: does not belong here", path);
            else
                visit(v, path, names[k]);
            xfree(path);
        }
        free_names(names, n_names);
        xfree(folder);
    }
    free_names(folders, n_folders);
    xfree(root);
}

/* ---- the parts of the store ---- */

static void visit_object(struct verify *v, const char *path, const char *name)
{
    char id[SHA256_HEX + 1];
    uint64_t n_bytes = 0;
    struct err e = {0};
    const char *suffix = sha256_id_of_name(name, id);
    if (suffix == NULL || (!str_eq(suffix, ".zst") && !str_eq(suffix, ".planes"))) {
        add(v, "store: %s: not the name of an object", path);
        return;
    }
    v->n_objects++;
    if (store_check_file(v->store, path, id, &n_bytes, &e) != 0) {
        add(v, "store: %s", e.text);
        json_put_bool(v->bad, id, true);
        return;
    }
    v->n_object_bytes += n_bytes;
}

static void visit_raw(struct verify *v, const char *path, const char *name)
{
    char id[SHA256_HEX + 1];
    struct content_id found;
    struct err e = {0};
    const char *suffix = sha256_id_of_name(name, id);
    if (suffix == NULL || !str_eq(suffix, file_is_folder(path) ? ".d" : "")) {
        add(v, "store: %s: not the name of a raw copy", path);
        return;
    }
    v->n_raw++;
    if (sha256_path(path, &found, NULL, &e) != 0)
        add(v, "store: raw copy %s", e.text);
    else if (!str_eq(found.hex, id))
        add(v, "store: raw copy %s is damaged: its SHA-256 is %s", path, found.hex);
}

/* Damaged ones are named already. */
static void need_object(struct verify *v, const char *key, const char *what, const char *id)
{
    if (!store_has(v->store, id))
        add(v, "store: action %s: the object %s of its %s is missing", key, id, what);
}

static void need_files(struct verify *v, const char *key, const struct action_output *o)
{
    struct buf listing;
    struct err e = {0};
    if (json_get(v->bad, o->id.hex) != NULL || !store_has(v->store, o->id.hex))
        return;
    buf_init(&listing, BUF_MAX_DEFAULT);
    if (store_get_bytes(v->store, o->id.hex, BUF_MAX_DEFAULT, &listing, &e) != 0)
        add(v, "store: %s", e.text);
    else if (listing_check(buf_text(&listing), &e) != 0)
        add(v, "store: action %s: output %s is no folder's listing: %s", key, o->name, e.text);
    for (const char *line = buf_text(&listing); *line != '\0';) {
        size_t n = strcspn(line, "\n");
        char *id = xstrndup(line, n < SHA256_HEX ? n : SHA256_HEX);
        if (str_is_hex(id, SHA256_HEX))
            need_object(v, key, o->name, id);
        xfree(id);
        line += n + (line[n] == '\n');
    }
    buf_release(&listing);
}

static void need_recipe(struct verify *v, const struct action *a)
{
    struct buf b;
    struct err e = {0};
    struct recipe r;
    const char *key = a->key.hex;
    need_object(v, key, "recipe", key);
    if (json_get(v->bad, key) != NULL || !store_has(v->store, key))
        return;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (store_get_bytes(v->store, key, LIMIT_JSON_BYTES, &b, &e) != 0 ||
        recipe_parse(buf_text(&b), b.n_bytes, &r, &e) != 0) {
        add(v, "store: action %s: %s", key, e.text);
    } else {
        if (!str_eq(r.stage, a->stage))
            add(v, "store: action %s: it is of stage %s, its recipe of %s", key, a->stage, r.stage);
        recipe_release(&r);
    }
    buf_release(&b);
}

/* NULL when it names no such output. */
static const char *subject_id(const struct statement_facts *f, const char *name)
{
    for (size_t i = 0; i < f->n_subjects; i++)
        if (str_eq(f->subjects[i].name, name))
            return f->subjects[i].id;
    return NULL;
}

/* A record that is whole may still say something else than the statement of its execution. */
static void need_statement(struct verify *v, const struct action *a)
{
    struct buf b;
    struct err e = {0};
    struct statement s = {0};
    const char *id = a->statement.hex;
    if (id[0] == '\0')
        return;
    need_object(v, a->key.hex, "statement", id);
    if (json_get(v->bad, id) != NULL || !store_has(v->store, id))
        return;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (store_get_bytes(v->store, id, LIMIT_JSON_BYTES, &b, &e) != 0 ||
        statement_parse(buf_text(&b), b.n_bytes, &s, &e) != 0)
        add(v, "store: action %s: its statement: %s", a->key.hex, e.text);
    for (size_t i = 0; e.code == 0 && i < a->n_outputs; i++) {
        const char *said = subject_id(&s.facts, a->outputs[i].name);
        if (said == NULL || !str_eq(said, a->outputs[i].id.hex))
            add(v, "store: action %s: its %s is %s, its statement says %s", a->key.hex,
                a->outputs[i].name, a->outputs[i].id.hex, said != NULL ? said : "nothing");
    }
    if (e.code == 0 && (s.facts.recipe == NULL || !str_eq(s.facts.recipe, a->key.hex)))
        add(v, "store: action %s: its statement is of recipe %s", a->key.hex,
            s.facts.recipe != NULL ? s.facts.recipe : "nobody");
    statement_release(&s);
    buf_release(&b);
}

static void visit_action(struct verify *v, const char *path, const char *name)
{
    struct buf b;
    struct err e = {0};
    struct action a;
    char key[SHA256_HEX + 1];
    const char *suffix = sha256_id_of_name(name, key);
    if (suffix == NULL || *suffix != '\0') {
        add(v, "store: %s: not the name of an action", path);
        return;
    }
    v->n_actions++;
    buf_init(&b, BUF_MAX_DEFAULT);
    if (file_read(path, LIMIT_JSON_BYTES, &b, &e) != 0 ||
        action_parse(buf_text(&b), b.n_bytes, key, &a, &e) != 0) {
        add(v, "store: action record %s is damaged: %s", path, e.text);
    } else {
        need_recipe(v, &a);
        need_statement(v, &a);
        for (size_t i = 0; i < a.n_outputs; i++) {
            need_object(v, key, a.outputs[i].name, a.outputs[i].id.hex);
            if (a.outputs[i].is_folder)
                need_files(v, key, &a.outputs[i]);
        }
    }
    buf_release(&b);
}

/* ---- the ledger ---- */

/* A fmforge that was killed between a commit and its ref leaves such a run, too: no damage. */
static void count_lost(struct verify *v, const struct json *log)
{
    const struct json *all = json_get(v->ledger_counts, "commits");
    int64_t n = all != NULL ? (int64_t)json_number(all) : 0;
    n -= (int64_t)json_count(json_get(log, "commits"));
    if (n > 0)
        json_put_i64(v->ledger_counts, "without_ref", n);
}

static void check_newest_runs(struct verify *v)
{
    struct json *log = NULL;
    struct json *seen = json_new_object();
    struct err e = {0};
    if (ledger_log(v->ledger, NULL, 0, &log, &e) != 0)
        add(v, "%s", e.text);
    else
        count_lost(v, log);
    for (const struct json *c = json_items(log, "commits"); c != NULL; c = json_next(c)) {
        const char *ref = json_find_text(c, "ref");
        const char *commit = json_find_text(c, "commit");
        struct run_record r = {0};
        struct err why = {0};
        if (ref == NULL || commit == NULL || json_get(seen, ref) != NULL)
            continue;
        json_put_bool(seen, ref, true);
        struct json *found = json_new_array();
        if (run_record_load(v->ledger, commit, &r, &why) != 0)
            add(v, "%s", why.text);
        else if (!str_starts(ref, "refs/prov/") || !str_eq(ref + 10, r.name))
            add(v, "ledger: ref %s of %s points to run %.12s, which is of %s", ref, v->ledger->repo,
                commit, r.name);
        else
            run_record_check(&r, found);
        for (const struct json *d = json_first(found); d != NULL; d = json_next(d))
            add(v, "ledger: %s", json_string(d));
        json_free(found);
        run_record_release(&r);
    }
    json_free(seen);
    json_free(log);
}

static void check_signatures(struct verify *v)
{
    struct err e = {0};
    if (signatures_read(v->ledger, v->signers, NULL, &v->signatures, &e) != 0) {
        add(v, "ledger: signatures cannot be checked: %s", e.text);
        return;
    }
    for (const struct json *run = json_first(v->signatures); run; run = json_next(run)) {
        char *damage = signature_damage(run);
        if (damage != NULL)
            add(v, "ledger: %s", damage);
        xfree(damage);
    }
}

static void check_ledger(struct verify *v)
{
    struct json *answer = NULL;
    struct err e = {0};
    if (!file_exists(v->ledger->repo))
        return; /* no run was recorded yet */
    if (ledger_check(v->ledger, &answer, &e) != 0) {
        add(v, "%s", e.text);
        return;
    }
    bool sound = json_items(answer, "damage") == NULL;
    for (const struct json *d = json_items(answer, "damage"); d != NULL; d = json_next(d))
        add(v, "ledger: %s", json_string(d));
    v->ledger_counts = json_new_object();
    static const char *const keys[] = {"objects", "commits", "refs"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (json_get(answer, keys[i]) != NULL)
            json_put(v->ledger_counts, keys[i], json_clone(json_get(answer, keys[i])));
    json_free(answer);
    if (sound)
        check_newest_runs(v);
    if (sound && v->signers != NULL)
        check_signatures(v);
    else if (v->signers != NULL)
        add(v, "ledger: signatures are not checked before it is sound");
}

/* ---- the report ---- */

int verify_make(const struct ledger *l, const char *home, const char *signers, struct json **report,
                struct err *e)
{
    struct verify v = {.ledger = l, .signers = signers};
    int rc = store_open_read(home, &v.store, e);
    if (rc != 0)
        return rc;
    v.damage = json_new_array();
    v.bad = json_new_object();
    walk(&v, "objects", visit_object);
    walk(&v, "raw", visit_raw);
    walk(&v, "actions", visit_action);
    check_ledger(&v);
    struct json *root = json_new_object();
    json_put_string(root, "schema", "fmforge.verify/1");
    json_put_string(root, "status", json_first(v.damage) == NULL ? "ok" : "damaged");
    json_put_i64(root, "objects", (int64_t)v.n_objects);
    json_put_i64(root, "object_bytes", (int64_t)v.n_object_bytes);
    json_put_i64(root, "raw", (int64_t)v.n_raw);
    json_put_i64(root, "actions", (int64_t)v.n_actions);
    if (v.ledger_counts != NULL)
        json_put(root, "ledger", v.ledger_counts);
    if (v.signatures != NULL)
        json_put(root, "signatures", v.signatures);
    json_put(root, "damage", v.damage);
    *report = root;
    json_free(v.bad);
    store_close(v.store);
    return 0;
}

void verify_to_text(const struct json *report, struct buf *out)
{
    char size[16];
    const struct json *ledger = json_get(report, "ledger");
    size_t n_damage = 0, n_store = 0;
    for (const struct json *d = json_items(report, "damage"); d != NULL; d = json_next(d)) {
        buf_printf(out, "%s\n", json_string(d));
        n_damage++;
        n_store += str_starts(json_string(d), "store: ");
    }
    str_format_bytes((uint64_t)json_number_or(report, "object_bytes", 0), size);
    buf_printf(out, "store: %.0f objects (%s), %.0f actions, %.0f raw copies\n",
               json_number_or(report, "objects", 0), size, json_number_or(report, "actions", 0),
               json_number_or(report, "raw", 0));
    if (ledger != NULL)
        buf_printf(out, "ledger: %.0f run%s on %.0f ref%s, %.0f objects\n",
                   json_number_or(ledger, "commits", 0),
                   json_number_or(ledger, "commits", 0) == 1 ? "" : "s",
                   json_number_or(ledger, "refs", 0),
                   json_number_or(ledger, "refs", 0) == 1 ? "" : "s",
                   json_number_or(ledger, "objects", 0));
    if (ledger != NULL && json_number_or(ledger, "without_ref", 0) > 0)
        buf_printf(
            out,
            "ledger: %.0f of these runs on no ref, so that log does not list them: a ref was "
            "removed, or fmforge was killed while it recorded; git fsck --lost-found names "
            "them\n",
            json_number_or(ledger, "without_ref", 0));
    if (ledger == NULL)
        buf_add_text(out, "ledger: not read, or no run is recorded\n");
    if (json_get(report, "signatures") != NULL)
        signatures_to_text(json_get(report, "signatures"), out);
    if (n_damage == 0)
        buf_add_text(out, "everything verifies\n");
    else if (n_store == 0)
        buf_printf(out, "%zu found wrong, nothing of it in what the store keeps\n", n_damage);
    else
        buf_printf(out,
                   "%zu damaged or missing; a damaged stored object is moved to quarantine and "
                   "made again by the next run that reads it, a recipe by `fmforge run --record`\n",
                   n_damage);
}
