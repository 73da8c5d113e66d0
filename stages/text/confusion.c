#include "stages/text/confusion.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/text/score.h"

struct labels {
    char **expected, **answered; /* by row */
    char *const *names;          /* sorted, different; borrowed from expected */
    size_t n_rows, n_names;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The different expected labels; NULL when they are no classes. Caller xfrees the array. */
static char **class_names(const struct labels *l, size_t *n)
{
    char **all = xalloc_array(l->n_rows, sizeof *all);
    *n = 0;
    for (size_t i = 0; i < l->n_rows; i++) {
        if (!l->expected[i]) {
            xfree(all);
            return NULL;
        }
        all[i] = l->expected[i];
    }
    if (l->n_rows > 0)
        qsort(all, l->n_rows, sizeof *all, by_text);
    for (size_t i = 0; i < l->n_rows; i++)
        if (*n == 0 || !str_eq(all[*n - 1], all[i]))
            all[(*n)++] = all[i];
    if (*n >= 2 && *n <= CONFUSION_LABELS_MAX && l->n_rows >= 2 * *n)
        return all;
    xfree(all);
    return NULL;
}

static size_t index_of(const struct labels *l, const char *label)
{
    for (size_t i = 0; label && i < l->n_names; i++)
        if (str_eq(l->names[i], label))
            return i;
    return l->n_names;
}

static void add_matrix(struct json *report, const char *title, const struct labels *l)
{
    size_t n = l->n_names;
    int64_t *counts = xalloc_array(n * (n + 1), sizeof *counts);
    for (size_t i = 0; i < l->n_rows; i++)
        counts[index_of(l, l->expected[i]) * (n + 1) + index_of(l, l->answered[i])]++;
    struct json *block = blocks_add(report, "matrix", title);
    struct json *rows = json_new_array(), *columns = json_new_array(), *values = json_new_array();
    for (size_t i = 0; i < n; i++) {
        json_append(rows, json_new_string(l->names[i]));
        json_append(columns, json_new_string(l->names[i]));
        struct json *row = json_new_array();
        for (size_t j = 0; j <= n; j++)
            json_append(row, json_new_i64(counts[i * (n + 1) + j]));
        json_append(values, row);
    }
    json_append(columns, json_new_string("(none of them)"));
    json_put(block, "rows", rows);
    json_put(block, "columns", columns);
    json_put(block, "values", values);
    xfree(counts);
}

static void add_field(struct json *report, const struct goldenset *g,
                      const struct golden_field *field, char *const *answers)
{
    size_t n = g->rows.n_rows;
    struct labels l = {.expected = xalloc_array(n, sizeof(char *)),
                       .answered = xalloc_array(n, sizeof(char *)),
                       .n_rows = n};
    for (size_t i = 0; i < n; i++) {
        l.expected[i] = score_label(g, field, chat_answer(&g->rows.rows[i]));
        l.answered[i] = score_label(g, field, answers[i]);
    }
    char **names = class_names(&l, &l.n_names);
    if (names) {
        struct buf title;
        buf_init(&title, BUF_MAX_DEFAULT);
        buf_printf(&title, "%s: expected (rows) and answered", field ? field->name : "Answer");
        l.names = names;
        add_matrix(report, buf_text(&title), &l);
        buf_release(&title);
    }
    xfree(names);
    for (size_t i = 0; i < n; i++) {
        xfree(l.expected[i]);
        xfree(l.answered[i]);
    }
    xfree(l.expected);
    xfree(l.answered);
}

void confusion_add(struct json *report, const struct goldenset *g, char *const *answers)
{
    if (!g->is_json)
        add_field(report, g, NULL, answers);
    for (size_t i = 0; i < g->n_fields; i++)
        if (g->fields[i].metric == GOLDEN_MATCH)
            add_field(report, g, &g->fields[i], answers);
}
