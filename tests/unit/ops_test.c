/*
 * Every operation forward against a naive version in double precision, backward against central
 * differences of that version; then all of them bit for bit between kernel sets and thread counts.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/kit/rng.h"
#include "stages/model/ops.h"

static const char *const kernel_names[] = {"portable", "avx2", "avx512", "amx", "neon"};
#define N_KERNELS (sizeof kernel_names / sizeof kernel_names[0])

enum { M = 5, DIM = 37, HEADS = 3, HEAD = 20, VOCAB = 301 };

static struct compute c;

static int open_best(void **state)
{
    (void)state;
    struct err e = {0};
    return compute_open(&c, 2, "auto", &e);
}

static int close_best(void **state)
{
    (void)state;
    compute_close(&c);
    return 0;
}

static void fill(float *p, size_t n, uint32_t seed, float size)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = ((float)(seed >> 8) / 8388608.0f - 1.0f) * size;
    }
}

static void assert_near(const char *what, double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance * (1.0 + fabs(expected)))) {
        print_message("%s: got %.9g, expected %.9g\n", what, got, expected);
        fail();
    }
}

/* d f / d x[i] by central differences, all in double. */
static double slope(double (*f)(const double *x, const void *context), double *x, int i,
                    const void *context)
{
    const double h = 1e-5;
    double at = x[i];
    x[i] = at + h;
    double up = f(x, context);
    x[i] = at - h;
    double down = f(x, context);
    x[i] = at;
    return (up - down) / (2 * h);
}

static void widen(double *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

/* ---- RMSNorm: variables x (M DIM), then w (DIM); f = sum dy . y ---- */

static double naive_rmsnorm(const double *v, const void *context)
{
    const float *dy = context;
    const double *w = v + M * DIM;
    double sum = 0;
    for (int t = 0; t < M; t++) {
        double square = 0;
        for (int i = 0; i < DIM; i++)
            square += v[t * DIM + i] * v[t * DIM + i];
        double rstd = 1 / sqrt(square / DIM + 1e-5);
        for (int i = 0; i < DIM; i++)
            sum += (double)dy[t * DIM + i] * w[i] * v[t * DIM + i] * rstd;
    }
    return sum;
}

static void test_rmsnorm(void **state)
{
    (void)state;
    float x[M * DIM], w[DIM], dy[M * DIM], y[M * DIM], rstd[M], dx[M * DIM], dw[DIM];
    double v[M * DIM + DIM];
    fill(x, M * DIM, 1, 2);
    fill(w, DIM, 2, 1);
    fill(dy, M * DIM, 3, 1);
    widen(v, x, M * DIM);
    widen(v + M * DIM, w, DIM);
    ops_rmsnorm(&c, M, DIM, x, DIM, w, 1e-5f, y, DIM, rstd);
    double sum = 0;
    for (int i = 0; i < M * DIM; i++)
        sum += (double)dy[i] * (double)y[i];
    assert_near("rmsnorm", sum, naive_rmsnorm(v, dy), 1e-5);
    for (int i = 0; i < M * DIM; i++)
        dx[i] = 0.5f;
    for (int i = 0; i < DIM; i++)
        dw[i] = -0.25f;
    ops_rmsnorm_backward(&c, M, DIM, dy, DIM, x, DIM, w, rstd, dx, DIM, dw);
    for (int i = 0; i < M * DIM; i++)
        assert_near("rmsnorm dx", (double)dx[i], 0.5 + slope(naive_rmsnorm, v, i, dy), 1e-5);
    for (int i = 0; i < DIM; i++)
        assert_near("rmsnorm dw", (double)dw[i], -0.25 + slope(naive_rmsnorm, v, M * DIM + i, dy),
                    1e-5);
    ops_rmsnorm_backward(&c, M, DIM, dy, DIM, x, DIM, w, rstd, dx, DIM, NULL);
}

/* ---- RoPE then head norm: variables x (M HEADS HEAD), w (HEAD) ---- */

#define ROPE_N (M * HEADS * HEAD)
static const int32_t positions[M] = {0, 1, 2, 17, 3};

static double naive_rope_norm(const double *v, const void *context)
{
    const float *dy = context;
    const double *w = v + ROPE_N;
    double sum = 0;
    for (int t = 0; t < M * HEADS; t++) {
        double r[HEAD], square = 0;
        for (int i = 0; i < HEAD; i += 2) {
            double angle = positions[t / HEADS] * pow(10000.0, -(double)i / HEAD);
            double a = v[t * HEAD + i], b = v[t * HEAD + i + 1];
            r[i] = a * cos(angle) - b * sin(angle);
            r[i + 1] = a * sin(angle) + b * cos(angle);
        }
        for (int i = 0; i < HEAD; i++)
            square += r[i] * r[i];
        for (int i = 0; i < HEAD; i++)
            sum += (double)dy[t * HEAD + i] * w[i] * r[i] / sqrt(square / HEAD + 1e-5);
    }
    return sum;
}

static void test_rope_norm(void **state)
{
    (void)state;
    enum { LD = HEADS * HEAD };
    static float cos_sin[32 * HEAD];
    ops_rope_fill(10000.0f, HEAD, 32, cos_sin);
    struct rope_table table = {HEAD, 32, cos_sin};
    float x[ROPE_N], w[HEAD], dy[ROPE_N], y[ROPE_N], rotated[ROPE_N], rstd[M * HEADS], dx[ROPE_N];
    float dw[HEAD] = {0};
    double v[ROPE_N + HEAD];
    fill(x, ROPE_N, 4, 1);
    fill(w, HEAD, 5, 1);
    fill(dy, ROPE_N, 6, 1);
    widen(v, x, ROPE_N);
    widen(v + ROPE_N, w, HEAD);
    ops_rope_norm(&c, M, HEADS, &table, positions, x, LD, w, 1e-5f, NULL, rotated, LD, y, LD, rstd);
    double sum = 0;
    for (int i = 0; i < ROPE_N; i++)
        sum += (double)dy[i] * (double)y[i];
    assert_near("rope_norm", sum, naive_rope_norm(v, dy), 1e-5);
    ops_rope_norm_backward(&c, M, HEADS, &table, positions, dy, LD, rotated, LD, w, rstd, dx, LD,
                           dw);
    for (int i = 0; i < ROPE_N; i++)
        assert_near("rope_norm dx", (double)dx[i], slope(naive_rope_norm, v, i, dy), 1e-5);
    for (int i = 0; i < HEAD; i++)
        assert_near("rope_norm dw", (double)dw[i], slope(naive_rope_norm, v, ROPE_N + i, dy), 1e-5);
    /* In place, forward and backward. */
    ops_rope_norm(&c, M, HEADS, &table, positions, x, LD, w, 1e-5f, NULL, rotated, LD, x, LD, rstd);
    assert_memory_equal(x, y, sizeof x);
    ops_rope_norm_backward(&c, M, HEADS, &table, positions, dy, LD, rotated, LD, w, rstd, dy, LD,
                           NULL);
    assert_memory_equal(dy, dx, sizeof dy);
}

/* ---- 16 bits ---- */

static void test_round16(void **state)
{
    (void)state;
    enum { ROWS = 5, WIDE = 38 };
    float x[ROWS * WIDE], y[ROWS * WIDE], z[ROWS * WIDE], scale[ROWS];
    int16_t q[ROWS * WIDE];
    struct rows16 kept = {q, scale}, none = {NULL, NULL};
    fill(x, ROWS * WIDE, 17, 3);
    for (int i = 0; i < WIDE; i++)
        x[WIDE + i] = 0;
    x[2 * WIDE + 5] = INFINITY;
    x[3 * WIDE + 7] = 1000;
    memcpy(y, x, sizeof x);
    memcpy(z, x, sizeof x);
    ops_round16(&c, ROWS, WIDE, y, &kept);
    ops_round16(&c, ROWS, WIDE, z, &none);
    assert_memory_equal(y, z, sizeof y);
    for (int t = 0; t < ROWS; t++) {
        float most = 0;
        for (int i = 0; i < WIDE; i++)
            most = fmaxf(most, fabsf(x[t * WIDE + i]));
        for (int i = 0; i < WIDE; i++) {
            float was = x[t * WIDE + i], is = y[t * WIDE + i];
            if (t == 2) {
                assert_true(isnan(is));
                continue;
            }
            assert_true(fabsf(is - was) <= 0.5001f / 32767.0f * most);
            assert_true(q[t * WIDE + i] == (most > 0 ? lrintf(was * (32767.0f / most)) : 0));
        }
    }
    ops_unpack16(&c, ROWS, WIDE, &kept, z);
    assert_memory_equal(y, z, sizeof y);
}

/* As RoPE, rounding and head norm one after the other. */
static void test_rope_round_norm(void **state)
{
    (void)state;
    enum { LD = HEADS * HEAD };
    static float cos_sin[32 * HEAD];
    ops_rope_fill(10000.0f, HEAD, 32, cos_sin);
    struct rope_table table = {HEAD, 32, cos_sin};
    float x[ROPE_N], w[HEAD], y[ROPE_N], rotated[ROPE_N], rstd[M * HEADS];
    float scale[M], plain[ROPE_N], again[ROPE_N];
    int16_t q[ROPE_N];
    struct rows16 kept = {q, scale};
    fill(x, ROPE_N, 4, 1);
    fill(w, HEAD, 5, 1);
    ops_rope_norm(&c, M, HEADS, &table, positions, x, LD, w, 1e-5f, NULL, plain, LD, y, LD, rstd);
    ops_head_norm(&c, M, HEADS, HEAD, plain, w, 1e-5f, again);
    assert_memory_equal(again, y, sizeof y);
    ops_rope_norm(&c, M, HEADS, &table, positions, x, LD, w, 1e-5f, &kept, rotated, LD, y, LD,
                  rstd);
    ops_round16(&c, M, LD, plain, &(struct rows16){NULL, NULL});
    assert_memory_equal(rotated, plain, sizeof plain);
    ops_unpack16(&c, M, LD, &kept, again);
    assert_memory_equal(again, plain, sizeof plain);
    ops_head_norm(&c, M, HEADS, HEAD, plain, w, 1e-5f, again);
    assert_memory_equal(again, y, sizeof y);
}

/* ---- KV quantisation ---- */

static void test_kv_quant(void **state)
{
    (void)state;
    float x[8] = {0.0f, 0.05f, 0.15f, -0.25f, 12.69f, 12.8f, -12.84f, -13.0f}, y[8];
    const float scale = 0.1f;
    ops_kv_quant(&c, 2, 4, x, 4, scale, y, 4);
    for (int i = 0; i < 8; i++) {
        float level = rintf(x[i] / scale);
        float clamped = level < -128 ? -128 : level > 127 ? 127 : level;
        assert_true(y[i] == clamped * scale);
    }
    ops_kv_quant(&c, 2, 4, x, 4, 0.0f, y, 4);
    assert_memory_equal(x, y, sizeof x);
    assert_true(ops_abs_max(&c, 2, 4, x, 4) == 13.0f);
    assert_true(ops_abs_max(&c, 2, 2, x, 4) == 12.8f);
}

/* ---- SwiGLU: variables gate, up ---- */

static double naive_swiglu(const double *v, const void *context)
{
    const float *dy = context;
    double sum = 0;
    for (int i = 0; i < M * DIM; i++)
        sum += (double)dy[i] * v[M * DIM + i] * v[i] / (1 + exp(-v[i]));
    return sum;
}

static void test_swiglu(void **state)
{
    (void)state;
    float gate[M * DIM], up[M * DIM], dy[M * DIM], y[M * DIM], dgate[M * DIM], dup[M * DIM];
    double v[2 * M * DIM];
    fill(gate, M * DIM, 7, 6);
    fill(up, M * DIM, 8, 2);
    fill(dy, M * DIM, 9, 1);
    widen(v, gate, M * DIM);
    widen(v + M * DIM, up, M * DIM);
    ops_swiglu(&c, M, DIM, gate, up, y);
    for (int i = 0; i < M * DIM; i++)
        assert_near("swiglu", (double)y[i], v[M * DIM + i] * v[i] / (1 + exp(-v[i])), 1e-6);
    ops_swiglu_backward(&c, M, DIM, dy, gate, up, dgate, dup);
    for (int i = 0; i < M * DIM; i++) {
        assert_near("swiglu dgate", (double)dgate[i], slope(naive_swiglu, v, i, dy), 1e-5);
        assert_near("swiglu dup", (double)dup[i], slope(naive_swiglu, v, M * DIM + i, dy), 1e-5);
    }
    float same[M * DIM], other[M * DIM];
    memcpy(same, dy, sizeof same);
    ops_swiglu_backward(&c, M, DIM, same, gate, up, same, other);
    assert_memory_equal(same, dgate, sizeof same);
    assert_memory_equal(other, dup, sizeof other);
    memcpy(same, dy, sizeof same);
    ops_swiglu_backward(&c, M, DIM, same, gate, up, other, same);
    assert_memory_equal(other, dgate, sizeof same);
    assert_memory_equal(same, dup, sizeof other);
}

/* ---- Embedding ---- */

static void test_embed(void **state)
{
    (void)state;
    float table[7 * DIM], y[M * DIM], dtable[7 * DIM] = {0};
    const int32_t ids[M] = {3, 0, 3, 6, 3};
    fill(table, 7 * DIM, 10, 1);
    struct weight w = weight_dense(table, 7, DIM);
    ops_embed(&c, M, &w, ids, y);
    for (int t = 0; t < M; t++)
        assert_memory_equal(y + t * DIM, table + ids[t] * DIM, DIM * sizeof *y);
    ops_embed_backward(&c, M, DIM, ids, y, dtable);
    for (int i = 0; i < DIM; i++) {
        assert_true(dtable[i] == y[DIM + i]);
        assert_true(dtable[3 * DIM + i] == (y[i] + y[2 * DIM + i]) + y[4 * DIM + i]);
        assert_true(dtable[5 * DIM + i] == 0.0f);
    }
}

/* ---- Losses ---- */

static double log_sum(const double *x)
{
    double largest = x[0], sum = 0;
    for (int i = 1; i < VOCAB; i++)
        largest = fmax(largest, x[i]);
    for (int i = 0; i < VOCAB; i++)
        sum += exp(x[i] - largest);
    return largest + log(sum);
}

static double naive_cross_entropy(const double *x, const void *context)
{
    return log_sum(x) - x[*(const int32_t *)context];
}

static void test_cross_entropy(void **state)
{
    (void)state;
    static float logits[M * VOCAB];
    static double v[VOCAB];
    int32_t target[M] = {0, 300, 17, 5, 5};
    double loss[M], quiet[M];
    unsigned char correct[M];
    fill(logits, M * VOCAB, 11, 8);
    logits[3 * VOCAB + 5] = logits[3 * VOCAB + 4] = 20; /* a tie: index 4 wins */
    logits[4 * VOCAB + 5] = logits[4 * VOCAB + 9] = 20; /* a tie: index 5 wins */
    static float given[M * VOCAB];
    memcpy(given, logits, sizeof given);
    ops_cross_entropy(&c, M, VOCAB, logits, target, 0.0f, quiet, correct);
    assert_memory_equal(given, logits, sizeof given);
    assert_true(correct[4] == 1 && correct[3] == 0);
    ops_cross_entropy(&c, M, VOCAB, logits, target, 0.5f, loss, NULL);
    for (int t = 0; t < M; t++) {
        widen(v, given + t * VOCAB, VOCAB);
        assert_true(loss[t] == quiet[t]);
        assert_near("cross entropy", loss[t], naive_cross_entropy(v, &target[t]), 1e-6);
        assert_int_equal(correct[t], ops_argmax(given + t * VOCAB, VOCAB) == target[t]);
        for (int i = 0; i < VOCAB; i++)
            assert_near("cross entropy gradient", (double)logits[t * VOCAB + i],
                        0.5 * slope(naive_cross_entropy, v, i, &target[t]), 1e-6);
    }
}

/* Context: the teacher's logits in double. */
static double naive_reverse_kl(const double *x, const void *context)
{
    const double *teacher = context;
    double s = log_sum(x), t = log_sum(teacher), kl = 0;
    for (int i = 0; i < VOCAB; i++)
        kl += exp(x[i] - s) * ((x[i] - s) - (teacher[i] - t));
    return kl;
}

static void test_reverse_kl(void **state)
{
    (void)state;
    static float student[M * VOCAB], teacher[M * VOCAB], given[M * VOCAB], scratch[M * VOCAB];
    static double v[VOCAB], u[VOCAB];
    double kl[M], quiet[M], accept[M];
    fill(student, M * VOCAB, 12, 5);
    fill(teacher, M * VOCAB, 13, 5);
    memcpy(teacher, student, VOCAB * sizeof *teacher); /* equal rows: 0 */
    memcpy(given, student, sizeof given);
    memcpy(scratch, teacher, sizeof scratch);
    ops_overlap(&c, M, VOCAB, student, teacher, accept);
    assert_memory_equal(given, student, sizeof given);
    ops_reverse_kl(&c, M, VOCAB, student, scratch, 0.0f, quiet);
    assert_memory_equal(given, student, sizeof given);
    memcpy(scratch, teacher, sizeof scratch);
    ops_reverse_kl(&c, M, VOCAB, student, scratch, 0.5f, kl);
    assert_near("kl of equals", kl[0], 0, 1e-7);
    assert_near("overlap of equals", accept[0], 1, 1e-6);
    for (int t = 0; t < M; t++) {
        widen(v, given + t * VOCAB, VOCAB);
        widen(u, teacher + t * VOCAB, VOCAB);
        double s = log_sum(v), r = log_sum(u), overlap = 0;
        for (int i = 0; i < VOCAB; i++)
            overlap += fmin(exp(v[i] - s), exp(u[i] - r));
        assert_near("overlap", accept[t], overlap, 1e-6);
        assert_true(kl[t] == quiet[t]);
        assert_near("reverse kl", kl[t], naive_reverse_kl(v, u), 1e-6);
        for (int i = 0; i < VOCAB; i += 3)
            assert_near("reverse kl gradient", (double)student[t * VOCAB + i],
                        0.5 * slope(naive_reverse_kl, v, i, u), 1e-6);
    }
}

/* ---- Flat arrays ---- */

static void test_flat(void **state)
{
    (void)state;
    enum { N = 50011 };
    float *x = xalloc_array(N, sizeof *x), *y = xalloc_array(N, sizeof *y);
    fill(x, N, 14, 1);
    fill(y, N, 15, 1);
    float at = y[N - 1];
    ops_add(&c, N, x, y);
    assert_true(y[N - 1] == at + x[N - 1]);
    ops_scale(&c, N, 0.5f, y);
    assert_true(y[N - 1] == 0.5f * (at + x[N - 1]));
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += (double)x[i] * (double)x[i];
    assert_near("sum of squares", ops_sum_squares(&c, N, x), sum, 1e-12);
    assert_true(ops_all_finite(&c, N, x));
    x[N - 1] = INFINITY;
    assert_false(ops_all_finite(&c, N, x));
    x[N - 1] = 0;
    x[12345] = NAN;
    assert_false(ops_all_finite(&c, N, x));
    assert_true(ops_sum_squares(&c, 0, x) == 0.0);
    const float tie[4] = {1, 3, 3, 2};
    assert_int_equal(ops_argmax(tie, 4), 1);
    xfree(x);
    xfree(y);
}

/* The first of the largest, whatever the length; what is not a number is larger than nothing. */
static void test_argmax(void **state)
{
    enum { LONGEST = 600 };
    float x[LONGEST];
    (void)state;
    struct rng r = rng_open(4, "argmax");
    for (int n = 1; n <= LONGEST; n++) {
        int largest = 0;
        for (int i = 0; i < n; i++) {
            x[i] = (float)(rng_u32_at(&r, (uint64_t)(n * LONGEST + i)) % (n % 3 ? 1000000 : 9));
            if (i % 37 == 36)
                x[i] = NAN;
            largest = x[i] > x[largest] ? i : largest;
        }
        assert_int_equal(ops_argmax(x, n), largest);
        for (int i = 0; i < n; i++)
            x[i] = -1;
        assert_int_equal(ops_argmax(x, n), 0);
        x[n - 1] = -x[0];
        assert_int_equal(ops_argmax(x, n), n - 1);
    }
    x[0] = NAN;
    assert_int_equal(ops_argmax(x, LONGEST), 0);
}

static void test_rows(void **state)
{
    (void)state;
    float x[DIM], y[DIM], e[DIM];
    fill(x, DIM, 16, 3);
    fill(y, DIM, 17, 3);
    double dot = 0, sum = 0;
    float largest = x[0];
    for (int i = 0; i < DIM; i++) {
        dot += (double)x[i] * (double)y[i];
        sum += exp((double)x[i] * 0.5 - 1.25);
        largest = x[i] > largest ? x[i] : largest;
    }
    assert_near("dot", (double)ops_row_dot(&c, DIM, x, y), dot, 1e-6);
    assert_near("exp sum", (double)ops_row_exp(&c, DIM, x, 0.5f, 1.25f, e), sum, 1e-6);
    assert_near("exp", (double)e[5], exp((double)x[5] * 0.5 - 1.25), 1e-6);
    assert_true(ops_row_max(&c, DIM, x) == largest);
}

static void test_adamw(void **state)
{
    (void)state;
    enum { N = 100 };
    float p[N], g[N], m[N] = {0}, v[N] = {0};
    double q[N], first[N] = {0}, second[N] = {0};
    fill(p, N, 18, 1);
    widen(q, p, N);
    for (int t = 1; t <= 20; t++) {
        fill(g, N, 19 + (uint32_t)t, 0.1f);
        struct adamw_step s = {1e-2f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, t};
        ops_adamw(&c, N, &s, p, g, m, v);
        for (int i = 0; i < N; i++) {
            double grad = 0.5 * (double)g[i];
            q[i] *= 1 - 1e-2 * 0.1;
            first[i] = 0.9 * first[i] + 0.1 * grad;
            second[i] = 0.999 * second[i] + 0.001 * grad * grad;
            q[i] -= 1e-2 / (1 - pow(0.9, t)) * first[i] /
                    (sqrt(second[i] / (1 - pow(0.999, t))) + 1e-8);
        }
    }
    for (int i = 0; i < N; i++)
        assert_near("adamw", (double)p[i], q[i], 2e-5);
}

/* ---- The same bits from every kernel set and number of threads ---- */

enum { BIG_M = 40, BIG_DIM = 1000, BIG = BIG_M * BIG_DIM };

static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 1099511628211u;
    return h;
}

static uint64_t run_everything(struct compute *with)
{
    static float x[BIG], y[BIG], z[BIG], u[BIG], w[BIG_DIM], dw[BIG_DIM], rstd[BIG];
    static float table[64 * 50];
    double loss[BIG_M];
    int32_t ids[BIG_M], pos[BIG_M];
    uint64_t h = 14695981039346656037u;
#define HASH(array) h = hash(h, array, sizeof array)
    fill(x, BIG, 30, 3);
    fill(y, BIG, 31, 3);
    fill(w, BIG_DIM, 32, 1);
    memset(dw, 0, sizeof dw);
    for (int i = 0; i < BIG_M; i++) {
        ids[i] = i % 7;
        pos[i] = i % 50;
    }
    ops_rmsnorm(with, BIG_M, BIG_DIM, x, BIG_DIM, w, 1e-5f, z, BIG_DIM, rstd);
    HASH(z);
    ops_rmsnorm_backward(with, BIG_M, BIG_DIM, y, BIG_DIM, x, BIG_DIM, w, rstd, z, BIG_DIM, dw);
    HASH(z);
    HASH(dw);
    ops_rope_fill(500000.0f, 64, 50, table);
    HASH(table);
    struct rope_table rope = {64, 50, table};
    ops_rope_norm(with, BIG_M, 15, &rope, pos, x, BIG_DIM, w, 1e-5f, NULL, u, BIG_DIM, z, BIG_DIM,
                  rstd);
    HASH(z);
    ops_rope_norm_backward(with, BIG_M, 15, &rope, pos, y, BIG_DIM, u, BIG_DIM, w, rstd, z, BIG_DIM,
                           dw);
    HASH(z);
    HASH(dw);
    ops_kv_quant(with, BIG_M, BIG_DIM, x, BIG_DIM, 0.021f, z, BIG_DIM);
    HASH(z);
    static int16_t q[BIG + BIG_M];
    memcpy(z, x, sizeof z);
    ops_round16(with, BIG_M, BIG_DIM, z, &(struct rows16){q, rstd});
    HASH(z);
    HASH(q);
    ops_unpack16(with, BIG_M, BIG_DIM, &(struct rows16){q, rstd}, u);
    HASH(u);
    ops_swiglu(with, BIG_M, BIG_DIM, x, y, z);
    HASH(z);
    ops_swiglu_backward(with, BIG_M, BIG_DIM, x, x, y, z, u);
    HASH(z);
    HASH(u);
    memcpy(z, x, sizeof z);
    ops_cross_entropy(with, BIG_M, BIG_DIM, z, ids, 0.01f, loss, NULL);
    HASH(z);
    HASH(loss);
    ops_overlap(with, BIG_M, BIG_DIM, x, y, loss);
    HASH(loss);
    memcpy(z, x, sizeof z);
    memcpy(u, y, sizeof u);
    ops_reverse_kl(with, BIG_M, BIG_DIM, z, u, 0.01f, loss);
    HASH(z);
    HASH(loss);
    ops_embed_backward(with, BIG_M, BIG_DIM, ids, x, z);
    HASH(z);
    loss[0] = ops_sum_squares(with, BIG, x);
    loss[1] = (double)ops_abs_max(with, BIG_M, BIG_DIM, x, BIG_DIM);
    loss[2] = (double)ops_row_exp(with, 999, x, 0.7f, 0.1f, u);
    loss[3] = (double)ops_row_dot(with, 999, x, y);
    HASH(loss);
    HASH(u);
    struct adamw_step s = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 3};
    for (int i = 0; i < BIG; i++)
        u[i] = fabsf(u[i]);
    ops_adamw(with, BIG, &s, x, y, z, u);
    HASH(x);
    HASH(z);
    HASH(u);
#undef HASH
    return h;
}

static void test_same_bits(void **state)
{
    (void)state;
    uint64_t first = 0;
    for (size_t s = 0; s < N_KERNELS; s++)
        for (int threads = 1; threads <= 3; threads++) {
            if (!compute_has(kernel_names[s]))
                continue;
            struct compute other;
            struct err e = {0};
            assert_int_equal(compute_open(&other, threads, kernel_names[s], &e), 0);
            uint64_t h = run_everything(&other);
            if (first == 0)
                first = h;
            assert_true(h == first);
            compute_close(&other);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round16),    cmocka_unit_test(test_rope_round_norm),
        cmocka_unit_test(test_rmsnorm),    cmocka_unit_test(test_rope_norm),
        cmocka_unit_test(test_kv_quant),   cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_embed),      cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_reverse_kl), cmocka_unit_test(test_flat),
        cmocka_unit_test(test_argmax),     cmocka_unit_test(test_rows),
        cmocka_unit_test(test_adamw),      cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, open_best, close_best);
}
