#include "stages/prep/summary.h"

#include "stages/kit/blocks.h"

#define SAMPLES_SHOWN 3

static void add_counts(struct json *rows, const char *name, uint64_t train, uint64_t valid)
{
    struct json *row = blocks_row(rows);
    json_append(row, json_new_string(name));
    json_append(row, json_new_i64((int64_t)train));
    json_append(row, json_new_i64((int64_t)valid));
}

void summary_add_counts(struct json *report, const struct prep_sink *train,
                        const struct prep_sink *valid, uint64_t n_dropped, uint64_t blank_lines)
{
    static const char *const columns[] = {"what", "train", "valid", NULL};
    struct json *rows = blocks_add_table(report, "table", "Rows", columns);
    const struct prep_counts *a = &train->counts;
    const struct prep_counts *b = &valid->counts;
    const struct tokfile_counts *s = &train->writer.counts;
    const struct tokfile_counts *t = &valid->writer.counts;
    add_counts(rows, "rows read", a->rows + n_dropped, b->rows);
    add_counts(rows, "left out: prompt of the golden set", n_dropped, 0);
    add_counts(rows, "samples written", a->samples, b->samples);
    add_counts(rows, "cut at max_length", a->cut, b->cut);
    add_counts(rows, "left out: nothing to learn after the cut", a->empty, b->empty);
    add_counts(rows, "packed rows", s->rows, t->rows);
    add_counts(rows, "tokens", s->tokens, t->tokens);
    add_counts(rows, "labelled tokens", s->labels, t->labels);
    add_counts(rows, "longest sample, tokens", a->tokens_max, b->tokens_max);
    struct json *blank = blocks_row(rows); /* of both files together */
    json_append(blank, json_new_string("blank lines left out"));
    json_append(blank, json_new_i64((int64_t)blank_lines));
    json_append(blank, json_new_string(""));
}

static void add_line(struct json *lines, const char *name, const struct prep_counts *counts,
                     int n_bins)
{
    struct json *line = json_new_object();
    struct json *x = json_new_array();
    struct json *y = json_new_array();
    for (int i = 0; i < n_bins; i++) {
        json_append(x, json_new_i64((int64_t)1 << i));
        json_append(y, json_new_i64((int64_t)counts->lengths[i]));
    }
    json_put_string(line, "name", name);
    json_put(line, "x", x);
    json_put(line, "y", y);
    json_append(lines, line);
}

void summary_add_lengths(struct json *report, const struct prep_counts *train,
                         const struct prep_counts *valid)
{
    struct json *block = blocks_add(report, "series", "Lengths");
    struct json *lines = json_new_array();
    int n_bins = PREP_LENGTH_BINS;
    while (n_bins > 1 && train->lengths[n_bins - 1] == 0 && valid->lengths[n_bins - 1] == 0)
        n_bins--;
    json_put_string(block, "x_label", "tokens, at most");
    json_put_string(block, "y_label", "samples");
    add_line(lines, "train", train, n_bins);
    add_line(lines, "valid", valid, n_bins);
    json_put(block, "lines", lines);
}

int summary_add_samples(struct json *report, const struct chat_list *rows, const bool *held_out,
                        const struct render *render, const struct prep_config *config,
                        struct err *e)
{
    static const char *const columns[] = {"line", "what the model sees, what it learns in [[ ]]",
                                          NULL};
    struct json *shown = blocks_add_table(report, "pairs", "Samples", columns);
    struct sample s = {0};
    struct buf text;
    int status = 0;
    int n = 0;
    buf_init(&text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < rows->n_rows && n < SAMPLES_SHOWN && status == 0; i++) {
        if (held_out[i])
            continue;
        status = render_chat(render, &rows->rows[i], config->system == PREP_SYSTEM_DEFAULT, &s, e);
        if (s.n_ids > (size_t)config->max_length)
            s.n_ids = (size_t)config->max_length;
        if (status == 0) {
            buf_clear(&text);
            status = render_show(render, &s, &text, e);
        }
        if (status == 0) {
            struct json *row = blocks_row(shown);
            struct buf line;
            buf_init(&line, 32);
            buf_printf(&line, "%llu", (unsigned long long)rows->rows[i].line);
            json_append(row, json_new_string(buf_text(&line)));
            json_append(row, json_new_string(buf_text(&text)));
            buf_release(&line);
            n++;
        }
    }
    sample_release(&s);
    buf_release(&text);
    return status;
}
