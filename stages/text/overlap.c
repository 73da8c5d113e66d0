#include "stages/text/overlap.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/words.h"

struct bag {
    char **items;
    size_t n, capacity;
};

static void bag_add(struct bag *b, char *item)
{
    if (b->n == b->capacity) {
        size_t capacity = b->capacity ? 2 * b->capacity : 16;
        char **items = xalloc_array(capacity, sizeof *items);
        if (b->n > 0)
            memcpy(items, b->items, b->n * sizeof *items);
        xfree(b->items);
        b->items = items;
        b->capacity = capacity;
    }
    b->items[b->n++] = item;
}

static void bag_release(struct bag *b)
{
    for (size_t i = 0; i < b->n; i++)
        xfree(b->items[i]);
    xfree(b->items);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct overlap compare(struct bag *expected, struct bag *answer)
{
    struct overlap o = {0, expected->n, answer->n};
    if (expected->n > 0)
        qsort(expected->items, expected->n, sizeof *expected->items, by_text);
    if (answer->n > 0)
        qsort(answer->items, answer->n, sizeof *answer->items, by_text);
    for (size_t i = 0, j = 0; i < expected->n && j < answer->n;) {
        int order = strcmp(expected->items[i], answer->items[j]);
        o.n_both += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    bag_release(expected);
    bag_release(answer);
    return o;
}

static void add_words(const char *text, struct bag *b)
{
    struct words w = words_open(text, strlen(text));
    struct word word;
    while (words_next(&w, &word))
        bag_add(b, xstrdup(word.text));
}

struct overlap overlap_words(const char *expected, const char *answer)
{
    struct bag bags[2] = {{0}, {0}};
    add_words(expected, &bags[0]);
    add_words(answer, &bags[1]);
    return compare(&bags[0], &bags[1]);
}

/* path is restored before returning; the scanner has bounded the depth. */
static void add_leaves(const struct json *v, struct buf *path, struct bag *b)
{
    enum json_type type = json_type(v);
    if ((type != JSON_OBJECT && type != JSON_ARRAY) || json_count(v) == 0) {
        struct buf leaf;
        buf_init(&leaf, BUF_MAX_DEFAULT);
        buf_add_text(&leaf, buf_text(path));
        buf_add_char(&leaf, '=');
        json_write_canonical(v, &leaf);
        bag_add(b, buf_steal(&leaf));
        return;
    }
    for (const struct json *item = json_first(v); item; item = json_next(item)) {
        size_t before = path->n_bytes;
        if (type == JSON_OBJECT)
            json_add_string(path, json_key(item));
        else
            buf_add_text(path, "[]");
        add_leaves(item, path, b);
        path->n_bytes = before;
        path->bytes[before] = '\0';
    }
}

struct overlap overlap_leaves(const struct json *expected, const struct json *answer)
{
    struct bag bags[2] = {{0}, {0}};
    struct buf path;
    buf_init(&path, BUF_MAX_DEFAULT);
    add_leaves(expected, &path, &bags[0]);
    if (answer)
        add_leaves(answer, &path, &bags[1]);
    buf_release(&path);
    return compare(&bags[0], &bags[1]);
}

double overlap_f1(const struct overlap *o)
{
    size_t of = o->n_expected + o->n_answer;
    return of == 0 ? 1 : 2 * (double)o->n_both / (double)of;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Digits [first, end): where the number begins when groups of three follow commas, "12,345". */
static size_t before_thousands(const char *text, size_t first, size_t end)
{
    size_t group = end - first;
    while (group == 3 && first > 1 && text[first - 1] == ',' && is_digit(text[first - 2])) {
        size_t next = first - 1;
        group = 0;
        while (next > 0 && is_digit(text[next - 1])) {
            next--;
            group++;
        }
        if (group > 3)
            return first;
        first = next;
    }
    return first;
}

bool overlap_last_number(const char *text, double *out)
{
    size_t end = strlen(text);
    while (end > 0 && !is_digit(text[end - 1]))
        end--;
    if (end == 0)
        return false;
    size_t first = end, whole_end = end; /* of the digits before a point */
    while (first > 0 && is_digit(text[first - 1]))
        first--;
    if (first > 1 && text[first - 1] == '.' && is_digit(text[first - 2])) {
        whole_end = first - 1;
        for (first = whole_end; first > 0 && is_digit(text[first - 1]);)
            first--;
    }
    first = before_thousands(text, first, whole_end);
    struct buf digits;
    buf_init(&digits, BUF_MAX_DEFAULT);
    bool minus = first > 0 && text[first - 1] == '-';
    if (minus && (first == 1 || !is_word(text[first - 2])))
        buf_add_char(&digits, '-');
    while (text[first] == '0' && is_digit(text[first + 1]))
        first++;
    for (size_t i = first; i < end; i++)
        if (text[i] != ',')
            buf_add_char(&digits, text[i]);
    bool ok = str_to_f64(buf_text(&digits), out);
    buf_release(&digits);
    return ok;
}
