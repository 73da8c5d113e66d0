#include "pipeline/engine/gates.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define EXPECTED "expected `metric >= 0.9`, `metric > stage.metric` or `metric drop <= 0.01`"

#define WORDS_MAX 5

static size_t split_words(const char *text, char *words[WORDS_MAX])
{
    size_t n = 0;
    const char *p = text + strspn(text, " ");
    while (*p && n < WORDS_MAX) {
        size_t length = strcspn(p, " ");
        words[n++] = xstrndup(p, length);
        p += length;
        p += strspn(p, " ");
    }
    return n;
}

static bool is_operator(const char *s)
{
    static const char *const known[] = {">=", ">", "<=", "<", "=="};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (str_eq(s, known[i]))
            return true;
    return false;
}

/* The right side: a number, or stage.metric. */
static int parse_bound(const struct yaml_doc *doc, const struct doc_node *node, const char *word,
                       struct gate *g, struct err *e)
{
    if (str_to_f64(word, &g->value))
        return 0;
    const char *dot = strrchr(word, '.');
    if (g->type == GATE_DROP || !dot || dot == word || !str_is_word(dot + 1))
        return doc_fail(doc, node->mark, e, "gate `%s`: `%s` is no number; " EXPECTED, g->text,
                        word);
    g->type = GATE_STAGE;
    g->stage = xstrndup(word, (size_t)(dot - word));
    g->stage_metric = xstrdup(dot + 1);
    return 0;
}

int gate_parse(const struct yaml_doc *doc, const struct doc_node *node, const char *text,
               struct gate *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    out->text = xstrdup(text);
    out->mark = node->mark;
    char *words[WORDS_MAX] = {0};
    size_t n = split_words(text, words);
    bool drop = n == 4 && str_eq(words[1], "drop");
    size_t i_op = drop ? 2 : 1;
    int rc = 0;
    if ((n != 3 && !drop) || !str_is_word(words[0])) {
        rc = doc_fail(doc, node->mark, e, "gate `%s`: " EXPECTED, text);
    } else if (!is_operator(words[i_op]) || (drop && words[i_op][0] != '<')) {
        rc = doc_fail(doc, node->mark, e, "gate `%s`: `%s` is not %s; " EXPECTED, text, words[i_op],
                      drop ? "<= or <" : "one of >= > <= < ==");
    } else {
        out->type = drop ? GATE_DROP : GATE_NUMBER;
        out->metric = xstrdup(words[0]);
        snprintf(out->op, sizeof out->op, "%s", words[i_op]);
        rc = parse_bound(doc, node, words[i_op + 1], out, e);
    }
    for (size_t i = 0; i < n; i++)
        xfree(words[i]);
    return rc;
}

void gate_release(struct gate *g)
{
    xfree(g->text);
    xfree(g->metric);
    xfree(g->stage);
    xfree(g->stage_metric);
    memset(g, 0, sizeof *g);
}

static bool compare(const char *op, double a, double b)
{
    if (str_eq(op, ">="))
        return a >= b;
    if (str_eq(op, ">"))
        return a > b;
    if (str_eq(op, "<="))
        return a <= b;
    if (str_eq(op, "<"))
        return a < b;
    return a >= b && a <= b;
}

static bool metric_of(const struct json *metrics, const char *name, double *out)
{
    const struct json *v = json_get(metrics, name);
    if (!v || json_type(v) != JSON_NUMBER)
        return false;
    *out = json_number(v);
    return true;
}

/* Puts behind the note which metrics there are, and the nearest. */
static void add_names(struct gate_result *r, const char *wanted, const struct json *metrics)
{
    size_t n_names = 0, used = strlen(r->note);
    const char **names = xalloc_array(json_count(metrics) + 1, sizeof *names);
    struct buf list;
    buf_init(&list, BUF_MAX_DEFAULT);
    for (const struct json *m = metrics ? json_first(metrics) : NULL; m; m = json_next(m))
        if (json_is_number(m)) {
            buf_printf(&list, "%s%s", n_names > 0 ? ", " : "", json_key(m));
            names[n_names++] = json_key(m);
        }
    const char *near = str_nearest(wanted, names, n_names);
    if (n_names > 0)
        snprintf(r->note + used, sizeof r->note - used, "; there %s %.1000s%s%.100s%s",
                 n_names > 1 ? "are" : "is", buf_text(&list), near ? "; did you mean `" : "",
                 near ? near : "", near ? "`?" : "");
    buf_release(&list);
    xfree(names);
}

struct gate_result gate_judge(const struct gate *g, const struct json *own,
                              const struct json *other, const struct json *baseline)
{
    struct gate_result r;
    memset(&r, 0, sizeof r);
    r.verdict = GATE_FAILS;
    r.has_value = metric_of(own, g->metric, &r.value);
    if (!r.has_value) {
        snprintf(r.note, sizeof r.note, "there is no metric `%.100s`", g->metric);
        add_names(&r, g->metric, own);
        return r;
    }
    if (g->type == GATE_STAGE) {
        r.has_bound = metric_of(other, g->stage_metric, &r.bound);
        if (!r.has_bound) {
            snprintf(r.note, sizeof r.note, "%.100s has no metric `%.100s`", g->stage,
                     g->stage_metric);
            add_names(&r, g->stage_metric, other);
        }
    } else if (g->type == GATE_DROP && !baseline) {
        r.verdict = GATE_NO_BASELINE;
        snprintf(r.note, sizeof r.note, "no baseline yet: fmforge accept RUN makes one");
        return r;
    } else if (g->type == GATE_DROP) {
        r.has_bound = metric_of(baseline, g->metric, &r.bound);
        if (!r.has_bound) {
            snprintf(r.note, sizeof r.note,
                     "the baseline has no metric `%.100s`: name another, or remove the baseline "
                     "and accept a run",
                     g->metric);
            add_names(&r, g->metric, baseline);
        }
    } else {
        r.has_bound = true;
        r.bound = g->value;
    }
    if (!r.has_bound)
        return r;
    /* 0.90 - 0.89 is a little more than 0.01 in binary. */
    double drop = r.bound - r.value, slack = *g->op == '<' ? 1e-12 : 0;
    bool holds = g->type == GATE_DROP ? compare(g->op, drop - slack, g->value)
                                      : compare(g->op, r.value, r.bound);
    r.verdict = holds ? GATE_HOLDS : GATE_FAILS;
    return r;
}
