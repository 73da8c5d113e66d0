#include "pipeline/provenance/bom.h"
#include "pipeline/base/clock.h"

#include <string.h>

#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/statement.h"

static void put(struct json *o, const char *key, const char *s)
{
    if (s != NULL)
        json_put(o, key, statement_text(s));
}

/* ---- small parts ---- */

static void add_property(struct json *list, const char *name, const char *value)
{
    if (value == NULL)
        return;
    struct json *o = json_new_object();
    char *full = xasprintf("fmforge:%s", name);
    json_put_string(o, "name", full);
    put(o, "value", value);
    json_append(list, o);
    xfree(full);
}

static void put_properties(struct json *o, struct json *list)
{
    if (json_count(list) > 0)
        json_put(o, "properties", list);
    else
        json_free(list);
}

static void put_hash(struct json *o, const char *id)
{
    struct json *list = json_new_array();
    struct json *hash = json_new_object();
    json_put_string(hash, "alg", "SHA-256");
    json_put_string(hash, "content", id);
    json_append(list, hash);
    json_put(o, "hashes", list);
}

/* A reference within this document: what it is, and which bytes. */
static char *ref_of(const char *kind, const char *id)
{
    return xasprintf("%s:sha256:%s", kind, id);
}

static struct json *component(const char *type, const char *kind, const char *name, const char *id)
{
    struct json *o = json_new_object();
    char *ref = ref_of(kind, id);
    json_put_string(o, "type", type);
    json_put_string(o, "bom-ref", ref);
    put(o, "name", name);
    put_hash(o, id);
    xfree(ref);
    return o;
}

/* ---- what it was made from ---- */

static const char *component_type(const char *kind)
{
    if (str_eq(kind, "base") || str_eq(kind, "adapter") || str_eq(kind, "draft"))
        return "machine-learning-model";
    return origin_is_data(kind) ? "data" : "file";
}

/* A source as the audit lists it: {"from","path","kind","id","on_disk"}. */
static struct json *source_component(const struct json *source)
{
    const char *kind = json_find_text(source, "kind"), *from = json_find_text(source, "from");
    const char *type = component_type(kind);
    struct json *o = component(type, kind, from, json_find_text(source, "id"));
    struct json *properties = json_new_array();
    add_property(properties, "kind", kind);
    if (json_find_text(source, "path") != NULL && !str_eq(json_find_text(source, "path"), from))
        add_property(properties, "path", json_find_text(source, "path"));
    if (str_eq(type, "data")) {
        struct json *data = json_new_object(), *list = json_new_array();
        json_put_string(data, "type", "dataset");
        put(data, "name", from);
        json_append(list, data);
        json_put(o, "data", list);
    }
    put_properties(o, properties);
    return o;
}

static bool has_ref(const struct json *components, const struct json *one)
{
    for (const struct json *c = json_first(components); c != NULL; c = json_next(c))
        if (str_eq(json_find_text(c, "bom-ref"), json_find_text(one, "bom-ref")))
            return true;
    return false;
}

/* Each content once, also when two stages name it differently. */
static struct json *source_components(const struct origin *o)
{
    struct json *list = json_new_array();
    for (const struct json *s = json_items(o->audit, "sources"); s != NULL; s = json_next(s)) {
        if (json_find_text(s, "kind") == NULL || json_find_text(s, "id") == NULL)
            continue;
        struct json *one = source_component(s);
        if (has_ref(list, one))
            json_free(one);
        else
            json_append(list, one);
    }
    return list;
}

static struct json *dependencies(const struct json *model, const struct json *components)
{
    struct json *list = json_new_array(), *own = json_new_object(), *on = json_new_array();
    json_put_string(own, "ref", json_find_text(model, "bom-ref"));
    json_append(list, own);
    for (const struct json *c = json_first(components); c != NULL; c = json_next(c)) {
        struct json *o = json_new_object();
        json_put_string(o, "ref", json_find_text(c, "bom-ref"));
        json_append(on, json_new_string(json_find_text(c, "bom-ref")));
        json_append(list, o);
    }
    json_put(own, "dependsOn", on);
    return list;
}

/* ---- the model ---- */

static struct json *text_formats(void)
{
    struct json *list = json_new_array(), *o = json_new_object();
    json_put_string(o, "format", "text");
    json_append(list, o);
    return list;
}

static struct json *parameters(const struct json *components)
{
    struct json *o = json_new_object(), *approach = json_new_object(), *sets = json_new_array();
    json_put_string(approach, "type", "supervised");
    json_put(o, "approach", approach);
    json_put_string(o, "task", "text-generation");
    json_put_string(o, "architectureFamily", "transformer");
    json_put_string(o, "modelArchitecture", "LoRA adapter");
    for (const struct json *c = json_first(components); c != NULL; c = json_next(c)) {
        if (!str_eq(json_find_text(c, "type"), "data"))
            continue;
        struct json *ref = json_new_object();
        json_put_string(ref, "ref", json_find_text(c, "bom-ref"));
        json_append(sets, ref);
    }
    json_put(o, "datasets", sets);
    json_put(o, "inputs", text_formats());
    json_put(o, "outputs", text_formats());
    return o;
}

/* Numbers as texts: the form wants them so. */
static void add_metrics(const struct json *result, struct json *list)
{
    const char *set = json_find_text(json_get(result, "golden"), "from");
    for (const struct json *m = json_first(json_get(result, "metrics")); m; m = json_next(m)) {
        if (json_type(m) != JSON_NUMBER)
            continue;
        struct json *o = json_new_object();
        struct buf b;
        buf_init(&b, BUF_MAX_DEFAULT);
        json_add_number(&b, json_number(m));
        put(o, "type", json_key(m));
        json_put_string(o, "value", buf_text(&b));
        put(o, "slice", set);
        json_append(list, o);
        buf_release(&b);
    }
}

static void add_gates(const struct json *result, struct json *properties)
{
    for (const struct json *g = json_items(result, "gates"); g != NULL; g = json_next(g)) {
        char *value = xasprintf("%s: %s: %s", json_find_text(g, "stage"), json_find_text(g, "gate"),
                                json_find_text(g, "verdict"));
        add_property(properties, "gate", value);
        xfree(value);
    }
}

static struct json *model_card(const struct origin *o, const struct json *components)
{
    struct json *card = json_new_object(), *metrics = json_new_array();
    struct json *properties = json_new_array();
    char *ref = ref_of("card", json_find_text(o->made, "id"));
    json_put_string(card, "bom-ref", ref);
    json_put(card, "modelParameters", parameters(components));
    for (const struct json *r = json_first(o->results); r != NULL; r = json_next(r)) {
        add_metrics(r, metrics);
        add_gates(r, properties);
    }
    if (json_count(metrics) > 0) {
        struct json *analysis = json_new_object();
        json_put(analysis, "performanceMetrics", metrics);
        json_put(card, "quantitativeAnalysis", analysis);
    } else {
        json_free(metrics);
    }
    put_properties(card, properties);
    xfree(ref);
    return card;
}

/* The base by what the stages call it; made on the way or a source. */
static struct json *ancestors(const struct origin *o)
{
    const struct json *base = origin_input(o, "base");
    struct json *list = json_new_array();
    if (base == NULL || json_find_text(base, "id") == NULL)
        return list;
    struct json *c = component("machine-learning-model", "ancestor", json_find_text(base, "from"),
                               json_find_text(base, "id"));
    struct json *properties = json_new_array();
    add_property(properties, "base_signature", o->signature);
    put_properties(c, properties);
    json_append(list, c);
    return list;
}

/* The files of a folder: those lines of artifacts.sha256 that are below STAGE/OUTPUT/. */
static struct json *files(const struct origin *o)
{
    struct json *list = json_new_array();
    const char *text = run_record_file(&o->run, "artifacts.sha256");
    char *prefix =
        xasprintf("%s/%s/", json_find_text(o->stage, "stage"), json_find_text(o->made, "name"));
    for (const char *line = text != NULL ? text : ""; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        size_t n_head = SHA256_HEX + 2 + strlen(prefix);
        if (n > n_head && str_starts(line + SHA256_HEX + 2, prefix)) {
            char *id = xstrndup(line, SHA256_HEX), *name = xstrndup(line + n_head, n - n_head);
            char *kind = xasprintf("file:%s", name);
            json_append(list, component("file", kind, name, id));
            xfree(kind);
            xfree(name);
            xfree(id);
        }
        line += n + (line[n] == '\n');
    }
    xfree(prefix);
    return list;
}

static void put_people(struct json *model, const struct origin *o)
{
    const char *license = origin_config(o, "license"), *author = origin_config(o, "author");
    put(model, "description", origin_config(o, "description"));
    if (author != NULL) {
        struct json *list = json_new_array(), *one = json_new_object();
        put(one, "name", author);
        json_append(list, one);
        json_put(model, "authors", list);
    }
    if (license != NULL) {
        struct json *list = json_new_array(), *one = json_new_object(), *in = json_new_object();
        put(in, "name", license);
        json_put(one, "license", in);
        json_append(list, one);
        json_put(model, "licenses", list);
    }
}

static struct json *main_component(const struct origin *o, const struct json *components)
{
    const char *kind = json_find_text(o->made, "kind"), *id = json_find_text(o->made, "id");
    struct json *c = component(o->is_model ? "machine-learning-model" : component_type(kind), kind,
                               origin_name(o), id);
    struct json *properties = json_new_array();
    char *version = xstrndup(id, 12);
    json_put_string(c, "version", version);
    xfree(version);
    put_people(c, o);
    if (o->is_model) {
        struct json *pedigree = json_new_object();
        json_put(pedigree, "ancestors", ancestors(o));
        json_put(c, "pedigree", pedigree);
        json_put(c, "modelCard", model_card(o, components));
    }
    if (json_is_true(o->made, "folder")) {
        json_put(c, "components", files(o));
        add_property(properties, "folder", "true");
    }
    add_property(properties, "kind", kind);
    add_property(properties, "stage", json_find_text(o->stage, "stage"));
    add_property(properties, "key", json_find_text(o->stage, "key"));
    add_property(properties, "statement", json_find_text(o->stage, "statement"));
    put_properties(c, properties);
    return c;
}

/* ---- how it was made ---- */

static struct json *task(const struct json *step)
{
    struct json *o = json_new_object(), *types = json_new_array();
    struct json *properties = json_new_array();
    const char *key = json_find_text(step, "key");
    char *ref =
        xasprintf("task:%s:%s", json_find_text(step, "recorded"), json_find_text(step, "stage"));
    struct buf config;
    buf_init(&config, BUF_MAX_DEFAULT);
    put(o, "bom-ref", ref);
    put(o, "uid", key != NULL ? key : ref);
    put(o, "name", json_find_text(step, "stage"));
    put(o, "description", json_find_text(step, "run"));
    json_append(types, json_new_string("build"));
    json_put(o, "taskTypes", types);
    put(o, "timeStart", json_find_text(step, "started"));
    put(o, "timeEnd", json_find_text(step, "finished"));
    if (json_get(step, "config") != NULL)
        json_write_canonical(json_get(step, "config"), &config);
    add_property(properties, "config", config.n_bytes > 0 ? buf_text(&config) : NULL);
    add_property(properties, "program", json_find_text(step, "program"));
    add_property(properties, "statement", json_find_text(step, "statement"));
    add_property(properties, "source_commit", json_find_text(json_get(step, "source"), "commit"));
    put_properties(o, properties);
    buf_release(&config);
    xfree(ref);
    return o;
}

/* In the order of making: the audit walks back from the end. */
static struct json *formulation(const struct origin *o)
{
    struct json *list = json_new_array(), *formula = json_new_object();
    struct json *flows = json_new_array(), *flow = json_new_object();
    struct json *types = json_new_array(), *tasks = json_new_array();
    const struct json **steps =
        xalloc_array(json_count(json_get(o->audit, "chain")), sizeof *steps);
    size_t n = 0;
    for (const struct json *s = json_items(o->audit, "chain"); s != NULL; s = json_next(s))
        steps[n++] = s;
    char *ref = xasprintf("run:%s", o->run.commit);
    json_put_string(flow, "bom-ref", ref);
    json_put_string(flow, "uid", o->run.commit);
    put(flow, "name", o->run.name);
    json_append(types, json_new_string("build"));
    json_put(flow, "taskTypes", types);
    while (n > 0)
        json_append(tasks, task(steps[--n]));
    json_put(flow, "tasks", tasks);
    json_append(flows, flow);
    json_put(formula, "workflows", flows);
    json_append(list, formula);
    xfree(steps);
    xfree(ref);
    return list;
}

/* ---- the document ---- */

/* A UUID of version 8 (RFC 9562): the digest's own digits but for version and variant. */
static char *serial_number(const char *id)
{
    char digits[33];
    memcpy(digits, id, 32);
    digits[32] = '\0';
    digits[12] = '8';
    digits[16] = "89ab"[(strchr("0123456789abcdef", digits[16]) - "0123456789abcdef") % 4];
    return xasprintf("urn:uuid:%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12,
                     digits + 16, digits + 20);
}

static struct json *metadata(const struct origin *o, struct json *model, const char *version)
{
    struct json *m = json_new_object(), *tools = json_new_object(), *list = json_new_array();
    struct json *tool = json_new_object(), *properties = json_new_array();
    char when[25];
    json_put_string(m, "timestamp", clock_text(o->run.time * 1000, when));
    json_put_string(tool, "type", "application");
    json_put_string(tool, "name", "fmforge");
    json_put_string(tool, "version", version);
    json_append(list, tool);
    json_put(tools, "components", list);
    json_put(m, "tools", tools);
    json_put(m, "component", model);
    add_property(properties, "run", o->run.commit);
    add_property(properties, "pipeline", o->run.name);
    add_property(properties, "manifest", json_find_text(o->run.root, "manifest"));
    add_property(properties, "audit",
                 str_eq(json_find_text(o->audit, "status"), "proven") ? "proven" : "cannot tell");
    put_properties(m, properties);
    return m;
}

struct json *bom_make(const struct origin *o, const char *version)
{
    struct json *root = json_new_object();
    struct json *components = source_components(o);
    struct json *model = main_component(o, components);
    struct json *depends = dependencies(model, components);
    char *serial = serial_number(json_find_text(o->made, "id"));
    json_put_string(root, "$schema", "http://cyclonedx.org/schema/bom-1.6.schema.json");
    json_put_string(root, "bomFormat", "CycloneDX");
    json_put_string(root, "specVersion", "1.6");
    json_put_string(root, "serialNumber", serial);
    json_put_i64(root, "version", 1);
    json_put(root, "metadata", metadata(o, model, version));
    json_put(root, "components", components);
    json_put(root, "dependencies", depends);
    json_put(root, "formulation", formulation(o));
    xfree(serial);
    return root;
}
