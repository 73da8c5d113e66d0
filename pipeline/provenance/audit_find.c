/* Bytes that no run lists: a changed copy of something that a run made, or something foreign. A run
 * that should have them is recognised by the files that are still right, by the path it was
 * delivered to, or by the adapter that a package's metadata.json names. */

#include <string.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/audit_work.h"
#include "pipeline/provenance/ledger_client.h"

#define METADATA_BYTES_MAX ((uint64_t)1 << 20)
/* Each look-up is a process; a package has two or three files. */
#define LOOKUPS_MAX 8

/* The folder that is compared: the target, or the folder around a target file. */
struct folder {
    char *path;
    struct buf listing;
};

/* One `sha256sum` line; returns the start of the next, NULL at the end. */
static const char *next_line(const char *line, char id[SHA256_HEX + 1], char **path)
{
    size_t n = strcspn(line, "\n");
    if (n < SHA256_HEX + 3)
        return NULL;
    memcpy(id, line, SHA256_HEX);
    id[SHA256_HEX] = '\0';
    *path = xstrndup(line + SHA256_HEX + 2, n - SHA256_HEX - 2);
    return line + n + (line[n] == '\n');
}

/* The stage and output that wrote "<prefix>/...": "<instance>/<output>" or a delivery's path. */
static const char *id_of_prefix(const struct run_record *r, const char *prefix)
{
    for (const struct json *d = json_items(r->root, "deliveries"); d != NULL; d = json_next(d))
        if (str_eq(json_text(d, "path"), prefix))
            return json_find_text(d, "id");
    for (const struct json *s = json_items(r->root, "stages"); s != NULL; s = json_next(s))
        for (const struct json *o = json_items(s, "outputs"); o != NULL; o = json_next(o)) {
            char *name = xasprintf("%s/%s", json_text(s, "stage"), json_text(o, "name"));
            bool found = str_eq(name, prefix);
            xfree(name);
            if (found)
                return json_find_text(o, "id");
        }
    return NULL;
}

/* Names every difference between the folder and what the run lists below prefix. */
static void compare_folder(struct audit *a, const struct folder *f, const struct run_record *r,
                           const char *prefix)
{
    const char *artifacts = run_record_file(r, "artifacts.sha256");
    size_t n_prefix = strlen(prefix);
    char id[SHA256_HEX + 1], other[SHA256_HEX + 1];
    char *path = NULL;
    const char *line = artifacts != NULL ? artifacts : "";
    while ((line = next_line(line, id, &path)) != NULL) {
        if (strncmp(path, prefix, n_prefix) == 0 && path[n_prefix] == '/') {
            const char *name = path + n_prefix + 1;
            if (!run_listed_digest(buf_text(&f->listing), name, other))
                audit_mismatch(a, "%s/%s: missing; run %.12s made it with the SHA-256 %s", f->path,
                               name, r->commit, id);
            else if (!str_eq(id, other))
                audit_mismatch(a, "%s/%s: has the SHA-256 %s, run %.12s made it with %s", f->path,
                               name, other, r->commit, id);
        }
        xfree(path);
    }
    line = buf_text(&f->listing);
    while ((line = next_line(line, id, &path)) != NULL) {
        char *full = xasprintf("%s/%s", prefix, path);
        if (artifacts != NULL && !run_listed_digest(artifacts, full, other))
            audit_mismatch(a, "%s/%s: run %.12s made no such file", f->path, path, r->commit);
        xfree(full);
        xfree(path);
    }
}

/* Compares with what the run wrote at "<prefix>/<name>". */
static const char *compare_at(struct audit *a, const struct folder *f, const char *commit,
                              const char *listed, const char *name, const struct run_record **run)
{
    size_t n_listed = strlen(listed), n_name = strlen(name);
    if (n_listed < n_name + 2 || listed[n_listed - n_name - 1] != '/' || !str_ends(listed, name))
        return NULL;
    const struct run_record *r = audit_load(a, commit);
    if (r == NULL)
        return NULL;
    char *prefix = xstrndup(listed, n_listed - n_name - 1);
    const char *id = id_of_prefix(r, prefix);
    if (id != NULL) {
        *run = r;
        compare_folder(a, f, r, prefix);
    }
    xfree(prefix);
    return id;
}

/* ---- by the files that are still right ---- */

static const char *by_files(struct audit *a, const struct folder *f, const struct run_record **run)
{
    const char *found = NULL;
    const char *line = buf_text(&f->listing);
    char id[SHA256_HEX + 1];
    char *name = NULL;
    for (int i = 0; i < LOOKUPS_MAX && found == NULL; i++) {
        line = next_line(line, id, &name);
        if (line == NULL)
            break;
        struct json *answer = NULL;
        struct err e = {0};
        if (ledger_find_digest(a->ledger, id, &answer, &e) == 0 &&
            json_find_text(answer, "commit") != NULL && json_find_text(answer, "path") != NULL)
            found = compare_at(a, f, json_find_text(answer, "commit"),
                               json_find_text(answer, "path"), name, run);
        json_free(answer);
        xfree(name);
    }
    return found;
}

/* ---- by the path of the delivery ---- */

/* As the engine writes delivered paths: relative to the working folder. Caller xfrees. */
static char *relative_path(const char *path)
{
    char here[4096];
    size_t n = 0;
    if (path[0] == '/' && getcwd(here, sizeof here) != NULL && str_starts(path, here) &&
        path[n = strlen(here)] == '/')
        path += n + 1;
    while (str_starts(path, "./"))
        path += 2;
    return xstrdup(path);
}

static const char *by_path(struct audit *a, const struct folder *f, const struct run_record **run)
{
    char id[SHA256_HEX + 1];
    char *name = NULL;
    if (next_line(buf_text(&f->listing), id, &name) == NULL)
        return NULL;
    char *relative = relative_path(f->path);
    char *full = file_join(relative, name);
    struct json *answer = NULL;
    struct err e = {0};
    const char *found = NULL;
    if (ledger_find_path(a->ledger, full, &answer, &e) == 0 &&
        json_find_text(answer, "commit") != NULL)
        found = compare_at(a, f, json_find_text(answer, "commit"), full, name, run);
    json_free(answer);
    xfree(full);
    xfree(relative);
    xfree(name);
    return found;
}

/* ---- by what metadata.json says ---- */

static char *adapter_in_metadata(const struct folder *f)
{
    char *path = file_join(f->path, "metadata.json");
    struct buf b;
    struct err e = {0};
    struct json *v = NULL;
    char *id = NULL;
    buf_init(&b, METADATA_BYTES_MAX * 2);
    if (file_exists(path) && file_read(path, METADATA_BYTES_MAX, &b, &e) == 0 &&
        json_parse(buf_text(&b), b.n_bytes, &v, &e) == 0) {
        const struct json *creator = json_get(v, "creatorDefined");
        const struct json *made = json_get(creator, "fmforge");
        const char *adapter = json_find_text(made, "adapter");
        if (adapter != NULL && str_is_hex(adapter, SHA256_HEX))
            id = xstrdup(adapter);
    }
    json_free(v);
    buf_release(&b);
    xfree(path);
    return id;
}

static bool uses(const struct json *stage, const char *id)
{
    for (const struct json *i = json_items(stage, "inputs"); i != NULL; i = json_next(i))
        if (str_eq(json_text(i, "id"), id))
            return true;
    return false;
}

/* The package that a stage made from this adapter. */
static const char *package_from(struct audit *a, const struct folder *f, const struct run_record *r,
                                const char *adapter)
{
    for (const struct json *s = json_items(r->root, "stages"); s != NULL; s = json_next(s)) {
        const char *kind = json_find_text(s, "run");
        const struct json *o = json_items(s, "outputs");
        if (kind == NULL || !str_eq(kind, "export") || o == NULL || !uses(s, adapter) ||
            json_find_text(o, "name") == NULL || json_find_text(s, "stage") == NULL)
            continue;
        char *prefix = xasprintf("%s/%s", json_find_text(s, "stage"), json_find_text(o, "name"));
        compare_folder(a, f, r, prefix);
        xfree(prefix);
        return json_find_text(o, "id");
    }
    return NULL;
}

static const char *by_metadata(struct audit *a, const struct folder *f,
                               const struct run_record **run)
{
    char *adapter = adapter_in_metadata(f);
    char commit[COMMIT_HEX + 1];
    const char *found = NULL;
    if (adapter != NULL && audit_find_run(a, adapter, false, commit)) {
        const struct run_record *r = audit_load(a, commit);
        found = r != NULL ? package_from(a, f, r, adapter) : NULL;
        if (found != NULL)
            *run = r;
    }
    xfree(adapter);
    return found;
}

/* ---- single files ---- */

static const char *file_by_path(struct audit *a, const struct run_record **run)
{
    char *relative = relative_path(a->path);
    struct json *answer = NULL;
    struct err e = {0};
    const char *found = NULL;
    if (ledger_find_path(a->ledger, relative, &answer, &e) == 0 &&
        json_find_text(answer, "commit") != NULL) {
        const struct run_record *r = audit_load(a, json_find_text(answer, "commit"));
        found = r != NULL ? id_of_prefix(r, relative) : NULL;
        if (found != NULL) {
            *run = r;
            audit_mismatch(a, "%s: has the SHA-256 %s, run %.12s made it with %s", a->path, a->id,
                           r->commit, found);
        }
    }
    json_free(answer);
    xfree(relative);
    return found;
}

static bool open_folder(struct audit *a, struct folder *f)
{
    buf_init(&f->listing, BUF_MAX_DEFAULT);
    if (a->is_folder) {
        f->path = xstrdup(a->path);
        buf_add(&f->listing, buf_text(&a->listing), a->listing.n_bytes);
        return true;
    }
    /* A file of a package: the folder around it, if it is one. */
    const char *base = file_base_name(a->path);
    f->path = base == a->path ? xstrdup(".") : xstrndup(a->path, (size_t)(base - a->path) - 1);
    char *metadata = file_join(f->path, "metadata.json");
    struct content_id id;
    struct err e = {0};
    bool ok = file_exists(metadata) && sha256_folder(f->path, &f->listing, &id, &e) == 0;
    xfree(metadata);
    return ok;
}

const char *audit_explain(struct audit *a, const struct run_record **run)
{
    *run = NULL;
    if (a->path == NULL) {
        audit_unknown(a, "no recorded run has the digest %s", a->id);
        return NULL;
    }
    struct folder f = {0};
    const char *id = a->is_folder ? NULL : file_by_path(a, run);
    if (id == NULL && open_folder(a, &f)) {
        id = by_files(a, &f, run);
        if (id == NULL)
            id = by_path(a, &f, run);
        if (id == NULL)
            id = by_metadata(a, &f, run);
    }
    xfree(f.path);
    buf_release(&f.listing);
    if (id == NULL)
        audit_unknown(a, "%s: no recorded run made these bytes (SHA-256 %s)", a->path, a->id);
    return id;
}
