#ifndef FMFORGE_REPORT_CHART_AXIS_H
#define FMFORGE_REPORT_CHART_AXIS_H

/* One axis of a chart: its range, its round ticks, and where a value lies on it. */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"

#define AXIS_TICKS_MAX 6
/* Beyond these a range or a power of ten is no double any more; chart_write refuses them. */
#define AXIS_VALUE_MAX 1e150
#define AXIS_VALUE_LEAST 1e-150

struct axis {
    double lo, hi; /* lo < hi */
    bool is_log;
    double ticks[AXIS_TICKS_MAX];
    size_t n_ticks;
    bool has_plain_labels; /* as html_add_number writes them; otherwise over 10^exponent */
    int exponent;
    int decimals;
};

/* |lo| and |hi| are 0 or between AXIS_VALUE_LEAST and AXIS_VALUE_MAX. */
void axis_fit(struct axis *a, double lo, double hi); /* the range, with four to six ticks in it */
void axis_fit_out(struct axis *a, double lo, double hi); /* out to round numbers at both ends */
void axis_fit_log(struct axis *a, double lo, double hi); /* lo > 0 */

/* 0 at lo, 1 at hi. */
double axis_at(const struct axis *a, double v);
void axis_add_label(const struct axis *a, double tick, struct buf *out);

#endif
