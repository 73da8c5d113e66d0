#include "stages/text/answers.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/text/confusion.h"
#include "stages/text/finding.h"
#include "stages/text/jsonl.h"

void answers_free(char **answers, size_t n)
{
    for (size_t i = 0; answers && i < n; i++)
        xfree(answers[i]);
    xfree(answers);
}

static int take_answer(const struct json *v, const struct goldenset *g, size_t i, char **answer,
                       struct err *e)
{
    const char *prompt = NULL;
    const char *text = NULL;
    int64_t row = 0;
    if (i >= g->rows.n_rows)
        return err_set(e, ERR_FORMAT, "more answers than the golden set has rows (%zu)",
                       g->rows.n_rows);
    int status = json_need_i64(v, "row", &row, e);
    if (status == 0)
        status = json_need_string(v, "prompt", &prompt, e);
    if (status == 0)
        status = json_need_string(v, "answer", &text, e);
    if (status < 0)
        return status;
    if (row != (int64_t)i + 1 || !str_eq(prompt, chat_last_user(&g->rows.rows[i])))
        return err_set(e, ERR_FORMAT, "not the answer to row %zu of this golden set", i + 1);
    *answer = xstrdup(text);
    return 0;
}

int answers_read(const char *path, const struct goldenset *g, char ***answers, struct err *e)
{
    struct jsonl lines = {0};
    size_t n = 0;
    *answers = xalloc_array(g->rows.n_rows, sizeof **answers);
    int status = jsonl_open(&lines, path, e);
    while (status == 0 && jsonl_next(&lines)) {
        struct json *v = NULL;
        status = jsonl_value(&lines, &v, e);
        if (status == 0)
            status = take_answer(v, g, n, &(*answers)[n < g->rows.n_rows ? n : 0], e);
        json_free(v);
        if (status < 0)
            status = err_wrap(e, "%s:%llu", path, (unsigned long long)lines.line);
        n++;
    }
    if (status == 0 && n != g->rows.n_rows)
        status = err_set(e, ERR_FORMAT, "%s: %zu answers, the golden set has %zu rows", path, n,
                         g->rows.n_rows);
    jsonl_close(&lines);
    if (status < 0) {
        answers_free(*answers, g->rows.n_rows);
        *answers = NULL;
    }
    return status;
}

static int write_answers(const struct answers_job *job, struct err *e)
{
    struct file_out file = {0};
    struct buf line;
    const struct chat_list *rows = &job->golden->rows;
    int status = file_out_open(&file, job->answers_path, e);
    if (status < 0)
        return status;
    buf_init(&line, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < rows->n_rows; i++) {
        struct json *v = json_new_object();
        json_put_i64(v, "row", (int64_t)i + 1);
        json_put_string(v, "prompt", chat_last_user(&rows->rows[i]));
        json_put_string(v, "expected", chat_answer(&rows->rows[i]));
        json_put_string(v, "answer", job->answers[i]);
        buf_clear(&line);
        json_write_canonical(v, &line);
        buf_add_char(&line, '\n');
        file_out_add(&file, line.bytes, line.n_bytes);
        json_free(v);
    }
    buf_release(&line);
    return file_out_close(&file, e);
}

static int write_metrics(const struct answers_job *job, const struct score *score, struct err *e)
{
    struct buf text;
    struct json *v = score_to_json(score);
    for (size_t i = 0; i < job->n_extras; i++)
        json_put_f64(v, job->extras[i].name, job->extras[i].value);
    buf_init(&text, BUF_MAX_DEFAULT);
    json_write_canonical(v, &text);
    buf_add_char(&text, '\n');
    int status = file_write(job->metrics_path, text.bytes, text.n_bytes, e);
    buf_release(&text);
    json_free(v);
    return status;
}

/* A metric and its interval, where it has one. */
static void add_values(struct json *row, const struct score_metric *m)
{
    double low = 0, high = 0;
    score_interval(m->value, m->n_rows, &low, &high);
    json_append(row, json_new_f64(m->value));
    json_append(row, m->n_rows > 0 ? json_new_f64(low) : json_new_string(""));
    json_append(row, m->n_rows > 0 ? json_new_f64(high) : json_new_string(""));
}

static void add_metrics(struct json *report, const struct answers_job *job,
                        const struct score *score, const struct score *against)
{
    static const char *const alone[] = {"metric", "value", "95 % from", "to", NULL};
    static const char *const both[] = {
        "metric", "value", "95 % from", "to", "against", "against: 95 % from", "against: to", NULL};
    const char *const *columns = against ? both : alone;
    struct json *rows = blocks_add_table(report, "table", "Metrics", columns);
    for (size_t i = 0; i < score->n_metrics; i++) {
        const struct score_metric *m = &score->metrics[i];
        struct json *row = blocks_row(rows);
        json_append(row, json_new_string(m->name));
        add_values(row, m);
        if (against)
            add_values(row, &against->metrics[i]);
    }
    for (size_t i = 0; i < job->n_extras; i++) {
        struct json *row = blocks_row(rows);
        json_append(row, json_new_string(job->extras[i].name));
        json_append(row, json_new_f64(job->extras[i].value));
        for (size_t k = 2; columns[k]; k++)
            json_append(row, json_new_string(""));
    }
}

static void add_pairs(struct json *report, const struct answers_job *job, const struct score *score,
                      char *const *against)
{
    static const char *const columns[] = {"prompt", "expected", "answer", "same", NULL};
    static const char *const columns_against[] = {"prompt", "expected", "answer",
                                                  "same",   "against",  NULL};
    const struct chat_list *golden = &job->golden->rows;
    struct buf title;
    buf_init(&title, 100);
    buf_add_text(&title, "Answers");
    if (golden->n_rows > ANSWERS_SHOWN)
        buf_printf(&title, ": the first %d of %zu", ANSWERS_SHOWN, golden->n_rows);
    struct json *rows =
        blocks_add_table(report, "pairs", buf_text(&title), against ? columns_against : columns);
    buf_release(&title);
    for (size_t i = 0; i < golden->n_rows && i < ANSWERS_SHOWN; i++) {
        struct json *row = blocks_row(rows);
        json_append(row, json_new_string(chat_last_user(&golden->rows[i])));
        json_append(row, json_new_string(chat_answer(&golden->rows[i])));
        json_append(row, json_new_string(job->answers[i]));
        json_append(row, json_new_string(score->exact[i] ? "yes" : "no"));
        if (against)
            json_append(row, json_new_string(against[i]));
    }
}

int answers_write(const struct answers_job *job, struct err *e)
{
    struct score score = {0};
    struct score score_against = {0};
    char **against = NULL;
    int status = 0;
    if (job->against_path)
        status = answers_read(job->against_path, job->golden, &against, e);
    if (status < 0)
        return status;
    score_answers(&score, job->golden, job->answers);
    if (against)
        score_answers(&score_against, job->golden, against);
    struct json *report = blocks_new();
    add_metrics(report, job, &score, against ? &score_against : NULL);
    if (job->findings)
        finding_add_table(report, json_clone(job->findings));
    confusion_add(report, job->golden, job->answers);
    add_pairs(report, job, &score, against);
    status = write_answers(job, e);
    if (status == 0)
        status = write_metrics(job, &score, e);
    if (status == 0)
        status = blocks_save(report, job->report_path, e);
    json_free(report);
    score_release(&score);
    score_release(&score_against);
    answers_free(against, job->golden->rows.n_rows);
    return status;
}
