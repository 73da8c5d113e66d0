#include "pipeline/engine/report_origin.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/report_cells.h"
#include "pipeline/report/page.h"

/* ---- the stages of the run by their names: of a thousand, each is looked for a thousand times */

struct named {
    const char *name; /* "train[rank=8]" */
    const struct json *stage;
};

struct stages {
    const struct json **in_order; /* as in run.json */
    struct named *by_name;
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void stages_open(struct stages *all, const struct run_record *r)
{
    *all = (struct stages){.n = 0};
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t))
        all->n++;
    all->in_order = xalloc_array(all->n + 1, sizeof(struct json *));
    all->by_name = xalloc_array(all->n + 1, sizeof(struct named));
    size_t i = 0;
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t), i++) {
        all->in_order[i] = t;
        all->by_name[i] = (struct named){json_text(t, "stage"), t};
    }
    qsort(all->by_name, all->n, sizeof *all->by_name, by_name);
}

static const struct named *stage_of(const struct stages *all, const char *name)
{
    struct named wanted = {name, NULL};
    return bsearch(&wanted, all->by_name, all->n, sizeof *all->by_name, by_name);
}

/* "data[toolkit=x].train" -> the stage's node when there is such an instance with such an output.
 */
static const struct json *producer_of(const struct stages *all, const char *from)
{
    const char *dot = strrchr(from, '.');
    if (!dot)
        return NULL;
    char *name = xstrndup(from, (size_t)(dot - from));
    const struct named *s = stage_of(all, name);
    xfree(name);
    for (const struct json *o = s ? json_items(s->stage, "outputs") : NULL; o; o = json_next(o))
        if (str_eq(json_text(o, "name"), dot + 1))
            return s->stage;
    return NULL;
}

/* Is the stage one of several that differ by their axes? They are neighbours by name. */
static bool has_twin(const struct stages *all, const char *name)
{
    size_t i = (size_t)(stage_of(all, name) - all->by_name), n = strcspn(name, "[");
    return name[n] == '[' &&
           ((i > 0 && strncmp(all->by_name[i - 1].name, name, n + 1) == 0) ||
            (i + 1 < all->n && strncmp(all->by_name[i + 1].name, name, n + 1) == 0));
}

/* "train", and with more than one of the name "train rank=8,toolkit=nano-1.0". Caller xfrees. */
static char *stage_note(const struct stages *all, const struct json *stage)
{
    const char *name = json_text(stage, "stage"), *run = json_text(stage, "run");
    size_t n = strcspn(name, "["), n_axes = strlen(name) - n;
    return n_axes > 2 && has_twin(all, name)
               ? xasprintf("%s %.*s", run, (int)n_axes - 2, name + n + 1)
               : xstrdup(run);
}

/* ---- what was made from what ---- */

static void add_node(struct json *nodes, const char *id, const char *label, const char *tone,
                     const char *note)
{
    struct json *o = json_new_object();
    json_put_string(o, "id", id);
    json_put_string(o, "label", label);
    json_put_string(o, "tone", tone);
    json_put_string(o, "note", note);
    json_append(nodes, o);
}

static void add_edge(struct json *edges, const char *from, const char *to)
{
    struct json *edge = json_new_array();
    json_append(edge, json_new_string(from));
    json_append(edge, json_new_string(to));
    json_append(edges, edge);
}

struct source {
    const struct json *input;
    size_t place;
    bool is_first; /* of its path */
};

static int by_path(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    int order = strcmp(json_text(x->input, "from"), json_text(y->input, "from"));
    return order ? order : x->place < y->place ? -1 : 1;
}

static int by_place(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    return x->place < y->place ? -1 : 1;
}

/* The inputs of all stages that no stage made, in order; of each path the first is marked. */
static struct source *sources_of(const struct stages *all, size_t *n)
{
    struct source *list = NULL;
    size_t room = 0;
    *n = 0;
    for (size_t k = 0; k < all->n; k++)
        for (const struct json *i = json_items(all->in_order[k], "inputs"); i; i = json_next(i)) {
            if (producer_of(all, json_text(i, "from")))
                continue;
            if (*n == room)
                list = xrealloc_array(list, room = room ? 2 * room : 64, sizeof *list);
            list[*n] = (struct source){i, *n, false};
            ++*n;
        }
    if (*n > 0)
        qsort(list, *n, sizeof *list, by_path);
    for (size_t i = 0; i < *n; i++)
        list[i].is_first = i == 0 || !str_eq(json_text(list[i].input, "from"),
                                             json_text(list[i - 1].input, "from"));
    if (*n > 0)
        qsort(list, *n, sizeof *list, by_place);
    return list;
}

static void add_graph(struct json *blocks, const struct stages *all)
{
    struct json *graph = json_new_object(), *nodes = json_new_array(), *edges = json_new_array();
    size_t n_sources = 0, at = 0;
    struct source *sources = sources_of(all, &n_sources);
    for (size_t k = 0; k < all->n; k++) {
        const struct json *t = all->in_order[k];
        const char *name = json_text(t, "stage"), *status = report_stage_status(t);
        for (const struct json *i = json_items(t, "inputs"); i; i = json_next(i)) {
            const char *from = json_text(i, "from");
            const struct json *producer = producer_of(all, from);
            if (producer) {
                add_edge(edges, json_text(producer, "stage"), name);
                continue;
            }
            char *id = xasprintf("file %s", from);
            if (sources[at++].is_first)
                add_node(nodes, id, file_base_name(from), "muted", json_text(i, "kind"));
            add_edge(edges, id, name);
            xfree(id);
        }
        char *label = xstrndup(name, strcspn(name, "["));
        char *note = stage_note(all, t);
        add_node(nodes, name, label, report_tone(status), note);
        xfree(note);
        xfree(label);
    }
    xfree(sources);
    json_put_string(graph, "type", "graph");
    json_put_string(graph, "title", "What was made from what");
    json_put(graph, "nodes", nodes);
    json_put(graph, "edges", edges);
    json_append(blocks, graph);
}

/* ---- lists ---- */

static void add_sources(struct json *blocks, const struct stages *all)
{
    static const char *const columns[] = {"source", "kind", "used by", "SHA-256", NULL};
    struct json *rows = page_add_table(blocks, "Sources", columns);
    for (size_t k = 0; k < all->n; k++)
        for (const struct json *i = json_items(all->in_order[k], "inputs"); i; i = json_next(i)) {
            if (producer_of(all, json_text(i, "from")))
                continue;
            struct json *row = page_add_row(rows);
            json_append(row, report_cell_text(json_text(i, "from")));
            json_append(row, report_cell_text(json_text(i, "kind")));
            json_append(row, report_cell_text(json_text(all->in_order[k], "stage")));
            json_append(row, report_cell_code(json_find_text(i, "id")));
        }
}

static void add_outputs(struct json *blocks, const struct run_record *r)
{
    static const char *const columns[] = {"made", "kind", "bytes", "SHA-256", NULL};
    struct json *rows = page_add_table(blocks, "Everything that was made", columns);
    for (const struct json *t = json_items(r->root, "stages"); t; t = json_next(t))
        for (const struct json *o = json_items(t, "outputs"); o; o = json_next(o)) {
            struct json *row = page_add_row(rows);
            char *name = xasprintf("%s.%s", json_text(t, "stage"), json_text(o, "name"));
            const struct json *bytes = json_get(o, "bytes");
            json_append(row, report_cell_text(name));
            json_append(row, report_cell_text(json_text(o, "kind")));
            json_append(row, json_is_number(bytes) ? report_cell_number(json_number(bytes), NULL)
                                                   : json_new_null());
            json_append(row, report_cell_code(json_find_text(o, "id")));
            xfree(name);
        }
}

void report_add_origin(struct json *page, const struct run_record *r)
{
    struct json *blocks =
        page_add_section(page, "origin", "Where it comes from", true,
                         "fmforge audit FILE checks this chain against the ledger; the hashes are "
                         "those of sha256sum.");
    struct stages all;
    stages_open(&all, r);
    add_graph(blocks, &all);
    add_sources(blocks, &all);
    add_outputs(blocks, r);
    xfree(all.by_name);
    xfree(all.in_order);
}
