#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "stages/model/flat_params.h"
#include "stages/model/lora_training.h"
#include "tests/unit/scratch.h"
#include "tests/unit/toy_training.h"

/* Three steps an epoch of seven rows: two, two and three of them. */
#define EPOCH_STEPS 3

static void step(struct toy *t, int64_t i)
{
    struct trainer_result r;
    struct err e = {0};
    need(trainer_step(&t->trainer, i, &r, &e), &e);
}

/* Every row once in an epoch, also those of its last step; each epoch in an order of its own. */
static void rows_are_dealt(void **state)
{
    static const int dealt[EPOCH_STEPS] = {2, 2, 3};
    struct toy t, again;
    int n_moved = 0;
    (void)state;
    toy_open(&t, 60, 1);
    toy_open(&again, 60, 1);
    for (int64_t i = 1; i <= 60; i++) {
        int before = t.n_seen;
        step(&t, i);
        assert_int_equal(t.n_seen - before, dealt[(i - 1) % EPOCH_STEPS]);
    }
    assert_int_equal(t.n_seen, 20 * TOY_ROWS);
    for (int epoch = 0; epoch < 20; epoch++) {
        unsigned rows = 0;
        for (int i = 0; i < TOY_ROWS; i++) {
            rows |= 1u << t.seen[epoch * TOY_ROWS + i];
            n_moved += t.seen[epoch * TOY_ROWS + i] != t.seen[i];
        }
        assert_int_equal(rows, (1u << TOY_ROWS) - 1);
    }
    assert_true(n_moved > 60); /* of 133, were each order drawn for itself: 114 */
    /* A step is a function of its number alone. */
    step(&again, 50);
    int first = 16 * TOY_ROWS + 2;
    assert_memory_equal(again.seen, t.seen + first, 2 * sizeof *t.seen);
    toy_close(&again);
    toy_close(&t);
}

/* AdamW as its paper has it, in double. */
struct reference {
    double p[TOY_PARAMS], m[TOY_PARAMS], v[TOY_PARAMS];
    int n_clipped;
};

/* The mean gradient over the labelled tokens of these rows; their number. */
static int mean_gradient(const struct reference *r, const int *rows, int n_rows, double *g)
{
    int n = 0;
    memset(g, 0, TOY_PARAMS * sizeof *g);
    for (int i = 0; i < n_rows; i++)
        for (int pos = 1; rows[i] != TOY_BARE && pos < 2 + rows[i] % 3; pos++, n++)
            for (int j = 0; j < TOY_PARAMS; j++)
                g[j] += r->p[j] - toy_goal(rows[i], pos, j);
    for (int j = 0; j < TOY_PARAMS; j++)
        g[j] /= n;
    return n;
}

static void reference_step(struct reference *r, const int *rows, int n_rows, int64_t i, double rate)
{
    double g[TOY_PARAMS], squares = 0, b1 = (double)0.9f, b2 = (double)0.99f;
    assert_true(mean_gradient(r, rows, n_rows, g) > 0);
    for (int j = 0; j < TOY_PARAMS; j++)
        squares += g[j] * g[j];
    double norm = sqrt(squares), factor = norm > TOY_CLIP ? TOY_CLIP / (norm + 1e-6) : 1;
    r->n_clipped += norm > TOY_CLIP;
    for (int j = 0; j < TOY_PARAMS; j++) {
        r->m[j] = b1 * r->m[j] + (1 - b1) * factor * g[j];
        r->v[j] = b2 * r->v[j] + (1 - b2) * factor * g[j] * factor * g[j];
        double m = r->m[j] / (1 - pow(b1, (double)i)), v = r->v[j] / (1 - pow(b2, (double)i));
        double decay = j < TOY_DECAYED ? TOY_DECAY : 0;
        r->p[j] -= rate * decay * r->p[j];
        r->p[j] -= rate * m / (sqrt(v) + 1e-8);
    }
}

/* What a step does to parameters and moments: the mean over its labelled tokens (not over rows or
 * micro-batches), clipping by the norm of all, decay where it belongs, the rate of its number. */
static void steps_are_adamw(void **state)
{
    struct toy t;
    struct reference r = {{0}, {0}, {0}, 0};
    (void)state;
    toy_open(&t, 60, 2);
    for (int j = 0; j < TOY_PARAMS; j++)
        r.p[j] = (double)t.params[j];
    for (int64_t i = 1; i <= 60; i++) {
        int before = t.n_seen;
        step(&t, i);
        reference_step(&r, t.seen + before, t.n_seen - before, i,
                       schedule_rate(&t.trainer.plan.schedule, i));
        for (int j = 0; j < TOY_PARAMS; j++) {
            assert_true(fabs((double)t.params[j] - r.p[j]) < 2e-6);
            assert_true(fabs((double)t.trainer.moment_1[j] - r.m[j]) < 1e-6);
            assert_true(fabs((double)t.trainer.moment_2[j] - r.v[j]) < 1e-6);
        }
    }
    assert_in_range(r.n_clipped, 10, 50); /* some steps are clipped, some are not */
    toy_close(&t);
}

/* How many rows are computed at a time reaches no bit. */
static void micro_batches_change_nothing(void **state)
{
    struct toy t, small;
    (void)state;
    toy_open(&t, 9, 1);
    toy_open(&small, 9, 1);
    small.trainer.plan.tokens_max = 4;
    for (int64_t i = 1; i <= 9; i++) {
        step(&t, i);
        step(&small, i);
    }
    assert_true(small.n_batches > t.n_batches);
    assert_memory_equal(t.params, small.params, sizeof t.params);
    toy_close(&small);
    toy_close(&t);
}

static void a_step_without_labels_changes_nothing(void **state)
{
    struct toy t;
    float before[TOY_PARAMS];
    (void)state;
    toy_open(&t, 60, 1);
    t.trainer.plan.rows_per_step = 1;
    for (int64_t i = 1; i <= 60; i++) {
        int n_seen = t.n_seen;
        memcpy(before, t.params, sizeof before);
        step(&t, i);
        bool same = memcmp(before, t.params, sizeof before) == 0;
        assert_int_equal(same, t.n_seen == n_seen);
    }
    assert_in_range(60 - t.n_seen, 60 / TOY_ROWS, 60 / TOY_ROWS + 1);
    toy_close(&t);
}

/* Evenly spaced, with no gradient and no step. */
static void an_evaluation_is_of_rows_everywhere(void **state)
{
    struct toy t;
    struct loss_sum sum;
    struct err e = {0};
    double want = 0;
    int n = 0;
    (void)state;
    toy_open(&t, 9, 1);
    need(trainer_evaluate(&t.trainer, &t.rows, 3, &sum, &e), &e);
    for (int row = 0; row <= 4; row += 2) /* 7 / 3 rows apart, rounded down */
        for (int pos = 1; pos < 2 + row % 3; pos++, n++)
            for (int j = 0; j < TOY_PARAMS; j++)
                want += 0.5 * pow((double)t.params[j] - toy_goal(row, pos, j), 2);
    assert_int_equal(sum.n_tokens, n);
    assert_true(fabs(sum.loss - want) < 1e-9);
    assert_int_equal(t.n_seen, 0);
    toy_close(&t);
}

/* What memory is planned by: told before, and what then comes. */
static void the_largest_batch_is_known(void **state)
{
    (void)state;
    for (int64_t steps = 1; steps <= 9; steps += 4)
        for (uint32_t n_valid = 0; n_valid <= 4; n_valid += 4) {
            struct toy t;
            struct err e = {0};
            struct loss_sum sum;
            toy_open(&t, steps, 1);
            struct trainer_largest told =
                trainer_largest(&t.trainer, n_valid ? &t.rows : NULL, n_valid);
            for (int64_t i = 1; i <= steps; i++)
                step(&t, i);
            if (n_valid)
                need(trainer_evaluate(&t.trainer, &t.rows, n_valid, &sum, &e), &e);
            assert_int_equal(told.tokens, t.largest.tokens);
            assert_int_equal(told.targets, t.largest.targets);
            assert_true(told.targets < told.tokens);
            toy_close(&t);
        }
}

static const struct shape small = {64, 32, 2, 1, 4, 2, 8, 48, 32, 500000, 1e-5, true};

/* Of a whole model the matrices decay and the norms do not; every parameter is in one group. */
static void norms_do_not_decay(void **state)
{
    struct trainer_group groups[64];
    int n = shape_n_tensors(&small);
    size_t next = 0;
    (void)state;
    assert_in_range(n, 1, 64);
    flat_params_groups(&small, 0.25, groups);
    for (int i = 0; i < n; i++) {
        char name[SHAPE_NAME_BYTES];
        flat_params_name(&small, groups[i].first, name, sizeof name);
        bool is_norm = strstr(name, "norm") != NULL;
        assert_true(groups[i].weight_decay == (is_norm ? 0.0f : 0.25f));
        assert_in_range(groups[i].first, next, next + 15); /* tensors are aligned */
        next = groups[i].first + groups[i].count;
    }
    assert_in_range(shape_flat_floats(&small), next, next + 15);
}

/* Of an adapter A and B decay, all of them. */
static void adapters_decay_as_a_whole(void **state)
{
    const struct stage_spec spec = {.name = "test"};
    const struct stage_run run = {.spec = &spec, .n_threads = 1};
    struct model base = {.shape = small};
    struct adapter adapter = {.shape = small, .rank = 4, .n_values = shape_lora_floats(&small, 4)};
    struct plan_mem p = {0};
    (void)state;
    struct lora_training t = {
        .run = &run,
        .base = &base,
        .adapter = &adapter,
        .rows = {.n_rows = 10, .row_tokens_max = 20},
        .options = {.total_steps = 10, .rows_per_step = 2, .weight_decay = 0.25}};
    lora_training_memory(&t, &p); /* connects the trainer */
    assert_int_equal(t.trainer.n_groups, 1);
    assert_int_equal(t.group.first, 0);
    assert_int_equal(t.group.count, adapter.n_values);
    assert_true(t.group.weight_decay == 0.25f);
}

static void what_is_not_finite_is_named(void **state)
{
    static const float spoils[] = {NAN, INFINITY};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct toy t;
        struct trainer_result r;
        struct err e = {0};
        float before[TOY_PARAMS];
        toy_open(&t, 9, 1);
        step(&t, 1);
        memcpy(before, t.params, sizeof before);
        t.spoil = spoils[i];
        assert_int_equal(trainer_step(&t.trainer, 2, &r, &e), ERR_NUMERIC);
        assert_string_equal(e.text, "step 2: gradients are not finite: parameter 8");
        assert_memory_equal(before, t.params, sizeof before);
        toy_close(&t);
    }
}

/* Squares of a gradient of 10^20 are no floats: second moments would be infinite, and their
 * parameters stand still without a word. */
static void moments_stay_finite(void **state)
{
    struct toy t;
    struct trainer_result r;
    struct err e = {0};
    (void)state;
    toy_open(&t, 9, 1);
    t.trainer.plan.clip = 0;
    t.spoil = 1e20f;
    assert_int_equal(trainer_step(&t.trainer, 1, &r, &e), ERR_NUMERIC);
    assert_non_null(strstr(e.text, "step 1: the gradient's norm is "));
    assert_non_null(strstr(e.text, "it is largest in parameter 8"));
    t.trainer.plan.clip = TOY_CLIP; /* then it is small */
    step(&t, 1);
    toy_close(&t);
}

static void parameters_stay_finite(void **state)
{
    struct toy t;
    struct trainer_result r;
    struct err e = {0};
    (void)state;
    toy_open(&t, 9, 1);
    t.params[3] = 5e37f;
    t.groups[0].weight_decay = 600; /* times 1 - 600 / 60 */
    assert_int_equal(trainer_step(&t.trainer, 1, &r, &e), ERR_NUMERIC);
    assert_string_equal(e.text, "step 1: parameters after the update are not finite: parameter 3");
    toy_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_dealt),
        cmocka_unit_test(steps_are_adamw),
        cmocka_unit_test(micro_batches_change_nothing),
        cmocka_unit_test(a_step_without_labels_changes_nothing),
        cmocka_unit_test(an_evaluation_is_of_rows_everywhere),
        cmocka_unit_test(the_largest_batch_is_known),
        cmocka_unit_test(norms_do_not_decay),
        cmocka_unit_test(adapters_decay_as_a_whole),
        cmocka_unit_test(what_is_not_finite_is_named),
        cmocka_unit_test(moments_stay_finite),
        cmocka_unit_test(parameters_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
