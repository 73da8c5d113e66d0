#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stages/model/schedule.h"
#include "stages/model/trainer.h"

static void test_warmup_reaches_the_peak(void **state)
{
    (void)state;
    struct schedule s = {.peak = 2e-3, .warmup_steps = 10, .total_steps = 100};
    assert_true(schedule_rate(&s, 1) > 0);
    assert_true(fabs(schedule_rate(&s, 1) - (2e-4)) <= 1e-18);
    assert_true(fabs(schedule_rate(&s, 10) - (2e-3)) <= 1e-18);
    assert_true(fabs(schedule_rate(&s, 11) - (2e-3)) <= 1e-17);
    for (int64_t i = 2; i <= 10; i++)
        assert_true(schedule_rate(&s, i) > schedule_rate(&s, i - 1));
}

static void test_cosine_is_the_library_cosine(void **state)
{
    (void)state;
    struct schedule s = {.peak = 1, .min_ratio = 0.1, .warmup_steps = 3, .total_steps = 203};
    for (int64_t i = 4; i <= 203; i++) {
        double p = (double)(i - 4) / 200;
        double want = 0.1 + 0.9 * 0.5 * (1 + cos(3.14159265358979323846 * p));
        assert_true(fabs(schedule_rate(&s, i) - (want)) <= 1e-14);
        assert_true(i == 4 || schedule_rate(&s, i) < schedule_rate(&s, i - 1));
    }
}

static void test_every_step_has_a_rate(void **state)
{
    (void)state;
    for (int64_t total = 1; total < 30; total++)
        for (int64_t warmup = 0; warmup <= total; warmup++) {
            struct schedule s = {.peak = 1, .warmup_steps = warmup, .total_steps = total};
            for (int64_t i = 1; i <= total; i++)
                assert_true(schedule_rate(&s, i) > 0 && schedule_rate(&s, i) <= 1);
        }
}

static void test_constant_after_warmup(void **state)
{
    (void)state;
    struct schedule s = {
        .shape = SCHEDULE_CONSTANT, .peak = 0.5, .warmup_steps = 2, .total_steps = 9};
    assert_true(fabs(schedule_rate(&s, 1) - (0.25)) <= 0);
    for (int64_t i = 2; i <= 9; i++)
        assert_true(fabs(schedule_rate(&s, i) - (0.5)) <= 0);
}

static void test_warmup_from_a_share(void **state)
{
    (void)state;
    assert_int_equal(schedule_warmup(0, 100), 0);
    assert_int_equal(schedule_warmup(0.1, 100), 10);
    assert_int_equal(schedule_warmup(0.1, 5), 1);
    assert_int_equal(schedule_warmup(1, 7), 7);
    assert_int_equal(schedule_warmup(0.5, 0), 0);
}

/* Rows that are asked for are seen, also where one step would take more than there are, and where
 * the last step of an epoch leaves fewer for each. */
static void test_steps_for_rows(void **state)
{
    (void)state;
    assert_int_equal(trainer_steps_for(512, 27, 256), 19);
    assert_int_equal(trainer_steps_for(650, 65, 64), 20);
    assert_int_equal(trainer_steps_for(640, 64, 64), 10);
    assert_int_equal(trainer_steps_for(1, 1000, 8), 1);
    assert_int_equal(trainer_steps_for(15e6 / 256, 53861, 8), 7325);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup_reaches_the_peak),
        cmocka_unit_test(test_cosine_is_the_library_cosine),
        cmocka_unit_test(test_every_step_has_a_rate),
        cmocka_unit_test(test_constant_after_warmup),
        cmocka_unit_test(test_warmup_from_a_share),
        cmocka_unit_test(test_steps_for_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
