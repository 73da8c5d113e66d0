#include "stages/draft/draft_run.h"

#include "pipeline/base/check.h"

/* Longer rows are a micro-batch alone. Bounds memory, changes no result. */
#define MICRO_TOKENS 2048

/* What base and draft both take. */
static int context_of(const struct draft_run *d)
{
    int base = d->base.shape.context, draft = d->student.shape.context;
    return base < draft ? base : draft;
}

/* --- rows --------------------------------------------------------------------------------------
 */

static int open_tokens(struct draft_run *d, const char *name, struct tokfile *f,
                       struct row_source *s, struct err *e)
{
    int rc = tokfile_open(f, stage_in(d->run, name), e);
    bool may_be_empty = f == &d->valid;
    if (rc || (may_be_empty && f->counts.rows == 0))
        return rc;
    rc = tokfile_check_model(f, name, d->base.shape.vocab, context_of(d), e);
    if (!rc)
        row_source_of_tokens(s, f);
    return rc;
}

static int open_windows(struct draft_run *d, const char *name, struct windows *w,
                        struct row_source *s, bool in_order, struct err *e)
{
    const struct draft_config *c = d->config;
    struct windows_plan plan = {.window = (int)c->window,
                                .mix = in_order ? NULL : c->mix,
                                .seed = c->seed,
                                .in_order = in_order};
    int rc = windows_open(w, stage_in(d->run, name), &plan, d->spm, e);
    if (rc)
        return err_wrap(e, "%s", name);
    row_source_of_windows(s, w);
    return 0;
}

static int open_text(struct draft_run *d, struct err *e)
{
    if (!stage_in(d->run, "tokenizer"))
        return err_set(e, ERR_CONFIG, "text needs the tokenizer");
    int rc = windows_check_length("window", d->config->window, context_of(d), e);
    if (!rc)
        rc = spm_open(stage_in(d->run, "tokenizer"), &d->spm, e);
    if (!rc)
        rc = spm_check_fills(d->spm, d->base.shape.vocab, e);
    if (rc)
        return rc;
    rc = open_windows(d, "text", &d->text, &d->rows, false, e);
    d->pass_tokens = (uint64_t)d->text.n_rows * (uint64_t)d->config->window;
    if (!rc && stage_in(d->run, "valid_text"))
        rc = open_windows(d, "valid_text", &d->valid_text, &d->valid_rows, true, e);
    return rc;
}

static int open_rows(struct draft_run *d, struct err *e)
{
    bool has_tokens = stage_in(d->run, "train") != NULL;
    bool has_text = stage_in(d->run, "text") != NULL;
    if (has_tokens == has_text)
        return err_set(e, ERR_CONFIG, "give one of the inputs train and text, found %s",
                       has_text ? "both" : "none");
    if (has_text)
        return open_text(d, e);
    int rc = open_tokens(d, "train", &d->train, &d->rows, e);
    d->pass_tokens = d->train.counts.tokens;
    if (!rc && stage_in(d->run, "valid"))
        rc = open_tokens(d, "valid", &d->valid, &d->valid_rows, e);
    return rc;
}

/* --- models ------------------------------------------------------------------------------------
 */

static int open_student(struct draft_run *d, struct err *e)
{
    const char *draft = stage_in(d->run, "draft"), *path = stage_in(d->run, "shape");
    struct shape shape = {0};
    if (!draft == !path)
        return err_set(e, ERR_CONFIG, "give one of the inputs draft and shape, found %s",
                       draft ? "both" : "none");
    int rc = draft ? model_open_trainable(&d->student, draft, e) : shape_read(path, &shape, e);
    if (!rc && path)
        rc = model_init(&d->student, &shape, e);
    if (rc)
        return rc;
    if (path)
        model_randomise(&d->student, d->config->seed);
    if (d->student.shape.vocab != d->base.shape.vocab)
        return err_set(e, ERR_CONFIG, "the draft has a vocabulary of %d, the base one of %d",
                       d->student.shape.vocab, d->base.shape.vocab);
    return 0;
}

static int open_teacher(struct draft_run *d, struct err *e)
{
    const char *base = stage_in(d->run, "base"), *adapter = stage_in(d->run, "adapter");
    int rc = model_open(&d->base, base, e);
    if (!rc)
        rc = sha256_file(base, &d->base_id, NULL, e);
    if (!rc && adapter)
        rc = adapter_open(&d->adapter, adapter, &d->base.shape, e);
    if (!rc && adapter)
        rc = adapter_check_base(&d->adapter, &d->base_id, e);
    if (!rc && adapter)
        rc = sha256_file(adapter, &d->adapter_id, NULL, e);
    return rc;
}

/* --- plan --------------------------------------------------------------------------------------
 */

static int64_t steps_for(const struct draft_run *d, int64_t tokens, uint32_t rows_per_step)
{
    double row_tokens = (double)d->pass_tokens / d->rows.n_rows;
    return trainer_steps_for((double)tokens / row_tokens, d->rows.n_rows, rows_per_step);
}

static void set_options(struct draft_run *d)
{
    const struct draft_config *c = d->config;
    uint64_t mean = d->pass_tokens / d->rows.n_rows;
    uint64_t rows = (uint64_t)c->batch_tokens / (mean ? mean : 1);
    uint32_t rows_per_step = rows < 1 ? 1 : rows > d->rows.n_rows ? d->rows.n_rows : (uint32_t)rows;
    int64_t kl = c->tokens > 0 ? steps_for(d, c->tokens, rows_per_step)
                               : c->epochs * trainer_epoch_steps(d->rows.n_rows, rows_per_step);
    uint32_t tokens_max = MICRO_TOKENS;
    if (d->rows.row_tokens_max > tokens_max)
        tokens_max = d->rows.row_tokens_max;
    if (d->valid_rows.row_tokens_max > tokens_max)
        tokens_max = d->valid_rows.row_tokens_max;
    struct distil *t = &d->distil;
    t->run = d->run;
    t->compute = &d->compute;
    t->base = &d->base;
    t->adapter = stage_in(d->run, "adapter") ? &d->adapter : NULL;
    t->student = &d->student;
    t->rows = row_source_rows(&d->rows);
    t->valid = row_source_rows(&d->valid_rows);
    t->options = (struct distil_options){
        .rows_per_step = rows_per_step,
        .ce_steps = c->ce_tokens > 0 ? steps_for(d, c->ce_tokens, rows_per_step) : 0,
        .kl_steps = kl,
        .learning_rate = c->learning_rate,
        .warmup_fraction = c->warmup_fraction,
        .weight_decay = c->weight_decay,
        .clip = c->clip,
        .seed = c->seed,
        .eval_every = (kl + c->evaluations - 1) / c->evaluations,
        .checkpoint_every = c->checkpoint_every,
        .valid_rows_max =
            d->valid.map.bytes ? UINT32_MAX : (uint32_t)(c->valid_tokens / c->window + 1),
        .tokens_max = (int)tokens_max,
    };
    stage_say(d->run, "%u rows; %lld steps of cross entropy, %lld of distillation, %u rows each",
              d->rows.n_rows, (long long)t->options.ce_steps, (long long)kl, rows_per_step);
}

int draft_run_open(struct draft_run *d, const struct stage_run *run, struct err *e)
{
    d->run = run;
    d->config = run->config;
    int rc = open_teacher(d, e);
    if (!rc)
        rc = open_student(d, e);
    if (!rc)
        rc = open_rows(d, e);
    if (!rc)
        rc = compute_open(&d->compute, run->n_threads, run->kernels, e);
    if (rc)
        return rc;
    set_options(d);
    int tokens_max = d->distil.options.tokens_max;
    rc = arena_reserve(&d->batches, "batches", 2 * token_batch_bytes(tokens_max), e);
    if (rc)
        return rc;
    plan_mem_add(&d->distil.beside, "rows of a batch", d->batches.capacity_bytes);
    windows_memory(&d->text, &d->distil.beside);
    windows_memory(&d->valid_text, &d->distil.beside);
    row_source_reserve(&d->rows, &d->batches, tokens_max);
    row_source_reserve(&d->valid_rows, &d->batches, tokens_max);
    return 0;
}

int draft_run_save(const struct draft_run *d, const char *path, struct err *e)
{
    const struct tensor_meta meta[] = {{"fmforge.base", d->base_id.hex},
                                       {"fmforge.adapter", d->adapter_id.hex}};
    size_t n_meta = d->distil.adapter ? 2 : 1;
    return model_save(&d->student, path, "draft", DTYPE_BF16, meta, n_meta, e);
}

void draft_run_release(struct draft_run *d)
{
    distil_release(&d->distil);
    arena_release(&d->batches);
    windows_close(&d->text);
    windows_close(&d->valid_text);
    tokfile_close(&d->train);
    tokfile_close(&d->valid);
    spm_close(d->spm);
    adapter_release(&d->adapter);
    compute_close(&d->compute);
    model_release(&d->student);
    model_release(&d->base);
}
