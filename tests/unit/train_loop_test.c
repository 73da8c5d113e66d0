#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/json.h"
#include "stages/model/train_loop.h"
#include "tests/unit/scratch.h"
#include "tests/unit/toy_training.h"

#define STEPS 11

/* A loop around the toy, as a stage without inputs. */
struct looped {
    struct toy toy;
    struct rows valid;
    struct stage_spec spec;
    struct stage_run run;
    struct json *config;
    struct train_loop loop;
    int n_evaluations;
};

static int after(void *context, int64_t step, struct err *e)
{
    struct looped *l = context;
    (void)step;
    (void)e;
    l->n_evaluations++;
    return 0;
}

/* An evaluation in the middle of each epoch of three steps. */
static void looped_open(struct looped *l, const char *work, int64_t checkpoint_every)
{
    struct err e = {0};
    memset(l, 0, sizeof *l);
    toy_open(&l->toy, STEPS, 1);
    l->valid = l->toy.rows;
    l->config = json_new_object();
    l->spec.name = "toy";
    l->run = (struct stage_run){
        .spec = &l->spec, .config_tree = l->config, .work = work, .n_threads = 1};
    l->loop = (struct train_loop){.run = &l->run,
                                  .trainer = &l->toy.trainer,
                                  .valid = &l->valid,
                                  .valid_rows_max = 4,
                                  .phase = "toy",
                                  .eval_every = 2,
                                  .checkpoint_every = checkpoint_every,
                                  .keep_best = true,
                                  .after_evaluation = after,
                                  .context = l};
    need(train_loop_reserve(&l->loop, &e), &e);
}

static void looped_close(struct looped *l)
{
    train_loop_release(&l->loop);
    toy_close(&l->toy);
    json_free(l->config);
}

static void assert_same(const struct looped *a, const struct looped *b)
{
    const struct train_state *s = &a->loop.state;
    assert_memory_equal(a->toy.params, b->toy.params, sizeof a->toy.params);
    assert_memory_equal(s, &b->loop.state, sizeof *s);
    assert_memory_equal(a->loop.train_curve.points, b->loop.train_curve.points,
                        (size_t)s->n_train_points * sizeof(struct loss_point));
    assert_memory_equal(a->loop.valid_curve.points, b->loop.valid_curve.points,
                        (size_t)s->n_valid_points * sizeof(struct loss_point));
}

/* The points of the curve of evaluations: before the first step, each second one, the last. */
static void evaluations_are_where_they_should(void **state)
{
    struct looped l;
    struct err e = {0};
    (void)state;
    looped_open(&l, NULL, 0);
    need(train_loop_run(&l.loop, &e), &e);
    const struct train_state *s = &l.loop.state;
    assert_int_equal(s->n_valid_points, 7);
    assert_int_equal(l.n_evaluations, 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(l.loop.valid_curve.points[i].step, i < 6 ? 2 * i : STEPS);
    assert_true(s->last_valid_loss == l.loop.valid_curve.points[6].loss);
    assert_int_equal(s->step, STEPS);
    looped_close(&l);
}

/* Steps of a rate so large that the last is not the best. */
static void open_unstable(struct looped *l)
{
    looped_open(l, NULL, 0);
    l->toy.trainer.plan.schedule.shape = SCHEDULE_CONSTANT;
    l->toy.trainer.plan.schedule.peak = 3;
}

/* What is kept is what was measured at the best step, bit for bit: steps up to there make it. */
static void the_best_is_kept(void **state)
{
    struct looped l, until;
    struct err e = {0};
    (void)state;
    open_unstable(&l);
    need(train_loop_run(&l.loop, &e), &e);
    const struct train_state *s = &l.loop.state;
    for (int64_t i = 0; i < s->n_valid_points; i++)
        assert_true(s->best_loss <= l.loop.valid_curve.points[i].loss);
    assert_in_range(s->best_step, 2, STEPS - 1);
    open_unstable(&until);
    int64_t n_clipped = 0;
    for (int64_t i = 1; i <= STEPS; i++) {
        struct trainer_result r;
        need(trainer_step(&until.toy.trainer, i, &r, &e), &e);
        n_clipped += r.norm > TOY_CLIP;
        if (i == s->best_step)
            assert_memory_equal(l.toy.params, until.toy.params, sizeof l.toy.params);
    }
    assert_int_equal(s->n_clipped, n_clipped);
    assert_in_range(n_clipped, 1, STEPS - 1);
    looped_close(&until);
    looped_close(&l);
}

/* Killed in any batch, with checkpoints this far apart, and started again until it is done. */
static void kill_at(const char *work, int64_t checkpoint_every, int64_t batch,
                    const struct looped *whole)
{
    struct looped l;
    struct err e = {0};
    looped_open(&l, work, checkpoint_every);
    l.toy.fail_at = batch;
    assert_int_equal(train_loop_run(&l.loop, &e), ERR_IO);
    looped_close(&l);
    looped_open(&l, work, checkpoint_every);
    need(train_loop_run(&l.loop, &e), &e);
    assert_same(&l, whole);
    looped_close(&l);
    /* Killed when all was done, before its result was published. */
    looped_open(&l, work, checkpoint_every);
    need(train_loop_run(&l.loop, &e), &e);
    assert_int_equal(l.toy.n_batches, 0);
    assert_same(&l, whole);
    looped_close(&l);
}

static void killed_anywhere_is_never_killed(void **state)
{
    char work[SCRATCH_BYTES];
    struct looped whole;
    struct err e = {0};
    (void)state;
    looped_open(&whole, NULL, 0);
    need(train_loop_run(&whole.loop, &e), &e);
    assert_true(whole.toy.n_batches > STEPS); /* some steps have several */
    for (int64_t every = 1; every <= 3; every += 2)
        for (int64_t batch = 1; batch <= whole.toy.n_batches; batch++) {
            assert_int_equal(scratch_open(work), 0);
            kill_at(work, every, batch, &whole);
            scratch_remove(work);
        }
    looped_close(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluations_are_where_they_should),
        cmocka_unit_test(the_best_is_kept),
        cmocka_unit_test(killed_anywhere_is_never_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
