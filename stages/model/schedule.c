#include "stages/model/schedule.h"

#include "pipeline/base/check.h"
#include "stages/model/fmath.h"

#define PI 3.14159265358979323846

double schedule_rate(const struct schedule *s, int64_t step)
{
    CHECK(step >= 1);
    CHECK(step <= s->total_steps);
    if (step <= s->warmup_steps)
        return s->peak * ((double)step / (double)s->warmup_steps);
    if (s->shape == SCHEDULE_CONSTANT)
        return s->peak;
    /* The first step after the warmup has the peak, the one after the last would have the end. */
    double p = (double)(step - s->warmup_steps - 1) / (double)(s->total_steps - s->warmup_steps);
    return s->peak * (s->min_ratio + (1 - s->min_ratio) * 0.5 * (1 + fm_cos(PI * p)));
}

int64_t schedule_warmup(double fraction, int64_t total_steps)
{
    CHECK(fraction >= 0);
    CHECK(total_steps >= 0);
    double wanted = fraction * (double)total_steps;
    int64_t steps = (int64_t)wanted;
    if ((double)steps < wanted)
        steps++;
    return steps < total_steps ? steps : total_steps;
}
