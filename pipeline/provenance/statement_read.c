/* Reading of statements (layout: statement.c). */

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/statement.h"

static uint64_t count_or_zero(const struct json *v, const char *key)
{
    double n = json_number_or(v, key, 0);
    return n > 0 && n < 9007199254740992.0 ? (uint64_t)n : 0;
}

static int need_fixed(const struct json *v, const char *key, const char *want, struct err *e)
{
    const char *found = NULL;
    int rc = json_need_string(v, key, &found, e);
    if (rc == 0 && !str_eq(found, want))
        rc = err_set(e, ERR_FORMAT, "%s: expected %s, found %.100s", key, want, found);
    return rc;
}

/* The content digest of a descriptor: sha256 of a file or dirHash of a folder. */
static int take_digest(const struct json *v, const char **id, bool *is_folder, struct err *e)
{
    const struct json *digest = NULL;
    int rc = json_need_object(v, "digest", &digest, e);
    if (rc != 0)
        return rc;
    *id = json_find_text(digest, "sha256");
    *is_folder = *id == NULL;
    if (*id == NULL)
        *id = json_find_text(digest, "dirHash");
    if (*id == NULL || !str_is_hex(*id, 64))
        return err_set(e, ERR_FORMAT, "digest: no sha256 and no dirHash of 64 hex digits");
    return 0;
}

static int read_subjects(const struct json *root, struct statement *s, struct err *e)
{
    const struct json *list = NULL;
    int rc = json_need_array(root, "subject", &list, e);
    if (rc != 0)
        return rc;
    s->subjects = xalloc_array(json_count(list) + 1, sizeof *s->subjects);
    s->files = xalloc_array(json_count(list) + 1, sizeof *s->files);
    s->facts.subjects = s->subjects;
    for (const struct json *v = json_first(list); v != NULL && rc == 0; v = json_next(v)) {
        struct statement_subject one = {0};
        rc = json_need_string(v, "name", &one.name, e);
        if (rc == 0)
            rc = take_digest(v, &one.id, &one.is_folder, e);
        if (rc != 0)
            return err_wrap(e, "subject");
        const struct json *annotations = json_get(v, "annotations");
        one.kind = json_find_text(annotations, "kind");
        one.n_bytes = count_or_zero(annotations, "bytes");
        if (strchr(one.name, '/') != NULL)
            s->files[s->n_files++] = one;
        else
            s->subjects[s->facts.n_subjects++] = one;
    }
    return 0;
}

static int read_input(const struct json *v, const char *name, struct statement *s, struct err *e)
{
    struct statement_input *in = &s->inputs[s->facts.n_inputs++];
    in->name = name;
    int rc = take_digest(v, &in->id, &in->is_folder, e);
    if (rc != 0)
        return err_wrap(e, "input/%s", name);
    in->uri = json_find_text(v, "uri");
    const struct json *annotations = json_get(v, "annotations");
    if (annotations == NULL)
        return 0;
    in->kind = json_find_text(annotations, "kind");
    in->n_bytes = count_or_zero(annotations, "bytes");
    in->facet = json_find_text(annotations, "facet");
    in->producer = json_find_text(annotations, "producer");
    in->from = json_find_text(annotations, "from");
    return 0;
}

static int read_source(const struct json *v, struct statement *s, struct err *e)
{
    const struct json *digest = json_get(v, "digest");
    s->facts.source.commit = json_find_text(digest, "gitCommit");
    if (s->facts.source.commit == NULL)
        return err_set(e, ERR_FORMAT, "source: no gitCommit");
    const struct json *annotations = json_get(v, "annotations");
    if (annotations == NULL)
        return 0;
    s->facts.source.branch = json_find_text(annotations, "branch");
    s->facts.source.n_dirty_all = count_or_zero(annotations, "dirty_total");
    const struct json *dirty = json_get(annotations, "dirty");
    if (dirty == NULL || json_type(dirty) != JSON_ARRAY)
        return 0;
    s->dirty = xalloc_array(json_count(dirty) + 1, sizeof *s->dirty);
    s->facts.source.dirty = s->dirty;
    for (const struct json *d = json_first(dirty); d != NULL; d = json_next(d)) {
        if (json_find_text(d, "path") == NULL)
            return err_set(e, ERR_FORMAT, "source: a dirty entry without path");
        struct statement_dirty *one = &s->dirty[s->facts.source.n_dirty++];
        *one = (struct statement_dirty){json_find_text(d, "path"), json_find_text(d, "sha256"),
                                        json_find_text(d, "unhashed")};
        if (one->id != NULL && !str_is_hex(one->id, 64)) { /* once the reason stood there */
            one->unhashed = one->id;
            one->id = NULL;
        }
    }
    return 0;
}

static int read_dependencies(const struct json *definition, struct statement *s, struct err *e)
{
    const struct json *list = NULL;
    int rc = json_need_array(definition, "resolvedDependencies", &list, e);
    if (rc != 0)
        return rc;
    s->inputs = xalloc_array(json_count(list) + 1, sizeof *s->inputs);
    s->libraries = xalloc_array(json_count(list) + 1, sizeof *s->libraries);
    s->facts.inputs = s->inputs;
    s->facts.libraries = s->libraries;
    for (const struct json *v = json_first(list); v != NULL && rc == 0; v = json_next(v)) {
        const char *name = NULL;
        bool is_folder = false;
        rc = json_need_string(v, "name", &name, e);
        if (rc != 0)
            break;
        if (str_starts(name, "input/")) {
            rc = read_input(v, name + 6, s, e);
        } else if (str_starts(name, "program/")) {
            s->facts.binary_name = name + 8;
            rc = take_digest(v, &s->facts.binary, &is_folder, e);
        } else if (str_starts(name, "library/")) {
            struct statement_pair *library = &s->libraries[s->facts.n_libraries++];
            library->name = name + 8;
            rc = take_digest(v, &library->value, &is_folder, e);
        } else if (str_eq(name, "manifest")) {
            s->facts.manifest_uri = json_find_text(v, "uri");
            rc = take_digest(v, &s->facts.manifest, &is_folder, e);
        } else if (str_eq(name, "source")) {
            rc = read_source(v, s, e);
        }
    }
    return rc == 0 ? 0 : err_wrap(e, "resolvedDependencies");
}

static int read_definition(const struct json *definition, struct statement *s, struct err *e)
{
    const struct json *external = NULL;
    const struct json *internal = NULL;
    const struct json *recipe = NULL;
    bool is_folder = false;
    int rc = need_fixed(definition, "buildType", STATEMENT_BUILD_TYPE, e);
    if (rc == 0)
        rc = json_need_object(definition, "externalParameters", &external, e);
    if (rc == 0)
        rc = json_need_string(external, "stage", &s->facts.stage, e);
    if (rc == 0)
        rc = json_need_object(external, "config", &s->facts.config, e);
    if (rc == 0)
        rc = json_need_object(definition, "internalParameters", &internal, e);
    if (rc == 0)
        rc = json_need_object(internal, "recipe", &recipe, e);
    if (rc == 0)
        rc = take_digest(recipe, &s->facts.recipe, &is_folder, e);
    if (rc != 0)
        return rc;
    s->facts.instance = json_find_text(external, "instance");
    s->facts.pipeline = json_find_text(external, "pipeline");
    s->facts.toolkit = json_find_text(external, "toolkit");
    s->facts.profile = json_get(internal, "profile");
    s->facts.kernels = json_find_text(internal, "kernels");
    s->facts.sandbox = json_find_text(internal, "sandbox");
    s->facts.usage.threads = (int)(count_or_zero(internal, "threads") & 0xffff);
    s->facts.source.unavailable = json_find_text(internal, "source_unavailable");
    return read_dependencies(definition, s, e);
}

static void read_pairs(const struct json *v, struct statement_pair **pairs, size_t *n)
{
    if (v == NULL || json_type(v) != JSON_OBJECT)
        return;
    *pairs = xalloc_array(json_count(v) + 1, sizeof **pairs);
    for (const struct json *m = json_first(v); m != NULL; m = json_next(m))
        if (json_type(m) == JSON_STRING)
            (*pairs)[(*n)++] = (struct statement_pair){json_key(m), json_string(m)};
}

static int read_details(const struct json *details, struct statement *s, struct err *e)
{
    const struct json *metadata = NULL;
    const char *started = NULL;
    const char *finished = NULL;
    int rc = json_need_object(details, "metadata", &metadata, e);
    if (rc == 0)
        rc = json_need_string(metadata, "startedOn", &started, e);
    if (rc == 0)
        rc = json_need_string(metadata, "finishedOn", &finished, e);
    if (rc == 0 && (!statement_time_parse(started, &s->facts.started_ms) ||
                    !statement_time_parse(finished, &s->facts.finished_ms)))
        rc = err_set(e, ERR_FORMAT, "startedOn or finishedOn is not a time");
    if (rc != 0)
        return rc;
    s->facts.invocation = json_find_text(metadata, "invocationId");
    read_pairs(json_get(metadata, "fmforge_host"), &s->host, &s->facts.n_host);
    read_pairs(json_get(metadata, "fmforge_tools"), &s->tools, &s->facts.n_tools);
    s->facts.host = s->host;
    s->facts.tools = s->tools;
    s->facts.events = json_get(metadata, "fmforge_events");
    const struct json *usage = json_get(metadata, "fmforge_usage");
    if (usage != NULL) {
        s->facts.usage.wall_seconds = json_number_or(usage, "wall_seconds", 0);
        s->facts.usage.user_seconds = json_number_or(usage, "user_seconds", 0);
        s->facts.usage.system_seconds = json_number_or(usage, "system_seconds", 0);
        s->facts.usage.peak_bytes = count_or_zero(usage, "peak_bytes");
        s->facts.usage.retries = (int64_t)count_or_zero(usage, "retries");
    }
    const struct json *builder = json_get(details, "builder");
    const struct json *version = json_get(builder, "version");
    s->facts.builder_version = json_find_text(version, "fmforge");
    const struct json *list = json_get(builder, "builderDependencies");
    const struct json *program = list != NULL ? json_first(list) : NULL;
    bool is_folder = false;
    if (program != NULL)
        rc = take_digest(program, &s->facts.builder_binary, &is_folder, e);
    list = json_get(details, "byproducts");
    const struct json *log = list != NULL ? json_first(list) : NULL;
    if (rc == 0 && log != NULL)
        rc = take_digest(log, &s->facts.log, &is_folder, e);
    return rc;
}

static int read_all(struct statement *s, struct err *e)
{
    const struct json *predicate = NULL;
    const struct json *definition = NULL;
    const struct json *details = NULL;
    int rc = need_fixed(s->root, "_type", STATEMENT_TYPE, e);
    if (rc == 0)
        rc = need_fixed(s->root, "predicateType", STATEMENT_PREDICATE_TYPE, e);
    if (rc == 0)
        rc = read_subjects(s->root, s, e);
    if (rc == 0)
        rc = json_need_object(s->root, "predicate", &predicate, e);
    if (rc == 0)
        rc = json_need_object(predicate, "buildDefinition", &definition, e);
    if (rc == 0)
        rc = read_definition(definition, s, e);
    if (rc == 0)
        rc = json_need_object(predicate, "runDetails", &details, e);
    if (rc == 0)
        rc = read_details(details, s, e);
    return rc;
}

int statement_parse(const char *text, size_t n_bytes, struct statement *out, struct err *e)
{
    *out = (struct statement){0};
    int rc = json_parse(text, n_bytes, &out->root, e);
    if (rc == 0 && json_type(out->root) != JSON_OBJECT)
        rc = err_set(e, ERR_FORMAT, "not a JSON object");
    if (rc == 0)
        rc = read_all(out, e);
    if (rc != 0) {
        statement_release(out);
        return err_wrap(e, "statement");
    }
    return 0;
}

void statement_release(struct statement *s)
{
    json_free(s->root);
    xfree(s->subjects);
    xfree(s->files);
    xfree(s->inputs);
    xfree(s->libraries);
    xfree(s->host);
    xfree(s->tools);
    xfree(s->dirty);
    *s = (struct statement){0};
}
