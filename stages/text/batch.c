#include "stages/text/batch.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/text/spm.h"

size_t token_batch_bytes(int tokens_max)
{
    CHECK(tokens_max > 0);
    size_t n = size_mul((size_t)tokens_max, sizeof(int32_t));
    return size_add(4 * arena_cost(n), arena_cost(n + sizeof(int32_t)));
}

void token_batch_reserve(struct token_batch *b, struct arena *a, int tokens_max)
{
    size_t n = size_mul((size_t)tokens_max, sizeof(int32_t));
    memset(b, 0, sizeof *b);
    b->ids = arena_take(a, n);
    b->pos = arena_take(a, n);
    b->target = arena_take(a, n);
    b->segment_start = arena_take(a, n + sizeof(int32_t));
    b->weight = arena_take(a, n);
    b->tokens_max = tokens_max;
    token_batch_clear(b);
}

void token_batch_clear(struct token_batch *b)
{
    b->n_tokens = 0;
    b->n_segments = 0;
    b->n_targets = 0;
    b->segment_start[0] = 0;
}

/* Adds one token; starts_segment puts it at position 0. Its target comes later. */
static void add_token(struct token_batch *b, int32_t id, bool starts_segment)
{
    CHECK(b->n_tokens < b->tokens_max);
    int t = b->n_tokens++;
    if (starts_segment)
        b->segment_start[b->n_segments++] = t;
    CHECK(b->n_segments > 0);
    b->ids[t] = id;
    b->pos[t] = t - b->segment_start[b->n_segments - 1];
    b->target[t] = TOKEN_BATCH_NO_TARGET;
    b->weight[t] = 1;
    b->segment_start[b->n_segments] = b->n_tokens;
}

static void set_target(struct token_batch *b, int t, int32_t id)
{
    b->target[t] = id;
    b->n_targets++;
}

void token_batch_add_row(struct token_batch *b, const struct tokfile *t, uint64_t row)
{
    uint32_t n = tokfile_row_tokens(t, row);
    for (uint32_t i = 0; i < n; i++) {
        int32_t id = tokfile_id(t, row, i);
        add_token(b, id, id == (int32_t)t->eos);
        if (tokfile_label(t, row, i))
            set_target(b, b->n_tokens - 2, id);
    }
}

static bool is_prompt(const struct token_batch *b, int i)
{
    return b->pos[i] > 0 && b->target[i] < 0 && b->target[i - 1] < 0;
}

void token_batch_drop_prompt(struct token_batch *b, int first, double share, const struct rng *r,
                             uint64_t first_draw)
{
    CHECK(share >= 0 && share < 1);
    uint32_t below = (uint32_t)(share * 4294967296.0);
    for (int i = first; i < b->n_tokens; i++)
        if (is_prompt(b, i) && rng_u32_at(r, first_draw + (uint64_t)(i - first)) < below)
            b->ids[i] = SPM_PAD;
}

void token_batch_weigh_leads(struct token_batch *b, int first, int n, float weight)
{
    int run = 0;
    for (int i = first; i < b->n_tokens; i++) {
        run = b->target[i] >= 0 ? run + 1 : 0;
        if (run > 0 && run <= n)
            b->weight[i] = weight;
    }
}

void token_batch_teach_prompt(struct token_batch *b, int first, const struct tokfile *t,
                              uint64_t row, float weight)
{
    for (int i = first; i + 1 < b->n_tokens; i++) {
        if (b->target[i] >= 0 || b->pos[i + 1] == 0)
            continue;
        set_target(b, i, tokfile_id(t, row, (uint32_t)(i + 1 - first)));
        b->weight[i] = weight;
    }
}

void token_batch_add_text(struct token_batch *b, const int32_t *ids, const int32_t *next, int n,
                          int32_t eos)
{
    for (int i = 0; i < n; i++) {
        add_token(b, ids[i], i == 0 || ids[i] == eos);
        set_target(b, b->n_tokens - 1, next[i]);
    }
}
