#include "stages/train/train_run.h"

#include <string.h>

#include "stages/model/generation.h"
#include "stages/text/finding.h"

/* What the file says against what the base can take. */
static int check_tokens(const struct train_run *t, const char *name, const struct tokfile *f,
                        struct err *e)
{
    const struct shape *s = &t->base.shape;
    int rc = tokfile_check_model(f, name, s->vocab, s->context, e);
    if (!rc && f->counts.cut_samples > 0)
        stage_say(t->run, "warning: %s: %llu of %llu samples were cut when they were prepared",
                  name, (unsigned long long)f->counts.cut_samples,
                  (unsigned long long)f->counts.samples);
    return rc;
}

static int open_tokens(struct train_run *t, const char *name, struct tokfile *f,
                       struct row_source *s, struct err *e)
{
    const char *path = stage_in(t->run, name);
    if (!path)
        return 0;
    int rc = tokfile_open(f, path, e);
    bool may_be_empty = f == &t->valid;
    if (rc || (may_be_empty && f->counts.rows == 0))
        return rc;
    rc = check_tokens(t, name, f, e);
    if (!rc)
        row_source_of_tokens(s, f);
    return rc;
}

static int open_adapter(struct train_run *t, struct err *e)
{
    const struct train_config *c = t->config;
    return adapter_start(&t->adapter, stage_in(t->run, "init"), &t->base.shape, &t->base_id,
                         (int)c->rank, c->alpha, c->seed, e);
}

static int64_t valid_labels(const struct train_run *t)
{
    return t->valid_rows.n_rows > 0 ? (int64_t)t->valid.counts.labels : 0;
}

static int open_against(struct train_run *t, struct err *e)
{
    const char *path = stage_in(t->run, "against");
    struct json *v = NULL;
    int64_t labels = 0;
    if (!path)
        return 0;
    if (t->valid_rows.n_rows == 0)
        return err_set(e, ERR_CONFIG, "against: there are no valid rows to compare the loss on");
    int rc = json_read(path, &v, e);
    if (rc)
        return err_wrap(e, "against");
    rc = json_need_f64(v, "steps", &t->against.steps, e);
    if (!rc)
        rc = json_need_f64(v, "valid_loss_last", &t->against.loss, e);
    if (!rc)
        rc = json_need_i64(v, "valid_labelled_tokens", &labels, e);
    json_free(v);
    if (rc)
        return err_wrap(e, "against: not the metrics of a training with valid rows");
    if (labels != valid_labels(t))
        return err_set(e, ERR_CONFIG,
                       "against: its held-out loss is of %lld labelled tokens, these valid rows "
                       "have %lld: give both trainings the same valid rows",
                       (long long)labels, (long long)valid_labels(t));
    t->against.given = true;
    return 0;
}

static const char *sampled_name(const struct train_run *t)
{
    return t->valid_rows.n_rows > 0 ? "valid" : "train";
}

static bool loss_was_lower(const struct train_run *t)
{
    const struct train_loop *l = &t->training.loop;
    for (int64_t i = 0; i < l->state.n_valid_points; i++)
        if (l->valid_curve.points[i].loss < l->state.last_valid_loss)
            return true;
    return false;
}

/* After each evaluation, for people; what is published is of the adapter that is written. */
static int look_at_samples(void *context, int64_t step, struct err *e)
{
    struct train_run *t = context;
    struct sample_check *s = &t->samples;
    int n_loops = 0, first = 0;
    if (step == 0)
        return 0;
    int rc = sample_check_run(s, &n_loops, &first, e);
    if (rc)
        return err_wrap(e, "answering after step %lld", (long long)step);
    const char *verdict = sample_check_verdict(s, n_loops, loss_was_lower(t),
                                               step == t->training.options.total_steps);
    if (verdict) {
        const struct decoder_request *r = &s->requests[first];
        int period = generation_loop_period(r->out, r->n_out);
        stage_say(t->run,
                  "warning: after step %lld %d of %d answers loop: row %llu of the %s rows gets a "
                  "piece of %d token%s (id %d) again and again. %s",
                  (long long)step, n_loops, s->n, (unsigned long long)s->rows[first] + 1,
                  t->valid_rows.n_rows > 0 ? "valid" : "training", period, period > 1 ? "s" : "",
                  (int)r->out[r->n_out - 1], verdict);
    }
    return 0;
}

static int open_samples(struct train_run *t, struct err *e)
{
    t->training.after_evaluation = look_at_samples;
    t->training.context = t;
    return sample_check_open(&t->samples, &t->compute, &t->base, &t->adapter,
                             t->valid_rows.n_rows > 0 ? &t->valid : &t->train, e);
}

static int reserve_batches(struct train_run *t, struct err *e)
{
    int tokens_max = lora_training_tokens_max(&t->training);
    int rc = arena_reserve(&t->batches, "batches", 2 * token_batch_bytes(tokens_max), e);
    if (rc)
        return rc;
    row_source_reserve(&t->train_rows, &t->batches, tokens_max);
    row_source_reserve(&t->valid_rows, &t->batches, tokens_max);
    plan_mem_add(&t->training.beside, "rows of a batch", t->batches.capacity_bytes);
    plan_mem_add(&t->training.beside, "sampled answers", t->samples.decoder.arena.capacity_bytes);
    return 0;
}

static void set_rows(struct train_run *t)
{
    const struct train_config *c = t->config;
    t->train_rows.prompt_dropout = c->prompt_dropout;
    t->train_rows.dropout = rng_open(c->seed, "prompt_dropout");
    t->train_rows.prompt_weight = c->prompt_weight;
    t->train_rows.lead_tokens = (int)c->lead_tokens;
    t->train_rows.lead_weight = (int)c->lead_weight;
}

static void set_options(struct train_run *t)
{
    const struct train_config *c = t->config;
    uint32_t rows_per_step = (uint32_t)(c->batch_size * c->accumulation);
    int64_t steps = c->epochs * trainer_epoch_steps(t->train_rows.n_rows, rows_per_step);
    struct lora_training *l = &t->training;
    l->run = t->run;
    l->compute = &t->compute;
    l->base = &t->base;
    l->adapter = &t->adapter;
    l->rows = row_source_rows(&t->train_rows);
    l->valid = row_source_rows(&t->valid_rows);
    l->options = (struct lora_options){
        .total_steps = c->max_steps > 0 && c->max_steps < steps ? c->max_steps : steps,
        .rows_per_step = rows_per_step,
        .learning_rate = c->learning_rate,
        .warmup_fraction = c->warmup_fraction,
        .weight_decay = c->weight_decay,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .eps = c->eps,
        .clip = c->clip,
        .seed = c->seed,
        .eval_every = c->eval_every,
        .checkpoint_every = c->checkpoint_every,
        .valid_rows_max = UINT32_MAX,
        .keep_best = c->keep == TRAIN_KEEP_BEST,
        .recompute = c->activation_checkpointing,
        .precision = compute_precision_of(c->precision),
        .micro_tokens = c->micro_batch_tokens,
    };
}

int train_run_open(struct train_run *t, const struct stage_run *run, struct err *e)
{
    t->run = run;
    t->config = run->config;
    if (t->config->batch_size * t->config->accumulation > INT32_MAX)
        return err_set(e, ERR_CONFIG, "batch_size x accumulation is more than 2^31 rows");
    const char *base = stage_in(run, "base");
    int rc = model_open(&t->base, base, e);
    if (!rc)
        rc = sha256_file(base, &t->base_id, NULL, e);
    if (!rc)
        rc = open_tokens(t, "train", &t->train, &t->train_rows, e);
    if (!rc)
        rc = open_tokens(t, "valid", &t->valid, &t->valid_rows, e);
    if (!rc && t->valid_rows.n_rows == 0)
        stage_say(run,
                  "warning: no valid rows: nothing shows overfitting, the last adapter is kept");
    if (!rc)
        rc = open_adapter(t, e);
    if (!rc)
        rc = open_against(t, e);
    if (!rc)
        rc = compute_open(&t->compute, run->n_threads, run->kernels, e);
    if (rc)
        return rc;
    t->compute.precision = compute_precision_of(t->config->precision);
    if (compute_precision_note(t->config->precision))
        stage_say(run, "precision %s: %s", compute_precision_names[t->config->precision],
                  compute_precision_note(t->config->precision));
    set_rows(t);
    set_options(t);
    rc = open_samples(t, e);
    return rc ? rc : reserve_batches(t, e);
}

struct json *train_run_metrics(const struct train_run *t, int n_loops)
{
    struct json *m = lora_training_metrics(&t->training);
    if (t->samples.n > 0) {
        json_put_i64(m, "sampled_answers", t->samples.n);
        json_put_i64(m, "looping_answers", n_loops);
    }
    json_put_i64(m, "valid_labelled_tokens", valid_labels(t));
    if (!t->against.given)
        return m;
    const struct train_loop *l = &t->training.loop;
    json_put_f64(m, "against_loss", t->against.loss);
    json_put_f64(m, "against_steps", t->against.steps);
    bool reached = false;
    for (int64_t i = 0; i < l->state.n_valid_points && !reached; i++) {
        const struct loss_point *p = &l->valid_curve.points[i];
        reached = p->loss <= t->against.loss;
        if (!reached)
            continue;
        json_put_i64(m, "steps_to_against", p->step);
        if (t->against.steps > 0)
            json_put_f64(m, "share_of_against_steps", (double)p->step / t->against.steps);
    }
    json_put_i64(m, "reached_against", reached);
    return m;
}

static void find_cut(const char *name, const struct tokfile *f, struct json *rows)
{
    struct buf where;
    if (f->counts.cut_samples == 0)
        return;
    buf_init(&where, BUF_MAX_DEFAULT);
    buf_printf(&where, "of %llu samples", (unsigned long long)f->counts.samples);
    finding_put(rows, name, "sample cut when it was prepared", f->counts.cut_samples,
                buf_text(&where));
    buf_release(&where);
}

static void find_loops(const struct train_run *t, int n_loops, int first, struct json *rows)
{
    const struct sample_check *s = &t->samples;
    struct buf where;
    if (n_loops == 0)
        return;
    const struct decoder_request *r = &s->requests[first];
    int period = generation_loop_period(r->out, r->n_out);
    buf_init(&where, BUF_MAX_DEFAULT);
    buf_printf(&where, "of %d sampled answers, the first to row %llu: a piece of %d token%s", s->n,
               (unsigned long long)s->rows[first] + 1, period, period > 1 ? "s" : "");
    finding_put(rows, sampled_name(t),
                "answer that loops: are the steps too few, or is learning_rate too high?",
                (uint64_t)n_loops, buf_text(&where));
    buf_release(&where);
}

/* By more than a thousandth; keep: last writes it all the same. */
static bool ended_worse(const struct train_loop *l)
{
    return !l->keep_best && l->state.n_valid_points > 1 &&
           l->state.last_valid_loss > 1.001 * l->valid_curve.points[0].loss;
}

void train_run_findings(const struct train_run *t, int n_loops, int first, struct json *report)
{
    const struct train_loop *loop = &t->training.loop;
    struct json *rows = json_new_array();
    find_cut("train", &t->train, rows);
    find_cut("valid", &t->valid, rows);
    if (t->valid_rows.n_rows == 0)
        finding_put(rows, "valid", "no rows: nothing shows overfitting, the last adapter is kept",
                    0, "");
    if (loop->keep_best && loop->state.best_step == 0)
        finding_put(rows, "valid",
                    "the held-out loss was never below that before the first step: what is written "
                    "is what the training began with; is learning_rate too high?",
                    0, "");
    if (ended_worse(loop))
        finding_put(rows, "valid",
                    "the held-out loss ended above that before the first step, and keep is last: "
                    "is learning_rate too high?",
                    0, "");
    find_loops(t, n_loops, first, rows);
    finding_add_table(report, rows);
}

int train_run_save(struct train_run *t, const char *path, struct err *e)
{
    const struct tensor_meta meta[] = {{"fmforge.base", t->base_id.hex}};
    const struct train_loop *loop = &t->training.loop;
    if (loop->keep_best && loop->state.best_step == 0)
        stage_say(
            t->run,
            "warning: keep: best: the held-out loss was never below the %.4f before the first "
            "step, so what is written is what the training began with. Is learning_rate too "
            "high?",
            loop->state.best_loss);
    if (ended_worse(loop))
        stage_say(t->run,
                  "warning: keep: last: the held-out loss ended at %.4f, above the %.4f before the "
                  "first step. Is learning_rate too high?",
                  loop->state.last_valid_loss, loop->valid_curve.points[0].loss);
    /* What is judged and tried is then what the package holds, to the bit (where alpha is rank / 2,
     * as in the class; else the package's B is rounded once more). */
    adapter_round_f16(&t->adapter);
    return adapter_save(&t->adapter, path, DTYPE_F32, meta, 1, e);
}

void train_run_release(struct train_run *t)
{
    lora_training_release(&t->training);
    sample_check_release(&t->samples);
    adapter_release(&t->adapter);
    arena_release(&t->batches);
    tokfile_close(&t->valid);
    tokfile_close(&t->train);
    compute_close(&t->compute);
    model_release(&t->base);
}
