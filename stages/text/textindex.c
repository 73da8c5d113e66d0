#include "stages/text/textindex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/words.h"

static int by_hash_and_text(const void *a, const void *b)
{
    const struct textindex_entry *x = a;
    const struct textindex_entry *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->text > y->text) - (x->text < y->text);
}

/* Sorts and joins equal entries; returns how many are left. Equal ones are alike in all that is
 * compared, so the order of the sort is one. */
static size_t join(struct textindex_entry *entries, size_t n)
{
    size_t n_out = 0;
    if (n > 0)
        qsort(entries, n, sizeof *entries, by_hash_and_text);
    for (size_t i = 0; i < n; i++) {
        if (n_out > 0 && by_hash_and_text(&entries[n_out - 1], &entries[i]) == 0)
            entries[n_out - 1].n_times += entries[i].n_times;
        else
            entries[n_out++] = entries[i];
    }
    return n_out;
}

/* The bag of one text: caller xfrees. */
static struct textindex_entry *bag_of(const char *text, size_t n_bytes, uint32_t i_text, size_t *n)
{
    struct textindex_entry *bag = xalloc_array(n_bytes / 2 + 1, sizeof *bag);
    struct words walk = words_open(text, n_bytes);
    struct word word;
    size_t n_all = 0;
    while (words_next(&walk, &word)) {
        CHECK(n_all < n_bytes / 2 + 1);
        bag[n_all++] = (struct textindex_entry){word_hash(&word), i_text, 1};
    }
    *n = join(bag, n_all);
    return bag;
}

void textindex_add(struct textindex *x, const char *text, size_t n_bytes)
{
    size_t n = 0;
    struct textindex_entry *bag = bag_of(text, n_bytes, x->n_texts, &n);
    CHECK(!x->norms);
    while (x->n_entries + n > x->capacity) {
        x->capacity = x->capacity == 0 ? 1024 : 2 * x->capacity;
        x->entries = xrealloc_array(x->entries, x->capacity, sizeof *x->entries);
    }
    if (n > 0)
        memcpy(x->entries + x->n_entries, bag, n * sizeof *bag);
    x->n_entries += n;
    x->n_texts++;
    xfree(bag);
}

/* floor(65536 log2(a / b)), a >= b >= 1: the integer part by shifts, 16 binary places by squaring.
 */
static uint32_t log2_q16(uint64_t a, uint64_t b)
{
    uint32_t whole = 0;
    while (a / b >= 2) {
        b *= 2;
        whole++;
    }
    uint64_t x = (a << 30) / b; /* in [1, 2), 30 places */
    uint32_t result = whole;
    for (int i = 0; i < 16; i++) {
        x = (x * x) >> 30;
        result *= 2;
        if (x >= (uint64_t)2 << 30) {
            x >>= 1;
            result++;
        }
    }
    return result;
}

static double weight_of(const struct textindex *x, size_t n_texts_with, uint32_t n_times)
{
    uint64_t df = n_texts_with == 0 ? 1 : n_texts_with;
    return (double)log2_q16((uint64_t)x->n_texts + 1, df) * n_times;
}

/* The entries of one word: [*first, return). */
static size_t find_word(const struct textindex *x, uint64_t hash, size_t *first)
{
    size_t low = 0;
    size_t high = x->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (x->entries[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    *first = low;
    while (low < x->n_entries && x->entries[low].hash == hash)
        low++;
    return low;
}

void textindex_finish(struct textindex *x)
{
    CHECK(x->n_texts > 0 && !x->norms);
    x->n_entries = join(x->entries, x->n_entries);
    x->norms = xalloc_array(x->n_texts, sizeof *x->norms);
    x->n_words = xalloc_array(x->n_texts, sizeof *x->n_words);
    x->dots = xalloc_array(x->n_texts, sizeof *x->dots);
    for (size_t i = 0; i < x->n_entries;) {
        size_t n = 1;
        while (i + n < x->n_entries && x->entries[i + n].hash == x->entries[i].hash)
            n++;
        for (size_t j = i; j < i + n; j++) {
            double w = weight_of(x, n, x->entries[j].n_times);
            x->norms[x->entries[j].text] += w * w;
            x->n_words[x->entries[j].text]++;
        }
        i += n;
    }
}

void textindex_release(struct textindex *x)
{
    xfree(x->entries);
    xfree(x->norms);
    xfree(x->n_words);
    xfree(x->dots);
    *x = (struct textindex){0};
}

struct textindex_match textindex_nearest(struct textindex *x, const char *text, size_t n_bytes)
{
    size_t n = 0;
    double norm = 0;
    struct textindex_match best = {0};
    struct textindex_entry *bag = bag_of(text, n_bytes, 0, &n);
    CHECK(x->norms);
    memset(x->dots, 0, x->n_texts * sizeof *x->dots);
    for (size_t i = 0; i < n; i++) {
        size_t first = 0;
        size_t end = find_word(x, bag[i].hash, &first);
        double w = weight_of(x, end - first, bag[i].n_times);
        norm += w * w;
        for (size_t j = first; j < end; j++)
            x->dots[x->entries[j].text] += w * weight_of(x, end - first, x->entries[j].n_times);
    }
    for (uint32_t i = 0; i < x->n_texts; i++) {
        double product = norm * x->norms[i];
        double cosine = product > 0 ? x->dots[i] / sqrt(product) : 0;
        if (cosine > best.value)
            best = (struct textindex_match){i, cosine};
    }
    xfree(bag);
    if (best.value > 1)
        best.value = 1;
    return best;
}

struct textindex_match textindex_alike(struct textindex *x, const char *text, size_t n_bytes)
{
    size_t n = 0;
    struct textindex_match best = {0};
    struct textindex_entry *bag = bag_of(text, n_bytes, 0, &n);
    CHECK(x->norms);
    memset(x->dots, 0, x->n_texts * sizeof *x->dots);
    for (size_t i = 0; i < n; i++) {
        size_t first = 0;
        size_t end = find_word(x, bag[i].hash, &first);
        for (size_t j = first; j < end; j++)
            x->dots[x->entries[j].text] += 1;
    }
    for (uint32_t i = 0; i < x->n_texts; i++) {
        double all = (double)n + x->n_words[i] - x->dots[i];
        double share = all > 0 ? x->dots[i] / all : 0;
        if (share > best.value)
            best = (struct textindex_match){i, share};
    }
    xfree(bag);
    return best;
}
