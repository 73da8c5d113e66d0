#include "stages/model/trainer.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/rng.h"
#include "stages/model/ops.h"

#define NAME_BYTES 192

int64_t trainer_epoch_steps(uint32_t n_rows, uint32_t rows_per_step)
{
    CHECK(rows_per_step > 0);
    return ((int64_t)n_rows + rows_per_step - 1) / rows_per_step;
}

int64_t trainer_steps_for(double rows, uint32_t n_rows, uint32_t rows_per_step)
{
    return (int64_t)ceil(rows * (double)trainer_epoch_steps(n_rows, rows_per_step) / n_rows);
}

void trainer_memory(size_t n_params, uint32_t n_rows, struct plan_mem *out)
{
    size_t floats = arena_cost(size_mul(n_params, sizeof(float)));
    plan_mem_add(out, "gradients", floats);
    plan_mem_add(out, "moments", size_mul(2, floats));
    plan_mem_add(out, "order of rows", arena_cost(size_mul(n_rows, sizeof(uint32_t))));
}

size_t trainer_bytes(size_t n_params, uint32_t n_rows)
{
    struct plan_mem parts = {0};
    trainer_memory(n_params, n_rows, &parts);
    return plan_mem_total(&parts);
}

int trainer_reserve(struct trainer *t, struct err *e)
{
    CHECK(t->rows->n_rows > 0);
    CHECK((uint32_t)t->plan.tokens_max >= t->rows->row_tokens_max);
    int rc = arena_reserve(&t->arena, "optimiser", trainer_bytes(t->n_params, t->rows->n_rows), e);
    if (rc)
        return rc;
    size_t bytes = size_mul(t->n_params, sizeof(float));
    t->grads = arena_take(&t->arena, bytes);
    t->moment_1 = arena_take(&t->arena, bytes);
    t->moment_2 = arena_take(&t->arena, bytes);
    t->order = arena_take(&t->arena, size_mul(t->rows->n_rows, sizeof(uint32_t)));
    t->order_epoch = -1;
    return 0;
}

void trainer_release(struct trainer *t)
{
    arena_release(&t->arena);
    t->grads = t->moment_1 = t->moment_2 = NULL;
    t->order = NULL;
}

static void order_of(const struct trainer *t, int64_t epoch, uint32_t *order)
{
    char *stream = xasprintf("%s/%lld", t->plan.stream, (long long)epoch);
    struct rng r = rng_open(t->plan.seed, stream);
    rng_shuffle(&r, order, t->rows->n_rows);
    xfree(stream);
}

static void shuffle_epoch(struct trainer *t, int64_t epoch)
{
    if (t->order_epoch == epoch)
        return;
    order_of(t, epoch, t->order);
    t->order_epoch = epoch;
}

/* Step i of an epoch: rows [*first, *last) of its order. */
static void rows_of_step(const struct trainer *t, int64_t i, uint32_t *first, uint32_t *last)
{
    int64_t per_epoch = trainer_epoch_steps(t->rows->n_rows, t->plan.rows_per_step);
    *first = (uint32_t)((int64_t)t->rows->n_rows * i / per_epoch);
    *last = (uint32_t)((int64_t)t->rows->n_rows * (i + 1) / per_epoch);
}

/* Row i of n for an evaluation. */
static uint32_t spaced_row(const struct rows *rows, uint32_t i, uint32_t n)
{
    return (uint32_t)((uint64_t)rows->n_rows * i / n);
}

/* The micro-batch that begins with rows[i] of n: as many as fit; returns the one behind it. */
static uint32_t micro_end(const struct trainer *t, const struct rows *from, int64_t epoch,
                          const uint32_t *rows, uint32_t i, uint32_t n)
{
    uint32_t tokens = 0, end = i;
    while (end < n) {
        uint32_t more = from->tokens(from->context, epoch, rows[end]);
        if (tokens + more > (uint32_t)t->plan.tokens_max)
            break;
        tokens += more;
        end++;
    }
    CHECK(end > i);
    return end;
}

/* --- the largest micro-batch ------------------------------------------------------------------
 */

#define LARGEST_ROWS_MAX 100000000

static void see_rows(const struct trainer *t, const struct rows *from, int64_t epoch,
                     const uint32_t *rows, uint32_t n, struct trainer_largest *most)
{
    for (uint32_t i = 0; i < n;) {
        uint32_t end = micro_end(t, from, epoch, rows, i, n), tokens = 0, targets = 0;
        for (; i < end; i++) {
            tokens += from->tokens(from->context, epoch, rows[i]);
            targets += from->targets ? from->targets(from->context, epoch, rows[i]) : 0;
        }
        targets = from->targets ? targets : tokens;
        most->tokens = (int)tokens > most->tokens ? (int)tokens : most->tokens;
        most->targets = (int)targets > most->targets ? (int)targets : most->targets;
    }
}

struct trainer_largest trainer_largest(const struct trainer *t, const struct rows *valid,
                                       uint32_t valid_rows_max)
{
    struct trainer_largest most = {t->plan.tokens_max, t->plan.tokens_max};
    int64_t steps = t->plan.schedule.total_steps, epoch = -1;
    int64_t per_epoch = trainer_epoch_steps(t->rows->n_rows, t->plan.rows_per_step);
    if (steps / per_epoch >= LARGEST_ROWS_MAX / t->rows->n_rows)
        return most;
    most = (struct trainer_largest){0, 0};
    uint32_t *order = xalloc_array(t->rows->n_rows, sizeof *order), first = 0, last = 0;
    for (int64_t s = 0; s < steps; s++) {
        if (s / per_epoch != epoch)
            order_of(t, epoch = s / per_epoch, order);
        rows_of_step(t, s % per_epoch, &first, &last);
        see_rows(t, t->rows, epoch, order + first, last - first, &most);
    }
    xfree(order);
    uint32_t n = !valid ? 0 : valid->n_rows < valid_rows_max ? valid->n_rows : valid_rows_max;
    uint32_t *chosen = xalloc_array(n, sizeof *chosen);
    for (uint32_t i = 0; i < n; i++)
        chosen[i] = spaced_row(valid, i, n);
    if (n > 0)
        see_rows(t, valid, 0, chosen, n, &most);
    xfree(chosen);
    return most;
}

/* --- steps -------------------------------------------------------------------------------------
 */

/* Runs the loss over rows[0..n) in micro-batches. */
static int run_rows(struct trainer *t, const struct rows *from, int64_t epoch, const uint32_t *rows,
                    uint32_t n, float scale, float *grads, struct trainer_result *out,
                    struct err *e)
{
    for (uint32_t i = 0; i < n;) {
        uint32_t end = micro_end(t, from, epoch, rows, i, n);
        struct rows_batch r = {0};
        from->fill(from->context, epoch, rows + i, end - i, &r);
        struct batch b = {.n_tokens = r.n_tokens,
                          .ids = r.ids,
                          .pos = r.pos,
                          .target = r.target,
                          .n_segments = r.n_segments,
                          .segment_start = r.segment_start,
                          .weight = r.weight};
        int rc = t->loss(t->context, &b, scale, grads, &out->loss, e);
        if (rc)
            return rc;
        out->n_input_tokens += b.n_tokens;
        i = end;
    }
    return 0;
}

static int not_finite(struct trainer *t, const char *what, const float *values, struct err *e)
{
    size_t at = 0;
    while (at < t->n_params && isfinite(values[at]))
        at++;
    char name[NAME_BYTES] = "their sum of squares";
    if (at < t->n_params && t->name_at)
        t->name_at(t->context, at, name, sizeof name);
    return err_set(e, ERR_NUMERIC, "%s are not finite: %s", what, name);
}

/* Moments are means of what is below this and of its square: they are finite. */
#define GRADIENT_MAX 1e18

static int too_large(struct trainer *t, double norm, struct err *e)
{
    size_t most = 0;
    for (size_t i = 0; i < t->n_params; i++)
        if (fabsf(t->grads[i]) > fabsf(t->grads[most]))
            most = i;
    char name[NAME_BYTES] = "";
    if (t->name_at)
        t->name_at(t->context, most, name, sizeof name);
    return err_set(e, ERR_NUMERIC,
                   "the gradient's norm is %.3g, so that second moments would not be finite; it is "
                   "largest in %s",
                   norm, name);
}

static int update(struct trainer *t, int64_t step, struct trainer_result *out, struct err *e)
{
    out->norm = sqrt(ops_sum_squares(t->compute, t->n_params, t->grads));
    if (!isfinite(out->norm))
        return not_finite(t, "gradients", t->grads, e);
    struct adamw_step s = {
        .lr = (float)out->rate,
        .beta1 = (float)t->plan.beta1,
        .beta2 = (float)t->plan.beta2,
        .eps = (float)t->plan.eps,
        .gscale = 1,
        .t = step,
    };
    if (t->plan.clip > 0 && out->norm > t->plan.clip)
        s.gscale = (float)(t->plan.clip / (out->norm + 1e-6));
    if (out->norm * (double)s.gscale > GRADIENT_MAX)
        return too_large(t, out->norm, e);
    for (size_t i = 0; i < t->n_groups; i++) {
        const struct trainer_group *g = &t->groups[i];
        s.weight_decay = g->weight_decay;
        ops_adamw(t->compute, g->count, &s, t->params + g->first, t->grads + g->first,
                  t->moment_1 + g->first, t->moment_2 + g->first);
    }
    if (!ops_all_finite(t->compute, t->n_params, t->params))
        return not_finite(t, "parameters after the update", t->params, e);
    return 0;
}

static int take_step(struct trainer *t, int64_t step, struct trainer_result *out, struct err *e)
{
    const struct rows *from = t->rows;
    int64_t per_epoch = trainer_epoch_steps(from->n_rows, t->plan.rows_per_step);
    int64_t epoch = (step - 1) / per_epoch, i = (step - 1) % per_epoch;
    shuffle_epoch(t, epoch);
    uint32_t first = 0, last = 0;
    uint64_t labels = 0;
    rows_of_step(t, i, &first, &last);
    for (uint32_t r = first; r < last; r++)
        labels += from->labels(from->context, epoch, t->order[r]);
    if (labels == 0)
        return 0;
    memset(t->grads, 0, t->n_params * sizeof(float));
    int rc = t->prepare ? t->prepare(t->context, true, e) : 0;
    if (!rc)
        rc = run_rows(t, from, epoch, t->order + first, last - first, (float)(1.0 / (double)labels),
                      t->grads, out, e);
    if (!rc && t->finish)
        rc = t->finish(t->context, out->rate, step, t->grads, e);
    return rc ? rc : update(t, step, out, e);
}

int trainer_step(struct trainer *t, int64_t step, struct trainer_result *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    out->rate = schedule_rate(&t->plan.schedule, step);
    int rc = take_step(t, step, out, e);
    return rc ? err_wrap(e, "step %lld", (long long)step) : 0;
}

int trainer_evaluate(struct trainer *t, const struct rows *rows, uint32_t rows_max,
                     struct loss_sum *out, struct err *e)
{
    uint32_t n = rows->n_rows < rows_max ? rows->n_rows : rows_max;
    struct trainer_result all = {0};
    int rc = t->prepare ? t->prepare(t->context, false, e) : 0;
    uint32_t *chosen = xalloc_array(n, sizeof *chosen);
    for (uint32_t i = 0; i < n; i++)
        chosen[i] = spaced_row(rows, i, n);
    if (!rc)
        rc = run_rows(t, rows, 0, chosen, n, 0, NULL, &all, e);
    xfree(chosen);
    *out = all.loss;
    return rc ? err_wrap(e, "evaluation") : 0;
}
