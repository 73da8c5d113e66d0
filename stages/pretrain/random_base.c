#include "stages/pretrain/random_base.h"

#include "stages/kit/blocks.h"
#include "stages/kit/plan_mem.h"
#include "stages/kit/rng.h"
#include "stages/model/transformer.h"
#include "stages/pretrain/pretrain_run.h"

#define TOKENS 64

struct random_base {
    struct compute compute;
    struct model model;
    struct transformer pass;
};

/* Ranges of keys and values: what one pass over random ids shows. */
static int observe(struct random_base *b, int64_t seed, struct err *e)
{
    int32_t ids[TOKENS], pos[TOKENS], target[TOKENS];
    const struct shape *s = &b->model.shape;
    int n = TOKENS < s->context ? TOKENS : s->context;
    const int32_t segments[2] = {0, n};
    struct rng r = rng_open(seed, "random/ids");
    for (int i = 0; i < n; i++) {
        ids[i] = (int32_t)rng_below(&r, (uint32_t)s->vocab);
        pos[i] = i;
        target[i] = i == 0 ? 0 : -1;
    }
    struct batch batch = {n, ids, pos, target, 1, segments, NULL};
    struct loss_sum sum = {0};
    int rc = transformer_loss(&b->pass, &b->model, NULL, &batch, 1, NULL, &sum, e);
    if (rc == 0)
        model_observe_kv(&b->model, b->pass.kv_abs_max, 0);
    return rc;
}

static int save(const struct stage_run *run, const struct random_base *b, const char *port,
                struct err *e)
{
    const char *path = stage_out(run, port);
    return path ? model_save(&b->model, path, "base", DTYPE_F32, NULL, 0, e) : 0;
}

static int publish(const struct stage_run *run, const struct random_base *b, struct err *e)
{
    struct json *metrics = json_new_object();
    struct json *report = blocks_new();
    json_put_i64(metrics, "parameters", (int64_t)shape_count(&b->model.shape, 0).frozen);
    blocks_add_numbers(report, "Base", metrics);
    return blocks_publish(run, "curve", metrics, report, 0, e);
}

static int reserve(struct random_base *b, const struct stage_run *run, const struct shape *shape,
                   struct err *e)
{
    const struct pretrain_config *c = run->config;
    struct transformer_plan plan = {.tokens_max = TOKENS, .what = TRAIN_NOTHING};
    struct plan_mem parts = {.n_parts = 0};
    size_t bytes = 0;
    int rc = model_random_bytes(shape, &bytes, e);
    if (rc)
        return rc;
    plan_mem_add(&parts, "weights", bytes);
    plan_mem_add(&parts, "packing", b->compute.space.capacity_bytes);
    transformer_memory(shape, &plan, run->n_threads, &parts);
    plan_mem_say(&parts, run, "a smaller model takes less");
    rc = model_init_random_packed(&b->model, shape, c->seed, e);
    return rc ? rc : transformer_reserve(&b->pass, &b->compute, shape, &plan, e);
}

int random_base(const struct stage_run *run, struct err *e)
{
    const struct pretrain_config *c = run->config;
    struct random_base b = {0};
    struct shape shape;
    int rc = 0;
    if (stage_in(run, "init"))
        rc = err_set(e, ERR_CONFIG, "mode random makes its own values: leave the input init out");
    if (!rc)
        rc = shape_read(stage_in(run, "shape"), &shape, e);
    if (!rc)
        rc = compute_open(&b.compute, run->n_threads, run->kernels, e);
    if (!rc)
        rc = reserve(&b, run, &shape, e);
    if (!rc)
        rc = observe(&b, c->seed, e);
    if (!rc)
        rc = save(run, &b, "dense", e);
    if (!rc)
        rc = save(run, &b, "base", e);
    if (!rc)
        rc = publish(run, &b, e);
    transformer_release(&b.pass);
    model_release(&b.model);
    compute_close(&b.compute);
    return rc;
}
