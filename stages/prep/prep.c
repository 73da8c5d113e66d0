#include "stages/prep/prep.h"

#include "pipeline/base/buf.h"
#include "pipeline/base/str.h"

/* How many too long rows a message names. */
#define LONG_ROWS_SHOWN 8

static void count_length(struct prep_counts *counts, size_t n_tokens)
{
    int bin = 0;
    while (bin < PREP_LENGTH_BINS - 1 && n_tokens > (size_t)1 << bin)
        bin++;
    counts->lengths[bin]++;
    if (n_tokens > counts->tokens_max)
        counts->tokens_max = n_tokens;
}

static bool has_label(const struct sample *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s->labels[i])
            return true;
    return false;
}

static void add_sample(struct prep_sink *sink, const struct sample *s,
                       const struct prep_config *config)
{
    size_t max = (size_t)config->max_length;
    bool is_cut = s->n_ids > max;
    size_t n = is_cut ? max : s->n_ids;
    if (is_cut)
        sink->counts.cut++;
    if (!has_label(s, n)) {
        sink->counts.empty++;
        return;
    }
    /* Greedy, in order: a row of the file takes samples as long as they fit; a sample longer than
     * pack_length has a row of its own. */
    if (!config->pack || sink->counts.samples == 0 ||
        sink->row_tokens + n > (uint64_t)config->pack_length) {
        tokfile_writer_row(&sink->writer);
        sink->row_tokens = 0;
    }
    tokfile_writer_sample(&sink->writer, s->ids, s->labels, n, is_cut);
    sink->row_tokens += n;
    sink->counts.samples++;
}

/* A tokenizer that normalises turns "Wait…" into "Wait...": what the model learns is not what it is
 * judged by. */
static int find_changed(struct finding *changed, const struct chat *c, const struct sample *s,
                        const struct render *render, struct err *e)
{
    struct buf text;
    size_t end = s->n_ids - 1; /* of the turn */
    size_t first = end;
    while (first > 0 && s->labels[first - 1])
        first--;
    buf_init(&text, BUF_MAX_DEFAULT);
    int status = render_answer(render, s->ids + first, end - first, &text, e);
    if (status == 0 && !str_eq(buf_text(&text), chat_answer(c)))
        finding_add(changed, "%llu", (unsigned long long)c->line);
    buf_release(&text);
    return status;
}

static int refuse_long(const struct buf *where, uint64_t n, const struct prep_config *config,
                       struct err *e)
{
    return err_set(e, ERR_LIMIT,
                   "%llu row%s longer than max_length %lld tokens (%s%s): raise max_length, "
                   "shorten what is longer, or set long_rows: cut",
                   (unsigned long long)n, n == 1 ? " is" : "s are", (long long)config->max_length,
                   buf_text(where), n > LONG_ROWS_SHOWN ? ", ..." : "");
}

int prep_add_rows(struct prep_sink *sink, const struct chat_list *rows, const bool *held_out,
                  bool wanted, const struct render *render, const struct prep_config *config,
                  struct err *e)
{
    struct sample s = {0};
    struct buf where;
    uint64_t n_long = 0;
    int status = 0;
    buf_init(&where, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < rows->n_rows && status == 0; i++) {
        const struct chat *c = &rows->rows[i];
        if (held_out && held_out[i] != wanted)
            continue;
        sink->counts.rows++;
        status = render_chat(render, c, config->system == PREP_SYSTEM_DEFAULT, &s, e);
        if (status == 0)
            status = find_changed(&sink->changed, c, &s, render, e);
        if (status < 0) {
            status = err_wrap(e, "line %llu", (unsigned long long)c->line);
            break;
        }
        count_length(&sink->counts, s.n_ids);
        bool is_long = s.n_ids > (size_t)config->max_length;
        if (is_long && config->long_rows == PREP_LONG_REFUSE) {
            if (++n_long <= LONG_ROWS_SHOWN)
                buf_printf(&where, "%sline %llu: %zu tokens", n_long > 1 ? ", " : "",
                           (unsigned long long)c->line, s.n_ids);
            continue;
        }
        add_sample(sink, &s, config);
    }
    if (status == 0 && n_long > 0)
        status = refuse_long(&where, n_long, config, e);
    sample_release(&s);
    buf_release(&where);
    return status;
}
