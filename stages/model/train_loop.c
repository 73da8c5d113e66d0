#include "stages/model/train_loop.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/size.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/blocks.h"

#define OWN_BLOCKS 7

static int64_t total_steps(const struct train_loop *l)
{
    return l->trainer->plan.schedule.total_steps;
}

static int64_t eval_interval(const struct train_loop *l)
{
    if (l->eval_every > 0)
        return l->eval_every;
    return trainer_epoch_steps(l->trainer->rows->n_rows, l->trainer->plan.rows_per_step);
}

/* One at step 0, one per interval, one at the end. */
static size_t valid_points(const struct train_loop *l)
{
    return l->valid ? (size_t)(total_steps(l) / eval_interval(l)) + 2 : 0;
}

static int64_t point_interval(const struct train_loop *l)
{
    return (total_steps(l) + TRAIN_LOOP_TRAIN_POINTS - 1) / TRAIN_LOOP_TRAIN_POINTS;
}

static size_t best_bytes(const struct train_loop *l)
{
    return l->keep_best ? size_mul(l->trainer->n_params, sizeof(float)) : 0;
}

void train_loop_memory(const struct train_loop *l, struct plan_mem *out)
{
    size_t points = size_mul(TRAIN_LOOP_TRAIN_POINTS + 1, sizeof(struct loss_point));
    size_t evals = size_mul(valid_points(l), sizeof(struct loss_point));
    plan_mem_add(out, "best so far", arena_cost(best_bytes(l)));
    plan_mem_add(out, "curves", size_add(arena_cost(points), arena_cost(evals)));
}

size_t train_loop_bytes(const struct train_loop *l)
{
    struct plan_mem parts = {0};
    train_loop_memory(l, &parts);
    return plan_mem_total(&parts);
}

int train_loop_reserve(struct train_loop *l, struct err *e)
{
    CHECK(!l->keep_best || l->valid);
    int rc = arena_reserve(&l->arena, "curves", train_loop_bytes(l), e);
    if (rc)
        return rc;
    l->train_curve.max = TRAIN_LOOP_TRAIN_POINTS + 1;
    l->train_curve.points =
        arena_take(&l->arena, size_mul(l->train_curve.max, sizeof(struct loss_point)));
    l->valid_curve.max = valid_points(l);
    l->valid_curve.points =
        arena_take(&l->arena, size_mul(l->valid_curve.max, sizeof(struct loss_point)));
    l->best = arena_take(&l->arena, best_bytes(l));
    return 0;
}

void train_loop_release(struct train_loop *l)
{
    arena_release(&l->arena);
    l->best = NULL;
    l->train_curve.points = l->valid_curve.points = NULL;
}

/* --- checkpoints -------------------------------------------------------------------------------
 */

static size_t list_blocks(struct train_loop *l, struct checkpoint_block *b)
{
    struct trainer *t = l->trainer;
    size_t bytes = t->n_params * sizeof(float), n = 0;
    b[n++] = (struct checkpoint_block){"state", &l->state, sizeof l->state};
    b[n++] = (struct checkpoint_block){"params", t->params, bytes};
    b[n++] = (struct checkpoint_block){"moment_1", t->moment_1, bytes};
    b[n++] = (struct checkpoint_block){"moment_2", t->moment_2, bytes};
    b[n++] = (struct checkpoint_block){"best", l->best, best_bytes(l)};
    b[n++] = (struct checkpoint_block){"train_curve", l->train_curve.points,
                                       l->train_curve.max * sizeof(struct loss_point)};
    b[n++] = (struct checkpoint_block){"valid_curve", l->valid_curve.points,
                                       l->valid_curve.max * sizeof(struct loss_point)};
    CHECK(n == OWN_BLOCKS);
    for (size_t i = 0; i < l->n_blocks; i++)
        b[n++] = l->blocks[i];
    return n;
}

/* What is being trained: stage, phase, complete config, the bytes of every input. */
static int digest_of(const struct train_loop *l, struct content_id *out, struct err *e)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    buf_printf(&text, "%s %s\n", l->run->spec->name, l->phase);
    json_write_canonical(l->run->config_tree, &text);
    int rc = 0;
    for (size_t i = 0; i < l->run->spec->n_ins && !rc; i++) {
        struct content_id id = {"none"};
        if (l->run->in_paths[i])
            rc = sha256_path(l->run->in_paths[i], &id, NULL, e);
        buf_printf(&text, "\n%s %s", l->run->spec->ins[i].name, id.hex);
    }
    *out = sha256_of(text.bytes, text.n_bytes);
    buf_release(&text);
    return rc;
}

static char *checkpoint_path(const struct train_loop *l)
{
    char *name = xasprintf("%s.ckpt", l->phase);
    char *path = file_join(l->run->work, name);
    xfree(name);
    return path;
}

static int save(struct train_loop *l, const struct content_id *digest, struct err *e)
{
    if (!l->run->work)
        return 0;
    struct checkpoint_block blocks[OWN_BLOCKS + TRAIN_LOOP_BLOCKS_MAX];
    size_t n = list_blocks(l, blocks);
    char *path = checkpoint_path(l);
    int rc = checkpoint_save(path, digest, blocks, n, e);
    xfree(path);
    return rc;
}

static void resume(struct train_loop *l, const struct content_id *digest)
{
    if (!l->run->work)
        return;
    struct checkpoint_block blocks[OWN_BLOCKS + TRAIN_LOOP_BLOCKS_MAX];
    size_t n = list_blocks(l, blocks);
    struct err why = {0};
    char *path = checkpoint_path(l);
    if (checkpoint_load(path, digest, blocks, n, &why))
        stage_say(l->run, "going on after step %lld of phase %s", (long long)l->state.step,
                  l->phase);
    else if (why.code)
        stage_say(l->run, "phase %s starts anew: %s", l->phase, why.text);
    xfree(path);
}

/* --- curves ------------------------------------------------------------------------------------
 */

static void add_train_point(struct train_loop *l)
{
    struct train_state *s = &l->state;
    if (s->sum_labels == 0)
        return;
    CHECK((size_t)s->n_train_points < l->train_curve.max);
    s->last_train_loss = s->sum_loss / s->sum_labels;
    l->train_curve.points[s->n_train_points++] = (struct loss_point){s->step, s->last_train_loss};
    s->sum_loss = s->sum_labels = 0;
}

static void tell_point(const struct train_loop *l, const char *what, double loss)
{
    struct json *fields = json_new_object();
    json_put_string(fields, "phase", l->phase);
    json_put_string(fields, "what", what);
    json_put_i64(fields, "step", l->state.step);
    json_put_i64(fields, "tokens", l->state.n_input_tokens);
    json_put_f64(fields, "loss", loss);
    stage_event(l->run, "loss", fields);
}

static int evaluate(struct train_loop *l, struct err *e)
{
    struct train_state *s = &l->state;
    struct loss_sum sum = {0};
    int rc = trainer_evaluate(l->trainer, l->valid, l->valid_rows_max, &sum, e);
    if (rc)
        return err_wrap(e, "after step %lld", (long long)s->step);
    CHECK((size_t)s->n_valid_points < l->valid_curve.max);
    double loss = sum.n_tokens ? sum.loss / (double)sum.n_tokens : 0;
    s->last_valid_loss = loss;
    l->valid_curve.points[s->n_valid_points++] = (struct loss_point){s->step, loss};
    tell_point(l, "valid", loss);
    if (l->keep_best && (s->n_valid_points == 1 || loss < s->best_loss)) {
        s->best_step = s->step;
        s->best_loss = loss;
        memcpy(l->best, l->trainer->params, best_bytes(l));
    }
    return l->after_evaluation ? l->after_evaluation(l->context, s->step, e) : 0;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static int one_step(struct train_loop *l, struct err *e)
{
    struct train_state *s = &l->state;
    struct trainer_result r;
    int rc = trainer_step(l->trainer, s->step + 1, &r, e);
    if (rc)
        return rc;
    s->step++;
    s->n_input_tokens += r.n_input_tokens;
    s->n_labels += r.loss.n_tokens;
    s->sum_loss += r.loss.loss;
    s->sum_labels += (double)r.loss.n_tokens;
    s->n_clipped += l->trainer->plan.clip > 0 && r.norm > l->trainer->plan.clip;
    bool is_last = s->step == total_steps(l);
    if (s->step % point_interval(l) == 0 || is_last) {
        add_train_point(l);
        tell_point(l, "train", s->last_train_loss);
    }
    char note[96];
    snprintf(note, sizeof note, "%s: loss %.3f", l->phase,
             r.loss.n_tokens ? r.loss.loss / (double)r.loss.n_tokens : 0);
    stage_progress(l->run, note, (double)s->step, (double)total_steps(l));
    if (l->valid && (s->step % eval_interval(l) == 0 || is_last))
        return evaluate(l, e);
    return 0;
}

static int steps(struct train_loop *l, const struct content_id *digest, struct err *e)
{
    int rc = 0;
    if (l->valid && l->state.step == 0 && l->state.n_valid_points == 0)
        rc = evaluate(l, e);
    while (!rc && l->state.step < total_steps(l)) {
        if (stage_interrupted()) {
            rc = save(l, digest, e);
            return rc ? rc : err_set(e, ERR_IO, "interrupted");
        }
        rc = one_step(l, e);
        int64_t step = l->state.step;
        bool is_due = l->checkpoint_every > 0 && step % l->checkpoint_every == 0;
        if (!rc && (is_due || step == total_steps(l)))
            rc = save(l, digest, e);
    }
    return rc;
}

int train_loop_run(struct train_loop *l, struct err *e)
{
    struct content_id digest = {""};
    int rc = l->run->work ? digest_of(l, &digest, e) : 0;
    if (rc)
        return rc;
    memset(&l->state, 0, sizeof l->state);
    resume(l, &digest);
    rc = steps(l, &digest, e);
    /* A stage of one phase has its name, and that is printed anyway. */
    if (rc)
        return str_eq(l->phase, l->run->spec->name) ? rc : err_wrap(e, "%s", l->phase);
    if (l->keep_best)
        memcpy(l->trainer->params, l->best, best_bytes(l));
    return 0;
}

/* --- report ------------------------------------------------------------------------------------
 */

static struct json *line_of_curve(const char *name, const struct loss_curve *c, int64_t n_points)
{
    struct json *x = json_new_array(), *y = json_new_array(), *line = json_new_object();
    for (int64_t i = 0; i < n_points; i++) {
        json_append(x, json_new_i64(c->points[i].step));
        json_append(y, json_new_f64(c->points[i].loss));
    }
    json_put_string(line, "name", name);
    json_put(line, "x", x);
    json_put(line, "y", y);
    return line;
}

void train_loop_chart(const struct train_loop *l, const char *title, struct json *report)
{
    struct json *block = blocks_add(report, "series", title), *lines = json_new_array();
    json_put_string(block, "x_label", "optimiser step");
    json_put_string(block, "y_label", "loss per labelled token");
    json_append(lines, line_of_curve("train", &l->train_curve, l->state.n_train_points));
    if (l->valid)
        json_append(lines, line_of_curve("valid", &l->valid_curve, l->state.n_valid_points));
    json_put(block, "lines", lines);
}
