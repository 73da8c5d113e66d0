#include "pipeline/report/chart_axis.h"

#include <math.h>

#include "pipeline/base/check.h"
#include "pipeline/report/html.h"

#define SLACK 1e-9 /* a tick that misses the end of the range by rounding belongs to it */

/* By multiplication: pow() of two C libraries may differ in the last bit. v > 0. */
static double power_of_ten_below(double v)
{
    double power = 1;
    while (power * 10 <= v)
        power *= 10;
    while (power > v)
        power /= 10;
    return power;
}

static double power_of_ten(int exponent)
{
    double power = 1;
    for (; exponent > 0; exponent--)
        power *= 10;
    for (; exponent < 0; exponent++)
        power /= 10;
    return power;
}

static double first_tick(double lo, double step, bool outward)
{
    return outward ? floor(lo / step + SLACK) : ceil(lo / step - SLACK);
}

static double last_tick(double hi, double step, bool outward)
{
    return outward ? ceil(hi / step - SLACK) : floor(hi / step + SLACK);
}

/*
 * The least of 1, 2, 2.5, 5 times a power of ten that gives no more than AXIS_TICKS_MAX ticks.
 * A step at most doubles, so outward it gives four at the least; within the range it may be three.
 */
static double fit_step(double lo, double hi, bool outward)
{
    static const double factors[] = {1, 2, 2.5, 5};
    double power = power_of_ten_below((hi - lo) / 10);
    for (;; power *= 10) {
        for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
            double step = factors[i] * power;
            if (last_tick(hi, step, outward) - first_tick(lo, step, outward) < AXIS_TICKS_MAX)
                return step;
        }
    }
}

/*
 * Labels are a tick over a unit, with the decimals that tell neighbours apart, and k, M or an
 * exponent behind. widen() sees to it that nine decimals are enough.
 */
static void fit_labels(struct axis *a, double step)
{
    double size = fmax(fabs(a->lo), fabs(a->hi));
    a->exponent = 0;
    if (size < 1e-3 || size >= 1e10) {
        for (double power = power_of_ten_below(size); power > 1.5; power /= 10)
            a->exponent++;
        for (double power = power_of_ten_below(size); power < 0.5; power *= 10)
            a->exponent--;
    } else if (size >= 1e6 && step >= 1e5) {
        a->exponent = 6;
    } else if (size >= 1e4 && step >= 100) {
        a->exponent = 3;
    }
    double scaled = step / power_of_ten(a->exponent);
    a->decimals = 0;
    while (a->decimals < 9 && fabs(scaled - nearbyint(scaled)) > scaled * 1e-6) {
        scaled *= 10;
        a->decimals++;
    }
}

static void place_ticks(struct axis *a, double step, bool outward)
{
    double first = first_tick(a->lo, step, outward);
    double last = last_tick(a->hi, step, outward);
    a->n_ticks = 0;
    for (double k = first; k <= last && a->n_ticks < AXIS_TICKS_MAX; k++)
        a->ticks[a->n_ticks++] = k * step;
    CHECK(a->n_ticks > 0);
    if (outward) {
        a->lo = fmin(a->lo, a->ticks[0]);
        a->hi = fmax(a->hi, a->ticks[a->n_ticks - 1]);
    }
    fit_labels(a, step);
}

/* A range of one value, or so narrow that ticks could not be told apart, is made wide. */
static void widen(double *lo, double *hi)
{
    double size = fmax(fabs(*lo), fabs(*hi));
    if (*hi - *lo > size * 1e-7)
        return;
    if (size == 0) {
        *hi = 1;
    } else if (*lo > 0) {
        *lo = 0;
        *hi = size * 2;
    } else {
        *lo = -size * 2;
        *hi = 0;
    }
}

void axis_fit_out(struct axis *a, double lo, double hi)
{
    CHECK(lo <= hi);
    widen(&lo, &hi);
    *a = (struct axis){.lo = lo, .hi = hi};
    place_ticks(a, fit_step(lo, hi, true), true);
}

void axis_fit(struct axis *a, double lo, double hi)
{
    CHECK(lo <= hi);
    widen(&lo, &hi);
    if (lo > 0 && lo <= hi / 10)
        lo = 0; /* what starts near zero starts there */
    double step = fit_step(lo, hi, false);
    if (last_tick(hi, step, false) - first_tick(lo, step, false) < 3) {
        axis_fit_out(a, lo, hi);
        return;
    }
    *a = (struct axis){.lo = lo, .hi = hi};
    place_ticks(a, step, false);
}

struct span {
    double lo, hi;
};

/* Ticks at every nth power of ten. */
static void fit_decades(struct axis *a, const struct span *span)
{
    int n = 0;
    double low = power_of_ten_below(span->lo);
    for (double v = low; v < span->hi; v *= 10)
        n++;
    int stride = (n + AXIS_TICKS_MAX - 2) / (AXIS_TICKS_MAX - 1);
    double v = low;
    for (a->n_ticks = 0; a->n_ticks < AXIS_TICKS_MAX; a->n_ticks++) {
        a->ticks[a->n_ticks] = v;
        if (v >= span->hi) {
            a->n_ticks++;
            break;
        }
        for (int i = 0; i < stride; i++)
            v *= 10;
    }
}

/* Ticks at these multiples of the powers of ten, out to both ends; false when too many. */
static bool fit_multiples(struct axis *a, const struct span *span, const double *factors,
                          size_t n_factors)
{
    double power = power_of_ten_below(span->lo);
    a->n_ticks = 0;
    for (size_t i = 0;; i++) {
        double v = factors[i % n_factors] * power;
        if ((i + 1) % n_factors == 0)
            power *= 10;
        if (v <= span->lo)
            a->n_ticks = 0; /* the last one that is not above lo is the first tick */
        if (a->n_ticks == AXIS_TICKS_MAX)
            return false;
        a->ticks[a->n_ticks++] = v;
        if (v >= span->hi)
            return true;
    }
}

void axis_fit_log(struct axis *a, double lo, double hi)
{
    static const double fine[] = {1, 2, 5};
    static const double coarse[] = {1, 3};
    CHECK(lo > 0);
    CHECK(lo <= hi);
    if (lo == hi) {
        lo /= 2;
        hi *= 2;
    }
    const struct span span = {lo, hi};
    *a = (struct axis){.is_log = true};
    if (fit_multiples(a, &span, fine, 3)) {
        if (a->n_ticks < 4) {
            /* Less than a decade: equal distances, drawn where the logarithm says. */
            axis_fit_out(a, lo, hi);
            a->is_log = a->lo > 0;
            return;
        }
    } else if (!fit_multiples(a, &span, coarse, 2)) {
        fit_decades(a, &span);
    }
    a->has_plain_labels = true;
    a->lo = fmin(lo, a->ticks[0]);
    a->hi = fmax(hi, a->ticks[a->n_ticks - 1]);
}

double axis_at(const struct axis *a, double v)
{
    double at = a->is_log ? log(v / a->lo) / log(a->hi / a->lo) : (v - a->lo) / (a->hi - a->lo);
    return fmin(fmax(at, 0), 1);
}

void axis_add_label(const struct axis *a, double tick, struct buf *out)
{
    if (a->has_plain_labels || tick == 0) {
        html_add_number(out, tick);
        return;
    }
    html_add_fixed(out, tick / power_of_ten(a->exponent), a->decimals);
    if (a->exponent == 3)
        buf_add_char(out, 'k');
    else if (a->exponent == 6)
        buf_add_char(out, 'M');
    else if (a->exponent != 0)
        buf_printf(out, "e%d", a->exponent);
}
