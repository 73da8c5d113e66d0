#include "stages/text/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/text/overlap.h"
#include "stages/text/words.h"

/* An answer as a JSON object or array, NULL when it is none. Caller frees. */
static struct json *parse_answer(const char *text)
{
    struct json *v = NULL;
    struct err ignored = {0};
    if (json_parse(text, strlen(text), &v, &ignored) < 0)
        return NULL;
    if (json_type(v) != JSON_OBJECT && json_type(v) != JSON_ARRAY) {
        json_free(v);
        return NULL;
    }
    return v;
}

/* n_rows: what its interval reckons with, 0 for a count. */
static void add_metric(struct score *s, const char *name, const char *suffix, double value,
                       double n_rows)
{
    CHECK(s->n_metrics < SCORE_METRICS_MAX);
    struct score_metric *m = &s->metrics[s->n_metrics++];
    snprintf(m->name, sizeof m->name, "%.128s%s", name, suffix);
    m->value = value;
    m->n_rows = n_rows;
}

static double share_of(size_t n, size_t of)
{
    return of == 0 ? 0 : (double)n / (double)of;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t count_distinct(const char **values, size_t n)
{
    size_t n_distinct = 0;
    if (n > 0)
        qsort(values, n, sizeof *values, by_text);
    for (size_t i = 0; i < n; i++)
        n_distinct += i == 0 || strcmp(values[i - 1], values[i]) != 0;
    return n_distinct;
}

static void score_field(struct score *s, const struct goldenset *g, struct json *const *parsed,
                        const struct golden_field *field)
{
    const char **values = xalloc_array(s->n_rows, sizeof *values);
    size_t n_values = 0;
    size_t n_right = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        const char *value = json_find_text(parsed[i], field->name);
        if (!value)
            continue;
        values[n_values++] = value;
        if (field->metric == GOLDEN_OVERLAP) {
            n_right += words_share_content(value, chat_last_user(&g->rows.rows[i]));
            continue;
        }
        struct json *expected = parse_answer(chat_answer(&g->rows.rows[i]));
        const char *wanted = json_find_text(expected, field->name);
        n_right += wanted && str_eq(wanted, value);
        json_free(expected);
    }
    add_metric(s, field->name, field->metric == GOLDEN_MATCH ? "_match" : "_overlap",
               share_of(n_right, s->n_rows), (double)s->n_rows);
    if (field->distinct)
        add_metric(s, field->name, "_distinct", (double)count_distinct(values, n_values), 0);
    xfree(values);
}

static void score_json(struct score *s, const struct goldenset *g, char *const *answers)
{
    struct json **parsed = xalloc_array(s->n_rows, sizeof *parsed);
    double *part = xalloc_array(s->n_rows, sizeof *part);
    double *whole = xalloc_array(s->n_rows, sizeof *whole);
    struct overlap all = {0};
    size_t n_valid = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        struct json *expected = parse_answer(chat_answer(&g->rows.rows[i]));
        CHECK(expected);
        parsed[i] = parse_answer(answers[i]);
        if (parsed[i] && json_type(parsed[i]) != json_type(expected)) {
            json_free(parsed[i]);
            parsed[i] = NULL;
        }
        struct overlap row = overlap_leaves(expected, parsed[i]);
        all.n_both += row.n_both;
        all.n_expected += row.n_expected;
        all.n_answer += row.n_answer;
        part[i] = 2 * (double)row.n_both;
        whole[i] = (double)row.n_expected + (double)row.n_answer;
        s->valid[i] = parsed[i] != NULL;
        n_valid += s->valid[i];
        json_free(expected);
    }
    add_metric(s, "json_valid", "", share_of(n_valid, s->n_rows), (double)s->n_rows);
    add_metric(s, "leaf_f1", "", overlap_f1(&all), score_effective_rows(part, whole, s->n_rows));
    for (size_t i = 0; i < g->n_fields; i++)
        score_field(s, g, parsed, &g->fields[i]);
    for (size_t i = 0; i < s->n_rows; i++)
        json_free(parsed[i]);
    xfree(parsed);
    xfree(part);
    xfree(whole);
}

static void score_text(struct score *s, const struct goldenset *g, char *const *answers)
{
    double sum = 0;
    double *f1 = xalloc_array(s->n_rows, sizeof *f1), *one = xalloc_array(s->n_rows, sizeof *one);
    size_t n_numbers = 0, n_right = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        const char *expected = chat_answer(&g->rows.rows[i]);
        struct overlap row = overlap_words(expected, answers[i]);
        double wanted = 0, found = 0;
        f1[i] = overlap_f1(&row);
        one[i] = 1;
        sum += f1[i];
        if (!overlap_last_number(expected, &wanted))
            continue;
        n_numbers++;
        n_right += overlap_last_number(answers[i], &found) && found == wanted;
    }
    add_metric(s, "word_f1", "", s->n_rows ? sum / (double)s->n_rows : 0,
               score_effective_rows(f1, one, s->n_rows));
    if (s->n_rows > 0 && n_numbers == s->n_rows)
        add_metric(s, "number_match", "", share_of(n_right, s->n_rows), (double)s->n_rows);
    xfree(f1);
    xfree(one);
}

void score_answers(struct score *s, const struct goldenset *g, char *const *answers)
{
    size_t n = g->rows.n_rows;
    size_t n_exact = 0;
    *s = (struct score){.n_rows = n};
    s->exact = xalloc_array(n, sizeof *s->exact);
    s->valid = xalloc_array(n, sizeof *s->valid);
    for (size_t i = 0; i < n; i++) {
        s->exact[i] = str_eq(answers[i], chat_answer(&g->rows.rows[i]));
        n_exact += s->exact[i];
    }
    add_metric(s, "exact_match", "", share_of(n_exact, n), (double)n);
    if (g->is_json)
        score_json(s, g, answers);
    else
        score_text(s, g, answers);
}

char *score_label(const struct goldenset *g, const struct golden_field *field, const char *answer)
{
    if (!field)
        return g->is_json ? NULL : xstrdup(answer);
    struct json *v = parse_answer(answer);
    const char *value = json_find_text(v, field->name);
    char *label = value ? xstrdup(value) : NULL;
    json_free(v);
    return label;
}

void score_release(struct score *s)
{
    xfree(s->exact);
    xfree(s->valid);
    *s = (struct score){0};
}

struct json *score_to_json(const struct score *s)
{
    struct json *v = json_new_object();
    json_put_i64(v, "rows", (int64_t)s->n_rows);
    for (size_t i = 0; i < s->n_metrics; i++)
        json_put_f64(v, s->metrics[i].name, s->metrics[i].value);
    return v;
}

void score_interval(double share, double n, double *low, double *high)
{
    /* Wilson, "Probable inference, the law of succession", 1927; z of 95 %. */
    const double z = 1.959963984540054;
    if (n <= 0) {
        *low = 0;
        *high = 1;
        return;
    }
    double scale = 1 + z * z / n;
    double middle = (share + z * z / (2 * n)) / scale;
    double half = z / scale * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    *low = share > 0 && middle > half ? middle - half : 0;
    *high = share < 1 && middle + half < 1 ? middle + half : 1;
}

double score_effective_rows(const double *part, const double *whole, size_t n_rows)
{
    double parts = 0, wholes = 0, squares = 0;
    for (size_t i = 0; i < n_rows; i++) {
        parts += part[i];
        wholes += whole[i];
    }
    if (wholes <= 0)
        return (double)n_rows;
    double share = parts / wholes;
    for (size_t i = 0; i < n_rows; i++) {
        double off = part[i] - share * whole[i];
        squares += off * off;
    }
    double variance = squares / (wholes * wholes);
    /* What is less is rounding: all rows are alike. */
    return variance > 1e-15 ? share * (1 - share) / variance : (double)n_rows;
}
