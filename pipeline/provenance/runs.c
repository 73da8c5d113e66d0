#include "pipeline/provenance/runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/statement.h"

const struct json *run_item_of_kind(const struct json *stage, const char *key, const char *kind)
{
    for (const struct json *i = json_items(stage, key); i != NULL; i = json_next(i))
        if (str_eq(json_text(i, "kind"), kind))
            return i;
    return NULL;
}

/* ---- by name ---- */

struct run_name {
    const char *name;
    const struct json *item;
    size_t i;
};

static int by_name(const void *a, const void *b)
{
    const struct run_name *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->i > y->i) - (x->i < y->i);
}

static void names_open(struct run_names *n, const struct json *items, size_t n_items,
                       const char *key)
{
    n->items = xalloc_array(n_items + 1, sizeof *n->items);
    for (const struct json *v = items; v != NULL; v = json_next(v))
        if (json_find_text(v, key) != NULL) {
            n->items[n->n_items] = (struct run_name){json_find_text(v, key), v, n->n_items};
            n->n_items++;
        }
    if (n->n_items > 0)
        qsort(n->items, n->n_items, sizeof *n->items, by_name);
}

/* The first of a name. */
static const struct json *find_name(const struct run_names *n, const struct json *items,
                                    const char *key, const char *name)
{
    for (const struct json *v = n->items == NULL ? items : NULL; v != NULL; v = json_next(v))
        if (json_find_text(v, key) != NULL && str_eq(json_find_text(v, key), name))
            return v;
    size_t low = 0, high = n->n_items;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(n->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n->n_items && str_eq(n->items[low].name, name) ? n->items[low].item : NULL;
}

const char *run_record_file(const struct run_record *r, const char *path)
{
    return json_find_text(find_name(&r->files, json_items(r->shown, "files"), "path", path),
                          "text");
}

const struct json *run_record_stage(const struct run_record *r, const char *stage)
{
    return find_name(&r->stages, json_items(r->root, "stages"), "stage", stage);
}

const char *run_record_stage_file(const struct run_record *r, const char *stage, const char *file)
{
    char *path = xasprintf("stages/%s/%s", stage, file);
    const char *text = run_record_file(r, path);
    xfree(path);
    return text;
}

const char **run_record_sets(const struct run_record *r, size_t *n_sets)
{
    size_t n_max = 0;
    for (const struct json *s = json_items(r->root, "set"); s != NULL; s = json_next(s))
        n_max++;
    const char **sets = xalloc_array(n_max, sizeof *sets);
    *n_sets = 0;
    for (const struct json *s = json_items(r->root, "set"); s != NULL; s = json_next(s))
        if (json_type(s) == JSON_STRING)
            sets[(*n_sets)++] = json_string(s);
    return sets;
}

/* run.json, once `shown` is there. */
static int take_file(struct run_record *r, struct err *e)
{
    names_open(&r->files, json_items(r->shown, "files"), json_count(json_get(r->shown, "files")),
               "path");
    const char *text = run_record_file(r, "run.json");
    if (text == NULL)
        return err_set(e, ERR_FORMAT, "run.json is damaged or missing");
    int rc = json_parse(text, strlen(text), &r->root, e);
    if (rc == 0)
        rc = json_need_string(r->root, "name", &r->name, e);
    if (rc == 0)
        names_open(&r->stages, json_items(r->root, "stages"),
                   json_count(json_get(r->root, "stages")), "stage");
    return rc;
}

int run_record_take(struct json *shown, struct run_record *out, struct err *e)
{
    *out = (struct run_record){.shown = shown};
    int rc = json_need_string(shown, "commit", &out->commit, e);
    if (rc == 0)
        rc = json_need_i64(shown, "time", &out->time, e);
    if (rc == 0 && take_file(out, e) != 0)
        rc = err_wrap(e, "ledger: run %.12s", out->commit);
    return rc;
}

int run_record_load(const struct ledger *l, const char *commit, struct run_record *out,
                    struct err *e)
{
    struct json *shown = NULL;
    *out = (struct run_record){0};
    int rc = ledger_show(l, commit, &shown, e);
    return rc == 0 ? run_record_take(shown, out, e) : rc;
}

int run_record_of_files(const struct run_files *f, const char *commit, struct run_record *out,
                        struct err *e)
{
    *out = (struct run_record){0};
    out->shown = json_new_object();
    struct json *files = json_new_array();
    for (size_t i = 0; i < f->n_items; i++) {
        struct json *item = json_new_object();
        json_put(item, "path", statement_text(f->items[i].path));
        json_put(item, "text", statement_text((const char *)f->items[i].bytes));
        json_append(files, item);
    }
    json_put(out->shown, "files", files);
    json_put(out->shown, "commit", statement_text(commit));
    out->commit = json_find_text(out->shown, "commit");
    int rc = take_file(out, e);
    int64_t ms = 0;
    const char *started = rc == 0 ? json_find_text(out->root, "started") : NULL;
    if (started != NULL && statement_time_parse(started, &ms))
        out->time = ms / 1000;
    return rc;
}

int run_record_read_folder(const char *folder, struct run_record *out, struct err *e)
{
    *out = (struct run_record){0};
    struct file_list list = {0};
    struct run_files files = {NULL, 0};
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = file_list_folder(folder, &list, e);
    for (size_t i = 0; i < list.n_paths && rc == 0; i++) {
        char *path = file_join(folder, list.paths[i]);
        rc = file_read(path, LIMIT_JSON_BYTES, &b, e);
        if (rc == 0)
            run_files_add(&files, list.paths[i], b.bytes, b.n_bytes);
        xfree(path);
    }
    if (rc == 0 && run_record_of_files(&files, folder, out, e) != 0)
        rc = err_wrap(e, "%s", folder);
    buf_release(&b);
    run_files_release(&files);
    file_list_release(&list);
    return rc;
}

void run_record_release(struct run_record *r)
{
    xfree(r->files.items);
    xfree(r->stages.items);
    json_free(r->shown);
    json_free(r->root);
    *r = (struct run_record){0};
}

/* ---- SHA256SUMS ---- */

static void add_finding(struct json *list, char *text)
{
    json_append(list, statement_text(text));
    xfree(text);
}

bool run_listed_digest(const char *sums, const char *path, char out[SHA256_HEX + 1])
{
    size_t n_path = strlen(path);
    for (const char *line = sums; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        if (n == SHA256_HEX + 2 + n_path && memcmp(line + SHA256_HEX + 2, path, n_path) == 0) {
            memcpy(out, line, SHA256_HEX);
            out[SHA256_HEX] = '\0';
            return true;
        }
        line += n + (line[n] == '\n');
    }
    return false;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

size_t run_record_check(const struct run_record *r, struct json *damage)
{
    const char *sums = run_record_file(r, "SHA256SUMS");
    size_t n_right = 0, n_files = 0;
    int n_id = str_is_hex(r->commit, COMMIT_HEX) ? 12 : 400; /* of a folder: its path */
    for (const struct json *f = json_items(r->shown, "files"); f != NULL; f = json_next(f)) {
        const char *path = json_find_text(f, "path");
        const char *text = json_find_text(f, "text");
        char want[SHA256_HEX + 1];
        n_files += path == NULL || !str_eq(path, "SHA256SUMS");
        if (json_find_text(f, "damage") != NULL) {
            add_finding(damage, xasprintf("run %.*s: %s: %s", n_id, r->commit, path,
                                          json_find_text(f, "damage")));
            continue;
        }
        if (sums == NULL || path == NULL || str_eq(path, "SHA256SUMS"))
            continue;
        if (!run_listed_digest(sums, path, want)) {
            add_finding(damage,
                        xasprintf("run %.*s: SHA256SUMS does not list %s", n_id, r->commit, path));
            continue;
        }
        struct content_id found =
            text != NULL ? sha256_of(text, strlen(text)) : (struct content_id){{0}};
        if (str_eq(found.hex, want))
            n_right++;
        else
            add_finding(damage, xasprintf("run %.*s: %s has the SHA-256 %s, SHA256SUMS "
                                          "says %s",
                                          n_id, r->commit, path, found.hex, want));
    }
    if (sums == NULL)
        add_finding(damage, xasprintf("run %.*s: SHA256SUMS is missing", n_id, r->commit));
    else if (count_lines(sums) != n_files)
        add_finding(damage, xasprintf("run %.*s: SHA256SUMS lists %zu files, the run has "
                                      "%zu",
                                      n_id, r->commit, count_lines(sums), n_files));
    return n_right;
}

/* ---- stages ---- */

static const struct json *output_with(const struct json *stage, const char *id_hex)
{
    if (!run_stage_made(stage))
        return NULL;
    for (const struct json *o = json_items(stage, "outputs"); o != NULL; o = json_next(o))
        if (str_eq(json_text(o, "id"), id_hex))
            return o;
    return NULL;
}

const struct json *run_record_producer(const struct run_record *r, const char *id_hex,
                                       const char *prefer, const struct json **output)
{
    const struct json *best = NULL;
    for (const struct json *s = json_items(r->root, "stages"); s != NULL; s = json_next(s)) {
        const struct json *o = output_with(s, id_hex);
        const char *instance = json_find_text(s, "stage");
        if (o == NULL || instance == NULL)
            continue;
        bool preferred = prefer != NULL && str_eq(instance, prefer);
        if (best != NULL && !preferred)
            continue;
        best = s;
        if (output != NULL)
            *output = o;
        if (preferred)
            break;
    }
    return best;
}

/* ---- the list of runs ---- */

/* "support_desk: ok, 3 executed, 4 reused": the part behind the name, and the status in it. */
static struct json *run_from_commit(const struct json *c)
{
    const char *message = json_text(c, "message");
    const char *ref = json_text(c, "ref");
    size_t n_line = strcspn(message, "\n");
    char *line = xstrndup(message, n_line);
    const char *colon = strstr(line, ": ");
    const char *summary = colon != NULL ? colon + 2 : line;
    char *status = xstrndup(summary, strcspn(summary, ","));
    struct json *v = json_new_object();
    json_put_string(v, "commit", json_text(c, "commit"));
    json_put_string(v, "name", str_starts(ref, "refs/prov/") ? ref + 10 : ref);
    json_put(v, "time", json_clone(json_get(c, "time")));
    json_put_string(v, "status", status);
    json_put_string(v, "summary", summary);
    xfree(status);
    xfree(line);
    return v;
}

static struct json *run_from_line(const char *line, size_t n)
{
    struct json *v = NULL;
    struct err ignored = {0};
    int64_t ms = 0;
    if (json_parse(line, n, &v, &ignored) != 0)
        return NULL; /* the end of a line that a kill cut short */
    const char *name = json_find_text(v, "name");
    const char *started = json_find_text(v, "started");
    const char *status = json_find_text(v, "status");
    struct json *out = NULL;
    if (name != NULL && status != NULL && started != NULL && statement_time_parse(started, &ms)) {
        out = json_new_object();
        json_put_string(out, "name", name);
        json_put_i64(out, "time", ms / 1000);
        json_put_string(out, "status", status);
        char *summary = xasprintf("%s, nothing executed", status);
        json_put_string(out, "summary", summary);
        xfree(summary);
    }
    json_free(v);
    return out;
}

struct listed {
    struct json *run;
    double time;
    size_t i;
};

static int newest_first(const void *a, const void *b)
{
    const struct listed *x = a;
    const struct listed *y = b;
    if (x->time != y->time)
        return x->time > y->time ? -1 : 1;
    return x->i < y->i ? -1 : 1;
}

struct collected {
    struct listed *items;
    size_t n_items;
    const char *name;
    double newest; /* what is collected next is no newer, whatever the clock said */
};

static void collect(struct collected *c, struct json *run)
{
    if (run == NULL)
        return;
    if (c->name != NULL && !str_eq(json_find_text(run, "name"), c->name)) {
        json_free(run);
        return;
    }
    if ((c->n_items & (c->n_items - 1)) == 0)
        c->items = xrealloc_array(c->items, c->n_items == 0 ? 1 : c->n_items * 2, sizeof *c->items);
    double time = json_number(json_get(run, "time"));
    c->newest = time < c->newest ? time : c->newest;
    c->items[c->n_items] = (struct listed){run, c->newest, c->n_items};
    c->n_items++;
}

/* The last lines first, so that equal seconds stay newest first. The file only grows: what is
 * beyond LIMIT_JSON_BYTES is old. */
static int collect_lines(struct collected *c, const char *runs_log, struct err *e)
{
    if (runs_log == NULL || !file_exists(runs_log))
        return 0;
    struct file_map map = {0};
    int rc = file_map_open(&map, runs_log, e);
    const char *text = (const char *)map.bytes;
    size_t end = rc == 0 ? map.n_bytes : 0;
    size_t first = end > LIMIT_JSON_BYTES ? end - LIMIT_JSON_BYTES : 0;
    while (end > first) {
        size_t n = text[end - 1] == '\n' ? end - 1 : end;
        size_t start = n;
        while (start > first && text[start - 1] != '\n')
            start--;
        if (n > start)
            collect(c, run_from_line(text + start, n - start));
        end = start;
    }
    file_map_close(&map);
    return rc;
}

int runs_list(const struct ledger *l, const char *runs_log, const char *name, struct json **out,
              struct err *e)
{
    struct json *log = NULL;
    struct collected c = {.name = name, .newest = INFINITY};
    int rc = ledger_log(l, NULL, 0, &log, e);
    if (rc != 0)
        return rc;
    rc = collect_lines(&c, runs_log, e);
    c.newest = INFINITY;
    for (const struct json *v = json_items(log, "commits"); v != NULL; v = json_next(v))
        collect(&c, run_from_commit(v));
    if (c.n_items > 0)
        qsort(c.items, c.n_items, sizeof *c.items, newest_first);
    *out = json_new_array();
    for (size_t i = 0; i < c.n_items; i++)
        json_append(*out, c.items[i].run);
    xfree(c.items);
    json_free(log);
    if (rc != 0) {
        json_free(*out);
        *out = NULL;
    }
    return rc;
}

/* "last" is 0, "last~3" is 3; false for anything else. */
static bool parse_last(const char *id, uint64_t *back)
{
    *back = 0;
    if (str_eq(id, "last"))
        return true;
    return str_starts(id, "last~") && str_to_u64(id + strlen("last~"), back);
}

/* The run that is `back` before the newest recorded one. */
static int find_back(const struct ledger *l, uint64_t back, const char *name,
                     struct run_record *out, struct err *e)
{
    struct json *list = NULL;
    int rc = runs_list(l, NULL, name, &list, e);
    const struct json *run = rc == 0 ? json_first(list) : NULL;
    uint64_t n_runs = rc == 0 ? json_count(list) : 0;
    for (uint64_t i = 0; i < back && run != NULL; i++)
        run = json_next(run);
    if (rc == 0 && run == NULL && n_runs > 0)
        rc = err_set(e, ERR_MISSING, "last~%llu: there %s %llu run%s%s%s only",
                     (unsigned long long)back, n_runs == 1 ? "is" : "are",
                     (unsigned long long)n_runs, n_runs == 1 ? "" : "s", name ? " of " : "",
                     name ? name : "");
    else if (rc == 0 && run == NULL)
        rc =
            err_set(e, ERR_MISSING, "no run%s%s is recorded", name ? " of " : "", name ? name : "");
    if (rc == 0)
        rc = run_record_load(l, json_find_text(run, "commit"), out, e);
    json_free(list);
    return rc;
}

int run_record_find(const struct ledger *l, const char *id, const char *name,
                    struct run_record *out, struct err *e)
{
    uint64_t back = 0;
    if (parse_last(id, &back))
        return find_back(l, back, name, out, e);
    int rc = run_record_load(l, id, out, e);
    if (rc == 0 && name != NULL && !str_eq(out->name, name))
        rc = err_set(e, ERR_CONFIG, "run %.12s is one of %s, not of %s", out->commit, out->name,
                     name);
    return rc;
}
