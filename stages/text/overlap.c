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

static bool is_leaf(const struct json *v)
{
    enum json_type type = json_type(v);
    return (type != JSON_OBJECT && type != JSON_ARRAY) || json_count(v) == 0;
}

static size_t n_leaves(const struct json *v)
{
    size_t n = is_leaf(v);
    if (n == 0)
        for (const struct json *item = json_first(v); item; item = json_next(item))
            n += n_leaves(item);
    return n;
}

static size_t both_leaves(const struct json *a, const struct json *b);

/* An item of one array and one of the other, and what they have in common. */
struct item_pair {
    size_t i, j, n_both;
};

static int best_first(const void *a, const void *b)
{
    const struct item_pair *x = a, *y = b;
    if (x->n_both != y->n_both)
        return x->n_both > y->n_both ? -1 : 1;
    if (x->i != y->i)
        return x->i < y->i ? -1 : 1;
    return (x->j > y->j) - (x->j < y->j);
}

/* Each item has one partner at most, those that have most in common first. */
static size_t both_items(const struct json *a, const struct json *b)
{
    size_t n_pairs = 0, n = 0, i = 0;
    struct item_pair *pairs = xalloc_array(json_count(a) * json_count(b), sizeof *pairs);
    bool *taken_a = xalloc_array(json_count(a), sizeof *taken_a);
    bool *taken_b = xalloc_array(json_count(b), sizeof *taken_b);
    for (const struct json *x = json_first(a); x; x = json_next(x), i++) {
        size_t j = 0;
        for (const struct json *y = json_first(b); y; y = json_next(y), j++) {
            size_t n_both = both_leaves(x, y);
            if (n_both > 0)
                pairs[n_pairs++] = (struct item_pair){i, j, n_both};
        }
    }
    if (n_pairs > 0)
        qsort(pairs, n_pairs, sizeof *pairs, best_first);
    for (size_t k = 0; k < n_pairs; k++) {
        if (taken_a[pairs[k].i] || taken_b[pairs[k].j])
            continue;
        taken_a[pairs[k].i] = taken_b[pairs[k].j] = true;
        n += pairs[k].n_both;
    }
    xfree(pairs);
    xfree(taken_a);
    xfree(taken_b);
    return n;
}

/* The scanner has bounded the depth. */
static size_t both_leaves(const struct json *a, const struct json *b)
{
    size_t n = 0;
    if (is_leaf(a) || is_leaf(b))
        return is_leaf(a) && is_leaf(b) && json_equal(a, b);
    if (json_type(a) != json_type(b))
        return 0;
    if (json_type(a) == JSON_ARRAY)
        return both_items(a, b);
    for (const struct json *item = json_first(a); item; item = json_next(item)) {
        const struct json *other = json_get(b, json_key(item));
        if (other)
            n += both_leaves(item, other);
    }
    return n;
}

struct overlap overlap_leaves(const struct json *expected, const struct json *answer)
{
    return (struct overlap){
        .n_both = answer ? both_leaves(expected, answer) : 0,
        .n_expected = n_leaves(expected),
        .n_answer = answer ? n_leaves(answer) : 0,
    };
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

/* Where the exponent of a number begins whose last digits are [first, end); end without one. */
static size_t before_exponent(const char *text, size_t first, size_t end)
{
    size_t at = first;
    if (at > 0 && (text[at - 1] == '+' || text[at - 1] == '-'))
        at--;
    bool has_e = at > 1 && (text[at - 1] == 'e' || text[at - 1] == 'E');
    return has_e && is_digit(text[at - 2]) ? at - 1 : end;
}

static size_t before_digits(const char *text, size_t end)
{
    while (end > 0 && is_digit(text[end - 1]))
        end--;
    return end;
}

/* Bytes of a minus in front of text[at], U+2212 too, where it is a sign; else 0. */
static size_t sign_before(const char *text, size_t at)
{
    size_t n = 0;
    if (at > 0 && text[at - 1] == '-')
        n = 1;
    else if (at > 2 && memcmp(text + at - 3, "\xE2\x88\x92", 3) == 0)
        n = 3;
    return n > 0 && (at == n || !is_word(text[at - n - 1])) ? n : 0;
}

bool overlap_last_number(const char *text, double *out)
{
    size_t end = strlen(text);
    while (end > 0 && !is_digit(text[end - 1]))
        end--;
    if (end == 0)
        return false;
    size_t exponent = before_exponent(text, before_digits(text, end), end);
    size_t first = before_digits(text, exponent), whole_end = exponent;
    bool is_fraction = false; /* ".5" */
    if (first > 0 && text[first - 1] == '.') {
        if (first > 1 && is_digit(text[first - 2])) {
            whole_end = first - 1;
            first = before_digits(text, whole_end);
        } else if (first == 1 || (!is_word(text[first - 2]) && text[first - 2] != '.')) {
            is_fraction = true;
            first--;
        }
    }
    if (!is_fraction)
        first = before_thousands(text, first, whole_end);
    struct buf digits;
    buf_init(&digits, BUF_MAX_DEFAULT);
    if (sign_before(text, first) > 0)
        buf_add_char(&digits, '-');
    if (is_fraction)
        buf_add_char(&digits, '0');
    while (text[first] == '0' && is_digit(text[first + 1]))
        first++;
    for (size_t i = first; i < end; i++)
        if (text[i] != ',')
            buf_add_char(&digits, text[i]);
    bool ok = str_to_f64(buf_text(&digits), out);
    buf_release(&digits);
    return ok;
}
