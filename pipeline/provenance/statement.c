/* Writing of statements; reading is in statement_read.c. Both know the layout below by heart:
 *
 * _type, subject[{name,digest,annotations{kind,bytes,folder}}], predicateType,
 * predicate.buildDefinition: buildType, externalParameters{stage,instance,pipeline,toolkit,config},
 *   internalParameters{recipe,profile,threads,kernels,sandbox,source_unavailable},
 *   resolvedDependencies[{name: "input/..."|"program/..."|"library/..."|"manifest"|"source", ...}]
 * predicate.runDetails: builder{id,version,builderDependencies}, byproducts[{name:"log"}],
 *   metadata{invocationId,startedOn,finishedOn,fmforge_host,_tools,_usage,_events}
 */

#include "pipeline/provenance/statement.h"

#include <string.h>
#include <time.h>

#include "pipeline/base/check.h"
#include "pipeline/base/clock.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

struct json *statement_text(const char *s)
{
    size_t n = strlen(s);
    if (str_utf8_prefix(s, n) == n)
        return json_new_string(s);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    while (n > 0) {
        size_t good = str_utf8_prefix(s, n);
        buf_add(&b, s, good);
        s += good;
        n -= good;
        if (n > 0) {
            buf_printf(&b, "\\x%02x", (unsigned char)*s);
            s++;
            n--;
        }
    }
    struct json *v = json_new_string(buf_text(&b));
    buf_release(&b);
    return v;
}

static void put_text(struct json *object, const char *key, const char *s)
{
    if (s != NULL)
        json_put(object, key, statement_text(s));
}

static struct json *digest(const char *algorithm, const char *hex)
{
    struct json *v = json_new_object();
    json_put_string(v, algorithm, hex);
    return v;
}

static struct json *content_digest(const char *id, bool is_folder)
{
    CHECK(str_is_hex(id, 64));
    return digest(is_folder ? "dirHash" : "sha256", id);
}

static struct json *descriptor(const char *prefix, const char *name)
{
    struct json *v = json_new_object();
    char *full = xasprintf("%s%s", prefix, name);
    put_text(v, "name", full);
    xfree(full);
    return v;
}

/* One subject per line of a folder's listing: "package/metadata.json". */
static void add_file_subjects(struct json *subjects, const struct statement_subject *s)
{
    for (const char *line = s->listing; *line != '\0';) {
        const char *end = strchr(line, '\n');
        CHECK(end != NULL && end - line > 66);
        char *id = xstrndup(line, 64);
        char *path = xasprintf("%s/%.*s", s->name, (int)(end - line - 66), line + 66);
        struct json *v = descriptor("", path);
        json_put(v, "digest", content_digest(id, false));
        json_append(subjects, v);
        xfree(path);
        xfree(id);
        line = end + 1;
    }
}

static struct json *build_subjects(const struct statement_facts *f)
{
    struct json *subjects = json_new_array();
    for (size_t i = 0; i < f->n_subjects; i++) {
        const struct statement_subject *s = &f->subjects[i];
        struct json *v = descriptor("", s->name);
        json_put(v, "digest", content_digest(s->id, s->is_folder));
        struct json *annotations = json_new_object();
        put_text(annotations, "kind", s->kind);
        json_put_i64(annotations, "bytes", (int64_t)s->n_bytes);
        json_put(v, "annotations", annotations);
        json_append(subjects, v);
        if (s->listing != NULL)
            add_file_subjects(subjects, s);
    }
    return subjects;
}

static void add_inputs(struct json *dependencies, const struct statement_facts *f)
{
    for (size_t i = 0; i < f->n_inputs; i++) {
        const struct statement_input *in = &f->inputs[i];
        struct json *v = descriptor("input/", in->name);
        json_put(v, "digest", content_digest(in->id, in->is_folder));
        put_text(v, "uri", in->uri);
        struct json *annotations = json_new_object();
        put_text(annotations, "kind", in->kind);
        json_put_i64(annotations, "bytes", (int64_t)in->n_bytes);
        put_text(annotations, "facet", in->facet);
        put_text(annotations, "producer", in->producer);
        put_text(annotations, "from", in->from);
        json_put(v, "annotations", annotations);
        json_append(dependencies, v);
    }
}

static void add_source(struct json *dependencies, const struct statement_source *source)
{
    struct json *v = descriptor("", "source");
    json_put(v, "digest", digest("gitCommit", source->commit));
    struct json *annotations = json_new_object();
    put_text(annotations, "branch", source->branch);
    json_put_i64(annotations, "dirty_total", (int64_t)source->n_dirty_all);
    struct json *dirty = json_new_array();
    for (size_t i = 0; i < source->n_dirty; i++) {
        struct json *item = json_new_object();
        put_text(item, "path", source->dirty[i].path);
        put_text(item, "sha256", source->dirty[i].id);
        put_text(item, "unhashed", source->dirty[i].unhashed);
        json_append(dirty, item);
    }
    json_put(annotations, "dirty", dirty);
    json_put(v, "annotations", annotations);
    json_append(dependencies, v);
}

static struct json *build_dependencies(const struct statement_facts *f)
{
    struct json *dependencies = json_new_array();
    add_inputs(dependencies, f);
    struct json *program = descriptor("program/", f->binary_name);
    json_put(program, "digest", content_digest(f->binary, false));
    json_append(dependencies, program);
    for (size_t i = 0; i < f->n_libraries; i++) {
        struct json *v = descriptor("library/", f->libraries[i].name);
        json_put(v, "digest", content_digest(f->libraries[i].value, false));
        json_append(dependencies, v);
    }
    if (f->source.commit != NULL)
        add_source(dependencies, &f->source);
    if (f->manifest != NULL) {
        struct json *v = descriptor("", "manifest");
        put_text(v, "uri", f->manifest_uri);
        json_put(v, "digest", content_digest(f->manifest, false));
        json_append(dependencies, v);
    }
    return dependencies;
}

static struct json *build_definition(const struct statement_facts *f)
{
    struct json *external = json_new_object();
    put_text(external, "stage", f->stage);
    put_text(external, "instance", f->instance);
    put_text(external, "pipeline", f->pipeline);
    put_text(external, "toolkit", f->toolkit);
    json_put(external, "config", f->config ? json_clone(f->config) : json_new_object());

    struct json *internal = json_new_object();
    struct json *recipe = json_new_object();
    json_put(recipe, "digest", content_digest(f->recipe, false));
    json_put(internal, "recipe", recipe);
    if (f->profile != NULL) {
        json_put(internal, "profile", json_clone(f->profile));
    } else {
        struct json *profile = json_new_object();
        json_put_bool(profile, "portable", true);
        json_put(internal, "profile", profile);
    }
    if (f->usage.threads > 0)
        json_put_i64(internal, "threads", f->usage.threads);
    put_text(internal, "kernels", f->kernels);
    put_text(internal, "sandbox", f->sandbox);
    if (f->source.commit == NULL)
        put_text(internal, "source_unavailable",
                 f->source.unavailable ? f->source.unavailable : "not asked for");

    struct json *v = json_new_object();
    json_put_string(v, "buildType", STATEMENT_BUILD_TYPE);
    json_put(v, "externalParameters", external);
    json_put(v, "internalParameters", internal);
    json_put(v, "resolvedDependencies", build_dependencies(f));
    return v;
}

static struct json *build_pairs(const struct statement_pair *pairs, size_t n)
{
    struct json *v = json_new_object();
    for (size_t i = 0; i < n; i++)
        put_text(v, pairs[i].name, pairs[i].value);
    return v;
}

static struct json *build_metadata(const struct statement_facts *f)
{
    char time_text[25];
    struct json *v = json_new_object();
    put_text(v, "invocationId", f->invocation);
    json_put_string(v, "startedOn", clock_text(f->started_ms, time_text));
    json_put_string(v, "finishedOn", clock_text(f->finished_ms, time_text));
    json_put(v, "fmforge_host", build_pairs(f->host, f->n_host));
    json_put(v, "fmforge_tools", build_pairs(f->tools, f->n_tools));
    struct json *usage = json_new_object();
    json_put_seconds(usage, "wall_seconds", f->usage.wall_seconds);
    json_put_seconds(usage, "user_seconds", f->usage.user_seconds);
    json_put_seconds(usage, "system_seconds", f->usage.system_seconds);
    json_put_i64(usage, "peak_bytes", (int64_t)f->usage.peak_bytes);
    if (f->usage.retries > 0)
        json_put_i64(usage, "retries", f->usage.retries);
    json_put(v, "fmforge_usage", usage);
    if (f->events != NULL)
        json_put(v, "fmforge_events", json_clone(f->events));
    return v;
}

static struct json *build_details(const struct statement_facts *f)
{
    struct json *builder = json_new_object();
    json_put_string(builder, "id", STATEMENT_BUILDER_ID);
    struct json *version = json_new_object();
    put_text(version, "fmforge", f->builder_version);
    json_put(builder, "version", version);
    if (f->builder_binary != NULL) {
        struct json *program = descriptor("program/", "fmforge-engine");
        json_put(program, "digest", content_digest(f->builder_binary, false));
        struct json *list = json_new_array();
        json_append(list, program);
        json_put(builder, "builderDependencies", list);
    }
    struct json *v = json_new_object();
    json_put(v, "builder", builder);
    json_put(v, "metadata", build_metadata(f));
    if (f->log != NULL) {
        struct json *log = descriptor("", "log");
        json_put(log, "digest", content_digest(f->log, false));
        struct json *list = json_new_array();
        json_append(list, log);
        json_put(v, "byproducts", list);
    }
    return v;
}

void statement_build(const struct statement_facts *f, struct buf *out)
{
    struct json *predicate = json_new_object();
    json_put(predicate, "buildDefinition", build_definition(f));
    json_put(predicate, "runDetails", build_details(f));
    struct json *v = json_new_object();
    json_put_string(v, "_type", STATEMENT_TYPE);
    json_put(v, "subject", build_subjects(f));
    json_put_string(v, "predicateType", STATEMENT_PREDICATE_TYPE);
    json_put(v, "predicate", predicate);
    buf_clear(out);
    json_write_canonical(v, out);
    json_free(v);
}

/* 1970 to 9999, counted from 1900. */
static bool is_written_year(int year)
{
    return year >= 70 && year < 8100;
}

/* n decimal digits at s. */
static bool digits(const char *s, int n, int *out)
{
    *out = 0;
    for (int i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *out = *out * 10 + (s[i] - '0');
    }
    return true;
}

bool statement_time_parse(const char *s, int64_t *unix_ms)
{
    struct tm tm;
    int ms = 0;
    memset(&tm, 0, sizeof tm);
    if (strlen(s) != 24 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' ||
        s[16] != ':' || s[19] != '.' || s[23] != 'Z')
        return false;
    if (!digits(s, 4, &tm.tm_year) || !digits(s + 5, 2, &tm.tm_mon) ||
        !digits(s + 8, 2, &tm.tm_mday) || !digits(s + 11, 2, &tm.tm_hour) ||
        !digits(s + 14, 2, &tm.tm_min) || !digits(s + 17, 2, &tm.tm_sec) || !digits(s + 20, 3, &ms))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *unix_ms = (int64_t)timegm(&tm) * 1000 + ms; /* days and hours too many moved on in tm */
    char again[25];
    return is_written_year(tm.tm_year) && str_eq(clock_text(*unix_ms, again), s);
}
