#include "stages/eval/expected.h"

#include "pipeline/base/xalloc.h"
#include "stages/kit/stage.h"

/* Everything that lives as long as the measurement. */
struct expected {
    const struct expected_job *job;
    struct transformer pass;
    struct sample row;
    int32_t *pos, *target; /* (longest row) */
    size_t *n_left_out;
};

/* The row as one segment; only what comes behind its prompt has a target. */
static int add_row(struct expected *x, size_t i, struct loss_sum *sum, struct err *e)
{
    const struct expected_job *job = x->job;
    int rc = render_chat(&job->format->render, &job->golden->rows.rows[i], job->default_system,
                         &x->row, e);
    if (rc)
        return rc;
    int32_t n = (int32_t)x->row.n_ids, start[2] = {0, n};
    size_t from = job->prompts[i].n_ids;
    if (n > x->pass.plan.tokens_max || from < 1) {
        ++*x->n_left_out;
        return 0;
    }
    for (int32_t t = 0; t < n; t++) {
        bool counts = t + 1 < n && (size_t)t + 1 >= from && x->row.labels[t + 1];
        x->pos[t] = t;
        x->target[t] = counts ? x->row.ids[t + 1] : -1;
    }
    struct batch b = {n, x->row.ids, x->pos, x->target, 1, start, NULL};
    return transformer_loss(&x->pass, &job->adapted->model, job->adapted->adapter, &b, 1, NULL, sum,
                            e);
}

/* Tokens of the longest row that fits the context, at least one. */
static int find_longest(struct expected *x, int context, int *longest, struct err *e)
{
    const struct expected_job *job = x->job;
    *longest = 1;
    for (size_t i = 0; i < job->golden->rows.n_rows; i++) {
        int rc = render_chat(&job->format->render, &job->golden->rows.rows[i], job->default_system,
                             &x->row, e);
        if (rc)
            return err_wrap(e, "golden row %zu", i + 1);
        int n = x->row.n_ids <= (size_t)context ? (int)x->row.n_ids : 1;
        *longest = n > *longest ? n : *longest;
    }
    return 0;
}

static void say_memory(const struct expected *x, const struct transformer_plan *plan,
                       const struct compute *c)
{
    struct plan_mem parts = {0};
    adapted_memory(x->job->adapted, &parts);
    plan_mem_taken(&parts);
    plan_mem_add(&parts, "packing", c->space.capacity_bytes);
    transformer_memory(&x->job->adapted->model.shape, plan, thread_pool_size(c->pool), &parts);
    stage_say(x->job->run, "expected answers: rows of up to %d tokens", plan->tokens_max);
    plan_mem_say(&parts, x->job->run, "shorter golden rows take less");
}

int expected_measure(const struct expected_job *job, struct compute *c, struct loss_sum *sum,
                     size_t *n_left_out, struct err *e)
{
    const struct shape *s = &job->adapted->model.shape;
    const struct adapter *a = job->adapted->adapter;
    struct expected x = {.job = job, .n_left_out = n_left_out};
    *n_left_out = 0;
    struct transformer_plan plan = {
        .rank = a ? a->rank : 0, .what = TRAIN_NOTHING, .precision = c->precision};
    int rc = find_longest(&x, s->context, &plan.tokens_max, e);
    x.pos = xalloc_array((size_t)plan.tokens_max, sizeof *x.pos);
    x.target = xalloc_array((size_t)plan.tokens_max, sizeof *x.target);
    if (!rc) {
        say_memory(&x, &plan, c);
        rc = transformer_reserve(&x.pass, c, s, &plan, e);
    }
    for (size_t i = 0; !rc && i < job->golden->rows.n_rows; i++) {
        rc = stage_interrupted() ? err_set(e, ERR_IO, "interrupted") : add_row(&x, i, sum, e);
        if (rc)
            err_wrap(e, "golden row %zu", i + 1);
    }
    transformer_release(&x.pass);
    sample_release(&x.row);
    xfree(x.pos);
    xfree(x.target);
    return rc;
}
