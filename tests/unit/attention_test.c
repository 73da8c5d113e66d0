#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/rng.h"
#include "stages/model/attention.h"
#include "stages/model/ops.h"

/* 6 heads over 2; segments of 150 (three query tiles), 1 and 64 tokens. */
#define TOKENS 215
#define RUNS 3

static const struct shape shape = {64, 96, 1, 0, 6, 2, 16, 48, 256, 10000, 1e-5, false};
static const int starts[RUNS + 1] = {0, 150, 151, TOKENS};

struct data {
    size_t n_q, n_kv;
    float *q, *k, *v, *d_o, *o, *dq, *dk, *dv, *dk_heads, *dv_heads, *scratch;
    struct attention_run runs[RUNS];
};

static float *normals(size_t n, const char *stream)
{
    float *x = xalloc_array(n, sizeof *x);
    struct rng r = rng_open(1, stream);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal_at(&r, i);
    return x;
}

static void data_open(struct data *d, int n_threads)
{
    d->n_q = (size_t)TOKENS * 96;
    d->n_kv = (size_t)TOKENS * 32;
    d->q = normals(d->n_q, "q");
    d->k = normals(d->n_kv, "k");
    d->v = normals(d->n_kv, "v");
    d->d_o = normals(d->n_q, "do");
    for (int t = 0; t < TOKENS; t++) /* the last head's scores are far outside the range of exp */
        for (int i = 80; i < 96; i++)
            d->q[t * 96 + i] *= 400;
    d->o = xalloc_array(d->n_q, sizeof(float));
    d->dq = xalloc_array(d->n_q, sizeof(float));
    d->dk = xalloc_array(d->n_kv, sizeof(float));
    d->dv = xalloc_array(d->n_kv, sizeof(float));
    d->dk_heads = xalloc_array(d->n_q, sizeof(float));
    d->dv_heads = xalloc_array(d->n_q, sizeof(float));
    d->scratch = xalloc_array(attention_scratch_floats(150, n_threads), sizeof(float));
    for (int i = 0; i < RUNS; i++)
        d->runs[i] = (struct attention_run){starts[i],
                                            starts[i + 1] - starts[i],
                                            0,
                                            d->k + starts[i] * 32,
                                            d->v + starts[i] * 32,
                                            32,
                                            starts[i],
                                            NULL};
}

static void data_close(struct data *d)
{
    float *all[] = {d->q,  d->k,  d->v,        d->d_o,      d->o,      d->dq,
                    d->dk, d->dv, d->dk_heads, d->dv_heads, d->scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        xfree(all[i]);
}

static void backward(struct data *d, struct compute *c, int n_runs,
                     const struct attention_run *runs)
{
    struct attention_grads g = {TOKENS, d->q,  d->o,        d->d_o,     d->dq,
                                d->dk,  d->dv, d->dk_heads, d->dv_heads};
    attention_backward(c, &shape, n_runs, runs, &g, 150, d->scratch);
}

static void run_both(struct data *d, int n_threads, const char *kernels)
{
    struct compute c = {0};
    struct err e = {0};
    if (compute_open(&c, n_threads, kernels, &e) != 0)
        fail_msg("%s", e.text);
    attention_forward(&c, &shape, RUNS, d->runs, d->q, d->o, 150, d->scratch);
    backward(d, &c, RUNS, d->runs);
    compute_close(&c);
}

/* Everything in double for one query and head. */
static void naive_query(const struct data *d, int first, int token, int head, double *o, double *dq,
                        double *dk, double *dv)
{
    double p[TOKENS], dp[TOKENS], sum = 0, delta = 0, scale = 0.25, largest = -1e300;
    int n = token - first + 1, kv = head / 3 * 16;
    const float *q = d->q + token * 96 + head * 16, *d_o = d->d_o + token * 96 + head * 16;
    for (int j = 0; j < n; j++) {
        const float *k = d->k + (first + j) * 32 + kv, *v = d->v + (first + j) * 32 + kv;
        p[j] = 0;
        dp[j] = 0;
        for (int i = 0; i < 16; i++) {
            p[j] += (double)q[i] * (double)k[i];
            dp[j] += (double)d_o[i] * (double)v[i];
        }
        largest = fmax(largest, p[j]);
    }
    for (int j = 0; j < n; j++) {
        p[j] = exp(scale * (p[j] - largest));
        sum += p[j];
    }
    for (int j = 0; j < n; j++) {
        p[j] /= sum;
        delta += p[j] * dp[j];
    }
    for (int j = 0; j < n; j++)
        for (int i = 0; i < 16; i++) {
            double ds = scale * p[j] * (dp[j] - delta);
            size_t at = (size_t)((first + j) * 32 + kv + i);
            o[token * 96 + head * 16 + i] += p[j] * (double)d->v[at];
            dq[token * 96 + head * 16 + i] += ds * (double)d->k[at];
            dk[at] += ds * (double)q[i];
            dv[at] += p[j] * (double)d_o[i];
        }
}

/* Scores of some thousands have an absolute error of 1e-4. */
static void close_enough(const float *found, const double *expected, size_t n)
{
    double size = 0;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(expected[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)found[i] - expected[i]) < 2e-4 * (1 + fabs(expected[i])) + 1e-5 * size))
            fail_msg("%zu: %.9g, expected %.9g", i, (double)found[i], expected[i]);
}

static void both_passes_equal_double(void **state)
{
    struct data d;
    (void)state;
    data_open(&d, 2);
    run_both(&d, 2, "auto");
    double *o = xalloc_array(d.n_q, sizeof *o), *dq = xalloc_array(d.n_q, sizeof *dq);
    double *dk = xalloc_array(d.n_kv, sizeof *dk), *dv = xalloc_array(d.n_kv, sizeof *dv);
    for (int r = 0; r < RUNS; r++)
        for (int t = starts[r]; t < starts[r + 1]; t++)
            for (int h = 0; h < 6; h++)
                naive_query(&d, starts[r], t, h, o, dq, dk, dv);
    close_enough(d.o, o, d.n_q);
    close_enough(d.dq, dq, d.n_q);
    close_enough(d.dk, dk, d.n_kv);
    close_enough(d.dv, dv, d.n_kv);
    xfree(o);
    xfree(dq);
    xfree(dk);
    xfree(dv);
    data_close(&d);
}

static void threads_and_kernels_change_no_bit(void **state)
{
    struct data a, b;
    (void)state;
    data_open(&a, 3);
    data_open(&b, 3);
    run_both(&a, 1, "portable");
    run_both(&b, 3, "auto");
    assert_memory_equal(a.o, b.o, a.n_q * sizeof(float));
    assert_memory_equal(a.dq, b.dq, a.n_q * sizeof(float));
    assert_memory_equal(a.dk, b.dk, a.n_kv * sizeof(float));
    assert_memory_equal(a.dv, b.dv, a.n_kv * sizeof(float));
    data_close(&a);
    data_close(&b);
}

/* One query at a time, and pieces of other sizes, against all at once. */
static void pieces_equal_the_whole(void **state)
{
    struct data d;
    struct compute c = {0};
    struct err e = {0};
    (void)state;
    data_open(&d, 1);
    run_both(&d, 1, "auto");
    float *o = xalloc_array(d.n_q, sizeof *o);
    assert_int_equal(compute_open(&c, 1, "auto", &e), 0);
    for (int size = 1; size < 150; size += 36) {
        for (int first = 0; first < 150; first += size) {
            int n = 150 - first < size ? 150 - first : size;
            struct attention_run run = {first, n, first, d.k, d.v, 32, 0, NULL};
            attention_forward(&c, &shape, 1, &run, d.q, o, 150, d.scratch);
        }
        assert_memory_equal(o, d.o, 150 * 96 * sizeof(float));
        memset(o, 0, d.n_q * sizeof *o);
    }
    compute_close(&c);
    xfree(o);
    data_close(&d);
}

/* Pieces of `size` queries from a cache; what it holds behind their keys is never seen. */
static void from_cache(struct data *d, struct compute *c, const struct attention_cache *cache,
                       int size, float *o)
{
    size_t bytes = attention_cache_bytes(&shape, cache->positions, cache->k_scale > 0);
    memset(cache->keys, 0xFF, bytes); /* floats: NaN */
    memset(cache->values, 0xFF, bytes);
    for (int first = 0; first < 150; first += size) {
        int n = 150 - first < size ? 150 - first : size;
        assert_true(
            attention_cache_write(&shape, cache, first, n, d->k + first * 32, d->v + first * 32));
        struct attention_run run = {first, n, first, NULL, NULL, 0, 0, cache};
        attention_forward(c, &shape, 1, &run, d->q, o, 150, d->scratch);
    }
}

/* Floats, and codes, which clip some of the values. */
static void a_cache_equals_the_whole(void **state)
{
    static const char *const sets[] = {"portable", "auto"};
    struct data d;
    (void)state;
    for (int codes = 0; codes < 2; codes++) {
        struct compute c = {0};
        struct err e = {0};
        data_open(&d, 2);
        float *o = xalloc_array(d.n_q, sizeof *o);
        struct attention_cache cache = {151, codes ? 0.02f : 0, codes ? 0.017f : 0, NULL, NULL};
        cache.keys = xalloc(attention_cache_bytes(&shape, 151, codes));
        cache.values = xalloc(attention_cache_bytes(&shape, 151, codes));
        assert_int_equal(compute_open(&c, 1, "portable", &e), 0);
        ops_kv_quant(&c, TOKENS, 32, d.k, 32, cache.k_scale, d.k, 32);
        ops_kv_quant(&c, TOKENS, 32, d.v, 32, cache.v_scale, d.v, 32);
        compute_close(&c);
        run_both(&d, 1, "auto");
        for (int set = 0; set < 2; set++) {
            assert_int_equal(compute_open(&c, 2, sets[set], &e), 0);
            for (int size = 1; size < 150; size += 12) {
                from_cache(&d, &c, &cache, size, o);
                assert_memory_equal(o, d.o, 150 * 96 * sizeof(float));
                memset(o, 0, d.n_q * sizeof *o);
            }
            compute_close(&c);
        }
        xfree(cache.values);
        xfree(cache.keys);
        xfree(o);
        data_close(&d);
    }
}

/* The last queries of n keys, with heads of more than a panel of 32: from the cache and not. */
static void check_wide_cache(int d, int n, bool codes, const char *kernels)
{
    enum { QUERIES = 40 };
    struct shape wide = {64, 96, 1, 0, 8, 2, d, 48, n, 10000, 1e-5, codes};
    struct compute c = {0};
    struct err e = {0};
    size_t n_kv = (size_t)n * 2 * (size_t)d, n_q = (size_t)QUERIES * 8 * (size_t)d;
    float *q = normals(n_q, "q"), *k = normals(n_kv, "k"), *v = normals(n_kv, "v");
    float *plain = xalloc_array(n_q, sizeof *plain), *o = xalloc_array(n_q, sizeof *o);
    float *scratch = xalloc_array(attention_scratch_floats(n, 2), sizeof *scratch);
    struct attention_cache cache = {n + 70, codes ? 0.02f : 0, codes ? 0.017f : 0, NULL, NULL};
    size_t bytes = attention_cache_bytes(&wide, cache.positions, codes);
    cache.keys = xalloc(bytes);
    cache.values = xalloc(bytes);
    memset(cache.keys, 0xFF, bytes);
    memset(cache.values, 0xFF, bytes);
    assert_int_equal(compute_open(&c, 2, kernels, &e), 0);
    ops_kv_quant(&c, n, 2 * d, k, 2 * d, cache.k_scale, k, 2 * d);
    ops_kv_quant(&c, n, 2 * d, v, 2 * d, cache.v_scale, v, 2 * d);
    assert_true(attention_cache_write(&wide, &cache, 0, n, k, v));
    struct attention_run run = {0, QUERIES, n - QUERIES, k, v, 2 * d, 0, NULL};
    attention_forward(&c, &wide, 1, &run, q, plain, n, scratch);
    for (int size = 1; size <= QUERIES; size += 13) /* one alone, heads together, a tile */
        for (int first = 0; first < QUERIES; first += size) {
            int rows = QUERIES - first < size ? QUERIES - first : size;
            run =
                (struct attention_run){first, rows, n - QUERIES + first, NULL, NULL, 0, 0, &cache};
            attention_forward(&c, &wide, 1, &run, q, o, n, scratch);
            assert_memory_equal(o + (size_t)first * 8 * (size_t)d,
                                plain + (size_t)first * 8 * (size_t)d,
                                (size_t)rows * 8 * (size_t)d * sizeof *o);
        }
    compute_close(&c);
    float *all[] = {q, k, v, plain, o, scratch, cache.keys, cache.values};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        xfree(all[i]);
}

/* The last one has more keys than the packing space holds. */
static void wide_heads_are_cached(void **state)
{
    static const int shapes[][2] = {{8, 50}, {40, 70}, {64, 200}, {128, 300}, {128, 2300}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int codes = 0; codes < 2; codes++) {
            check_wide_cache(shapes[i][0], shapes[i][1], codes, "portable");
            check_wide_cache(shapes[i][0], shapes[i][1], codes, "auto");
        }
}

/* A sequence's queries in pieces of any size give the same gradients, bit for bit; queries that are
 * left out count as queries without a gradient. */
static void pieces_have_the_gradients_of_the_whole(void **state)
{
    static const int pieces[] = {0, 3, 70, 71, 140, 150, 151, TOKENS};
    enum { N = sizeof pieces / sizeof pieces[0] - 1 };
    struct attention_run runs[N];
    struct data a, b;
    struct compute c = {0};
    struct err e = {0};
    (void)state;
    for (int left_out = 0; left_out < 2; left_out++) {
        int n = 0;
        data_open(&a, 3);
        data_open(&b, 3);
        if (left_out)
            memset(a.d_o + 3 * 96, 0, 67 * 96 * sizeof(float));
        for (int i = 0; i < N; i++) {
            int first = pieces[i], segment = first < 150 ? 0 : first < 151 ? 150 : 151;
            size_t at = (size_t)segment * 32;
            if (!(left_out && first == 3))
                runs[n++] = (struct attention_run){
                    first, pieces[i + 1] - first, first - segment, b.k + at, b.v + at, 32, segment,
                    NULL};
        }
        run_both(&a, 3, "auto");
        assert_int_equal(compute_open(&c, 3, "auto", &e), 0);
        attention_forward(&c, &shape, n, runs, b.q, b.o, 150, b.scratch);
        backward(&b, &c, n, runs);
        for (size_t i = 0; i < a.n_q; i++)
            assert_true(a.dq[i] == b.dq[i]);
        for (size_t i = 0; i < a.n_kv; i++)
            assert_true(a.dk[i] == b.dk[i] && a.dv[i] == b.dv[i]);
        compute_close(&c);
        data_close(&a);
        data_close(&b);
    }
}

/* One head of 300 queries: o, dq, dk and dv (300, D). */
static float *one_head(int d, int n_used, float factor)
{
    enum { N = 300 };
    struct shape one = {64, 96, 1, 0, 1, 1, d, 48, N, 10000, 1e-5, false};
    struct compute c = {0};
    struct err e = {0};
    size_t n = (size_t)N * (size_t)d;
    float *in = xalloc_array(3 * n, sizeof *in), *out = xalloc_array(6 * n, sizeof *out);
    float *q = in, *k = in + n, *d_o = in + 2 * n, *o = out, *dq = o + n, *dk = dq + n;
    struct rng r = rng_open(1, "one");
    for (size_t i = 0; i < 3 * N; i++)
        for (size_t j = 0; j < (size_t)n_used; j++)
            in[i * (size_t)d + j] = rng_normal_at(&r, i * (size_t)n_used + j);
    for (size_t i = 0; i < n; i++)
        q[i] *= factor;
    struct attention_run run = {0, N, 0, k, k, d, 0, NULL};
    struct attention_grads g = {N, q, o, d_o, dq, dk, dk + n, dk + 2 * n, dk + 3 * n};
    assert_int_equal(compute_open(&c, 1, "auto", &e), 0);
    float *scratch = xalloc_array(attention_scratch_floats(N, 1), sizeof *scratch);
    attention_forward(&c, &one, 1, &run, q, o, N, scratch);
    attention_backward(&c, &one, 1, &run, &g, N, scratch);
    compute_close(&c);
    xfree(scratch);
    xfree(in);
    return out;
}

/* A head so wide that the packing space holds a part of the keys at a time, and one with the same
 * numbers that is narrow: scale is an eighth, so queries are eight times as large. */
static void keys_in_parts_change_no_bit(void **state)
{
    enum { N = 300, WIDE = 1024, NARROW = 16 };
    (void)state;
    float *wide = one_head(WIDE, NARROW, 8), *narrow = one_head(NARROW, NARROW, 1);
    for (int what = 0; what < 4; what++) /* o, dq, dk, dv */
        for (int i = 0; i < N; i++)
            for (int j = 0; j < NARROW; j++) {
                float x = wide[(what * N + i) * WIDE + j];
                assert_true((what == 1 ? 8 * x : x) == narrow[(what * N + i) * NARROW + j]);
            }
    xfree(wide);
    xfree(narrow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_passes_equal_double),
        cmocka_unit_test(threads_and_kernels_change_no_bit),
        cmocka_unit_test(pieces_equal_the_whole),
        cmocka_unit_test(a_cache_equals_the_whole),
        cmocka_unit_test(wide_heads_are_cached),
        cmocka_unit_test(pieces_have_the_gradients_of_the_whole),
        cmocka_unit_test(keys_in_parts_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
