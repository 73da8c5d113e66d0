#include "stages/draft/distil.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/ops.h"

#define SLICE_ROWS 64

/* --- acceptance --------------------------------------------------------------------------------
 */

static void add_accept(struct distil_acceptance *a, int32_t row, bool begins, double accept)
{
    if (row != a->last_row + 1 || begins)
        a->n_run = 0;
    a->last_row = row;
    if (a->n_run == DISTIL_DRAFT_TOKENS)
        memmove(a->run, a->run + 1, (DISTIL_DRAFT_TOKENS - 1) * sizeof a->run[0]);
    else
        a->n_run++;
    a->run[a->n_run - 1] = accept;
    double product = 1;
    for (int k = 0; k < a->n_run; k++) {
        product *= a->run[a->n_run - 1 - k];
        a->sum[k] += product;
        a->n[k]++;
    }
}

/* --- the two losses ----------------------------------------------------------------------------
 */

static int kl_head(void *context, struct compute *c, const struct head_slice *slice, struct err *e)
{
    struct distil *d = context;
    int vocab = d->student->shape.vocab;
    CHECK(slice->n_rows <= SLICE_ROWS);
    const float *hidden = d->hidden + (size_t)slice->first * (size_t)d->base->shape.hidden;
    transformer_logits(c, d->base, slice->n_rows, hidden, d->teacher_logits);
    if (d->acceptance) {
        ops_overlap(c, slice->n_rows, vocab, slice->logits, d->teacher_logits, d->row_values);
        for (int i = 0; i < slice->n_rows; i++)
            add_accept(d->acceptance, slice->rows[i], d->batch->pos[slice->rows[i]] == 0,
                       d->row_values[i]);
    }
    ops_reverse_kl(c, slice->n_rows, vocab, slice->logits, d->teacher_logits,
                   slice->want_grad ? d->scale : 0, d->row_values);
    for (int i = 0; i < slice->n_rows; i++) {
        double kl = d->row_values[i];
        if (!(kl > -1e300 && kl < 1e300))
            return err_set(e, ERR_NUMERIC, "the divergence in token %d of the batch is not finite",
                           (int)slice->rows[i]);
        d->sum->loss += kl;
        d->sum->n_tokens++;
    }
    return 0;
}

static int kl_loss(void *context, const struct batch *b, float scale, float *grads,
                   struct loss_sum *sum, struct err *e)
{
    struct distil *d = context;
    int rc = transformer_hidden(&d->teacher_pass, d->base, d->adapter, b, d->hidden, NULL, e);
    if (rc)
        return rc;
    d->scale = scale;
    d->batch = b;
    d->sum = sum;
    if (d->acceptance)
        d->acceptance->last_row = -2;
    return transformer_run(&d->student_pass, d->student, NULL, b, kl_head, d, grads, e);
}

static int ce_loss(void *context, const struct batch *b, float scale, float *grads,
                   struct loss_sum *sum, struct err *e)
{
    struct distil *d = context;
    return transformer_loss(&d->student_pass, d->student, NULL, b, scale, grads, sum, e);
}

/* --- the run -----------------------------------------------------------------------------------
 */

static void name_at(void *context, size_t offset, char *out, size_t out_bytes)
{
    const struct distil *d = context;
    flat_params_name(&d->student->shape, offset, out, out_bytes);
}

static void connect(struct distil *d)
{
    const struct distil_options *o = &d->options;
    d->trainer = (struct trainer){
        .compute = d->compute,
        .plan = {.schedule = {.shape = SCHEDULE_CONSTANT, .peak = o->learning_rate},
                 .seed = o->seed,
                 .rows_per_step = o->rows_per_step,
                 .tokens_max = o->tokens_max,
                 .beta1 = TRAINER_BETA1,
                 .beta2 = TRAINER_BETA2,
                 .eps = TRAINER_EPS,
                 .clip = o->clip},
        .rows = &d->rows,
        .context = d,
        .name_at = name_at,
        .params = d->student->flat,
        .n_params = d->student->n_flat,
        .groups = d->groups,
        .n_groups = (size_t)shape_n_tensors(&d->student->shape),
    };
}

/* One phase: its own schedule, order and moments. */
static int run_phase(struct distil *d, struct train_loop *loop, const char *phase,
                     trainer_loss_fn *loss, int64_t steps, struct err *e)
{
    const struct distil_options *o = &d->options;
    struct trainer *t = &d->trainer;
    t->loss = loss;
    t->plan.stream = phase;
    t->plan.schedule.total_steps = steps;
    t->plan.schedule.warmup_steps = schedule_warmup(o->warmup_fraction, steps);
    t->order_epoch = -1;
    memset(t->moment_1, 0, t->n_params * sizeof(float));
    memset(t->moment_2, 0, t->n_params * sizeof(float));
    *loop = (struct train_loop){
        .run = d->run,
        .trainer = t,
        .valid = d->valid.n_rows ? &d->valid : NULL,
        .valid_rows_max = o->valid_rows_max,
        .phase = phase,
        .eval_every = o->eval_every,
        .checkpoint_every = o->checkpoint_every,
    };
    int rc = train_loop_reserve(loop, e);
    return rc ? rc : train_loop_run(loop, e);
}

static int reserve(struct distil *d, struct err *e)
{
    const struct shape *s = &d->student->shape, *b = &d->base->shape;
    int tokens_max = d->options.tokens_max;
    struct transformer_plan teacher = {.tokens_max = tokens_max,
                                       .rank = d->adapter ? d->adapter->rank : 0,
                                       .what = TRAIN_NOTHING,
                                       .slice_rows = SLICE_ROWS};
    struct transformer_plan student = {
        .tokens_max = tokens_max, .what = TRAIN_FULL, .slice_rows = SLICE_ROWS};
    size_t hidden = size_mul(size_mul((size_t)tokens_max, (size_t)b->hidden), sizeof(float));
    size_t logits = size_mul(size_mul(SLICE_ROWS, (size_t)b->vocab), sizeof(float));
    size_t groups = size_mul((size_t)shape_n_tensors(s), sizeof(struct trainer_group));
    size_t own = arena_cost(hidden) + arena_cost(logits) + arena_cost(groups) +
                 arena_cost(SLICE_ROWS * sizeof(double));
    struct plan_mem parts = d->beside;
    model_memory(d->base, &parts);
    model_memory(d->student, &parts);
    plan_mem_add(&parts, "adapter", d->adapter ? d->adapter->arena.capacity_bytes : 0);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", d->compute->space.capacity_bytes);
    transformer_memory(b, &teacher, d->run->n_threads, &parts);
    transformer_memory(s, &student, d->run->n_threads, &parts);
    plan_mem_add(&parts, "scratch", own);
    trainer_memory(d->student->n_flat, d->rows.n_rows, &parts);
    plan_mem_say(&parts, d->run, "a smaller model takes less");
    int rc = arena_reserve(&d->arena, "distillation", own, e);
    if (rc)
        return rc;
    d->hidden = arena_take(&d->arena, hidden);
    d->teacher_logits = arena_take(&d->arena, logits);
    d->groups = arena_take(&d->arena, groups);
    d->row_values = arena_take(&d->arena, SLICE_ROWS * sizeof(double));
    flat_params_groups(s, d->options.weight_decay, d->groups);
    rc = transformer_reserve(&d->teacher_pass, d->compute, b, &teacher, e);
    if (!rc)
        rc = transformer_reserve(&d->student_pass, d->compute, s, &student, e);
    if (rc)
        return rc;
    connect(d);
    return trainer_reserve(&d->trainer, e);
}

int distil_run(struct distil *d, struct err *e)
{
    int rc = reserve(d, e);
    if (!rc && d->options.ce_steps > 0)
        rc = run_phase(d, &d->ce, "ce", ce_loss, d->options.ce_steps, e);
    if (!rc)
        rc = run_phase(d, &d->kl, "kl", kl_loss, d->options.kl_steps, e);
    if (!rc)
        flat_params_round_bf16(d->student->flat, d->student->n_flat);
    return rc;
}

int distil_measure(struct distil *d, double *kl, double acceptance[DISTIL_DRAFT_TOKENS],
                   struct err *e)
{
    struct distil_acceptance a = {.last_row = -2};
    struct loss_sum sum = {0};
    d->acceptance = &a;
    int rc = trainer_evaluate(&d->trainer, &d->valid, d->options.valid_rows_max, &sum, e);
    d->acceptance = NULL;
    if (rc)
        return rc;
    *kl = sum.n_tokens ? sum.loss / (double)sum.n_tokens : 0;
    for (int k = 0; k < DISTIL_DRAFT_TOKENS; k++)
        acceptance[k] = a.n[k] ? a.sum[k] / (double)a.n[k] : 0;
    return 0;
}

void distil_release(struct distil *d)
{
    train_loop_release(&d->ce);
    train_loop_release(&d->kl);
    trainer_release(&d->trainer);
    transformer_release(&d->student_pass);
    transformer_release(&d->teacher_pass);
    arena_release(&d->arena);
}
