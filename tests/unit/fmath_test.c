/* Errors of our elementary functions against libm in long double: the bounds fmath.h states. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "stages/model/fmath.h"

/* |got - exact| in units of the last place of a float or double at `exact`. */
static double ulps(double got, long double exact, int digits, double least)
{
    int exponent = 0;
    frexpl(exact, &exponent);
    long double unit = ldexpl(1.0L, exponent - digits);
    if (unit < (long double)least)
        unit = (long double)least;
    return (double)(fabsl((long double)got - exact) / unit);
}

static double f32_ulps(float got, long double exact)
{
    return ulps((double)got, exact, 24, 1.4012984643248170709e-45);
}

static double f64_ulps(double got, long double exact)
{
    return ulps(got, exact, 53, 4.9406564584124654418e-324);
}

static void assert_below(const char *name, double worst, double bound)
{
    print_message("%s: %.3f (bound %.1f)\n", name, worst, bound);
    assert_true(worst <= bound);
}

static void test_expf(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = -1040000; i <= 887000; i += 3) {
        float x = (float)i * 1e-4f;
        double u = f32_ulps(fm_expf(x), expl((long double)x));
        worst = u > worst ? u : worst;
    }
    assert_below("expf", worst, 1.1);
    assert_true(fm_expf(0.0f) == 1.0f);
    assert_true(fm_expf(-1000.0f) == 0.0f);
    assert_true(fm_expf(-INFINITY) == 0.0f);
    assert_true(isinf(fm_expf(89.0f)));
    assert_true(isinf(fm_expf(INFINITY)));
    assert_true(isfinite(fm_expf(88.7f)));
    assert_true(isnan(fm_expf(NAN)));
}

static void test_logf(void **state)
{
    (void)state;
    double worst = 0;
    for (uint32_t bits = 0x00800000u; bits < 0x7F800000u; bits += 8191) {
        float x = fm_f32_bits(bits);
        double u = f32_ulps(fm_logf(x), logl((long double)x));
        worst = u > worst ? u : worst;
    }
    for (int i = -100000; i <= 100000; i++) {
        float x = 1.0f + (float)i * 2e-6f;
        double u = f32_ulps(fm_logf(x), logl((long double)x));
        worst = u > worst ? u : worst;
    }
    assert_below("logf", worst, 1.0);
    assert_true(fm_logf(1.0f) == 0.0f);
}

static void test_exp_and_log(void **state)
{
    (void)state;
    double worst_exp = 0, worst_log = 0;
    for (int i = -350000; i <= 350000; i += 3) {
        double x = (double)i * 2.0001e-3;
        double u = f64_ulps(fm_exp(x), expl((long double)x));
        worst_exp = u > worst_exp ? u : worst_exp;
        double y = fm_exp(x) * (1.0 + (double)(i % 1000) * 1e-3);
        u = f64_ulps(fm_log(y), logl((long double)y));
        worst_log = u > worst_log ? u : worst_log;
        double near = 1.0 + (double)i * 1e-6;
        u = f64_ulps(fm_log(near), logl((long double)near));
        worst_log = u > worst_log ? u : worst_log;
    }
    assert_below("exp", worst_exp, 1.5);
    assert_below("log", worst_log, 1.5);
    assert_true(isinf(fm_log(0.0)));
    assert_true(isnan(fm_log(-1.0)));
    assert_true(isinf(fm_exp(1000.0)));
    assert_true(fm_exp(-1000.0) == 0.0);
    assert_true(isnan(fm_exp(NAN)));
}

static void test_sin_and_cos(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = -400000; i <= 400000; i += 3) {
        double x = i % 2 ? (double)i * 1e-4 : (double)i * 2.5;
        double s = fabs(fm_sin(x) - (double)sinl((long double)x));
        double c = fabs(fm_cos(x) - (double)cosl((long double)x));
        worst = s > worst ? s : worst;
        worst = c > worst ? c : worst;
    }
    assert_below("sin and cos, in 1e-16", worst * 1e16, 3.0);
    assert_true(fm_sin(0.0) == 0.0);
    assert_true(fm_cos(0.0) == 1.0);
}

static void test_pow(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = 0; i <= 1000; i++) {
        double y = -2.0 * (double)i / 1000.0;
        long double exact = powl(500000.0L, (long double)y);
        double error = (double)(fabsl((long double)fm_pow(500000.0, y) - exact) / exact);
        worst = error > worst ? error : worst;
    }
    assert_below("pow, in 1e-14", worst * 1e14, 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expf),        cmocka_unit_test(test_logf),
        cmocka_unit_test(test_exp_and_log), cmocka_unit_test(test_sin_and_cos),
        cmocka_unit_test(test_pow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
