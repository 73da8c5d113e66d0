#include "stages/model/generation.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"

void generation_init(struct generation *g, struct decoder *base, struct decoder *draft,
                     const struct generation_plan *plan)
{
    int vocab = base->model->shape.vocab;
    size_t n_draft = draft ? (size_t)plan->draft_tokens : 0, n_vocab = (size_t)vocab;
    CHECK(!draft || draft->model->shape.vocab == vocab);
    CHECK(!draft || (n_draft >= 1 && n_draft <= GENERATION_DRAFT_TOKENS_MAX));
    *g = (struct generation){
        .base = base,
        .draft = draft,
        .plan = *plan,
        .ids = xalloc_array((size_t)base->plan.positions + 1, sizeof *g->ids),
        .logits = xalloc_array(size_mul(n_draft + 1, n_vocab), sizeof *g->logits),
        .p = xalloc_array(n_vocab, sizeof *g->p),
        .q = xalloc_array(size_mul(n_draft + 1, n_vocab), sizeof *g->q),
    };
    sampler_init(&g->sampler, &plan->sampling, vocab);
}

void generation_release(struct generation *g)
{
    sampler_release(&g->sampler);
    xfree(g->ids);
    xfree(g->logits);
    xfree(g->p);
    xfree(g->q);
    memset(g, 0, sizeof *g);
}

/* Greedy, a distribution is its likeliest token: nothing is drawn, and nothing need be summed over
 * the vocabulary. */
static bool is_greedy(const struct generation *g)
{
    return g->plan.sampling.temperature <= 0;
}

/* The distribution at one place; a row of NaN must not read as an answer. */
static int distribution(const struct generation *g, const struct decoder *d, const float *logits,
                        double *p, struct err *e)
{
    if (!ops_all_finite(d->compute, (size_t)g->sampler.vocab, logits))
        return err_set(e, ERR_NUMERIC, "%s: the logits after %d tokens are not finite",
                       d == g->base ? "base" : "draft", g->n_ids);
    if (!is_greedy(g))
        sampler_distribution(&g->sampler, logits, p);
    return 0;
}

/* --- drafting ----------------------------------------------------------------------------------
 */

/* How many tokens may be proposed: the last token of an answer needs no draft, and both caches must
 * hold what is fed. */
static int draft_room(const struct generation *g, const struct decoder_request *r, int n_max)
{
    if (!g->draft)
        return 0;
    int k = g->plan.draft_tokens, left = n_max - r->n_out - 1;
    int cache = g->draft->plan.positions - g->n_ids + 1;
    k = k < left ? k : left;
    k = k < cache ? k : cache;
    return k > 0 ? k : 0;
}

/* Whether the draft's likeliest token is as likely as the plan asks. The base's logits are not
 * there yet, so theirs is the space. */
static bool is_sure(const struct generation *g, const float *logits)
{
    int vocab = g->sampler.vocab;
    const struct compute *c = g->draft->compute;
    if (!is_greedy(g) || g->plan.draft_confidence <= 0)
        return true;
    float sum = ops_row_exp(c, vocab, logits, 1.0f, ops_row_max(c, vocab, logits), g->logits);
    return (float)g->plan.draft_confidence * sum <= 1.0f;
}

/* Proposes up to *k tokens behind the decided ones, at ids[n_ids...]; *k becomes their number. */
static int propose(struct generation *g, const struct decoder_request *r, int *k, struct err *e)
{
    struct decoder *d = g->draft;
    int rc = 0;
    for (int i = 0; i < *k && rc == 0; i++) {
        double *q = g->q + (size_t)i * (size_t)g->sampler.vocab;
        int fed = d->lengths[0], known = g->n_ids + i;
        rc = decoder_feed(d, 0, g->ids + fed, known - fed, NULL, e);
        if (rc == 0)
            rc = distribution(g, d, decoder_logits(d, 0), q, e);
        if (rc == 0 && !is_sure(g, decoder_logits(d, 0))) {
            *k = i;
            break;
        }
        if (rc == 0)
            g->ids[known] = is_greedy(g) ? ops_argmax(decoder_logits(d, 0), g->sampler.vocab)
                                         : sampler_draw(&g->sampler, q, SAMPLER_DRAFT,
                                                        (uint64_t)(r->n_out + i));
    }
    return rc;
}

/* --- one pass of the base ----------------------------------------------------------------------
 */

/* Takes a decided token; false when the answer ends with it. */
static bool take(struct generation *g, struct decoder_request *r, int32_t id, int n_max)
{
    g->counts.tokens++;
    for (int i = 0; i < g->plan.n_stop; i++)
        r->stopped = r->stopped || id == g->plan.stop_ids[i];
    if (r->stopped)
        return false;
    r->out[r->n_out++] = id;
    g->ids[g->n_ids++] = id;
    return r->n_out < n_max;
}

/* Place i of a pass of the base, the distribution at which is there. */
static bool accepts(const struct generation *g, int i, int32_t proposed, uint64_t at)
{
    size_t vocab = (size_t)g->sampler.vocab, from = (size_t)i * vocab;
    if (is_greedy(g))
        return ops_argmax(g->logits + from, g->sampler.vocab) == proposed;
    return sampler_accept(&g->sampler, g->p, g->q + from, proposed, at);
}

/* The base's own token there: behind the proposed ones, or instead of one. */
static int32_t own_token(const struct generation *g, int i, bool behind, uint64_t at)
{
    size_t vocab = (size_t)g->sampler.vocab, from = (size_t)i * vocab;
    if (is_greedy(g))
        return ops_argmax(g->logits + from, g->sampler.vocab);
    return behind ? sampler_draw(&g->sampler, g->p, SAMPLER_ANSWER, at)
                  : sampler_replace(&g->sampler, g->p, g->q + from, at);
}

/* Keeps what the base agrees to of k proposed tokens and adds its own one. logits: (k + 1, V). */
static int decide(struct generation *g, struct decoder_request *r, int k, int n_max, bool *more,
                  struct err *e)
{
    size_t vocab = (size_t)g->sampler.vocab;
    const int32_t *proposed = g->ids + g->n_ids; /* take() writes what is there already */
    bool keeps = true;
    *more = true;
    for (int i = 0; i <= k && *more && keeps; i++) {
        uint64_t at = (uint64_t)r->n_out;
        int rc = distribution(g, g->base, g->logits + (size_t)i * vocab, g->p, e);
        if (rc != 0)
            return rc;
        keeps = i < k && accepts(g, i, proposed[i], at);
        if (i < k) {
            g->counts.judged[i]++;
            g->counts.kept[i] += keeps;
        }
        *more = take(g, r, keeps ? proposed[i] : own_token(g, i, i == k, at), n_max);
    }
    return 0;
}

/* A cache may hold what is decided but for the last token: that one is fed with the next pass. */
static void go_back(const struct generation *g, struct decoder *d)
{
    if (d && d->lengths[0] > g->n_ids - 1)
        d->lengths[0] = g->n_ids - 1;
}

static int pass(struct generation *g, struct decoder_request *r, int n_max, bool *more,
                struct err *e)
{
    struct decoder *b = g->base;
    int k = draft_room(g, r, n_max);
    int rc = k > 0 ? propose(g, r, &k, e) : 0;
    /* All but the last decided token need no logits: the prompt of the first pass. */
    int before = g->n_ids - 1 - b->lengths[0];
    if (rc == 0 && before > 0)
        rc = decoder_feed(b, 0, g->ids + b->lengths[0], before, NULL, e);
    if (rc == 0)
        rc = decoder_feed(b, 0, g->ids + g->n_ids - 1, k + 1, g->logits, e);
    if (rc == 0)
        rc = decide(g, r, k, n_max, more, e);
    g->counts.base_passes++;
    go_back(g, b);
    go_back(g, g->draft);
    return rc;
}

int generation_answer(struct generation *g, struct decoder_request *r, struct err *e)
{
    int positions = g->base->plan.positions;
    r->n_out = 0;
    r->stopped = false;
    if (r->n_prompt < 1 || r->n_prompt > positions)
        return err_set(e, ERR_LIMIT, "a prompt of %d tokens, the cache holds 1 to %d", r->n_prompt,
                       positions);
    /* The last token of an answer is not fed. */
    int n_max = r->max_new < positions - r->n_prompt + 1 ? r->max_new : positions - r->n_prompt + 1;
    decoder_reset(g->base, 0);
    if (g->draft)
        decoder_reset(g->draft, 0);
    memcpy(g->ids, r->prompt, (size_t)r->n_prompt * sizeof *g->ids);
    g->n_ids = r->n_prompt;
    g->counts.answers++;
    bool more = n_max > 0;
    int rc = 0;
    while (more && rc == 0) {
        int n_before = r->n_out;
        rc = pass(g, r, n_max, &more, e);
        if (rc == 0 && g->on_tokens && r->n_out > n_before)
            more = g->on_tokens(g->context, r->out, r->n_out) && more;
    }
    return rc;
}

#define PERIOD_MAX 8

int generation_loop_period(const int32_t *ids, int n)
{
    for (int period = 1; period <= PERIOD_MAX && 4 * period <= n; period++) {
        int same = 0;
        while (same < n - period && ids[n - 1 - same] == ids[n - 1 - same - period])
            same++;
        if (2 * (same + period) >= n)
            return period;
    }
    return 0;
}
