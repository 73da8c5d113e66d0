#include "stages/text/labels.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/finding.h"

/* A label is shown to this length. */
#define SHOWN_BYTES 60

/* Where in an answer, by key: a field's name, or one of these, which no field can be. */
#define WHOLE_TEXT ""
#define ARRAY_ITEM "[]"

struct label {
    char *key, *value;
};

struct labels {
    struct label *items;
    size_t n, capacity;
};

static void add_label(struct labels *l, const char *key, const char *value)
{
    if (l->n == l->capacity) {
        l->capacity = l->capacity == 0 ? 64 : 2 * l->capacity;
        l->items = xrealloc_array(l->items, l->capacity, sizeof *l->items);
    }
    l->items[l->n++] = (struct label){xstrdup(key), xstrdup(value)};
}

static void release(struct labels *l)
{
    for (size_t i = 0; i < l->n; i++) {
        xfree(l->items[i].key);
        xfree(l->items[i].value);
    }
    xfree(l->items);
}

static int by_key_and_value(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : strcmp(x->value, y->value);
}

static bool is_wanted(const struct goldenset *set, const char *key)
{
    if (!set || set->n_fields == 0)
        return true;
    for (size_t i = 0; i < set->n_fields; i++)
        if (set->fields[i].metric == GOLDEN_MATCH && str_eq(set->fields[i].name, key))
            return true;
    return false;
}

static void add_answer(struct labels *l, const char *answer, const struct goldenset *set)
{
    struct json *v = NULL;
    struct err ignored = {0};
    bool is_json = json_parse(answer, strlen(answer), &v, &ignored) == 0;
    bool is_array = is_json && json_type(v) == JSON_ARRAY;
    if (is_array || (is_json && json_type(v) == JSON_OBJECT)) {
        for (const struct json *item = json_first(v); item; item = json_next(item)) {
            const char *key = is_array ? ARRAY_ITEM : json_key(item);
            if (json_type(item) == JSON_STRING && is_wanted(set, key))
                add_label(l, key, json_string(item));
        }
    } else if (is_wanted(set, WHOLE_TEXT)) {
        add_label(l, WHOLE_TEXT, answer);
    }
    json_free(v);
}

static struct labels labels_of(const struct chat_list *rows, const struct goldenset *set)
{
    struct labels l = {0};
    for (size_t i = 0; i < rows->n_rows; i++)
        add_answer(&l, chat_answer(&rows->rows[i]), set);
    if (l.n > 0)
        qsort(l.items, l.n, sizeof *l.items, by_key_and_value);
    return l;
}

/* How many labels from i on have the same key. */
static size_t same_key(const struct labels *l, size_t i)
{
    size_t n = 1;
    while (i + n < l->n && str_eq(l->items[i + n].key, l->items[i].key))
        n++;
    return n;
}

/* The different values among the n_labels from i on, sorted; the caller xfrees. */
static const char **values_of(const struct labels *l, size_t i, size_t n_labels, size_t *n)
{
    const char **values = xalloc_array(n_labels, sizeof *values);
    *n = 0;
    for (size_t end = i + n_labels; i < end; i++)
        if (*n == 0 || !str_eq(values[*n - 1], l->items[i].value))
            values[(*n)++] = l->items[i].value;
    return values;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int shown_bytes(const char *value)
{
    size_t n = strlen(value);
    return (int)str_utf8_prefix(value, n < SHOWN_BYTES ? n : SHOWN_BYTES);
}

/* Names the n_labels from i on that are not among the known ones. Returns how many rows. */
static uint64_t find_unknown(const struct labels *l, size_t i, size_t n_labels,
                             const char *const *known, size_t n_known, struct finding *f)
{
    uint64_t n_rows = 0;
    for (size_t end = i + n_labels, n = 0; i < end; i += n) {
        const char *value = l->items[i].value;
        for (n = 1; i + n < end && str_eq(l->items[i + n].value, value);)
            n++;
        if (n_known > 0 && bsearch(&value, known, n_known, sizeof *known, by_text))
            continue;
        const char *near = f->n < FINDING_PLACES_SHOWN ? str_nearest(value, known, n_known) : NULL;
        n_rows += n;
        finding_add(f, "\"%.*s\" (%zu row%s%s%.*s%s)", shown_bytes(value), value, n,
                    n == 1 ? "" : "s", near ? "; known is \"" : "", near ? shown_bytes(near) : 0,
                    near ? near : "", near ? "\"" : "");
    }
    return n_rows;
}

static void put_finding(const char *name, const char *key, uint64_t n_rows, struct finding *f,
                        struct json *findings)
{
    struct buf what;
    buf_init(&what, BUF_MAX_DEFAULT);
    if (str_eq(key, WHOLE_TEXT))
        buf_add_text(&what, "answer that no training row has");
    else if (str_eq(key, ARRAY_ITEM))
        buf_add_text(&what, "label that no training row has");
    else
        buf_printf(&what, "label of \"%.*s\" that no training row has", shown_bytes(key), key);
    finding_put(findings, name, buf_text(&what), n_rows, finding_where(f));
    buf_release(&what);
}

void labels_check(const struct chat_list *train, const struct chat_list *held_out,
                  const struct goldenset *set, const char *name, struct json *findings)
{
    struct labels taught = labels_of(train, set);
    struct labels asked = labels_of(held_out, set);
    for (size_t i = 0, n = 0, at = 0; i < asked.n; i += n) {
        const char *key = asked.items[i].key;
        while (at < taught.n && strcmp(taught.items[at].key, key) < 0)
            at++;
        bool is_taught = at < taught.n && str_eq(taught.items[at].key, key);
        size_t n_all = is_taught ? same_key(&taught, at) : 0, n_known = 0;
        const char **known = values_of(&taught, at, n_all, &n_known);
        struct finding f = {0};
        n = same_key(&asked, i);
        if (n_known <= LABELS_MAX && n_all >= 2 * n_known) {
            uint64_t n_rows = find_unknown(&asked, i, n, known, n_known, &f);
            if (n_rows > 0)
                put_finding(name, key, n_rows, &f, findings);
        }
        finding_release(&f);
        xfree(known);
    }
    release(&taught);
    release(&asked);
}
