#include "stages/model/sampler.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/fmath.h"
#include "stages/model/ops.h"

void sampler_init(struct sampler *s, const struct sampling *plan, int vocab)
{
    CHECK(vocab > 0);
    CHECK(plan->temperature >= 0 && plan->top_k >= 0);
    *s = (struct sampler){
        .plan = *plan,
        .vocab = vocab,
        .drafted = rng_open(plan->seed, "generate/draft"),
        .accepted = rng_open(plan->seed, "generate/accept"),
        .drawn = rng_open(plan->seed, "generate/draw"),
        .order = xalloc_array((size_t)vocab, sizeof *s->order),
        .rest = xalloc_array((size_t)vocab, sizeof *s->rest),
    };
}

void sampler_release(struct sampler *s)
{
    xfree(s->order);
    xfree(s->rest);
    memset(s, 0, sizeof *s);
}

/* --- distributions -----------------------------------------------------------------------------
 */

static int by_likelihood(const void *a, const void *b)
{
    const struct sampler_item *x = a, *y = b;
    if (x->p != y->p)
        return x->p > y->p ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* How many of the sorted items stay. */
static int n_kept(const struct sampler *s)
{
    int n = s->plan.top_k > 0 && s->plan.top_k < s->vocab ? s->plan.top_k : s->vocab;
    if (s->plan.top_p >= 1)
        return n;
    double sum = 0, seen = 0;
    for (int i = 0; i < n; i++)
        sum += s->order[i].p;
    for (int i = 0; i < n; i++) {
        seen += s->order[i].p;
        if (seen >= s->plan.top_p * sum)
            return i + 1;
    }
    return n;
}

static void filter(const struct sampler *s, double *p)
{
    for (int32_t i = 0; i < s->vocab; i++)
        s->order[i] = (struct sampler_item){p[i], i};
    qsort(s->order, (size_t)s->vocab, sizeof *s->order, by_likelihood);
    for (int i = n_kept(s); i < s->vocab; i++)
        p[s->order[i].id] = 0;
}

void sampler_distribution(const struct sampler *s, const float *logits, double *p)
{
    int32_t best = ops_argmax(logits, s->vocab);
    if (s->plan.temperature <= 0) {
        memset(p, 0, (size_t)s->vocab * sizeof *p);
        p[best] = 1;
        return;
    }
    for (int i = 0; i < s->vocab; i++) {
        double x = ((double)logits[i] - (double)logits[best]) / s->plan.temperature;
        p[i] = x < -700 ? 0 : fm_exp(x); /* the exponential's range */
    }
    if (s->plan.top_k > 0 || s->plan.top_p < 1)
        filter(s, p);
    double sum = 0;
    for (int i = 0; i < s->vocab; i++)
        sum += p[i];
    for (int i = 0; i < s->vocab; i++)
        p[i] /= sum;
}

/* --- draws -------------------------------------------------------------------------------------
 */

/* [0,1), 53 bits. */
static double uniform(const struct rng *r, uint64_t i)
{
    uint64_t high = rng_u32_at(r, 2 * i), low = rng_u32_at(r, 2 * i + 1);
    return (double)((high << 21) ^ (low >> 11)) * 0x1p-53;
}

static int32_t draw(const struct sampler *s, const double *p, double u)
{
    double sum = 0, seen = 0;
    int32_t last = -1;
    for (int i = 0; i < s->vocab; i++)
        sum += p[i];
    CHECK(sum > 0);
    for (int32_t i = 0; i < s->vocab; i++) {
        if (p[i] <= 0)
            continue;
        last = i;
        seen += p[i];
        if (seen > u * sum)
            return i;
    }
    return last; /* u * sum rounded up to sum */
}

int32_t sampler_draw(const struct sampler *s, const double *p, enum sampler_use use, uint64_t i)
{
    return draw(s, p, uniform(use == SAMPLER_DRAFT ? &s->drafted : &s->drawn, i));
}

bool sampler_accept(const struct sampler *s, const double *p, const double *q, int32_t id,
                    uint64_t i)
{
    CHECK(id >= 0 && id < s->vocab);
    return uniform(&s->accepted, i) * q[id] < p[id];
}

int32_t sampler_replace(const struct sampler *s, const double *p, const double *q, uint64_t i)
{
    double sum = 0;
    for (int j = 0; j < s->vocab; j++) {
        s->rest[j] = p[j] > q[j] ? p[j] - q[j] : 0;
        sum += s->rest[j];
    }
    /* p and q differ by rounding only: nothing to make up for. */
    return draw(s, sum > 0 ? s->rest : p, uniform(&s->drawn, i));
}
