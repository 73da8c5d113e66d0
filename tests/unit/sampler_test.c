#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "stages/model/sampler.h"

#define VOCAB 12

static const float logits[VOCAB] = {0.5f,  -1.0f, 2.0f,   2.0f, 0.0f, 1.25f,
                                    -3.0f, 0.25f, -80.0f, 1.0f, 2.5f, -0.5f};

static void distribution(double temperature, int top_k, double top_p, double p[VOCAB])
{
    struct sampler s;
    const struct sampling plan = {temperature, top_k, top_p, 1};
    sampler_init(&s, &plan, VOCAB);
    sampler_distribution(&s, logits, p);
    sampler_release(&s);
}

/* Pearson's statistic of counts against probabilities; places that cannot come must not. */
static double chi_square(const int *counts, const double *p, int n, int n_draws)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double expected = p[i] * n_draws;
        if (p[i] == 0)
            assert_int_equal(counts[i], 0);
        else
            sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    return sum;
}

static void temperature_is_softmax(void **state)
{
    double p[VOCAB];
    (void)state;
    distribution(0.7, 0, 1, p);
    long double sum = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += expl((long double)logits[i] / 0.7L);
    for (int i = 0; i < VOCAB; i++) {
        long double expected = expl((long double)logits[i] / 0.7L) / sum;
        assert_true(fabsl((long double)p[i] - expected) <= 1e-14L * expected + 1e-300L);
    }
    distribution(0, 3, 0.5, p);
    for (int i = 0; i < VOCAB; i++)
        assert_true(p[i] == (i == 10 ? 1 : 0));
    distribution(1e-300, 0, 1, p); /* nothing overflows */
    assert_true(p[10] == 1 && p[2] == 0);
}

static void top_k_and_top_p_keep_the_likeliest(void **state)
{
    double all[VOCAB], p[VOCAB];
    (void)state;
    distribution(1, 0, 1, all);
    distribution(1, 2, 1, p); /* 10, then the first of the two equal ones */
    assert_true(p[10] > p[2] && p[2] > 0 && p[3] == 0);
    assert_true(fabs(p[10] + p[2] - 1) < 1e-15);
    assert_true(fabs(p[10] / p[2] - all[10] / all[2]) < 1e-14);
    distribution(1, VOCAB + 5, 1, p);
    for (int i = 0; i < VOCAB; i++)
        assert_true(p[i] == all[i]);
    /* Up to and with the token that reaches the sum. */
    distribution(1, 0, all[10] + all[2] / 2, p);
    assert_true(p[10] > 0 && p[2] > 0 && p[3] == 0);
    distribution(1, 0, 1e-9, p);
    assert_true(p[10] == 1);
    /* top_p counts within top_k's rest: 0.6 of {10, 2} is more than 10 alone has of them. */
    distribution(1, 2, 0.6, p);
    assert_true(all[10] < 0.6 && all[10] / (all[10] + all[2]) > 0.6 && p[10] == 1);
}

static void draws_have_the_distribution(void **state)
{
    enum { DRAWS = 40000 };
    struct sampler s;
    const struct sampling plan = {1.5, 7, 1, 42};
    int counts[VOCAB] = {0}, same = 0;
    double p[VOCAB];
    (void)state;
    sampler_init(&s, &plan, VOCAB);
    sampler_distribution(&s, logits, p);
    for (uint64_t i = 0; i < DRAWS; i++) {
        int32_t id = sampler_draw(&s, p, SAMPLER_ANSWER, i);
        counts[id]++;
        same += id == sampler_draw(&s, p, SAMPLER_DRAFT, i);
        assert_int_equal(id, sampler_draw(&s, p, SAMPLER_ANSWER, i));
    }
    assert_true(chi_square(counts, p, VOCAB, DRAWS) < 22.5); /* 6 degrees: 0.001 */
    /* The two uses are independent: they agree as often as two draws do. */
    double agree = 0;
    for (int i = 0; i < VOCAB; i++)
        agree += p[i] * p[i];
    assert_true(fabs((double)same / DRAWS - agree) < 0.01);
    sampler_release(&s);
}

/* Whatever the draft is like, what stands in the end has the base's distribution. */
static void accept_or_replace_gives_the_base(void **state)
{
    enum { DRAWS = 60000 };
    static const float other[VOCAB] = {2, 1, 0, -1, 3, 0, 0, 1, 2, -2, 0.5f, 0.25f};
    struct sampler s;
    const struct sampling plan = {1, 0, 0.95, 7};
    double p[VOCAB], q[VOCAB], keep = 0;
    int counts[VOCAB] = {0}, drafted[VOCAB] = {0}, n_kept = 0;
    (void)state;
    sampler_init(&s, &plan, VOCAB);
    sampler_distribution(&s, logits, p);
    sampler_distribution(&s, other, q);
    for (uint64_t i = 0; i < DRAWS; i++) {
        int32_t id = sampler_draw(&s, q, SAMPLER_DRAFT, i);
        drafted[id]++;
        if (sampler_accept(&s, p, q, id, i))
            n_kept++;
        else
            id = sampler_replace(&s, p, q, i);
        counts[id]++;
    }
    for (int i = 0; i < VOCAB; i++)
        keep += p[i] < q[i] ? p[i] : q[i];
    assert_true(chi_square(counts, p, VOCAB, DRAWS) < 31.3); /* 11 degrees: 0.001 */
    assert_true(fabs((double)n_kept / DRAWS - keep) < 0.01);
    double off = 0; /* the test would see the draft's own distribution */
    for (int i = 0; i < VOCAB; i++)
        off += p[i] > 0 ? (drafted[i] - p[i] * DRAWS) * (drafted[i] - p[i] * DRAWS) / p[i] : 0;
    assert_true(off / DRAWS > 1000);
    sampler_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_is_softmax),
        cmocka_unit_test(top_k_and_top_p_keep_the_likeliest),
        cmocka_unit_test(draws_have_the_distribution),
        cmocka_unit_test(accept_or_replace_gives_the_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
