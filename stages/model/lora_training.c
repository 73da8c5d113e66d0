#include "stages/model/lora_training.h"

#include <stdio.h>

#include "pipeline/base/check.h"
#include "pipeline/base/machine.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"
#include "stages/model/decoder.h"

static int loss(void *context, const struct batch *b, float scale, float *grads,
                struct loss_sum *sum, struct err *e)
{
    struct lora_training *t = context;
    return transformer_loss(&t->transformer, t->base, t->adapter, b, scale, grads, sum, e);
}

static void name_at(void *context, size_t offset, char *out, size_t out_bytes)
{
    struct lora_training *t = context;
    char name[SHAPE_NAME_BYTES + 16];
    adapter_name_at(t->adapter, offset, name);
    snprintf(out, out_bytes, "%s", name);
}

int lora_training_tokens_max(const struct lora_training *t)
{
    int64_t wanted = t->options.micro_tokens;
    CHECK(wanted >= 0 && wanted <= INT32_MAX);
    uint32_t n = wanted > 0 ? (uint32_t)wanted : LORA_MICRO_TOKENS;
    if (t->rows.row_tokens_max > n)
        n = t->rows.row_tokens_max;
    if (t->valid.row_tokens_max > n)
        n = t->valid.row_tokens_max;
    CHECK(n <= INT32_MAX);
    return (int)n;
}

static void connect(struct lora_training *t)
{
    const struct lora_options *o = &t->options;
    t->group = (struct trainer_group){0, t->adapter->n_values, (float)o->weight_decay};
    t->trainer = (struct trainer){
        .compute = t->compute,
        .plan = {.schedule = {.shape = SCHEDULE_COSINE,
                              .peak = o->learning_rate,
                              .warmup_steps = schedule_warmup(o->warmup_fraction, o->total_steps),
                              .total_steps = o->total_steps},
                 .seed = o->seed,
                 .stream = "rows",
                 .rows_per_step = o->rows_per_step,
                 .tokens_max = lora_training_tokens_max(t),
                 .beta1 = o->beta1,
                 .beta2 = o->beta2,
                 .eps = o->eps,
                 .clip = o->clip},
        .rows = &t->rows,
        .context = t,
        .loss = loss,
        .name_at = name_at,
        .params = t->adapter->values,
        .n_params = t->adapter->n_values,
        .groups = &t->group,
        .n_groups = 1,
    };
    t->loop = (struct train_loop){
        .run = t->run,
        .trainer = &t->trainer,
        .valid = t->valid.n_rows ? &t->valid : NULL,
        .valid_rows_max = o->valid_rows_max,
        .phase = t->run->spec->name,
        .eval_every = o->eval_every,
        .checkpoint_every = o->checkpoint_every,
        .keep_best = o->keep_best && t->valid.n_rows,
        .after_evaluation = t->after_evaluation,
        .context = t->context,
    };
}

static struct transformer_plan transformer_plan(const struct lora_training *t)
{
    int allowed = lora_training_tokens_max(t), tokens = t->largest.tokens;
    return (struct transformer_plan){.tokens_max = tokens > 0 ? tokens : allowed,
                                     .late_max = t->largest.targets,
                                     .rank = t->adapter->rank,
                                     .what = TRAIN_LORA,
                                     .recompute = t->options.recompute,
                                     .precision = t->options.precision};
}

void lora_training_sample_memory(const struct model *base, int rank, int prompt_tokens,
                                 int n_threads, struct plan_mem *out)
{
    struct decoder_plan plan = {.sequences = LORA_TRAINING_SAMPLES,
                                .positions = prompt_tokens + LORA_TRAINING_SAMPLE_TOKENS};
    struct plan_mem parts = {0};
    if (plan.positions > base->shape.context)
        plan.positions = base->shape.context;
    decoder_memory(base, &plan, rank, n_threads, &parts);
    plan_mem_add(out, "sampled answers", plan_mem_total(&parts));
}

void lora_training_memory(struct lora_training *t, struct plan_mem *out)
{
    connect(t);
    t->largest = (struct trainer_largest){0, 0};
    if (t->rows.tokens)
        t->largest = trainer_largest(&t->trainer, t->loop.valid, t->loop.valid_rows_max);
    struct transformer_plan plan = transformer_plan(t);
    transformer_memory(&t->base->shape, &plan, t->run->n_threads, out);
    trainer_memory(t->trainer.n_params, t->rows.n_rows, out);
    train_loop_memory(&t->loop, out);
}

static uint64_t memory_with(const struct lora_training *t, bool recompute, int64_t micro_tokens)
{
    struct lora_training other = *t;
    struct plan_mem parts = {0};
    other.options.recompute = recompute;
    other.options.micro_tokens = micro_tokens;
    lora_training_memory(&other, &parts);
    return plan_mem_total(&parts);
}

char *lora_training_advice(const struct lora_training *t, uint64_t available_bytes)
{
    char needs[16], has[16], with[16];
    bool recompute = t->options.recompute;
    uint64_t now = memory_with(t, recompute, t->options.micro_tokens);
    if (now <= available_bytes)
        return NULL;
    str_format_bytes(now, needs);
    str_format_bytes(available_bytes, has);
    uint64_t recomputed = memory_with(t, true, t->options.micro_tokens);
    uint64_t small = memory_with(t, true, 1); /* then the longest row decides */
    if (!recompute && recomputed <= available_bytes)
        return xasprintf("%s are needed beside the weights, %s are left here; with "
                         "activation_checkpointing: true it would be %s",
                         needs, has, str_format_bytes(recomputed, with));
    if (small < now)
        return xasprintf(
            "%s are needed beside the weights, %s are left here; with "
            "activation_checkpointing: true and micro_batch_tokens: 1 it would be %s%s",
            needs, has, str_format_bytes(small, with),
            small <= available_bytes ? "" : ", still too much: shorten the rows");
    return xasprintf("%s are needed beside the weights, %s are left here: shorten the rows", needs,
                     has);
}

/* All that is in memory while it runs: what is taken already comes first. */
static void say_memory(struct lora_training *t)
{
    struct plan_mem parts = {0};
    struct machine_memory machine;
    model_memory(t->base, &parts);
    plan_mem_add(&parts, "adapter", t->adapter->arena.capacity_bytes);
    plan_mem_add(&parts, "packing", t->compute->space.capacity_bytes);
    for (size_t i = 0; i < t->beside.n_parts; i++)
        plan_mem_add(&parts, t->beside.parts[i].name, t->beside.parts[i].bytes);
    lora_training_memory(t, &parts);
    char *text = plan_mem_text(&parts);
    struct transformer_plan plan = transformer_plan(t);
    stage_say(t->run,
              "memory: %s; %lld steps of %u rows, up to %d tokens at a time, %d of them labelled",
              text, (long long)t->options.total_steps, t->options.rows_per_step, plan.tokens_max,
              plan.late_max > 0 ? plan.late_max : plan.tokens_max);
    xfree(text);
    text = machine_memory(&machine) ? lora_training_advice(t, machine.available_bytes) : NULL;
    if (text)
        stage_say(t->run, "warning: memory: %s", text);
    xfree(text);
}

static int reserve(struct lora_training *t, struct err *e)
{
    say_memory(t);
    struct transformer_plan plan = transformer_plan(t);
    int rc = transformer_reserve(&t->transformer, t->compute, &t->base->shape, &plan, e);
    if (!rc)
        rc = trainer_reserve(&t->trainer, e);
    if (!rc)
        rc = train_loop_reserve(&t->loop, e);
    return rc;
}

int lora_training_run(struct lora_training *t, struct err *e)
{
    connect(t);
    int rc = reserve(t, e);
    return rc ? rc : train_loop_run(&t->loop, e);
}

void lora_training_release(struct lora_training *t)
{
    train_loop_release(&t->loop);
    trainer_release(&t->trainer);
    transformer_release(&t->transformer);
}

struct json *lora_training_metrics(const struct lora_training *t)
{
    const struct train_state *s = &t->loop.state;
    struct json *m = json_new_object();
    json_put_i64(m, "rows", t->rows.n_rows);
    json_put_i64(m, "steps", s->step);
    json_put_i64(m, "tokens", s->n_input_tokens);
    json_put_i64(m, "labelled_tokens", s->n_labels);
    json_put_i64(m, "clipped_steps", s->n_clipped);
    json_put_f64(m, "train_loss", s->last_train_loss);
    if (s->n_valid_points > 0) {
        json_put_f64(m, "valid_loss_before", t->loop.valid_curve.points[0].loss);
        json_put_f64(m, "valid_loss_last", s->last_valid_loss);
        json_put_f64(m, "valid_loss", t->loop.keep_best ? s->best_loss : s->last_valid_loss);
    }
    if (t->loop.keep_best)
        json_put_i64(m, "best_step", s->best_step);
    return m;
}

struct json *lora_training_report(const struct lora_training *t, const struct json *metrics,
                                  const char *title)
{
    struct json *report = blocks_new();
    blocks_add_numbers(report, title, metrics);
    train_loop_chart(&t->loop, "Loss", report);
    return report;
}
