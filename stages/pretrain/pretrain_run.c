#include "stages/pretrain/pretrain_run.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"

/* Tokens per micro-batch: bounds memory. Weights do not depend on it, but the ranges of keys and
 * values do: they follow each micro-batch. */
#define MICRO_TOKENS 2048
/* The share of the second phase in which the ranges of keys and values stand still. */
#define FROZEN_SHARE 0.1

/* --- one pass ----------------------------------------------------------------------------------
 */

static int loss(void *context, const struct batch *b, float scale, float *grads,
                struct loss_sum *sum, struct err *e)
{
    struct pretrain_run *p = context;
    const struct model *m = p->on_grid ? &p->qat.view : &p->model;
    int rc = transformer_loss(&p->pass, m, p->adapter, b, scale, grads, sum, e);
    if (!rc && p->on_grid && (grads || p->calibrates))
        qat_observe(&p->qat, p->pass.kv_abs_max);
    return rc;
}

static int prepare(void *context, bool for_training, struct err *e)
{
    struct pretrain_run *p = context;
    (void)for_training;
    (void)e;
    if (p->on_grid) {
        qat_restore(&p->qat);
        qat_round(&p->qat);
    }
    return 0;
}

static int finish(void *context, double rate, int64_t step, float *grads, struct err *e)
{
    struct pretrain_run *p = context;
    (void)e;
    if (p->on_grid)
        qat_backward(&p->qat, rate, step, grads);
    return 0;
}

static void name_at(void *context, size_t offset, char *out, size_t out_bytes)
{
    const struct pretrain_run *p = context;
    flat_params_name(&p->shape, offset, out, out_bytes);
}

/* --- inputs ------------------------------------------------------------------------------------
 */

static int open_text(struct pretrain_run *p, struct err *e)
{
    const struct pretrain_config *c = p->config;
    const char *text = stage_in(p->run, "text"), *tokenizer = stage_in(p->run, "tokenizer");
    if (!text || !tokenizer)
        return err_set(e, ERR_CONFIG, "mode fresh needs the inputs text and tokenizer");
    int rc = windows_check_length("sequence_length", c->sequence_length, p->shape.context, e);
    if (!rc)
        rc = spm_open(tokenizer, &p->spm, e);
    if (!rc)
        rc = spm_check_fills(p->spm, p->shape.vocab, e);
    if (rc)
        return rc;
    struct windows_plan plan = {.window = (int)c->sequence_length,
                                .mix = c->mix,
                                .repeat_fraction = c->repeat_fraction,
                                .seed = c->seed};
    rc = windows_open(&p->text, text, &plan, p->spm, e);
    if (rc)
        return err_wrap(e, "text");
    row_source_of_windows(&p->text_rows, &p->text);
    if (!stage_in(p->run, "valid"))
        return 0;
    plan = (struct windows_plan){.window = plan.window, .seed = c->seed, .in_order = true};
    rc = windows_open(&p->valid, stage_in(p->run, "valid"), &plan, p->spm, e);
    if (rc)
        return err_wrap(e, "valid");
    row_source_of_windows(&p->valid_rows, &p->valid);
    return 0;
}

static int tokens_max_of(const struct pretrain_run *p)
{
    int window = (int)p->config->sequence_length;
    return window > MICRO_TOKENS ? window : MICRO_TOKENS;
}

static void connect(struct pretrain_run *p)
{
    const struct pretrain_config *c = p->config;
    int64_t rows = c->batch_tokens / c->sequence_length;
    p->rows = row_source_rows(&p->text_rows);
    p->held_out = row_source_rows(&p->valid_rows);
    p->trainer = (struct trainer){
        .compute = &p->compute,
        .plan = {.schedule = {.shape = SCHEDULE_COSINE},
                 .seed = c->seed,
                 .rows_per_step = rows < 1 ? 1 : (uint32_t)rows,
                 .tokens_max = tokens_max_of(p),
                 .beta1 = 0.9,
                 .beta2 = 0.95,
                 .eps = 1e-8,
                 .clip = c->clip},
        .rows = &p->rows,
        .context = p,
        .loss = loss,
        .prepare = prepare,
        .finish = finish,
        .name_at = name_at,
        .params = p->model.flat,
        .n_params = p->model.n_flat,
        .groups = p->groups,
        .n_groups = (size_t)shape_n_tensors(&p->shape),
    };
}

/* --- memory ------------------------------------------------------------------------------------
 */

static int reserve(struct pretrain_run *p, struct err *e)
{
    int tokens_max = tokens_max_of(p);
    struct transformer_plan plan = {.tokens_max = tokens_max,
                                    .rank = p->adapter ? p->adapter->rank : 0,
                                    .what = !p->adapter ? TRAIN_FULL : TRAIN_NOTHING};
    size_t groups = (size_t)shape_n_tensors(&p->shape) * sizeof(struct trainer_group);
    size_t own = arena_cost(groups) + 2 * token_batch_bytes(tokens_max);
    struct plan_mem parts = {0};
    model_memory(&p->model, &parts);
    plan_mem_add(&parts, "adapter", p->own.arena.capacity_bytes);
    windows_memory(&p->text, &parts);
    windows_memory(&p->valid, &parts);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", p->compute.space.capacity_bytes);
    plan_mem_add(&parts, "weights on the grid", qat_bytes(&p->shape));
    plan_mem_add(&parts, "rows of a batch", own);
    transformer_memory(&p->shape, &plan, p->run->n_threads, &parts);
    trainer_memory(p->model.n_flat, p->text.n_rows, &parts);
    plan_mem_say(&parts, p->run, "a smaller model takes less");
    int rc = arena_reserve(&p->arena, "batches", own, e);
    if (rc)
        return rc;
    p->groups = arena_take(&p->arena, groups);
    row_source_reserve(&p->text_rows, &p->arena, tokens_max);
    row_source_reserve(&p->valid_rows, &p->arena, tokens_max);
    rc = qat_reserve(&p->qat, &p->compute, &p->model, e);
    return rc ? rc : transformer_reserve(&p->pass, &p->compute, &p->shape, &plan, e);
}

/* The weights to begin with. */
static int start_model(struct pretrain_run *p, struct err *e)
{
    const char *init = stage_in(p->run, "init");
    if (!init) {
        int rc = model_init(&p->model, &p->shape, e);
        if (!rc)
            model_randomise(&p->model, p->config->seed);
        return rc;
    }
    int rc = model_open_trainable(&p->model, init, e);
    if (rc)
        return err_wrap(e, "init");
    if (!shape_equal(&p->model.shape, &p->shape))
        return err_set(e, ERR_CONFIG, "init: this base has other dimensions than the input shape");
    for (int i = 0; i < p->shape.layers_0; i++) /* the fp32 phase rounds nothing */
        p->model.layers[i].key_range = p->model.layers[i].value_range = (struct kv_range){0, 0};
    return 0;
}

static int open_adapter(struct pretrain_run *p, struct err *e)
{
    const struct pretrain_config *c = p->config;
    const char *path = stage_in(p->run, "adapter");
    if (!path)
        return 0;
    if (!stage_in(p->run, "init") || c->tokens > 0 || c->qat_tokens > 0)
        return err_set(e, ERR_CONFIG,
                       "adapter: nothing can be trained beside an adapter: give "
                       "init, and set tokens: 0 and qat_tokens: 0");
    int rc = adapter_open(&p->own, path, &p->shape, e);
    p->adapter = &p->own;
    return rc ? err_wrap(e, "adapter") : 0;
}

int pretrain_run_open(struct pretrain_run *p, const struct stage_run *run, struct err *e)
{
    p->run = run;
    p->config = run->config;
    int rc = shape_read(stage_in(run, "shape"), &p->shape, e);
    if (!rc)
        rc = compute_open(&p->compute, run->n_threads, run->kernels, e);
    if (!rc)
        rc = open_text(p, e);
    if (!rc)
        rc = start_model(p, e);
    if (!rc)
        rc = open_adapter(p, e);
    if (!rc)
        rc = reserve(p, e);
    if (rc)
        return rc;
    flat_params_groups(&p->shape, 0, p->groups);
    connect(p);
    stage_say(run, "%llu documents, %llu tokens, %u windows per pass; %u windows per step",
              (unsigned long long)p->text.n_documents, (unsigned long long)p->text.n_tokens,
              p->text.n_rows, p->trainer.plan.rows_per_step);
    return trainer_reserve(&p->trainer, e);
}

/* --- phases ------------------------------------------------------------------------------------
 */

static void start_phase(struct pretrain_run *p, struct train_loop *loop, const char *phase,
                        int64_t tokens, double rate)
{
    const struct pretrain_config *c = p->config;
    struct trainer *t = &p->trainer;
    int64_t steps = trainer_steps_for((double)tokens / (double)c->sequence_length, p->text.n_rows,
                                      t->plan.rows_per_step);
    t->plan.stream = phase;
    t->plan.schedule.peak = rate;
    t->plan.schedule.total_steps = steps;
    t->plan.schedule.warmup_steps = schedule_warmup(c->warmup_fraction, steps);
    t->order_epoch = -1;
    memset(t->moment_1, 0, t->n_params * sizeof(float));
    memset(t->moment_2, 0, t->n_params * sizeof(float));
    *loop = (struct train_loop){
        .run = p->run,
        .trainer = t,
        .valid = p->held_out.n_rows ? &p->held_out : NULL,
        .valid_rows_max = (uint32_t)(c->valid_tokens / c->sequence_length + 1),
        .phase = phase,
        .eval_every = (steps + c->evaluations - 1) / c->evaluations,
        .checkpoint_every = c->checkpoint_every,
    };
}

int pretrain_run_dense(struct pretrain_run *p, struct err *e)
{
    const struct pretrain_config *c = p->config;
    p->on_grid = false;
    flat_params_groups(&p->shape, c->weight_decay, p->groups);
    start_phase(p, &p->fp32, "fp32", c->tokens, c->learning_rate);
    int rc = train_loop_reserve(&p->fp32, e);
    return rc ? rc : train_loop_run(&p->fp32, e);
}

/* Ranges of keys and values for weights that no step on the grid will train: from as much text as
 * one evaluation sees. */
static int calibrate(struct pretrain_run *p, struct err *e)
{
    struct loss_sum sum = {0};
    p->calibrates = true;
    int rc = trainer_evaluate(&p->trainer, &p->rows,
                              (uint32_t)(p->config->valid_tokens / p->config->sequence_length + 1),
                              &sum, e);
    p->calibrates = false;
    return rc;
}

/* No weight decay here: it would pull the masters off their levels. */
int pretrain_run_grid(struct pretrain_run *p, struct err *e)
{
    const struct pretrain_config *c = p->config;
    flat_params_groups(&p->shape, 0, p->groups);
    start_phase(p, &p->grid, "grid", c->qat_tokens, c->qat_learning_rate);
    int64_t steps = p->trainer.plan.schedule.total_steps;
    /* Without steps, ranges move while they are calibrated. */
    qat_start(&p->qat, steps ? (int64_t)((1 - FROZEN_SHARE) * (double)steps) : 1);
    p->on_grid = true;
    p->grid.n_blocks = qat_blocks(&p->qat, p->grid.blocks);
    int rc = steps ? 0 : calibrate(p, e);
    if (!rc)
        rc = train_loop_reserve(&p->grid, e);
    if (!rc)
        rc = train_loop_run(&p->grid, e);
    if (rc)
        return rc;
    qat_restore(&p->qat);
    return qat_pack(&p->qat, e);
}

/* --- result ------------------------------------------------------------------------------------
 */

struct json *pretrain_run_metrics(const struct pretrain_run *p)
{
    struct json *m = json_new_object();
    struct shape_counts n = shape_count(&p->shape, 0);
    json_put_i64(m, "rows", p->text.n_rows);
    json_put_i64(m, "parameters", (int64_t)n.frozen);
    const struct train_state *a = &p->fp32.state, *b = &p->grid.state;
    json_put_i64(m, "text_tokens", (int64_t)p->text.n_tokens);
    json_put_i64(m, "tokens", a->n_input_tokens);
    json_put_i64(m, "qat_tokens", b->n_input_tokens);
    json_put_i64(m, "steps", a->step);
    json_put_i64(m, "qat_steps", b->step);
    json_put_i64(m, "clipped_steps", a->n_clipped + b->n_clipped);
    if (a->step)
        json_put_f64(m, "train_loss_fp32", a->last_train_loss);
    if (b->step)
        json_put_f64(m, "train_loss_qat", b->last_train_loss);
    if (p->held_out.n_rows) {
        json_put_f64(m, "loss_fp32", a->last_valid_loss);
        json_put_f64(m, "loss_rounded", p->grid.valid_curve.points[0].loss);
        if (b->step)
            json_put_f64(m, "loss_qat", b->last_valid_loss);
    }
    return m;
}

void pretrain_run_release(struct pretrain_run *p)
{
    train_loop_release(&p->fp32);
    train_loop_release(&p->grid);
    trainer_release(&p->trainer);
    transformer_release(&p->pass);
    qat_release(&p->qat);
    adapter_release(&p->own);
    model_release(&p->model);
    arena_release(&p->arena);
    windows_close(&p->valid);
    windows_close(&p->text);
    spm_close(p->spm);
    compute_close(&p->compute);
}
