#include "stages/model/fmath.h"

static uint64_t bits_f64(double x)
{
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double f64_bits(uint64_t bits)
{
    double x = 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Half to even, |x| < 2^51. */
static double round_even(double x)
{
    const double big = 6755399441055744.0; /* 1.5 * 2^52 */
    return (x + big) - big;
}

/* x = 2^n (1 + f), 1 + f in [sqrt 0.5, sqrt 2); log(1 + f) = f - f^2/2 + f^3 Q7(f). */
float fm_logf(float x)
{
    uint32_t bits = fm_bits_f32(x);
    uint32_t shifted = bits - 0x3F3504F3u; /* of sqrt 0.5 */
    int32_t n = (int32_t)shifted >> 23;
    float f = fm_f32_bits(bits - ((uint32_t)n << 23)) - 1.0f;
    float q = -7.902743667e-02f;
    q = __builtin_fmaf(q, f, 1.262231916e-01f);
    q = __builtin_fmaf(q, f, -1.299818307e-01f);
    q = __builtin_fmaf(q, f, 1.421449631e-01f);
    q = __builtin_fmaf(q, f, -1.664128155e-01f);
    q = __builtin_fmaf(q, f, 2.000104487e-01f);
    q = __builtin_fmaf(q, f, -2.500030696e-01f);
    q = __builtin_fmaf(q, f, 3.333333135e-01f);
    float f2 = f * f;
    float tail = __builtin_fmaf((float)n, 1.42860677e-6f, f2 * __builtin_fmaf(q, f, -0.5f));
    return __builtin_fmaf((float)n, 0.693145752f, f + tail);
}

/* exp(x) = 2^n exp(r), |r| <= ln2/2, Taylor series to r^13 / 13!. */
double fm_exp(double x)
{
    if (x != x)
        return x;
    double v = x < -750.0 ? -750.0 : x > 710.0 ? 710.0 : x;
    double n = round_even(v * 1.4426950408889634);
    double r = (v - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    static const double factorials[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0,
                                        5040.0,      720.0,      120.0,     24.0,     6.0};
    for (int i = 0; i < 10; i++)
        p = p * r + 1.0 / factorials[i];
    p = (p * (r * r * r) + 0.5 * (r * r)) + r + 1.0;
    int64_t i = (int64_t)n, half = i / 2;
    double a = f64_bits((uint64_t)(half + 1023) << 52);
    double b = f64_bits((uint64_t)(i - half + 1023) << 52);
    return (p * a) * b;
}

/* x = 2^n m, m in [sqrt 0.5, sqrt 2), s = (m - 1)/(m + 1): log m = 2 s (1 + s^2/3 + s^4/5 + ...),
 * |s| <= 0.1716; to s^22/23. 2 s = f - s f, f = m - 1 exact, keeps the leading term exact. */
double fm_log(double x)
{
    if (!(x > 0.0))
        return x == 0.0 ? -__builtin_inf() : __builtin_nan("");
    if (x > 1.7976931348623157e308)
        return x;
    uint64_t bits = bits_f64(x);
    int64_t n = (int64_t)(bits - 0x3FE6A09E667F3BCDu) >> 52;
    double f = f64_bits(bits - ((uint64_t)n << 52)) - 1.0;
    double s = f / (2.0 + f), s2 = s * s;
    double p = 1.0 / 23.0;
    for (int k = 21; k >= 3; k -= 2)
        p = p * s2 + 1.0 / (double)k;
    double series = 2.0 * (s2 * p); /* log m = 2 s + s series, 2 s = f - s f */
    double hi = (double)n * 6.93147180369123816490e-01;
    double lo = (double)n * 1.90821492927058770002e-10;
    return hi + (f - (s * (f - series) - lo));
}

/* x = n pi/2 + r, |r| <= pi/4, pi/2 in three parts of 33 bits and more. */
static double reduce(double x, int *quadrant)
{
    double n = round_even(x * 6.36619772367581382433e-01);
    *quadrant = (int)((int64_t)n & 3);
    double r = x - n * 1.57079632673412561417e+00;
    r = r - n * 6.07710050630396597660e-11;
    return r - n * 2.02226624879595063154e-21;
}

/* Taylor series to r^17 / 17! and r^18 / 18!. */
static double sin_series(double r)
{
    double r2 = r * r, p = 0;
    for (int k = 16; k >= 2; k -= 2)
        p = (1.0 + p) * (-r2 / (double)(k * (k + 1)));
    return r + r * p;
}

static double cos_series(double r)
{
    double r2 = r * r, p = 0;
    for (int k = 17; k >= 3; k -= 2)
        p = (1.0 + p) * (-r2 / (double)(k * (k + 1)));
    double half = 0.5 * r2;
    return 1.0 - (half + half * p);
}

double fm_sin(double x)
{
    int quadrant = 0;
    double r = reduce(x, &quadrant);
    double v = quadrant & 1 ? cos_series(r) : sin_series(r);
    return quadrant & 2 ? -v : v;
}

double fm_cos(double x)
{
    int quadrant = 0;
    double r = reduce(x, &quadrant);
    double v = quadrant & 1 ? sin_series(r) : cos_series(r);
    return (quadrant == 1 || quadrant == 2) ? -v : v;
}

double fm_pow(double x, double y)
{
    return fm_exp(y * fm_log(x));
}
