#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/rng.h"
#include "stages/model/decoder.h"
#include "stages/model/transformer.h"
#include "tests/unit/scratch.h"

#define LENGTH 100 /* more than one key tile */
#define VOCAB 64

static const struct shape shape = {VOCAB, 32, 2, 2, 4, 2, 8, 48, 128, 10000, 1e-5, true};

struct fixture {
    struct compute c;
    struct model m;
    struct adapter a;
    int32_t ids[LENGTH];
    float *expected; /* (LENGTH, V): logits of a training forward pass */
};

/* What training computes. */
static void fill_expected(struct fixture *f)
{
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = LENGTH,
                                    .rank = f->a.rank,
                                    .what = TRAIN_NOTHING,
                                    .precision = f->c.precision};
    struct err e = {0};
    int32_t pos[LENGTH], target[LENGTH], start[2] = {0, LENGTH};
    float *hidden = xalloc_array((size_t)LENGTH * (size_t)shape.hidden, sizeof *hidden);
    for (int i = 0; i < LENGTH; i++) {
        pos[i] = i;
        target[i] = 0;
    }
    struct batch b = {LENGTH, f->ids, pos, target, 1, start, NULL};
    need(transformer_reserve(&t, &f->c, &shape, &plan, &e), &e);
    need(transformer_hidden(&t, &f->m, &f->a, &b, hidden, NULL, &e), &e);
    transformer_logits(&f->c, &f->m, LENGTH, hidden, f->expected);
    transformer_release(&t);
    xfree(hidden);
}

static void fixture_open(struct fixture *f)
{
    struct err e = {0};
    memset(f, 0, sizeof *f);
    need(compute_open(&f->c, 2, "auto", &e), &e);
    need(model_init(&f->m, &shape, &e), &e);
    model_randomise(&f->m, 5);
    struct rng r = rng_open(5, "fixture");
    for (size_t i = 0; i < f->m.n_flat; i++)
        f->m.flat[i] += 0.1f * rng_normal_at(&r, i);
    need(adapter_init(&f->a, &shape, 4, 0, 6, &e), &e);
    for (size_t i = 0; i < f->a.n_values; i++)
        f->a.values[i] += 0.1f * rng_normal_at(&r, 1000000 + i);
    for (int i = 0; i < shape.layers_0; i++) {
        f->m.layers[i].key_range = (struct kv_range){-4, 4};
        f->m.layers[i].value_range = (struct kv_range){-2, 2};
    }
    for (int i = 0; i < LENGTH; i++)
        f->ids[i] = (int32_t)(rng_u32_at(&r, 77 + (uint64_t)i) % VOCAB);
    f->expected = xalloc_array((size_t)LENGTH * VOCAB, sizeof *f->expected);
    fill_expected(f);
}

static void fixture_close(struct fixture *f)
{
    xfree(f->expected);
    adapter_release(&f->a);
    model_release(&f->m);
    compute_close(&f->c);
}

static void check_row(const struct fixture *f, const struct decoder *d, int sequence, int row)
{
    assert_memory_equal(decoder_logits(d, sequence), f->expected + (size_t)row * VOCAB,
                        VOCAB * sizeof(float));
}

static void steps_equal_training(void **state)
{
    struct fixture f;
    struct decoder d = {0};
    struct decoder_plan plan = {1, LENGTH, 0};
    struct err e = {0};
    (void)state;
    fixture_open(&f);
    need(decoder_reserve(&d, &f.c, &f.m, &f.a, &plan, &e), &e);
    assert_int_equal(d.arena.used_bytes, d.arena.capacity_bytes);
    for (int i = 0; i < LENGTH; i++) {
        const int32_t sequence = 0;
        need(decoder_step(&d, &sequence, &f.ids[i], 1, &e), &e);
        check_row(&f, &d, 0, i);
    }
    const int32_t sequence = 0;
    assert_int_equal(decoder_step(&d, &sequence, &f.ids[0], 1, &e), ERR_LIMIT);
    decoder_release(&d);
    fixture_close(&f);
}

/* So do they in integers, with the adapter in halves. */
static void halves_and_integers_equal_training(void **state)
{
    struct fixture f;
    struct decoder d = {0};
    struct decoder_plan plan = {2, LENGTH, 16};
    struct err e = {0};
    (void)state;
    fixture_open(&f);
    assert_false(adapter_halve(&f.a)); /* its values are none of fp16 */
    assert_null(f.a.halves);
    adapter_round_f16(&f.a);
    f.c.precision = COMPUTE_INT16;
    fill_expected(&f);
    assert_true(adapter_halve(&f.a));
    assert_null(f.a.values);
    need(decoder_reserve(&d, &f.c, &f.m, &f.a, &plan, &e), &e);
    need(decoder_feed(&d, 1, f.ids, 37, NULL, &e), &e);
    check_row(&f, &d, 1, 36);
    for (int i = 0; i < LENGTH; i++) {
        const int32_t sequence = 0;
        need(decoder_step(&d, &sequence, &f.ids[i], 1, &e), &e);
        check_row(&f, &d, 0, i);
    }
    decoder_release(&d);
    fixture_close(&f);
}

static void pieces_equal_training(void **state)
{
    struct fixture f;
    struct decoder d = {0};
    struct decoder_plan plan = {2, LENGTH, 16};
    struct err e = {0};
    float *all = xalloc_array((size_t)LENGTH * VOCAB, sizeof *all);
    (void)state;
    fixture_open(&f);
    need(decoder_reserve(&d, &f.c, &f.m, &f.a, &plan, &e), &e);
    need(decoder_feed(&d, 1, f.ids, LENGTH, all, &e), &e);
    assert_memory_equal(all, f.expected, sizeof *all * LENGTH * VOCAB);
    check_row(&f, &d, 1, LENGTH - 1);
    need(decoder_feed(&d, 0, f.ids, 37, NULL, &e), &e);
    check_row(&f, &d, 0, 36);
    d.lengths[1] = 20; /* back, as after rejected drafted tokens */
    const int32_t sequences[2] = {1, 0}, ids[2] = {f.ids[20], f.ids[37]};
    need(decoder_step(&d, sequences, ids, 2, &e), &e);
    check_row(&f, &d, 1, 20);
    check_row(&f, &d, 0, 37);
    need(decoder_feed(&d, 0, f.ids + 38, 62, NULL, &e), &e);
    check_row(&f, &d, 0, LENGTH - 1);
    xfree(all);
    decoder_release(&d);
    fixture_close(&f);
}

static void count(void *context, size_t done)
{
    *(size_t *)context = done;
}

/* Answers of many requests over few sequences equal those of one at a time. */
static void greedy_is_independent_of_batching(void **state)
{
    enum { REQUESTS = 7, NEW = 20 };
    struct fixture f;
    struct decoder_request requests[2][REQUESTS];
    static int32_t out[2][REQUESTS][NEW];
    struct err e = {0};
    const int32_t stop = 3;
    size_t done = 0;
    (void)state;
    fixture_open(&f);
    for (int way = 0; way < 2; way++) {
        struct decoder d = {0};
        struct decoder_plan plan = {way == 0 ? 1 : 3, 64, 0};
        need(decoder_reserve(&d, &f.c, &f.m, &f.a, &plan, &e), &e);
        for (int i = 0; i < REQUESTS; i++)
            requests[way][i] = (struct decoder_request){.prompt = f.ids + 5 * i,
                                                        .n_prompt = 3 + 9 * (i % 7),
                                                        .max_new = i == 2 ? 0 : NEW,
                                                        .out = out[way][i]};
        need(decoder_greedy(&d, requests[way], REQUESTS, &stop, 1, count, &done, &e), &e);
        assert_int_equal(done, REQUESTS);
        decoder_release(&d);
    }
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(requests[0][i].n_out, requests[1][i].n_out);
        assert_int_equal(requests[0][i].stopped, requests[1][i].stopped);
        assert_memory_equal(out[0][i], out[1][i], sizeof out[0][i]);
    }
    assert_int_equal(requests[0][2].n_out, 0);
    fixture_close(&f);
}

static void greedy_is_argmax(void **state)
{
    struct fixture f;
    struct decoder d = {0};
    struct decoder_plan plan = {1, 64, 0};
    struct err e = {0};
    int32_t out[8];
    struct decoder_request r = {.prompt = NULL, .n_prompt = 10, .max_new = 1, .out = out};
    (void)state;
    fixture_open(&f);
    r.prompt = f.ids;
    need(decoder_reserve(&d, &f.c, &f.m, &f.a, &plan, &e), &e);
    need(decoder_greedy(&d, &r, 1, NULL, 0, NULL, NULL, &e), &e);
    assert_int_equal(r.n_out, 1);
    assert_int_equal(out[0], ops_argmax(f.expected + 9 * VOCAB, VOCAB));
    f.m.flat[f.m.final_norm - f.m.flat] = NAN;
    assert_int_equal(decoder_greedy(&d, &r, 1, NULL, 0, NULL, NULL, &e), ERR_NUMERIC);
    e = (struct err){0};
    r.n_prompt = 65;
    assert_int_equal(decoder_greedy(&d, &r, 1, NULL, 0, NULL, NULL, &e), ERR_LIMIT);
    decoder_release(&d);
    fixture_close(&f);
}

/* A norm makes zeros of what is too large to be squared, and zeros are an answer. */
static void too_large_is_no_answer(void **state)
{
    struct fixture f;
    struct decoder d = {0};
    struct decoder_plan plan = {1, LENGTH, 0};
    struct err e = {0};
    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < f.a.n_values; i++)
        f.a.values[i] *= 1e11f;
    need(decoder_reserve(&d, &f.c, &f.m, &f.a, &plan, &e), &e);
    assert_int_equal(decoder_feed(&d, 0, f.ids, 5, NULL, &e), ERR_NUMERIC);
    assert_non_null(strstr(e.text, "_norm.weight is given is not finite, or its square is not"));
    decoder_release(&d);
    fixture_close(&f);
}

/* Codes have no NaN: it must not become a zero in the cache. */
static void a_value_that_is_none_is_no_answer(void **state)
{
    struct fixture f;
    struct decoder d = {0};
    struct decoder_plan plan = {1, LENGTH, 0};
    struct err e = {0};
    struct shape_tensor t;
    (void)state;
    fixture_open(&f);
    assert_true(model_has_kv_codes(&f.m));
    shape_linear(&shape, LINEAR_SLOTS + LINEAR_QKV, &t);
    f.m.flat[t.offset + (size_t)(t.n - 1) * (size_t)t.k] = NAN; /* of the last value of layer 1 */
    need(decoder_reserve(&d, &f.c, &f.m, NULL, &plan, &e), &e);
    assert_int_equal(decoder_feed(&d, 0, f.ids, 5, NULL, &e), ERR_NUMERIC);
    assert_string_equal(e.text, "keys or values of layer 1 are not finite");
    decoder_release(&d);
    f.m.layers[0].key_range = (struct kv_range){0, 0};
    assert_false(model_has_kv_codes(&f.m));
    fixture_close(&f);
}

/* Pieces of few tokens and of many, then one by one: (LENGTH, V). */
static void logits_of(struct compute *c, const struct model *m, const int32_t *ids, float *logits)
{
    static const int pieces[] = {1, 2, 3, 5, 8, 9, 40};
    struct decoder d = {0};
    struct decoder_plan plan = {1, LENGTH, 0};
    struct err e = {0};
    int at = 0;
    need(decoder_reserve(&d, c, m, NULL, &plan, &e), &e);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; at += pieces[i++])
        need(decoder_feed(&d, 0, ids + at, pieces[i], logits + (size_t)at * VOCAB, &e), &e);
    for (; at < LENGTH; at++) {
        need(decoder_feed(&d, 0, ids + at, 1, NULL, &e), &e);
        memcpy(logits + (size_t)at * VOCAB, decoder_logits(&d, 0), VOCAB * sizeof *logits);
    }
    decoder_release(&d);
}

/* A model that was opened by panels is the same model. */
static void panels_change_no_bit(void **state)
{
    static const enum tensor_dtype dtypes[] = {DTYPE_F32, DTYPE_BF16};
    float *logits[2] = {xalloc_array((size_t)LENGTH * VOCAB, sizeof **logits),
                        xalloc_array((size_t)LENGTH * VOCAB, sizeof **logits)};
    char folder[SCRATCH_BYTES], path[SCRATCH_BYTES + 16];
    struct fixture f;
    struct err e = {0};
    (void)state;
    fixture_open(&f);
    assert_int_equal(scratch_open(folder), 0);
    snprintf(path, sizeof path, "%s/draft", folder);
    for (int i = 0; i < 2; i++) {
        struct model m;
        need(model_save(&f.m, path, "draft", dtypes[i], NULL, 0, &e), &e);
        need(model_open(&m, path, &e), &e);
        logits_of(&f.c, &m, f.ids, logits[0]);
        size_t bytes = model_panel_bytes(&m);
        need(model_to_panels(&m, &e), &e);
        assert_true(m.output.panels && !m.embedding.panels && model_linear(&m, 7)->panels);
        assert_true(bytes > 0 && m.panels.capacity_bytes == bytes && m.panels.used_bytes == bytes);
        logits_of(&f.c, &m, f.ids, logits[1]);
        assert_memory_equal(logits[0], logits[1], (size_t)LENGTH * VOCAB * sizeof **logits);
        model_release(&m);
    }
    assert_int_equal(scratch_remove(folder), 0);
    xfree(logits[0]);
    xfree(logits[1]);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_equal_training),
        cmocka_unit_test(halves_and_integers_equal_training),
        cmocka_unit_test(pieces_equal_training),
        cmocka_unit_test(greedy_is_independent_of_batching),
        cmocka_unit_test(greedy_is_argmax),
        cmocka_unit_test(too_large_is_no_answer),
        cmocka_unit_test(a_value_that_is_none_is_no_answer),
        cmocka_unit_test(panels_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
