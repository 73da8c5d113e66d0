#include "stages/text/row_source.h"

#include <string.h>

#include "pipeline/base/check.h"

void row_source_of_tokens(struct row_source *s, const struct tokfile *t)
{
    memset(s, 0, sizeof *s);
    CHECK(t->counts.rows <= UINT32_MAX);
    s->tokens = t;
    s->n_rows = (uint32_t)t->counts.rows;
    s->row_tokens_max = t->counts.row_tokens_max;
}

void row_source_of_windows(struct row_source *s, struct windows *w)
{
    memset(s, 0, sizeof *s);
    s->windows = w;
    s->n_rows = w->n_rows;
    s->row_tokens_max = (uint32_t)w->plan.window;
}

void row_source_reserve(struct row_source *s, struct arena *a, int tokens_max)
{
    CHECK((uint32_t)tokens_max >= s->row_tokens_max);
    token_batch_reserve(&s->batch, a, tokens_max);
}

static uint32_t row_tokens(void *context, int64_t epoch, uint32_t row)
{
    const struct row_source *s = context;
    if (s->tokens)
        return tokfile_row_tokens(s->tokens, row);
    return windows_row_tokens(s->windows, epoch, row);
}

static bool weighs_leads(const struct row_source *s)
{
    return s->lead_tokens > 0 && s->lead_weight > 1;
}

/* Labelled tokens among the first lead_tokens of their answer. */
static uint32_t row_leads(const struct row_source *s, uint32_t row)
{
    uint32_t n = tokfile_row_tokens(s->tokens, row), leads = 0, run = 0;
    for (uint32_t i = 0; i < n; i++) {
        run = tokfile_label(s->tokens, row, i) ? run + 1 : 0;
        leads += run > 0 && run <= (uint32_t)s->lead_tokens;
    }
    return leads;
}

static uint32_t row_labels(void *context, int64_t epoch, uint32_t row)
{
    const struct row_source *s = context;
    if (s->tokens && weighs_leads(s))
        return tokfile_row_labels(s->tokens, row) +
               row_leads(s, row) * ((uint32_t)s->lead_weight - 1);
    if (s->tokens)
        return tokfile_row_labels(s->tokens, row);
    return windows_row_tokens(s->windows, epoch, row);
}

static uint32_t row_targets(void *context, int64_t epoch, uint32_t row)
{
    const struct row_source *s = context;
    if (s->tokens && s->prompt_weight <= 0)
        return tokfile_row_labels(s->tokens, row);
    return row_tokens(context, epoch, row);
}

static void add_tokens_row(struct row_source *s, int64_t epoch, uint32_t row)
{
    struct token_batch *b = &s->batch;
    int first = b->n_tokens;
    token_batch_add_row(b, s->tokens, row);
    if (s->prompt_dropout > 0)
        token_batch_drop_prompt(b, first, s->prompt_dropout, &s->dropout,
                                ((uint64_t)epoch * s->n_rows + row) * s->row_tokens_max);
    if (weighs_leads(s))
        token_batch_weigh_leads(b, first, s->lead_tokens, (float)s->lead_weight);
    if (s->prompt_weight > 0)
        token_batch_teach_prompt(b, first, s->tokens, row, (float)s->prompt_weight);
}

static void fill(void *context, int64_t epoch, const uint32_t *rows, uint32_t n_rows,
                 struct rows_batch *out)
{
    struct row_source *s = context;
    struct token_batch *b = &s->batch;
    token_batch_clear(b);
    for (uint32_t i = 0; i < n_rows; i++) {
        if (s->tokens)
            add_tokens_row(s, epoch, rows[i]);
        else
            windows_add_row(s->windows, epoch, rows[i], b);
    }
    bool weighs = weighs_leads(s) || s->prompt_weight > 0;
    *out = (struct rows_batch){.n_tokens = b->n_tokens,
                               .n_segments = b->n_segments,
                               .ids = b->ids,
                               .pos = b->pos,
                               .target = b->target,
                               .segment_start = b->segment_start,
                               .weight = weighs ? b->weight : NULL};
}

struct rows row_source_rows(struct row_source *s)
{
    return (struct rows){.context = s,
                         .n_rows = s->n_rows,
                         .row_tokens_max = s->row_tokens_max,
                         .tokens = row_tokens,
                         .labels = row_labels,
                         .targets = row_targets,
                         .fill = fill};
}
