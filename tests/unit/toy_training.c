#include "tests/unit/toy_training.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define TOKENS_MAX 8

double toy_goal(int row, int pos, int j)
{
    return ((row * 37 + pos * 11 + j * j * 5) % 23 - 9) * 0.25;
}

static uint32_t tokens_of(void *context, int64_t epoch, uint32_t row)
{
    (void)context;
    (void)epoch;
    return 2 + row % 3;
}

static uint32_t labels_of(void *context, int64_t epoch, uint32_t row)
{
    return row == TOY_BARE ? 0 : tokens_of(context, epoch, row) - 1;
}

static void fill(void *context, int64_t epoch, const uint32_t *rows, uint32_t n_rows,
                 struct rows_batch *out)
{
    struct toy *t = context;
    int n = 0;
    for (uint32_t i = 0; i < n_rows; i++) {
        int length = (int)tokens_of(context, epoch, rows[i]);
        t->segment_start[i] = n;
        for (int pos = 0; pos < length; pos++, n++) {
            t->ids[n] = (int32_t)rows[i];
            t->pos[n] = pos;
            t->target[n] = pos > 0 && rows[i] != TOY_BARE ? 1 : -1;
        }
    }
    t->segment_start[n_rows] = n;
    assert_in_range(n, 1, TOKENS_MAX);
    *out = (struct rows_batch){.n_tokens = n,
                               .n_segments = (int)n_rows,
                               .ids = t->ids,
                               .pos = t->pos,
                               .target = t->target,
                               .segment_start = t->segment_start};
}

static void see(struct toy *t, const struct batch *b)
{
    for (int i = 0; i < b->n_segments; i++) {
        assert_true(t->n_seen < TOY_SEEN_MAX);
        t->seen[t->n_seen++] = (int)b->ids[b->segment_start[i]];
    }
}

static int loss(void *context, const struct batch *b, float scale, float *grads,
                struct loss_sum *sum, struct err *e)
{
    struct toy *t = context;
    if (grads != NULL) {
        see(t, b);
        if (++t->n_batches == t->fail_at)
            return err_set(e, ERR_IO, "killed");
        grads[TOY_PARAMS - 2] += t->spoil;
    }
    int n_targets = 0;
    for (int i = 0; i < b->n_tokens; i++)
        n_targets += b->target[i] >= 0;
    if (b->n_tokens > t->largest.tokens)
        t->largest.tokens = b->n_tokens;
    if (n_targets > t->largest.targets)
        t->largest.targets = n_targets;
    for (int i = 0; i < b->n_tokens; i++) {
        if (b->target[i] < 0)
            continue;
        sum->n_tokens++;
        for (int j = 0; j < TOY_PARAMS; j++) {
            double apart = (double)t->params[j] - toy_goal((int)b->ids[i], (int)b->pos[i], j);
            sum->loss += 0.5 * apart * apart;
            if (grads != NULL)
                grads[j] += scale * (float)apart;
        }
    }
    return 0;
}

static void name_at(void *context, size_t offset, char *out, size_t out_bytes)
{
    (void)context;
    snprintf(out, out_bytes, "parameter %zu", offset);
}

void toy_open(struct toy *t, int64_t total_steps, int n_threads)
{
    struct err e = {0};
    memset(t, 0, sizeof *t);
    need(compute_open(&t->compute, n_threads, "auto", &e), &e);
    for (int j = 0; j < TOY_PARAMS; j++)
        t->params[j] = 1 - 0.3f * (float)j;
    t->rows = (struct rows){.context = t,
                            .n_rows = TOY_ROWS,
                            .row_tokens_max = 4,
                            .tokens = tokens_of,
                            .labels = labels_of,
                            .targets = labels_of,
                            .fill = fill};
    t->groups[0] = (struct trainer_group){0, TOY_DECAYED, (float)TOY_DECAY};
    t->groups[1] = (struct trainer_group){TOY_DECAYED, TOY_PARAMS - TOY_DECAYED, 0};
    t->trainer = (struct trainer){
        .compute = &t->compute,
        .plan = {.schedule = {.peak = 0.05, .warmup_steps = 3, .total_steps = total_steps},
                 .seed = 7,
                 .stream = "toy",
                 .rows_per_step = 3,
                 .tokens_max = TOKENS_MAX,
                 .beta1 = 0.9,
                 .beta2 = 0.99,
                 .eps = 1e-8,
                 .clip = TOY_CLIP},
        .rows = &t->rows,
        .context = t,
        .loss = loss,
        .name_at = name_at,
        .params = t->params,
        .n_params = TOY_PARAMS,
        .groups = t->groups,
        .n_groups = 2,
    };
    need(trainer_reserve(&t->trainer, &e), &e);
}

void toy_close(struct toy *t)
{
    trainer_release(&t->trainer);
    compute_close(&t->compute);
}
