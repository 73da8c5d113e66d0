#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/rng.h"
#include "stages/model/compute.h"
#include "stages/model/layer.h"
#include "stages/model/quant.h"
#include "stages/model/transformer.h"
#include "tests/unit/reference_model.h"
#include "tests/unit/scratch.h"

#define TOKENS 31
#define RANK 4

static const struct shape tiny = {64, 32, 2, 2, 4, 2, 8, 48, 16, 10000, 1e-5, false};
static const struct shape tiny_quant = {64, 32, 2, 2, 4, 2, 8, 48, 16, 10000, 1e-5, true};
static const struct shape tiny_draft = {64, 32, 3, 0, 4, 4, 8, 48, 16, 10000, 1e-5, false};

/* A packed batch of three segments (13, 1 and 16 tokens plus one more), some tokens unlabelled. */
struct fixture {
    struct compute c;
    struct model m;
    struct adapter a;
    int32_t ids[TOKENS], pos[TOKENS], target[TOKENS], start[5];
    struct batch b;
    bool recompute;
    size_t wide_bytes_max;
    int tokens_max; /* 0 = TOKENS */
    int late_max;
};

static void fixture_open(struct fixture *f, const struct shape *s, int n_threads,
                         const char *kernels)
{
    struct err e = {0};
    memset(f, 0, sizeof *f);
    need(compute_open(&f->c, n_threads, kernels, &e), &e);
    need(model_init(&f->m, s, &e), &e);
    model_randomise(&f->m, 5);
    struct rng r = rng_open(5, "fixture");
    for (size_t i = 0; i < f->m.n_flat; i++) /* norms are not all one, embeddings not tiny */
        f->m.flat[i] += 0.1f * rng_normal_at(&r, i);
    need(adapter_init(&f->a, s, RANK, 0, 6, &e), &e);
    for (size_t i = 0; i < f->a.n_values; i++)
        f->a.values[i] += 0.1f * rng_normal_at(&r, 1000000 + i);
    for (int i = 0; i < s->layers_0; i++) { /* small enough to clip some values */
        f->m.layers[i].key_range = (struct kv_range){-1.6f, 1.6f};
        f->m.layers[i].value_range = (struct kv_range){-0.9f, 1.0f};
    }
    static const int32_t starts[5] = {0, 13, 14, 30, TOKENS};
    memcpy(f->start, starts, sizeof starts);
    for (int i = 0, segment = 0; i < TOKENS; i++) {
        segment += i == starts[segment + 1];
        f->ids[i] = (int32_t)(rng_u32_at(&r, 77 + (uint64_t)i) % 64);
        f->target[i] = i % 3 == 0 ? -1 : (int32_t)(rng_u32_at(&r, 777 + (uint64_t)i) % 64);
        f->pos[i] = i - starts[segment];
    }
    f->b = (struct batch){TOKENS, f->ids, f->pos, f->target, 4, f->start, NULL};
}

static void fixture_close(struct fixture *f)
{
    adapter_release(&f->a);
    model_release(&f->m);
    compute_close(&f->c);
}

static double pass(struct fixture *f, enum train_what what, bool lora, int slice_rows, float *grads)
{
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = f->tokens_max ? f->tokens_max : TOKENS,
                                    .late_max = f->late_max,
                                    .rank = RANK,
                                    .what = what,
                                    .slice_rows = slice_rows,
                                    .recompute = f->recompute,
                                    .precision = f->c.precision,
                                    .wide_bytes_max = f->wide_bytes_max};
    struct loss_sum sum = {0, 0, 0};
    struct err e = {0};
    need(transformer_reserve(&t, &f->c, &f->m.shape, &plan, &e), &e);
    assert_int_equal(t.arena.used_bytes, t.arena.capacity_bytes);
    need(transformer_loss(&t, &f->m, lora ? &f->a : NULL, &f->b, 0.5f, grads, &sum, &e), &e);
    transformer_release(&t);
    return sum.loss;
}

/* Logits of the labelled rows. */
static int logits_of(struct fixture *f, bool lora, const struct batch *b, float *logits)
{
    struct transformer t = {0};
    struct transformer_plan plan = {
        .tokens_max = TOKENS, .rank = RANK, .what = TRAIN_NOTHING, .precision = f->c.precision};
    struct err e = {0};
    int n_rows = 0;
    float *hidden = xalloc_array((size_t)TOKENS * (size_t)f->m.shape.hidden, sizeof *hidden);
    need(transformer_reserve(&t, &f->c, &f->m.shape, &plan, &e), &e);
    need(transformer_hidden(&t, &f->m, lora ? &f->a : NULL, b, hidden, &n_rows, &e), &e);
    transformer_logits(&f->c, &f->m, n_rows, hidden, logits);
    transformer_release(&t);
    xfree(hidden);
    return n_rows;
}

static void check_forward(const struct shape *s)
{
    struct fixture f;
    struct reference r;
    fixture_open(&f, s, 2, "auto");
    reference_init(&r, &f.m, &f.a);
    double *expected = xalloc_array((size_t)TOKENS * 64, sizeof *expected);
    float *logits = xalloc_array((size_t)TOKENS * 64, sizeof *logits);
    double loss = reference_pass(&r, &f.b, expected);
    double worst = 0, found = pass(&f, TRAIN_NOTHING, true, 0, NULL);
    int n_rows = logits_of(&f, true, &f.b, logits);
    for (int t = 0, row = 0; t < TOKENS; t++) {
        if (f.target[t] < 0)
            continue;
        for (int v = 0; v < 64; v++)
            worst = fmax(worst, fabs((double)logits[row * 64 + v] - expected[t * 64 + v]));
        row++;
        assert_true(row <= n_rows);
    }
    assert_true(worst < 2e-5);
    assert_true(fabs(found - loss) < 1e-5 * loss);
    xfree(expected);
    xfree(logits);
    reference_release(&r);
    fixture_close(&f);
}

static void forward_equals_reference(void **state)
{
    (void)state;
    check_forward(&tiny);
    check_forward(&tiny_quant);
    check_forward(&tiny_draft);
}

/* d/dt of the reference loss along `direction` over n parameters, by central differences. */
static double slope(struct reference *r, const struct batch *b, double *parameters,
                    const double *direction, size_t n)
{
    const double step = 1e-5;
    double side[2];
    for (int i = 0; i < 2; i++) {
        double move = i == 0 ? step : -step;
        for (size_t j = 0; j < n; j++)
            parameters[j] += move * direction[j];
        side[i] = reference_pass(r, b, NULL);
        for (size_t j = 0; j < n; j++)
            parameters[j] -= move * direction[j];
    }
    return (side[0] - side[1]) / (2 * step);
}

/* One random direction over the whole tensor and some single parameters. */
static void check_tensor(struct reference *r, const struct batch *b, double *parameters,
                         const float *grads, size_t n, const char *name)
{
    double *direction = xalloc_array(n, sizeof *direction);
    struct rng random = rng_open(9, name);
    for (int trial = 0; trial < 4; trial++) {
        double found = 0, size = 0;
        memset(direction, 0, n * sizeof *direction);
        for (size_t j = 0; j < n && trial == 0; j++)
            direction[j] = (double)rng_normal_at(&random, j);
        if (trial > 0)
            direction[rng_u32_at(&random, 5000000 + (uint64_t)trial) % n] = 1;
        for (size_t j = 0; j < n; j++) {
            found += direction[j] * (double)grads[j];
            size += direction[j] * direction[j] * (double)grads[j] * (double)grads[j];
        }
        double expected = 0.5 * slope(r, b, parameters, direction, n);
        if (!(fabs(found - expected) <= 2e-4 * sqrt(size) + 2e-6))
            fail_msg("%s, direction %d: gradient %.9g, central difference %.9g", name, trial, found,
                     expected);
    }
    xfree(direction);
}

static void check_gradients(const struct shape *s, bool lora)
{
    struct fixture f;
    struct reference r;
    fixture_open(&f, s, 2, "auto");
    reference_init(&r, &f.m, lora ? &f.a : NULL);
    size_t n = lora ? f.a.n_values : f.m.n_flat;
    float *grads = xalloc_array(n, sizeof *grads);
    pass(&f, lora ? TRAIN_LORA : TRAIN_FULL, lora, 0, grads);
    reference_pass(&r, &f.b, NULL);
    if (s->kv_quant) {
        assert_true(r.kv_clipped > 0);
        r.kv = REFERENCE_KV_STRAIGHT;
    }
    for (int i = 0; lora && i < shape_n_modules(s); i++) {
        struct shape_module m;
        shape_module(s, i, RANK, &m);
        check_tensor(&r, &f.b, r.lora + m.a_offset, grads + m.a_offset, (size_t)(m.in * RANK),
                     m.name);
        check_tensor(&r, &f.b, r.lora + m.b_offset, grads + m.b_offset, (size_t)(m.out * RANK),
                     m.name);
    }
    for (int i = 0; !lora && i < shape_n_tensors(s); i++) {
        struct shape_tensor t;
        shape_tensor(s, i, &t);
        check_tensor(&r, &f.b, r.flat + t.offset, grads + t.offset, (size_t)(t.n * t.k), t.name);
    }
    xfree(grads);
    reference_release(&r);
    fixture_close(&f);
}

static void lora_gradients_equal_differences(void **state)
{
    (void)state;
    check_gradients(&tiny, true);
}

static void full_gradients_equal_differences(void **state)
{
    (void)state;
    check_gradients(&tiny, false);
    check_gradients(&tiny_draft, false);
}

static void kv_quant_gradients_are_straight_through(void **state)
{
    (void)state;
    check_gradients(&tiny_quant, true);
    check_gradients(&tiny_quant, false);
}

static void zero_b_equals_base(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, &tiny_quant, 2, "auto");
    float *with = xalloc_array((size_t)TOKENS * 64, sizeof *with);
    float *without = xalloc_array((size_t)TOKENS * 64, sizeof *without);
    for (int i = 0; i < shape_n_modules(&tiny_quant); i++) {
        struct shape_module m;
        shape_module(&tiny_quant, i, RANK, &m);
        memset(adapter_b(&f.a, &m), 0, sizeof(float) * (size_t)(m.out * RANK));
    }
    int n = logits_of(&f, true, &f.b, with);
    assert_int_equal(n, logits_of(&f, false, &f.b, without));
    assert_memory_equal(with, without, sizeof(float) * (size_t)(n * 64));
    xfree(with);
    xfree(without);
    fixture_close(&f);
}

static void packed_equals_unpacked(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, &tiny_quant, 2, "auto");
    float *packed = xalloc_array((size_t)TOKENS * 64, sizeof *packed);
    float *alone = xalloc_array((size_t)TOKENS * 64, sizeof *alone);
    int n = logits_of(&f, true, &f.b, packed), row = 0;
    for (int i = 0; i < f.b.n_segments; i++) {
        int first = f.start[i];
        int32_t start[2] = {0, f.start[i + 1] - first};
        struct batch b = {start[1], f.ids + first, f.pos + first, f.target + first, 1, start, NULL};
        int rows = logits_of(&f, true, &b, alone);
        assert_memory_equal(alone, packed + (size_t)row * 64, sizeof(float) * (size_t)(rows * 64));
        row += rows;
    }
    assert_int_equal(row, n);
    xfree(packed);
    xfree(alone);
    fixture_close(&f);
}

/* Threads, kernel sets and the size of slices change no bit of loss and gradients. */
static void same_bits_everywhere(void **state)
{
    static const struct {
        int threads, slice_rows;
        const char *kernels;
        bool recompute;
    } ways[] = {{1, 0, "portable", false}, {2, 0, "portable", true}, {2, 16, "auto", false},
                {1, 3, "auto", true},      {2, 0, "avx2", false},    {3, 0, "avx512", true}};
    float *first[2] = {NULL, NULL};
    double losses[2] = {0, 0};
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        for (int lora = 0; lora < 2; lora++) {
            struct compute probe = {0};
            struct err e = {0};
            if (compute_open(&probe, 1, ways[i].kernels, &e) != 0)
                continue; /* not on this CPU */
            compute_close(&probe);
            struct fixture f;
            fixture_open(&f, &tiny_quant, ways[i].threads, ways[i].kernels);
            f.recompute = ways[i].recompute;
            size_t n = lora ? f.a.n_values : f.m.n_flat;
            float *grads = xalloc_array(n, sizeof *grads);
            double loss =
                pass(&f, lora ? TRAIN_LORA : TRAIN_FULL, lora != 0, ways[i].slice_rows, grads);
            if (first[lora] == NULL) {
                first[lora] = grads;
                losses[lora] = loss;
            } else {
                assert_memory_equal(&loss, &losses[lora], sizeof loss);
                assert_memory_equal(grads, first[lora], n * sizeof *grads);
                xfree(grads);
            }
            fixture_close(&f);
        }
    }
    xfree(first[0]);
    xfree(first[1]);
}

/* Every linear rounded and packed at 2 bits; the caller frees what comes back. */
static unsigned char *pack_linears(struct fixture *f, float *scales)
{
    enum { BYTES = 64 * 64 / 4 };
    const struct shape *s = &f->m.shape;
    unsigned char *all = NULL, *at = NULL;
    assert_int_equal(posix_memalign((void **)&all, 64, (size_t)LINEAR_SLOTS * 4 * BYTES), 0);
    at = all;
    for (int i = 0; i < s->layers_0 + s->layers_1; i++) {
        for (int slot = 0; slot < LINEAR_SLOTS; slot++, at += BYTES, scales++) {
            struct weight *w = &f->m.layers[i].linear[slot];
            struct err e = {0};
            assert_true(weight_bytes(WEIGHT_Q2, w->n, w->k) <= BYTES);
            *scales = quant_scale_search_q2(&f->c, w->data, (size_t)w->n * (size_t)w->k);
            need(quant_pack_q2(w->data, w->n, w->k, *scales, false, at, &e), &e);
            *w = weight_codes(WEIGHT_Q2, w->n, w->k, at, scales, 1);
        }
    }
    return all;
}

/* Loss and gradients of a packed base in integers: near those in fp32, and the same bits from every
 * kernel set and number of threads. */
static void integers_are_near_and_the_same(void **state)
{
    static const struct {
        int threads;
        const char *kernels;
        enum compute_precision precision;
        bool recompute;
        size_t wide_bytes_max; /* 1: activations are kept in 16 bits */
    } ways[] = {{1, "auto", COMPUTE_F32, false, 0},   {1, "portable", COMPUTE_INT16, false, 0},
                {1, "avx2", COMPUTE_INT16, false, 1}, {2, "avx512", COMPUTE_INT16, true, 0},
                {2, "auto", COMPUTE_INT16, false, 1}, {3, "auto", COMPUTE_INT16, true, 1}};
    float *f32 = NULL, *int16 = NULL;
    double losses[2] = {0, 0};
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (!compute_has(ways[i].kernels))
            continue;
        struct fixture f;
        float scales[LINEAR_SLOTS * 4];
        fixture_open(&f, &tiny_quant, ways[i].threads, ways[i].kernels);
        unsigned char *packed = pack_linears(&f, scales);
        f.c.precision = ways[i].precision;
        f.recompute = ways[i].recompute;
        f.wide_bytes_max = ways[i].wide_bytes_max;
        size_t n = f.a.n_values;
        float *grads = xalloc_array(n, sizeof *grads);
        double loss = pass(&f, TRAIN_LORA, true, 0, grads);
        if (!f32) {
            f32 = grads;
            losses[0] = loss;
        } else if (!int16) {
            double error = 0, size = 0;
            for (size_t j = 0; j < n; j++) {
                error += pow((double)grads[j] - (double)f32[j], 2);
                size += pow((double)f32[j], 2);
            }
            assert_true(error > 0 && sqrt(error / size) < 2e-3);
            assert_true(fabs(loss - losses[0]) < 1e-3 * losses[0]);
            int16 = grads;
            losses[1] = loss;
        } else {
            assert_memory_equal(&loss, &losses[1], sizeof loss);
            assert_memory_equal(grads, int16, n * sizeof *grads);
            xfree(grads);
        }
        fixture_close(&f);
        free(packed);
    }
    xfree(f32);
    xfree(int16);
}

/* So wide that the feed-forward half takes 64 rows at a time: the same as a pass over the first 64
 * tokens and one over the others. */
/* Room for as many targets as there are is enough, whatever is kept; for one less is refused. */
static void room_for_targets(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        fixture_open(&f, &tiny_quant, 2, "auto");
        f.recompute = i == 1;
        f.c.precision = i == 2 ? COMPUTE_INT16 : COMPUTE_F32;
        f.wide_bytes_max = i == 2 ? 1 : 0;
        float *all = xalloc_array(f.a.n_values, sizeof *all);
        float *some = xalloc_array(f.a.n_values, sizeof *some);
        double loss = pass(&f, TRAIN_LORA, true, 0, all);
        for (int t = 0; t < TOKENS; t++)
            f.late_max += f.target[t] >= 0;
        assert_true(pass(&f, TRAIN_LORA, true, 0, some) == loss);
        assert_memory_equal(all, some, f.a.n_values * sizeof *all);
        struct transformer t = {0};
        struct transformer_plan plan = {.tokens_max = TOKENS,
                                        .late_max = f.late_max - 1,
                                        .rank = RANK,
                                        .what = TRAIN_LORA,
                                        .precision = f.c.precision};
        struct loss_sum sum = {0, 0, 0};
        struct err e = {0};
        need(transformer_reserve(&t, &f.c, &f.m.shape, &plan, &e), &e);
        assert_int_equal(transformer_loss(&t, &f.m, &f.a, &f.b, 1, NULL, &sum, &e), ERR_LIMIT);
        transformer_release(&t);
        xfree(all);
        xfree(some);
        fixture_close(&f);
    }
}

static void wide_layers_run_in_pieces(void **state)
{
    enum { ROWS = 64, ALL = 100 };
    static const struct shape wide = {64, 16, 2, 2, 2, 1, 8, 65536, 64, 10000, 1e-5, true};
    int32_t ids[ALL], pos[ALL], target[ALL], all_start[3] = {0, ROWS, ALL};
    int32_t parts_start[2][2] = {{0, ROWS}, {0, ALL - ROWS}};
    struct fixture f;
    (void)state;
    assert_int_equal(layer_ffn_rows(&wide, ALL), ROWS);
    fixture_open(&f, &wide, 2, "auto");
    struct rng r = rng_open(3, "wide");
    for (int i = 0; i < ALL; i++) {
        ids[i] = (int32_t)(rng_u32_at(&r, (uint64_t)i) % 64);
        pos[i] = i < ROWS ? i : i - ROWS;
        target[i] = i % 5 == 1 ? -1 : (int32_t)(rng_u32_at(&r, 1000 + (uint64_t)i) % 64);
    }
    float *at_once = xalloc_array(f.a.n_values, sizeof *at_once);
    float *in_turn = xalloc_array(f.a.n_values, sizeof *in_turn);
    f.b = (struct batch){ALL, ids, pos, target, 2, all_start, NULL};
    f.tokens_max = ALL;
    pass(&f, TRAIN_LORA, true, 0, at_once);
    f.b = (struct batch){ROWS, ids, pos, target, 1, parts_start[0], NULL};
    pass(&f, TRAIN_LORA, true, 0, in_turn);
    f.b =
        (struct batch){ALL - ROWS, ids + ROWS, pos + ROWS, target + ROWS, 1, parts_start[1], NULL};
    pass(&f, TRAIN_LORA, true, 0, in_turn);
    assert_memory_equal(at_once, in_turn, f.a.n_values * sizeof *at_once);
    xfree(at_once);
    xfree(in_turn);
    fixture_close(&f);
}

/* Gradients of two passes add up; a batch without labels adds nothing. */
static void gradients_accumulate(void **state)
{
    struct fixture f;
    (void)state;
    fixture_open(&f, &tiny, 1, "auto");
    float *once = xalloc_array(f.a.n_values, sizeof *once);
    float *twice = xalloc_array(f.a.n_values, sizeof *twice);
    pass(&f, TRAIN_LORA, true, 0, once);
    memcpy(twice, once, f.a.n_values * sizeof *once);
    pass(&f, TRAIN_LORA, true, 0, twice);
    for (size_t i = 0; i < f.a.n_values; i++)
        assert_true(fabsf(twice[i] - 2 * once[i]) <= 1e-5f * fabsf(once[i]) + 1e-6f);
    memcpy(twice, once, f.a.n_values * sizeof *once);
    for (int i = 0; i < TOKENS; i++)
        f.target[i] = -1;
    assert_true(pass(&f, TRAIN_LORA, true, 0, twice) == 0);
    assert_memory_equal(twice, once, f.a.n_values * sizeof *once);
    xfree(once);
    xfree(twice);
    fixture_close(&f);
}

/* Tokens with weight 3 add twice more of their own gradient; the loss stays as it is. */
static void weights_scale_gradients(void **state)
{
    struct fixture f;
    float weight[TOKENS];
    int32_t target[TOKENS];
    (void)state;
    fixture_open(&f, &tiny, 1, "auto");
    size_t n = f.a.n_values;
    float *all = xalloc_array(n, sizeof *all), *some = xalloc_array(n, sizeof *some);
    float *weighed = xalloc_array(n, sizeof *weighed);
    double loss = pass(&f, TRAIN_LORA, true, 0, all);
    memcpy(target, f.target, sizeof target);
    for (int i = 0; i < TOKENS; i++) {
        weight[i] = i % 3 == 0 ? 3 : 1;
        f.target[i] = i % 3 == 0 ? target[i] : -1;
    }
    pass(&f, TRAIN_LORA, true, 0, some);
    memcpy(f.target, target, sizeof target);
    f.b.weight = weight;
    assert_true(pass(&f, TRAIN_LORA, true, 5, weighed) == loss);
    for (size_t i = 0; i < n; i++) {
        float expected = all[i] + 2 * some[i];
        assert_true(fabsf(weighed[i] - expected) <= 1e-4f * fabsf(expected) + 1e-5f);
    }
    xfree(all);
    xfree(some);
    xfree(weighed);
    fixture_close(&f);
}

/* Tokens with a weight below 1 are in the gradient and in no sum. */
static void light_tokens_are_taught_along(void **state)
{
    struct fixture f;
    float weight[TOKENS];
    int32_t target[TOKENS];
    (void)state;
    fixture_open(&f, &tiny, 1, "auto");
    size_t n = f.a.n_values;
    float *all = xalloc_array(n, sizeof *all), *some = xalloc_array(n, sizeof *some);
    float *weighed = xalloc_array(n, sizeof *weighed);
    pass(&f, TRAIN_LORA, true, 0, all);
    memcpy(target, f.target, sizeof target);
    for (int i = 0; i < TOKENS; i++) {
        weight[i] = i % 3 == 0 ? 1 : 0.25f;
        f.target[i] = i % 3 == 0 ? target[i] : -1;
    }
    double loss = pass(&f, TRAIN_LORA, true, 0, some);
    memcpy(f.target, target, sizeof target);
    f.b.weight = weight;
    assert_true(pass(&f, TRAIN_LORA, true, 5, weighed) == loss);
    for (size_t i = 0; i < n; i++) {
        float expected = 0.25f * all[i] + 0.75f * some[i];
        assert_true(fabsf(weighed[i] - expected) <= 1e-4f * fabsf(expected) + 1e-5f);
    }
    xfree(all);
    xfree(some);
    xfree(weighed);
    fixture_close(&f);
}

static void overfit(bool lora)
{
    struct fixture f;
    struct err e = {0};
    struct transformer t = {0};
    struct transformer_plan plan = {
        .tokens_max = TOKENS, .rank = lora ? RANK : 0, .what = lora ? TRAIN_LORA : TRAIN_FULL};
    static const int32_t starts[9] = {0, 4, 8, 12, 16, 19, 23, 27, TOKENS};
    int32_t start[9];
    fixture_open(&f, &tiny_quant, 2, "auto");
    memcpy(start, starts, sizeof start);
    for (int i = 0, segment = 0; i < TOKENS; i++) { /* eight examples; predict the next token */
        segment += i == starts[segment + 1];
        f.pos[i] = i - starts[segment];
        f.target[i] = i + 1 == starts[segment + 1] ? -1 : f.ids[i + 1];
        f.ids[i] = i == starts[segment] ? segment : f.ids[i]; /* told apart by the first token */
    }
    f.b.n_segments = 8;
    f.b.segment_start = start;
    for (int i = 0; i < 64 * 32; i++) /* frozen in one case: logits must be able to grow */
        f.m.flat[i] *= 5;
    need(transformer_reserve(&t, &f.c, &f.m.shape, &plan, &e), &e);
    size_t n = lora ? f.a.n_values : f.m.n_flat;
    float *grads = xalloc_array(n, sizeof *grads);
    float *m = xalloc_array(n, sizeof *m), *v = xalloc_array(n, sizeof *v);
    struct loss_sum sum = {0, 0, 0};
    for (int step = 1; step <= 150; step++) {
        struct adamw_step adamw = {0.01f, 0.9f, 0.999f, 1e-8f, 0.0f, 1.0f, step};
        sum = (struct loss_sum){0, 0, 0};
        memset(grads, 0, n * sizeof *grads);
        need(transformer_loss(&t, &f.m, lora ? &f.a : NULL, &f.b, 1.0f / TOKENS, grads, &sum, &e),
             &e);
        ops_adamw(&f.c, n, &adamw, lora ? f.a.values : f.m.flat, grads, m, v);
    }
    assert_true(sum.loss / (double)sum.n_tokens < 0.05);
    assert_int_equal(sum.n_correct, sum.n_tokens);
    xfree(grads);
    xfree(m);
    xfree(v);
    transformer_release(&t);
    fixture_close(&f);
}

static void overfits_eight_examples(void **state)
{
    (void)state;
    overfit(true);
    overfit(false);
}

static void observer_follows_values(void **state)
{
    struct fixture f;
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = TOKENS, .what = TRAIN_NOTHING};
    struct loss_sum sum = {0, 0, 0};
    struct err e = {0};
    (void)state;
    fixture_open(&f, &tiny_quant, 1, "auto");
    need(transformer_reserve(&t, &f.c, &f.m.shape, &plan, &e), &e);
    need(transformer_loss(&t, &f.m, NULL, &f.b, 0, NULL, &sum, &e), &e);
    for (int i = 0; i < 4; i++)
        assert_true(t.kv_abs_max[i] > 0.1f && t.kv_abs_max[i] < 100);
    f.m.layers[0].key_range = (struct kv_range){0, 0};
    f.m.layers[1].value_range = (struct kv_range){-2, 2};
    model_observe_kv(&f.m, t.kv_abs_max, 0.9f);
    assert_true(f.m.layers[0].key_range.max == t.kv_abs_max[0]);
    assert_true(fabsf(f.m.layers[1].value_range.max - (1.8f + 0.1f * t.kv_abs_max[3])) < 1e-5f);
    transformer_release(&t);
    fixture_close(&f);
}

/* The first module of this name with A and B so large that its output, or its square, is no float:
 * the loss could be finite (norms give zeros, quantisers clip). */
static void overflow(const char *module, float factor, const char *says)
{
    struct fixture f;
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = TOKENS, .rank = RANK, .what = TRAIN_NOTHING};
    struct loss_sum sum = {0, 0, 0};
    struct shape_module m;
    struct err e = {0};
    int i = 0;
    fixture_open(&f, &tiny_quant, 1, "auto");
    do
        shape_module(&tiny_quant, i++, RANK, &m);
    while (strstr(m.name, module) == NULL);
    for (int j = 0; j < m.in * RANK; j++)
        adapter_a(&f.a, &m)[j] *= factor;
    for (int j = 0; j < m.out * RANK; j++)
        adapter_b(&f.a, &m)[j] *= factor;
    need(transformer_reserve(&t, &f.c, &tiny_quant, &plan, &e), &e);
    assert_int_equal(transformer_loss(&t, &f.m, &f.a, &f.b, 0, NULL, &sum, &e), ERR_NUMERIC);
    if (strstr(e.text, says) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", says, e.text);
    transformer_release(&t);
    fixture_close(&f);
}

static void what_is_not_finite_is_named(void **state)
{
    (void)state;
    overflow("layer_0.attention.qkv_transform.adapters.base_adapter.lora_0", 1e12f,
             "segment_0.layer_0.attention.qk_norm.query_norm.weight");
    overflow("layer_0.attention.qkv_transform.adapters.base_adapter.lora_1", 1e12f,
             "segment_0.layer_0.attention.qk_norm.key_norm.weight");
    overflow("layer_0.attention.qkv_transform.adapters.base_adapter.lora_2", 1e20f,
             "segment_0.layer_0.attention.kv_quantizer.value_quantizer");
    overflow("layer_0.attention.output_transform", 1e12f,
             "segment_0.layer_0.feed_forward.norm.weight");
    overflow("layer_0.feed_forward.output_transform", 1e12f,
             "segment_0.layer_1.attention.norm.weight");
    overflow("segment_1.layer_1.feed_forward.output_transform", 1e12f, "output_norm.weight");
    overflow("segment_1.layer_0.attention.q_transform", 1e12f,
             "segment_1.layer_0.attention.q_norm.query_norm.weight");
}

static void bad_batches_are_refused(void **state)
{
    struct fixture f;
    struct err e = {0};
    (void)state;
    fixture_open(&f, &tiny, 1, "portable");
    assert_int_equal(batch_check(&f.b, &tiny, &e), 0);
    f.ids[3] = 64;
    assert_int_equal(batch_check(&f.b, &tiny, &e), ERR_FORMAT);
    f.ids[3] = 0;
    e = (struct err){0};
    f.pos[14] = 1;
    assert_int_equal(batch_check(&f.b, &tiny, &e), ERR_FORMAT);
    f.pos[14] = 0;
    e = (struct err){0};
    f.start[1] = 14;
    assert_int_equal(batch_check(&f.b, &tiny, &e), ERR_FORMAT);
    e = (struct err){0};
    f.start[1] = 0;
    f.start[0] = 1;
    assert_int_equal(batch_check(&f.b, &tiny, &e), ERR_FORMAT);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_equals_reference),
        cmocka_unit_test(lora_gradients_equal_differences),
        cmocka_unit_test(full_gradients_equal_differences),
        cmocka_unit_test(kv_quant_gradients_are_straight_through),
        cmocka_unit_test(zero_b_equals_base),
        cmocka_unit_test(packed_equals_unpacked),
        cmocka_unit_test(same_bits_everywhere),
        cmocka_unit_test(gradients_accumulate),
        cmocka_unit_test(weights_scale_gradients),
        cmocka_unit_test(light_tokens_are_taught_along),
        cmocka_unit_test(integers_are_near_and_the_same),
        cmocka_unit_test(room_for_targets),
        cmocka_unit_test(wide_layers_run_in_pieces),
        cmocka_unit_test(overfits_eight_examples),
        cmocka_unit_test(observer_follows_values),
        cmocka_unit_test(what_is_not_finite_is_named),
        cmocka_unit_test(bad_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
