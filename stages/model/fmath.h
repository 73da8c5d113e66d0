#ifndef FMFORGE_MODEL_FMATH_H
#define FMFORGE_MODEL_FMATH_H

/*
 * Our own elementary functions: the same bits on every machine, with any kernel set. Each is a
 * fixed sequence of IEEE operations and explicit fma without branches and tables, so that loops
 * over the inline ones can be vectorised without changing a bit. Largest errors (measured by
 * tests/unit/fmath_test.c against libm in long double, in units of the last place of the result):
 *
 *   fm_expf  1.1 ulp, all x; underflows gradually to 0, overflows to inf
 *   fm_logf  1.0 ulp, normal x > 0
 *   fm_exp   1.5 ulp, |x| <= 700      fm_log  1.5 ulp, normal x > 0
 *   fm_sin, fm_cos   1.5 ulp or 2e-16 absolute, |x| <= 1e6
 *   fm_pow   1e-14 relative where x > 0 and |y ln x| <= 100
 *
 * Coefficients: expf and logf interpolate at Chebyshev nodes; the double functions are Taylor
 * series long enough that the first dropped term is below 2^-55 of the result.
 */

#include <stdint.h>
#include <string.h>

static inline uint32_t fm_bits_f32(float x)
{
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float fm_f32_bits(uint32_t bits)
{
    float x = 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A finite IEEE half as float, exactly: exponent and fraction stand 13 bits higher in a float, and
 * its exponent counts from 112 further down. */
static inline float fm_of_half(uint16_t h)
{
    float magnitude = fm_f32_bits((uint32_t)(h & 0x7FFF) << 13) * 0x1p112f;
    return fm_f32_bits(fm_bits_f32(magnitude) | (uint32_t)(h & 0x8000) << 16);
}

/* Round half to even for |x| < 2^22: the sum has no fraction bits left. */
static inline float fm_rintf(float x)
{
    const float big = 12582912.0f; /* 1.5 * 2^23 */
    return (x + big) - big;
}

/*
 * exp(x) = 2^n exp(r), n = rint(x log2 e), |r| <= ln2/2; ln2 in two parts so that n * part is
 * exact; exp(r) = 1 + r + r^2 P4(r), relative error of P4's truncation below 1e-8. 2^n is applied
 * in two factors: results below the normal range are rounded once, and n = 128 works. Where x
 * is known to be at least FM_EXPF_LEAST, whose result is 0, a loop has one bound less.
 */
#define FM_EXPF_LEAST (-104.0f)
static inline float fm_expf_from_least(float x)
{
    const float big = 12582912.0f;
    float v = x > 89.0f ? 89.0f : x;
    float shifted = __builtin_fmaf(v, 1.44269504f, big);
    float n = shifted - big;
    int32_t i = (int32_t)(fm_bits_f32(shifted) - 0x4B400000u); /* bits of big */
    float r = __builtin_fmaf(n, -0.693145752f, v);
    r = __builtin_fmaf(n, -1.42860677e-6f, r);
    float p = 1.392621314e-03f;
    p = __builtin_fmaf(p, r, 8.363203146e-03f);
    p = __builtin_fmaf(p, r, 4.166655615e-02f);
    p = __builtin_fmaf(p, r, 1.666657627e-01f);
    p = __builtin_fmaf(p, r, 0.5f);
    p = __builtin_fmaf(p, r * r, r) + 1.0f;
    int32_t half = i >> 1;
    float a = fm_f32_bits((uint32_t)(half + 127) << 23);
    float b = fm_f32_bits((uint32_t)(i - half + 127) << 23);
    return (p * a) * b;
}

static inline float fm_expf(float x)
{
    return fm_expf_from_least(x < FM_EXPF_LEAST ? FM_EXPF_LEAST : x);
}

float fm_logf(float x);
double fm_exp(double x);
double fm_log(double x);
double fm_sin(double x);
double fm_cos(double x);
double fm_pow(double x, double y); /* x > 0 */

#endif
