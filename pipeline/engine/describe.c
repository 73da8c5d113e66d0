#include "pipeline/engine/describe.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/spawn.h"

#define DESCRIBE_BYTES_MAX ((size_t)1 << 20)
#define PREFIX "stage-"

void describe_init(struct describe *d, const char *folder, struct store *store, bool may_write)
{
    memset(d, 0, sizeof *d);
    d->folder = folder;
    d->store = store;
    d->may_write = may_write;
}

static void desc_free(struct stage_desc *s)
{
    json_free(s->root);
    xfree(s->name);
    xfree(s->program);
    xfree(s);
}

void describe_release(struct describe *d)
{
    for (size_t i = 0; i < d->n_items; i++)
        desc_free(d->items[i]);
    xfree(d->items);
    memset(d, 0, sizeof *d);
}

/* A text that may be absent: "" then. */
static int maybe_text(const struct json *v, const char *key, const char **out, struct err *e)
{
    *out = "";
    return json_get(v, key) ? json_need_string(v, key, out, e) : 0;
}

static int read_ports(const struct json *list, struct desc_port *ports, size_t *n_ports,
                      struct err *e)
{
    for (const struct json *p = json_first(list); p; p = json_next(p)) {
        if (*n_ports == DESC_PORTS_MAX)
            return err_set(e, ERR_FORMAT, "more than %d inputs or outputs", DESC_PORTS_MAX);
        struct desc_port *port = &ports[(*n_ports)++];
        int rc = json_need_string(p, "name", &port->name, e);
        if (rc == 0)
            rc = json_need_string(p, "kind", &port->kind, e);
        if (rc < 0)
            return rc;
        if (strlen(port->name) >= ACTION_NAME_BYTES || strlen(port->kind) >= ACTION_KIND_BYTES ||
            !str_is_word(port->name))
            return err_set(e, ERR_FORMAT, "port `%s` of kind `%s`: not a word, or too long",
                           port->name, port->kind);
        port->required = true;
        if (json_get(p, "required"))
            rc = json_need_bool(p, "required", &port->required, e);
        if (rc == 0)
            rc = maybe_text(p, "help", &port->help, e);
        port->without = "";
        if (rc < 0)
            return err_wrap(e, "port `%s`", port->name);
    }
    return 0;
}

static int read_param(const struct json *v, struct desc_param *p, struct err *e)
{
    static const char *const types[] = {"int", "float", "bool", "text", "choice"};
    const char *type = NULL;
    int rc = json_need_string(v, "name", &p->name, e);
    if (rc == 0)
        rc = json_need_string(v, "type", &type, e);
    if (rc < 0)
        return rc;
    size_t i = 0;
    while (i < 5 && !str_eq(type, types[i]))
        i++;
    if (i == 5)
        return err_set(e, ERR_FORMAT, "parameter `%s` has the unknown type `%s`", p->name, type);
    p->type = (enum param_kind)i;
    p->default_value = json_get(v, "default");
    rc = maybe_text(v, "unit", &p->unit, e);
    if (rc == 0)
        rc = maybe_text(v, "help", &p->help, e);
    p->bounded = json_get(v, "min") && json_get(v, "max");
    if (rc == 0 && p->bounded)
        rc = json_need_f64(v, "min", &p->min, e);
    if (rc == 0 && p->bounded)
        rc = json_need_f64(v, "max", &p->max, e);
    if (rc == 0 && p->type == DESC_CHOICE)
        rc = json_need_array(v, "choices", &p->choices, e);
    for (const struct json *c = rc == 0 && p->choices ? json_first(p->choices) : NULL; c;
         c = json_next(c))
        if (json_type(c) != JSON_STRING)
            rc = err_set(e, ERR_FORMAT, "\"choices\": expected texts");
    return rc < 0 ? err_wrap(e, "parameter `%s`", p->name) : 0;
}

static int read_libraries(struct stage_desc *d, struct err *e)
{
    const struct json *list = NULL, *paths = NULL;
    int rc = json_get(d->root, "libraries") ? json_need_array(d->root, "libraries", &list, e) : 0;
    if (rc == 0 && list && json_first(list))
        rc = json_need_object(d->root, "library_paths", &paths, e);
    for (const struct json *l = rc == 0 && list ? json_first(list) : NULL; l && rc == 0;
         l = json_next(l)) {
        if (d->n_libraries == DESC_LIBRARIES_MAX)
            return err_set(e, ERR_FORMAT, "more than %d libraries", DESC_LIBRARIES_MAX);
        if (json_type(l) != JSON_STRING)
            return err_set(e, ERR_FORMAT, "\"libraries\": expected texts");
        struct desc_library *lib = &d->libraries[d->n_libraries++];
        lib->name = json_string(l);
        rc = json_need_string(paths, lib->name, &lib->path, e);
    }
    return rc < 0 ? err_wrap(e, "libraries") : 0;
}

static int read_copies(struct stage_desc *d, struct err *e)
{
    d->copies = json_get(d->root, "copies");
    if (!d->copies)
        return 0;
    if (json_type(d->copies) != JSON_ARRAY)
        return err_set(e, ERR_FORMAT, "copies: expected a list of inputs");
    for (const struct json *c = json_first(d->copies); c; c = json_next(c))
        if (json_type(c) != JSON_STRING || !stage_desc_in(d, json_string(c)))
            return err_set(e, ERR_FORMAT, "copies: `%s` is no input",
                           json_type(c) == JSON_STRING ? json_string(c) : "a value");
    return 0;
}

static int read_without(struct stage_desc *d, struct err *e)
{
    const struct json *list = NULL;
    int rc = json_get(d->root, "without") ? json_need_object(d->root, "without", &list, e) : 0;
    for (const struct json *w = rc == 0 && list ? json_first(list) : NULL; w; w = json_next(w)) {
        size_t i = 0;
        while (i < d->n_ins && !str_eq(d->ins[i].name, json_key(w)))
            i++;
        if (i == d->n_ins || d->ins[i].required || json_type(w) != JSON_STRING)
            return err_set(e, ERR_FORMAT, "without: `%s` is no optional input, or not a text",
                           json_key(w));
        d->ins[i].without = json_string(w);
    }
    return rc;
}

bool stage_desc_copies(const struct stage_desc *d, const char *name)
{
    for (const struct json *c = d->copies ? json_first(d->copies) : NULL; c; c = json_next(c))
        if (str_eq(json_string(c), name))
            return true;
    return !d->copies;
}

int stage_desc_read(struct stage_desc *d, struct json *root, struct err *e)
{
    d->root = root;
    const struct json *list = NULL;
    const char *name = NULL;
    int64_t schema = 0;
    int rc = json_need_i64(root, "schema", &schema, e);
    if (rc == 0 && schema != 1)
        rc = err_set(e, ERR_FORMAT, "description of schema %lld, this program knows 1 only",
                     (long long)schema);
    if (rc == 0)
        rc = json_need_string(root, "name", &name, e);
    if (rc == 0 && d->name && !str_eq(name, d->name))
        rc = err_set(e, ERR_FORMAT, "it calls itself `%s`", name);
    if (rc == 0)
        rc = json_need_string(root, "summary", &d->summary, e);
    if (rc == 0)
        rc = json_need_bool(root, "tool", &d->is_tool, e);
    if (rc == 0)
        rc = json_need_bool(root, "portable", &d->portable, e);
    if (rc == 0)
        rc = json_need_array(root, "inputs", &list, e);
    if (rc == 0)
        rc = read_ports(list, d->ins, &d->n_ins, e);
    if (rc == 0)
        rc = json_need_array(root, "outputs", &list, e);
    if (rc == 0)
        rc = read_ports(list, d->outs, &d->n_outs, e);
    if (rc == 0)
        rc = json_need_array(root, "params", &list, e);
    for (const struct json *p = rc == 0 ? json_first(list) : NULL; p && rc == 0; p = json_next(p)) {
        if (d->n_params == DESC_PARAMS_MAX)
            return err_set(e, ERR_FORMAT, "more than %d parameters", DESC_PARAMS_MAX);
        rc = read_param(p, &d->params[d->n_params++], e);
    }
    if (rc == 0 && json_get(root, "subject"))
        rc = json_need_string(root, "subject", &d->subject, e);
    if (rc == 0 && d->subject && !stage_desc_in(d, d->subject))
        rc = err_set(e, ERR_FORMAT, "its subject `%s` is no input", d->subject);
    if (rc == 0)
        rc = read_copies(d, e);
    if (rc == 0)
        rc = read_without(d, e);
    if (rc == 0 && json_get(root, "profile"))
        rc = json_need_object(root, "profile", &d->profile, e);
    return rc < 0 ? rc : read_libraries(d, e);
}

/*
 * Is what the loader would map now still the file of the cached description? The description names
 * the real file. A library that was updated or switched (Debian's alternatives) changes the
 * loader's cache or the link with the library's name, so both are looked at.
 */
#define LOADER_CACHE "/etc/ld.so.cache"
static const char *const LOADER_FOLDERS[] = {
    "/usr/local/lib",
    "/usr/local/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/usr/lib",
    "/lib",
};
#define N_LOADER_FOLDERS (sizeof LOADER_FOLDERS / sizeof LOADER_FOLDERS[0])

static void loader_state(const struct json *root, struct buf *out)
{
    struct stat st;
    for (const struct json *l = json_first(json_get(root, "libraries")); l; l = json_next(l)) {
        buf_printf(out, "%s", json_string(l));
        for (size_t i = 0; i < N_LOADER_FOLDERS; i++) {
            char *path = file_join(LOADER_FOLDERS[i], json_string(l));
            char real[PATH_MAX];
            if (realpath(path, real) && stat(real, &st) == 0)
                buf_printf(out, " %s %llu", real, (unsigned long long)st.st_ino);
            xfree(path);
        }
        if (stat(LOADER_CACHE, &st) == 0)
            buf_printf(out, " cache %llu %lld.%09ld", (unsigned long long)st.st_ino,
                       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        buf_add_char(out, '\n');
    }
}

/* {"description":...,"loader":"..."} of the binary, or NULL when there is none that holds. */
static struct json *cached(const struct describe *d, const struct stage_desc *s)
{
    if (!d->store)
        return NULL;
    char *relative = xasprintf("describe/%s.%s", s->binary.hex, s->name);
    char *path = store_path(d->store, relative);
    struct err ignored = {0};
    struct buf b, now;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_init(&now, BUF_MAX_DEFAULT);
    struct json *root = NULL, *out = NULL;
    size_t n = 0;
    if (file_read(path, 2 * DESCRIBE_BYTES_MAX, &b, &ignored) == 0)
        n = strcspn(buf_text(&b), "\n");
    if (n > 0 && b.n_bytes == n + 1 + SHA256_HEX + 1 &&
        strncmp(sha256_of(b.bytes, n).hex, b.bytes + n + 1, SHA256_HEX) == 0 &&
        json_parse(b.bytes, n, &root, &ignored) == 0) {
        const struct json *description = json_get(root, "description");
        const struct json *loader = json_get(root, "loader");
        loader_state(description, &now);
        if (description && loader && str_eq(json_string(loader), buf_text(&now)))
            out = json_clone(description);
    }
    json_free(root);
    buf_release(&b);
    buf_release(&now);
    xfree(path);
    xfree(relative);
    return out;
}

/* A description that is not kept is asked for again: losing it costs a process, nothing else. */
static void keep(const struct describe *d, const struct stage_desc *s,
                 const struct json *description)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    loader_state(description, &b);
    struct json *root = json_new_object();
    json_put(root, "description", json_clone(description));
    json_put_string(root, "loader", buf_text(&b));
    buf_clear(&b);
    json_write_canonical(root, &b);
    json_free(root);
    struct content_id sum = sha256_of(b.bytes, b.n_bytes);
    buf_printf(&b, "\n%s\n", sum.hex);
    char *relative = xasprintf("describe/%s.%s", s->binary.hex, s->name);
    char *path = store_path(d->store, relative);
    struct err ignored = {0};
    if (store_make_folder(d->store, "describe", &ignored) == 0 &&
        file_publish(path, b.bytes, b.n_bytes, 0644, &ignored) < 0)
        ignored.text[0] = '\0';
    xfree(path);
    xfree(relative);
    buf_release(&b);
}

static int ask(const struct stage_desc *s, struct json **out, struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    char option[] = "--describe";
    char *argv[] = {s->program, option, NULL};
    int rc = spawn_capture(s->program, argv, DESCRIBE_BYTES_MAX, &b, e);
    if (rc == 0)
        rc = json_parse(buf_text(&b), b.n_bytes, out, e);
    if (rc < 0)
        rc = err_wrap(e, "%s --describe", file_base_name(s->program));
    buf_release(&b);
    return rc;
}

static int hash_file(const struct describe *d, const char *path, struct content_id *id,
                     struct err *e)
{
    if (d->store)
        return store_hash_source(d->store, path, id, NULL, NULL, e);
    return sha256_file(path, id, NULL, e);
}

static int load(struct describe *d, struct stage_desc *s, struct err *e)
{
    int rc = hash_file(d, s->program, &s->binary, e);
    if (rc < 0)
        return rc;
    struct json *root = cached(d, s);
    bool fresh = !root;
    if (!root)
        rc = ask(s, &root, e);
    if (rc == 0)
        rc = stage_desc_read(s, root, e);
    if (rc < 0)
        return err_wrap(e, "stage %s", s->name);
    /* What a stage says about the CPU must not be remembered. */
    if (fresh && d->store && d->may_write && (s->portable || !s->profile))
        keep(d, s, root);
    for (size_t i = 0; i < s->n_libraries && rc == 0; i++)
        rc = hash_file(d, s->libraries[i].path, &s->libraries[i].id, e);
    return rc < 0 ? err_wrap(e, "stage %s", s->name) : 0;
}

int describe_find(struct describe *d, const char *name, const struct stage_desc **out,
                  struct err *e)
{
    *out = NULL;
    for (size_t i = 0; i < d->n_items; i++) {
        if (!str_eq(d->items[i]->name, name))
            continue;
        *out = d->items[i];
        return 0;
    }
    if (*name == '\0' || strchr(name, '/') || strlen(name) >= ACTION_NAME_BYTES)
        return 0;
    char *file = xasprintf(PREFIX "%s", name);
    char *program = file_join(d->folder, file);
    xfree(file);
    if (!file_exists(program) || file_is_folder(program)) {
        xfree(program);
        return 0;
    }
    struct stage_desc *s = xalloc(sizeof *s);
    s->name = xstrdup(name);
    s->program = program;
    int rc = load(d, s, e);
    if (rc < 0) {
        desc_free(s);
        return rc;
    }
    d->items = xrealloc_array(d->items, d->n_items + 1, sizeof(struct stage_desc *));
    d->items[d->n_items++] = s;
    *out = s;
    return 0;
}

/* What load and loader_state look at. */
static void see_program(const struct stage_desc *d, struct seen *s)
{
    seen_add(s, SEEN_SELF, d->program);
    for (size_t i = 0; i < d->n_libraries; i++) {
        seen_add(s, SEEN_SELF, d->libraries[i].path);
        seen_add(s, file_exists(LOADER_CACHE) ? SEEN_TARGET : SEEN_ABSENT, LOADER_CACHE);
        for (size_t k = 0; k < N_LOADER_FOLDERS; k++) {
            char *path = file_join(LOADER_FOLDERS[k], d->libraries[i].name);
            seen_add(s, file_exists(path) ? SEEN_TARGET : SEEN_ABSENT, path);
            xfree(path);
        }
    }
}

void describe_see(const struct describe *d, struct seen *s)
{
    for (size_t i = 0; i < d->n_items; i++) {
        see_program(d->items[i], s);
        if (!d->items[i]->portable && d->items[i]->profile)
            s->is_sound = false; /* it must be asked on the CPU that it runs on */
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t describe_names(const struct describe *d, char ***names)
{
    *names = NULL;
    size_t n = 0;
    DIR *folder = opendir(d->folder);
    for (struct dirent *f = folder ? readdir(folder) : NULL; f; f = readdir(folder)) {
        if (!str_starts(f->d_name, PREFIX))
            continue;
        *names = xrealloc_array(*names, n + 1, sizeof(char *));
        (*names)[n++] = xstrdup(f->d_name + strlen(PREFIX));
    }
    if (folder)
        closedir(folder);
    if (n > 0)
        qsort(*names, n, sizeof(char *), by_text);
    return n;
}

static const struct desc_port *find_port(const struct desc_port *ports, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(ports[i].name, name))
            return &ports[i];
    return NULL;
}

const struct desc_port *stage_desc_in(const struct stage_desc *d, const char *name)
{
    return find_port(d->ins, d->n_ins, name);
}

const struct desc_port *stage_desc_out(const struct stage_desc *d, const char *name)
{
    return find_port(d->outs, d->n_outs, name);
}

const struct desc_param *stage_desc_param(const struct stage_desc *d, const char *name)
{
    for (size_t i = 0; i < d->n_params; i++)
        if (str_eq(d->params[i].name, name))
            return &d->params[i];
    return NULL;
}
