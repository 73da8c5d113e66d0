/* The walk from a stage back to the sources, and what is checked on the way. */

#include <string.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/audit_work.h"
#include "pipeline/provenance/recipe.h"
#include "pipeline/provenance/statement.h"
#include "pipeline/store/listing.h"

/* One stage while it is looked at. */
struct step {
    struct audit *audit;
    const struct run_record *run;
    const struct json *stage; /* of run.json */
    const char *instance;
    const char *key;
    struct recipe recipe;
    bool has_recipe;
    struct statement statement;
    bool has_statement;
    struct json *out; /* its entry in the chain */
};

static void put(struct json *object, const char *key, const char *s)
{
    if (s != NULL)
        json_put(object, key, statement_text(s));
}

/* ---- recipe and statement ---- */

static void read_recipe(struct step *s)
{
    char *path = xasprintf("stages/%s/recipe.json", s->instance);
    const char *text = run_record_file(s->run, path);
    struct err e = {0};
    if (text == NULL) {
        audit_unknown(s->audit, "run %.12s: %s is not there", s->run->commit, path);
    } else {
        struct content_id found = sha256_of(text, strlen(text));
        s->audit->checked.recipes++;
        if (s->key == NULL || !str_eq(found.hex, s->key))
            audit_mismatch(s->audit, "run %.12s: %s has the SHA-256 %s, the action key is %s",
                           s->run->commit, path, found.hex, s->key ? s->key : "not given");
        if (recipe_parse(text, strlen(text), &s->recipe, &e) == 0)
            s->has_recipe = true;
        else
            audit_mismatch(s->audit, "run %.12s: %s: %s", s->run->commit, path, e.text);
    }
    xfree(path);
}

static void differs(struct step *s, const char *field, const char *in_statement, const char *other,
                    const char *in_other)
{
    if (in_statement == NULL || in_other == NULL || !str_eq(in_statement, in_other))
        audit_mismatch(s->audit, "%s: %s is %s in the statement and %s in %s", s->instance, field,
                       in_statement ? in_statement : "missing", in_other ? in_other : "missing",
                       other);
}

static bool same_json(const struct json *a, const struct json *b)
{
    return a != NULL && b != NULL && json_equal(a, b);
}

static const char *recipe_input(const struct recipe *r, const char *name)
{
    for (size_t i = 0; i < r->n_inputs; i++)
        if (str_eq(r->inputs[i].name, name))
            return r->inputs[i].id;
    return NULL;
}

static const struct statement_input *statement_input(const struct step *s, const char *name)
{
    for (size_t i = 0; s->has_statement && i < s->statement.facts.n_inputs; i++)
        if (str_eq(s->statement.facts.inputs[i].name, name))
            return &s->statement.facts.inputs[i];
    return NULL;
}

static void compare_statement(struct step *s)
{
    const struct statement_facts *f = &s->statement.facts;
    differs(s, "the recipe", f->recipe, "the run", s->key);
    if (!s->has_recipe)
        return;
    differs(s, "the stage", f->stage, "the recipe", s->recipe.stage);
    differs(s, "the program", f->binary, "the recipe", s->recipe.binary);
    if (!same_json(f->config, s->recipe.config))
        audit_mismatch(s->audit, "%s: the statement and the recipe have different configs",
                       s->instance);
    for (size_t i = 0; i < s->recipe.n_inputs; i++) {
        const char *name = s->recipe.inputs[i].name;
        const struct statement_input *in = statement_input(s, name);
        char *field = xasprintf("input %s", name);
        differs(s, field, in ? in->id : NULL, "the recipe", s->recipe.inputs[i].id);
        xfree(field);
    }
    for (const struct json *o = json_items(s->stage, "outputs"); o != NULL; o = json_next(o)) {
        const char *name = json_find_text(o, "name");
        const char *id = NULL;
        for (size_t i = 0; name != NULL && i < f->n_subjects; i++)
            if (str_eq(f->subjects[i].name, name))
                id = f->subjects[i].id;
        char *field = xasprintf("output %s", name ? name : "?");
        differs(s, field, id, "the run", json_find_text(o, "id"));
        xfree(field);
    }
}

static void read_statement(struct step *s)
{
    char *path = xasprintf("stages/%s/statement.json", s->instance);
    const char *text = run_record_file(s->run, path);
    struct err e = {0};
    if (text == NULL) {
        audit_unknown(s->audit, "run %.12s: %s is not there", s->run->commit, path);
    } else if (statement_parse(text, strlen(text), &s->statement, &e) != 0) {
        audit_mismatch(s->audit, "run %.12s: %s: %s", s->run->commit, path, e.text);
    } else {
        struct content_id id = sha256_of(text, strlen(text));
        s->has_statement = true;
        s->audit->checked.statements++;
        json_put_string(s->out, "statement", id.hex);
        compare_statement(s);
    }
    xfree(path);
}

/* ---- objects ---- */

const char *audit_check_object(struct audit *a, const char *id_hex)
{
    const char *known = json_find_text(a->objects, id_hex);
    if (known != NULL)
        return known;
    const char *state = "absent";
    struct err e = {0};
    if (a->store != NULL && store_has(a->store, id_hex)) {
        a->checked.objects++;
        if (store_check_object(a->store, id_hex, NULL, &e) == 0) {
            state = "present";
        } else {
            state = "damaged";
            audit_mismatch(a, "store: %s", e.text);
        }
    }
    json_put_string(a->objects, id_hex, state);
    return state;
}

/* Of a folder: the worst of its listing and its files. */
static const char *check_object(struct audit *a, const char *id_hex, bool is_folder)
{
    const char *state = audit_check_object(a, id_hex);
    struct buf listing;
    struct err e = {0};
    if (!is_folder || !str_eq(state, "present"))
        return state;
    buf_init(&listing, BUF_MAX_DEFAULT);
    int rc = store_get_bytes(a->store, id_hex, BUF_MAX_DEFAULT, &listing, &e);
    if (rc == 0 && listing_check(buf_text(&listing), &e) != 0)
        rc = err_wrap(&e, "object %s is no folder's listing", id_hex);
    if (rc != 0) {
        state = "damaged";
        audit_mismatch(a, "store: %s", e.text);
    }
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (rc == 0 && listing_next(&cursor, &id, &name, &n_name)) {
        const char *one = audit_check_object(a, id.hex);
        state = str_eq(one, "present") || str_eq(state, "damaged") ? state : one;
    }
    buf_release(&listing);
    return state;
}

static void add_outputs(struct step *s)
{
    struct json *list = json_new_array();
    for (const struct json *o = json_items(s->stage, "outputs"); o != NULL; o = json_next(o)) {
        const char *id = json_find_text(o, "id");
        bool is_folder = json_is_true(o, "folder");
        struct json *v = json_new_object();
        put(v, "name", json_find_text(o, "name"));
        if (id != NULL && str_is_hex(id, SHA256_HEX)) {
            put(v, "id", id);
            put(v, "stored", check_object(s->audit, id, is_folder));
        }
        json_append(list, v);
    }
    json_put(s->out, "outputs", list);
}

/* ---- sources ---- */

/* Is the file still what the run read? Not a mismatch: data may go on living. */
static const char *file_state(const char *path, const char *id_hex)
{
    struct content_id found;
    struct err e = {0};
    if (!file_exists(path))
        return "absent";
    if (sha256_path(path, &found, NULL, &e) != 0)
        return "unreadable";
    return str_eq(found.hex, id_hex) ? "same" : "changed";
}

static bool source_is_known(const struct audit *a, const char *id, const char *from)
{
    for (const struct json *s = json_first(a->sources); s != NULL; s = json_next(s))
        if (str_eq(json_find_text(s, "id"), id) && str_eq(json_find_text(s, "from"), from))
            return true;
    return false;
}

/* A source that a pipeline made (a base, a tokenizer): the run that made it is looked for in the
 * ledger, and in the folder "provenance" beside the file. */
static void walk_made_source(struct audit *a, const char *id, const char *uri)
{
    char commit[COMMIT_HEX + 1];
    if (!audit_find_run(a, id, true, commit)) {
        audit_walk_folder(a, id, uri);
        return;
    }
    const struct run_record *r = audit_load(a, commit);
    const struct json *stage = r != NULL ? run_record_producer(r, id, NULL, NULL) : NULL;
    if (stage != NULL)
        audit_walk(a, r, stage);
}

static bool may_be_made(const char *kind)
{
    static const char *const kinds[] = {"base",   "adapter", "draft",   "tokenizer",
                                        "tokens", "package", "toolkit", "shape",
                                        "peft",   "mlx",     "torch"};
    for (size_t i = 0; kind != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_eq(kind, kinds[i]))
            return true;
    return false;
}

static void add_source(struct step *s, const char *kind, const char *id,
                       const struct statement_input *in, const char *from)
{
    const char *uri = in != NULL && in->uri != NULL ? in->uri : from;
    if (source_is_known(s->audit, id, from))
        return;
    struct json *v = json_new_object();
    put(v, "from", from);
    put(v, "path", uri);
    put(v, "kind", kind);
    put(v, "id", id);
    bool is_value = in != NULL && in->uri == NULL && in->facet != NULL;
    put(v, "on_disk", is_value ? "value" : file_state(uri, id));
    json_append(s->audit->sources, v);
    if (may_be_made(kind))
        walk_made_source(s->audit, id, uri);
}

/* ---- inputs ---- */

/* "adapter.checkpoint" -> the stage "adapter" of the same run, if it made this id. */
static const struct json *producer_of(const struct step *s, const char *id, const char *from)
{
    const char *dot = from != NULL ? strrchr(from, '.') : NULL;
    if (dot == NULL)
        return NULL;
    char *instance = xstrndup(from, (size_t)(dot - from));
    const struct json *found = run_record_stage(s->run, instance);
    if (found != NULL) {
        const struct json *made = run_record_producer(s->run, id, instance, NULL);
        if (made == NULL || !str_eq(json_find_text(made, "stage"), instance))
            audit_mismatch(s->audit, "%s: its input from %s is %s, which that stage did not make",
                           s->instance, from, id);
    }
    xfree(instance);
    return found;
}

static void add_input(struct step *s, const struct json *input, struct json *list)
{
    const char *name = json_find_text(input, "name");
    const char *id = json_find_text(input, "id");
    const char *from = json_find_text(input, "from");
    if (name == NULL || id == NULL || from == NULL || !str_is_hex(id, SHA256_HEX)) {
        audit_unknown(s->audit, "%s: run.json does not say where input %s is from", s->instance,
                      name ? name : "?");
        return;
    }
    const struct statement_input *in = statement_input(s, name);
    const char *in_recipe = s->has_recipe ? recipe_input(&s->recipe, name) : id;
    if (in_recipe == NULL || !str_eq(in_recipe, id))
        audit_mismatch(s->audit, "%s: input %s is %s in run.json and %s in the recipe", s->instance,
                       name, id, in_recipe ? in_recipe : "missing");
    struct json *v = json_new_object();
    put(v, "name", name);
    put(v, "kind", json_find_text(input, "kind"));
    put(v, "id", id);
    put(v, "from", from);
    const struct json *producer = producer_of(s, id, from);
    if (producer == NULL && in != NULL)
        put(v, "path", in->uri);
    if (producer != NULL)
        put(v, "producer", json_find_text(producer, "stage"));
    json_append(list, v);
}

static void walk_inputs(struct step *s)
{
    for (const struct json *v = json_items(s->stage, "inputs"); v != NULL; v = json_next(v)) {
        const char *id = json_find_text(v, "id");
        const char *from = json_find_text(v, "from");
        const char *name = json_find_text(v, "name");
        if (id == NULL || from == NULL || name == NULL || !str_is_hex(id, SHA256_HEX))
            continue;
        const char *dot = strrchr(from, '.');
        char *instance = xstrndup(from, dot != NULL ? (size_t)(dot - from) : 0);
        const struct json *producer = run_record_stage(s->run, instance);
        xfree(instance);
        if (producer != NULL)
            audit_walk(s->audit, s->run, producer);
        else
            add_source(s, json_find_text(v, "kind"), id, statement_input(s, name), from);
    }
}

/* ---- one stage ---- */

static void describe_source(struct json *out, const struct statement_source *source)
{
    struct json *v = json_new_object();
    put(v, "commit", source->commit);
    put(v, "branch", source->branch);
    put(v, "unavailable", source->unavailable);
    if (source->commit != NULL) {
        struct json *dirty = json_new_array();
        json_put_i64(v, "dirty_total", (int64_t)source->n_dirty_all);
        for (size_t i = 0; i < source->n_dirty; i++) {
            struct json *item = json_new_object();
            put(item, "path", source->dirty[i].path);
            put(item, "sha256", source->dirty[i].id);
            put(item, "unhashed", source->dirty[i].unhashed);
            json_append(dirty, item);
        }
        json_put(v, "dirty", dirty);
    }
    json_put(out, "source", v);
}

static void describe(struct step *s)
{
    struct json *out = s->out;
    put(out, "stage", s->instance);
    put(out, "run", json_find_text(s->stage, "run"));
    put(out, "pipeline", s->run->name);
    put(out, "recorded", s->run->commit);
    put(out, "key", s->key);
    put(out, "status", json_find_text(s->stage, "status"));
    put(out, "origin", json_find_text(s->stage, "origin"));
    if (s->has_recipe) {
        json_put(out, "config", json_clone(s->recipe.config));
        put(out, "program", s->recipe.binary);
        struct json *libraries = json_new_object();
        for (size_t i = 0; i < s->recipe.n_libraries; i++)
            put(libraries, s->recipe.libraries[i].name, s->recipe.libraries[i].id);
        json_put(out, "libraries", libraries);
    }
    if (!s->has_statement)
        return;
    const struct statement_facts *f = &s->statement.facts;
    char when[25];
    put(out, "toolkit", f->toolkit);
    put(out, "started", clock_text(f->started_ms, when));
    put(out, "finished", clock_text(f->finished_ms, when));
    put(out, "manifest", f->manifest_uri);
    put(out, "manifest_id", f->manifest);
    put(out, "fmforge", f->builder_version);
    put(out, "fmforge_id", f->builder_binary);
    struct json *host = json_new_object();
    for (size_t i = 0; i < f->n_host; i++)
        put(host, f->host[i].name, f->host[i].value);
    json_put(out, "host", host);
    describe_source(out, &f->source);
}

static bool visit(struct audit *a, const struct run_record *r, const char *instance)
{
    char *mark = xasprintf("%s %s", r->commit, instance);
    bool fresh = json_get(a->visited, mark) == NULL;
    if (fresh)
        json_put_bool(a->visited, mark, true);
    xfree(mark);
    return fresh;
}

void audit_walk(struct audit *a, const struct run_record *r, const struct json *stage)
{
    struct step s = {.audit = a, .run = r, .stage = stage};
    s.instance = json_find_text(stage, "stage");
    s.key = json_find_text(stage, "key");
    if (s.instance == NULL || !visit(a, r, s.instance))
        return;
    s.out = json_new_object();
    read_recipe(&s);
    read_statement(&s);
    describe(&s);
    struct json *inputs = json_new_array();
    for (const struct json *v = json_items(stage, "inputs"); v != NULL; v = json_next(v))
        add_input(&s, v, inputs);
    json_put(s.out, "inputs", inputs);
    add_outputs(&s);
    json_append(a->chain, s.out);
    walk_inputs(&s);
    recipe_release(&s.recipe);
    statement_release(&s.statement);
}

bool audit_walk_folder(struct audit *a, const char *id, const char *path)
{
    char *folder = xasprintf("%.*sprovenance", (int)(file_base_name(path) - path), path);
    const struct run_record *r = file_is_folder(folder) ? audit_load_folder(a, folder) : NULL;
    const struct json *stage = r != NULL ? run_record_producer(r, id, NULL, NULL) : NULL;
    xfree(folder);
    if (stage != NULL)
        audit_walk(a, r, stage);
    return stage != NULL;
}
