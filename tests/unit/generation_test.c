#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/rng.h"
#include "stages/model/generation.h"
#include "tests/unit/scratch.h"

#define VOCAB 32
#define POSITIONS 48

static const struct shape base_shape = {VOCAB, 32, 2, 2, 4, 2, 8, 48, 64, 10000, 1e-5, true};
static const struct shape draft_shape = {VOCAB, 16, 1, 1, 2, 1, 8, 24, 40, 10000, 1e-5, false};

struct fixture {
    struct compute c;
    struct model base, draft;
    struct adapter a;
    struct decoder base_decoder, draft_decoder;
    int32_t prompt[POSITIONS];
};

static void model_make(struct model *m, const struct shape *s, int64_t seed)
{
    struct err e = {0};
    need(model_init(m, s, &e), &e);
    model_randomise(m, seed);
    struct rng r = rng_open(seed, "fixture");
    for (size_t i = 0; i < m->n_flat; i++)
        m->flat[i] += 0.1f * rng_normal_at(&r, i);
}

static void fixture_open(struct fixture *f)
{
    struct err e = {0};
    memset(f, 0, sizeof *f);
    need(compute_open(&f->c, 1, "auto", &e), &e);
    model_make(&f->base, &base_shape, 5);
    model_make(&f->draft, &draft_shape, 6);
    for (int i = 0; i < base_shape.layers_0; i++) {
        f->base.layers[i].key_range = (struct kv_range){-4, 4};
        f->base.layers[i].value_range = (struct kv_range){-2, 2};
    }
    struct rng r = rng_open(5, "prompt");
    need(adapter_init(&f->a, &base_shape, 4, 0, 6, &e), &e);
    for (size_t i = 0; i < f->a.n_values; i++)
        f->a.values[i] += 0.1f * rng_normal_at(&r, 1000 + i);
    for (int i = 0; i < POSITIONS; i++)
        f->prompt[i] = (int32_t)(rng_u32_at(&r, (uint64_t)i) % VOCAB);
    struct decoder_plan base = {1, POSITIONS, 0}, draft = {1, 40, 0};
    need(decoder_reserve(&f->base_decoder, &f->c, &f->base, &f->a, &base, &e), &e);
    need(decoder_reserve(&f->draft_decoder, &f->c, &f->draft, NULL, &draft, &e), &e);
}

static void fixture_close(struct fixture *f)
{
    decoder_release(&f->draft_decoder);
    decoder_release(&f->base_decoder);
    adapter_release(&f->a);
    model_release(&f->draft);
    model_release(&f->base);
    compute_close(&f->c);
}

static const int32_t stops[] = {3, 4};

static struct generation_plan greedy_plan(int draft_tokens)
{
    return (struct generation_plan){.sampling = {.temperature = 0, .top_p = 1},
                                    .draft_tokens = draft_tokens,
                                    .stop_ids = stops,
                                    .n_stop = 2};
}

/* With and without a draft: what decoder_greedy gives. The longer ones fill both caches. */
static void greedy_equals_the_decoder(void **state)
{
    struct fixture f;
    struct err e = {0};
    int n_stopped = 0, n_full = 0;
    (void)state;
    fixture_open(&f);
    for (int k = 0; k <= GENERATION_DRAFT_TOKENS_MAX; k++) {
        struct generation g;
        struct generation_plan plan = greedy_plan(k);
        plan.draft_confidence = 0.1 * (k % 3);
        generation_init(&g, &f.base_decoder, k ? &f.draft_decoder : NULL, &plan);
        for (int i = 0; i < 12; i++) {
            int32_t out[2][POSITIONS + 1];
            struct decoder_request r[2];
            for (int way = 0; way < 2; way++)
                r[way] = (struct decoder_request){.prompt = f.prompt + i,
                                                  .n_prompt = 1 + 3 * i,
                                                  .max_new = i % 4 == 3 ? POSITIONS : 5 * i,
                                                  .out = out[way]};
            need(decoder_greedy(&f.base_decoder, &r[0], 1, stops, 2, NULL, NULL, &e), &e);
            need(generation_answer(&g, &r[1], &e), &e);
            assert_int_equal(r[0].n_out, r[1].n_out);
            assert_int_equal(r[0].stopped, r[1].stopped);
            assert_memory_equal(out[0], out[1], (size_t)r[0].n_out * sizeof out[0][0]);
            n_stopped += r[0].stopped;
            n_full += r[0].n_prompt + r[0].n_out == POSITIONS + 1;
        }
        generation_release(&g);
    }
    assert_true(n_stopped > 0 && n_full > 0);
    fixture_close(&f);
}

/* A draft that is the base itself: everything is kept. */
static void a_perfect_draft_is_kept(void **state)
{
    struct fixture f;
    struct decoder twin = {0};
    struct decoder_plan plan = {1, POSITIONS, 0};
    struct err e = {0};
    int32_t out[24];
    (void)state;
    fixture_open(&f);
    need(decoder_reserve(&twin, &f.c, &f.base, &f.a, &plan, &e), &e);
    for (int way = 0; way < 2; way++) {
        struct generation g;
        struct generation_plan p = greedy_plan(3);
        p.n_stop = 0;
        p.sampling.temperature = way;
        p.sampling.seed = 3;
        struct decoder_request r = {.prompt = f.prompt, .n_prompt = 5, .max_new = 24, .out = out};
        generation_init(&g, &f.base_decoder, &twin, &p);
        need(generation_answer(&g, &r, &e), &e);
        assert_int_equal(g.counts.tokens, 24);
        assert_int_equal(g.counts.base_passes, 6);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(g.counts.judged[k], 6);
            assert_int_equal(g.counts.kept[k], 6);
        }
        assert_int_equal(g.counts.judged[3], 0);
        generation_release(&g);
    }
    decoder_release(&twin);
    fixture_close(&f);
}

/* What the draft is not sure of is not proposed, and is no token that the base refused. */
static void doubts_are_not_proposed(void **state)
{
    struct fixture f;
    struct decoder twin = {0};
    struct decoder_plan plan = {1, POSITIONS, 0};
    struct err e = {0};
    int32_t out[24];
    static const double confidence[] = {1e-6, 1};
    (void)state;
    fixture_open(&f);
    need(decoder_reserve(&twin, &f.c, &f.base, &f.a, &plan, &e), &e);
    for (int way = 0; way < 2; way++) {
        struct generation g;
        struct generation_plan p = greedy_plan(3);
        p.n_stop = 0;
        p.draft_confidence = confidence[way];
        struct decoder_request r = {.prompt = f.prompt, .n_prompt = 5, .max_new = 24, .out = out};
        generation_init(&g, &f.base_decoder, &twin, &p);
        need(generation_answer(&g, &r, &e), &e);
        assert_int_equal(g.counts.tokens, 24);
        assert_int_equal(g.counts.base_passes, way ? 24 : 6);
        assert_int_equal(g.counts.judged[0], way ? 0 : 6);
        generation_release(&g);
    }
    decoder_release(&twin);
    fixture_close(&f);
}

static void logits_after(struct fixture *f, const int32_t *ids, int n, double p[VOCAB],
                         const struct sampler *s)
{
    struct err e = {0};
    decoder_reset(&f->base_decoder, 0);
    need(decoder_feed(&f->base_decoder, 0, ids, n, NULL, &e), &e);
    sampler_distribution(s, decoder_logits(&f->base_decoder, 0), p);
}

/* Two tokens sampled with a draft: their joint distribution is the base's, computed exactly. */
static void sampling_has_the_distribution_of_the_base(void **state)
{
    enum { ANSWERS = 6000, BINS = 8 }; /* each token's id by its low bits */
    struct fixture f;
    struct err e = {0};
    static double exact[BINS * BINS];
    static int counts[2][BINS * BINS];
    const struct sampling sampling = {1.2, 20, 0.97, 0};
    double first[VOCAB], second[VOCAB];
    int64_t kept = 0, drafted = 0;
    (void)state;
    fixture_open(&f);
    struct sampler s;
    sampler_init(&s, &sampling, VOCAB);
    int32_t ids[6];
    memcpy(ids, f.prompt, 5 * sizeof ids[0]);
    logits_after(&f, ids, 5, first, &s);
    for (int32_t i = 0; i < VOCAB; i++) {
        if (first[i] == 0)
            continue;
        ids[5] = i;
        logits_after(&f, ids, 6, second, &s);
        for (int32_t j = 0; j < VOCAB; j++)
            exact[(i % BINS) * BINS + j % BINS] += first[i] * second[j];
    }
    sampler_release(&s);
    for (int way = 0; way < 2; way++)
        for (int i = 0; i < ANSWERS; i++) {
            struct generation g;
            struct generation_plan plan = greedy_plan(2);
            int32_t out[4];
            struct decoder_request r = {
                .prompt = f.prompt, .n_prompt = 5, .max_new = 4, .out = out};
            plan.sampling = sampling;
            plan.sampling.seed = i;
            plan.n_stop = 0;
            generation_init(&g, &f.base_decoder, way ? &f.draft_decoder : NULL, &plan);
            need(generation_answer(&g, &r, &e), &e);
            assert_int_equal(r.n_out, 4);
            counts[way][(out[0] % BINS) * BINS + out[1] % BINS]++;
            kept += g.counts.kept[0];
            drafted += g.counts.judged[0];
            generation_release(&g);
        }
    assert_true(kept > drafted / 10 && kept < drafted * 9 / 10); /* both branches are at work */
    for (int way = 0; way < 2; way++) {
        double sum = 0;
        for (int i = 0; i < BINS * BINS; i++) {
            double expected = exact[i] * ANSWERS;
            if (expected > 0)
                sum += (counts[way][i] - expected) * (counts[way][i] - expected) / expected;
            else
                assert_int_equal(counts[way][i], 0);
        }
        assert_true(sum < 103.4); /* 63 degrees: 0.001 */
    }
    fixture_close(&f);
}

struct seen {
    int n_calls, n_ids, end_at;
};

static bool on_tokens(void *context, const int32_t *ids, int n_ids)
{
    struct seen *s = context;
    (void)ids;
    assert_true(n_ids > s->n_ids);
    s->n_calls++;
    s->n_ids = n_ids;
    return n_ids < s->end_at;
}

static void tokens_are_told_and_may_end(void **state)
{
    struct fixture f;
    struct generation g;
    struct generation_plan plan = greedy_plan(2);
    struct err e = {0};
    int32_t out[30];
    struct seen seen = {.end_at = 100};
    (void)state;
    fixture_open(&f);
    plan.n_stop = 0;
    generation_init(&g, &f.base_decoder, &f.draft_decoder, &plan);
    g.on_tokens = on_tokens;
    g.context = &seen;
    struct decoder_request r = {.prompt = f.prompt, .n_prompt = 5, .max_new = 30, .out = out};
    need(generation_answer(&g, &r, &e), &e);
    assert_int_equal(seen.n_ids, 30);
    assert_int_equal(seen.n_calls, g.counts.base_passes);
    seen = (struct seen){.end_at = 7};
    need(generation_answer(&g, &r, &e), &e);
    assert_in_range(r.n_out, 7, 9);
    generation_release(&g);
    fixture_close(&f);
}

static void bad_logits_and_long_prompts_are_refused(void **state)
{
    struct fixture f;
    struct generation g;
    struct generation_plan plan = greedy_plan(2);
    struct err e = {0};
    int32_t out[4], longer[POSITIONS + 1] = {0};
    (void)state;
    fixture_open(&f);
    generation_init(&g, &f.base_decoder, &f.draft_decoder, &plan);
    struct decoder_request r = {
        .prompt = longer, .n_prompt = POSITIONS + 1, .max_new = 4, .out = out};
    assert_int_equal(generation_answer(&g, &r, &e), ERR_LIMIT);
    e = (struct err){0};
    r.n_prompt = 5;
    f.draft.flat[f.draft.final_norm - f.draft.flat] = NAN;
    assert_int_equal(generation_answer(&g, &r, &e), ERR_NUMERIC);
    assert_non_null(strstr(e.text, "draft"));
    generation_release(&g);
    fixture_close(&f);
}

static void loops_are_seen(void **state)
{
    (void)state;
    int32_t ids[48];
    for (int i = 0; i < 48; i++)
        ids[i] = i;
    assert_int_equal(generation_loop_period(ids, 48), 0);
    assert_int_equal(generation_loop_period(ids, 0), 0);
    for (int i = 24; i < 48; i++)
        ids[i] = 7;
    assert_int_equal(generation_loop_period(ids, 48), 1);
    assert_int_equal(generation_loop_period(ids, 40), 0); /* 16 of 40 */
    for (int i = 20; i < 48; i++)
        ids[i] = i % 3;
    assert_int_equal(generation_loop_period(ids, 48), 3);
    ids[47] = 99; /* found its way out */
    assert_int_equal(generation_loop_period(ids, 48), 0);
    for (int i = 0; i < 48; i++)
        ids[i] = i % 9; /* a list, longer than what counts */
    assert_int_equal(generation_loop_period(ids, 48), 0);
    assert_int_equal(generation_loop_period((const int32_t[]){5, 5, 5}, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_are_seen),
        cmocka_unit_test(greedy_equals_the_decoder),
        cmocka_unit_test(a_perfect_draft_is_kept),
        cmocka_unit_test(doubts_are_not_proposed),
        cmocka_unit_test(sampling_has_the_distribution_of_the_base),
        cmocka_unit_test(tokens_are_told_and_may_end),
        cmocka_unit_test(bad_logits_and_long_prompts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
