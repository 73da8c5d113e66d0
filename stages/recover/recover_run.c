#include "stages/recover/recover_run.h"

const char *const recover_rank_names[] = {"8", "16", "32", NULL};
static const int RANKS[] = {8, 16, 32};

static int open_text(struct recover_run *r, struct err *e)
{
    const struct recover_config *c = r->config;
    int rc = windows_check_length("window", c->window, r->base.shape.context, e);
    if (!rc)
        rc = spm_check_fills(r->spm, r->base.shape.vocab, e);
    if (rc)
        return rc;
    struct windows_plan plan = {.window = (int)c->window,
                                .mix = c->mix,
                                .repeat_fraction = c->repeat_fraction,
                                .seed = c->seed};
    rc = windows_open(&r->text, stage_in(r->run, "text"), &plan, r->spm, e);
    if (rc)
        return err_wrap(e, "text");
    row_source_of_windows(&r->text_rows, &r->text);
    if (!stage_in(r->run, "valid"))
        return 0;
    plan.mix = NULL;
    plan.repeat_fraction = 0;
    plan.in_order = true;
    rc = windows_open(&r->valid, stage_in(r->run, "valid"), &plan, r->spm, e);
    if (rc)
        return err_wrap(e, "valid");
    row_source_of_windows(&r->valid_rows, &r->valid);
    return 0;
}

static void set_options(struct recover_run *r)
{
    const struct recover_config *c = r->config;
    int64_t rows = c->batch_tokens / c->window;
    if (rows < 1)
        rows = 1;
    int64_t steps =
        trainer_steps_for((double)c->tokens / (double)c->window, r->text.n_rows, (uint32_t)rows);
    int64_t eval_every = (steps + c->evaluations - 1) / c->evaluations;
    struct lora_training *l = &r->training;
    l->run = r->run;
    l->compute = &r->compute;
    l->base = &r->base;
    l->adapter = &r->adapter;
    l->rows = row_source_rows(&r->text_rows);
    l->valid = row_source_rows(&r->valid_rows);
    l->options = (struct lora_options){
        .total_steps = steps,
        .rows_per_step = (uint32_t)rows,
        .learning_rate = c->learning_rate,
        .warmup_fraction = c->warmup_fraction,
        .weight_decay = c->weight_decay,
        .beta1 = TRAINER_BETA1,
        .beta2 = TRAINER_BETA2,
        .eps = TRAINER_EPS,
        .clip = c->clip,
        .seed = c->seed,
        .eval_every = eval_every,
        .checkpoint_every = c->checkpoint_every,
        .valid_rows_max = (uint32_t)(c->valid_tokens / c->window + 1),
        .precision = compute_precision_of(c->precision),
    };
}

static int reserve_batches(struct recover_run *r, struct err *e)
{
    int tokens_max = lora_training_tokens_max(&r->training);
    int rc = arena_reserve(&r->batches, "batches", 2 * token_batch_bytes(tokens_max), e);
    if (rc)
        return rc;
    row_source_reserve(&r->text_rows, &r->batches, tokens_max);
    row_source_reserve(&r->valid_rows, &r->batches, tokens_max);
    plan_mem_add(&r->training.beside, "rows of a batch", r->batches.capacity_bytes);
    windows_memory(&r->text, &r->training.beside);
    windows_memory(&r->valid, &r->training.beside);
    return 0;
}

int recover_run_open(struct recover_run *r, const struct stage_run *run, struct err *e)
{
    r->run = run;
    r->config = run->config;
    const char *base = stage_in(run, "base");
    int rank = RANKS[r->config->rank];
    int rc = model_open(&r->base, base, e);
    if (!rc)
        rc = sha256_file(base, &r->base_id, NULL, e);
    if (!rc)
        rc = spm_open(stage_in(run, "tokenizer"), &r->spm, e);
    if (!rc)
        rc = open_text(r, e);
    if (!rc)
        rc = adapter_start(&r->adapter, stage_in(run, "init"), &r->base.shape, &r->base_id, rank,
                           r->config->alpha, r->config->seed, e);
    if (!rc)
        rc = compute_open(&r->compute, run->n_threads, run->kernels, e);
    if (rc)
        return rc;
    r->compute.precision = compute_precision_of(r->config->precision);
    if (compute_precision_note(r->config->precision))
        stage_say(run, "precision %s: %s", compute_precision_names[r->config->precision],
                  compute_precision_note(r->config->precision));
    stage_say(run, "%llu documents, %llu tokens, %u windows per pass",
              (unsigned long long)r->text.n_documents, (unsigned long long)r->text.n_tokens,
              r->text.n_rows);
    set_options(r);
    return reserve_batches(r, e);
}

int recover_run_save(const struct recover_run *r, const char *path, struct err *e)
{
    const struct tensor_meta meta[] = {{"fmforge.base", r->base_id.hex}};
    return adapter_save(&r->adapter, path, DTYPE_F16, meta, 1, e);
}

void recover_run_release(struct recover_run *r)
{
    lora_training_release(&r->training);
    adapter_release(&r->adapter);
    arena_release(&r->batches);
    windows_close(&r->valid);
    windows_close(&r->text);
    spm_close(r->spm);
    compute_close(&r->compute);
    model_release(&r->base);
}
