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

/* Decimals that tell two neighbouring ticks apart, and k or M where zeros would only repeat. */
static void fit_labels(struct axis *a, double step)
{
    double size = fmax(fabs(a->lo), fabs(a->hi));
    a->unit = 1;
    if (size >= 1e6 && step >= 1e5)
        a->unit = 1e6;
    else if (size >= 1e4 && step >= 100)
        a->unit = 1e3;
    a->decimals = 0;
    double scale = 1 / a->unit;
    while (a->decimals < 6 && fabs(step * scale - nearbyint(step * scale)) > 1e-6) {
        scale *= 10;
        a->decimals++;
    }
    /* Too small or too large to be written out. */
    a->plain = a->decimals == 6 || step * scale < 0.5 || size * scale >= 1e14 ||
               (a->unit == 1e6 && size >= 1e10);
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
    if (*hi - *lo > size * 1e-9)
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

/* Ticks at every nth power of ten. */
static void fit_decades(struct axis *a, double lo, double hi)
{
    int n = 0;
    double low = power_of_ten_below(lo);
    for (double v = low; v < hi; v *= 10)
        n++;
    int stride = (n + AXIS_TICKS_MAX - 2) / (AXIS_TICKS_MAX - 1);
    double v = low;
    for (a->n_ticks = 0; a->n_ticks < AXIS_TICKS_MAX; a->n_ticks++) {
        a->ticks[a->n_ticks] = v;
        if (v >= hi) {
            a->n_ticks++;
            break;
        }
        for (int i = 0; i < stride; i++)
            v *= 10;
    }
}

/* Ticks at 1, 2 and 5 times the powers of ten, out to both ends; false when they are too many. */
static bool fit_lattice(struct axis *a, double lo, double hi)
{
    static const double factors[] = {1, 2, 5};
    double power = power_of_ten_below(lo);
    a->n_ticks = 0;
    for (size_t i = 0;; i++) {
        double v = factors[i % 3] * power;
        if (i % 3 == 2)
            power *= 10;
        if (v <= lo)
            a->n_ticks = 0; /* the last one that is not above lo is the first tick */
        if (a->n_ticks == AXIS_TICKS_MAX)
            return false;
        a->ticks[a->n_ticks++] = v;
        if (v >= hi)
            return true;
    }
}

void axis_fit_log(struct axis *a, double lo, double hi)
{
    CHECK(lo > 0);
    CHECK(lo <= hi);
    if (lo == hi) {
        lo /= 2;
        hi *= 2;
    }
    *a = (struct axis){.is_log = true, .unit = 1, .plain = true};
    if (!fit_lattice(a, lo, hi))
        fit_decades(a, lo, hi);
    if (a->n_ticks < 4) {
        /* Less than a decade: round numbers at equal distances, drawn where the logarithm says. */
        axis_fit_out(a, lo, hi);
        a->is_log = a->lo > 0;
        return;
    }
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
    if (a->plain || tick == 0) {
        html_add_number(out, tick);
        return;
    }
    html_add_fixed(out, tick / a->unit, a->decimals);
    if (a->unit > 1)
        buf_add_char(out, a->unit > 1e3 ? 'M' : 'k');
}
