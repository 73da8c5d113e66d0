/*
 * The products against a naive double-precision product within a bound, and bit for bit between
 * kernel sets, numbers of threads and numbers of rows.
 */

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
#include "stages/model/compute.h"
#include "stages/model/fmath.h"
#include "stages/model/gemm.h"
#include "stages/model/tensorfile.h"

static const char *const kernel_names[] = {"portable", "avx2", "avx512", "amx", "neon"};
#define N_KERNELS (sizeof kernel_names / sizeof kernel_names[0])

static float value_at(unsigned seed, size_t i)
{
    uint32_t h = (uint32_t)i * 2654435761u + seed * 40503u + 12345u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return (float)(h >> 8) / 8388608.0f - 1.0f;
}

static float *filled(size_t n, unsigned seed)
{
    float *p = xalloc_array(n, sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = value_at(seed, i);
    return p;
}

/* A weight of any form with its dense values. */
struct sample_weight {
    struct weight w;
    unsigned char *data;
    float *scale, *dense;
};

static struct sample_weight make_weight(enum weight_form form, int n, int k, bool row_scales)
{
    struct sample_weight s = {0};
    size_t bytes = weight_bytes(form, n, k);
    s.data = xalloc(bytes);
    s.scale = xalloc_array((size_t)n, sizeof *s.scale);
    s.dense = xalloc_array((size_t)n * (size_t)k, sizeof *s.dense);
    for (int i = 0; i < n; i++)
        s.scale[i] = 0.01f * (float)(i % 7 + 1);
    for (size_t i = 0; i < bytes; i++)
        s.data[i] = (unsigned char)((i * 2654435761u) >> 13);
    if (form == WEIGHT_F32) {
        float *w = filled((size_t)n * (size_t)k, 77);
        memcpy(s.data, w, bytes);
        xfree(w);
    } else if (form == WEIGHT_BF16) {
        for (size_t i = 0; i < bytes / 2; i++) {
            uint32_t bits = 0;
            float v = value_at(78, i);
            memcpy(&bits, &v, sizeof bits);
            s.data[2 * i] = (unsigned char)(bits >> 16);
            s.data[2 * i + 1] = (unsigned char)(bits >> 24);
        }
    }
    s.w = weight_codes(form, n, k, s.data, s.scale, row_scales ? n : 1);
    for (int i = 0; i < n; i++)
        weight_unpack_row(&s.w, i, s.dense + (size_t)i * (size_t)k);
    return s;
}

static void free_weight(struct sample_weight *s)
{
    xfree(s->data);
    xfree(s->scale);
    xfree(s->dense);
}

/* y[i][j] (+)= sum_r a(i, r) b(r, j); strides per index. The bound of a chain of n roundings is
 * n u sum |a b|, u = 2^-24. */
struct naive {
    int m, n, k;
    const float *a, *b;
    int a_i, a_r, b_r, b_j;
    const float *start; /* NULL: zero; row stride ldy */
    int ldy;
};

static void assert_product(const struct naive *p, const float *y)
{
    for (int i = 0; i < p->m; i++) {
        for (int j = 0; j < p->n; j++) {
            double sum = p->start ? (double)p->start[i * p->ldy + j] : 0, size = fabs(sum);
            for (int r = 0; r < p->k; r++) {
                double term =
                    (double)p->a[i * p->a_i + r * p->a_r] * (double)p->b[r * p->b_r + j * p->b_j];
                sum += term;
                size += fabs(term);
            }
            double bound = (p->k + 1) * ldexp(1, -24) * size + 1e-30;
            double got = (double)y[i * p->ldy + j];
            if (!(fabs(got - sum) <= bound)) {
                print_message("m %d n %d k %d: y[%d][%d] = %g, naive %g, bound %g\n", p->m, p->n,
                              p->k, i, j, got, sum, bound);
                assert_true(fabs(got - sum) <= bound);
            }
        }
    }
}

static void check_forward(struct compute *c, const struct sample_weight *s, int m, bool add)
{
    int n = s->w.n, k = s->w.k, ldx = k + 3, ldy = n + 5;
    float *x = filled((size_t)(m * ldx), 1), *y = filled((size_t)(m * ldy), 2);
    float *start = filled((size_t)(m * ldy), 2);
    gemm_xwt(c, m, x, ldx, &s->w, y, ldy, add);
    struct naive p = {m, n, k, x, s->dense, ldx, 1, 1, k, add ? start : NULL, ldy};
    assert_product(&p, y);
    for (int i = 0; i < m; i++) /* nothing is written between the rows */
        assert_memory_equal(y + i * ldy + n, start + i * ldy + n, 5 * sizeof *y);
    xfree(x);
    xfree(y);
    xfree(start);
}

static void check_backward(struct compute *c, const struct sample_weight *s, int m, bool add)
{
    int n = s->w.n, k = s->w.k, lddy = n + 1, lddx = k + 7;
    float *dy = filled((size_t)(m * lddy), 3), *dx = filled((size_t)(m * lddx), 4);
    float *start = filled((size_t)(m * lddx), 4);
    gemm_xw(c, m, dy, lddy, &s->w, dx, lddx, add);
    struct naive p = {m, k, n, dy, s->dense, lddy, 1, k, 1, add ? start : NULL, lddx};
    assert_product(&p, dx);
    for (int i = 0; i < m; i++)
        assert_memory_equal(dx + i * lddx + k, start + i * lddx + k, 7 * sizeof *dx);
    xfree(dy);
    xfree(dx);
    xfree(start);
}

static void check_weight_gradient(struct compute *c, int m, int n, int k, bool add)
{
    int lddy = n + 2, ldx = k + 3, lddw = k + 1;
    float *dy = filled((size_t)(m * lddy), 5), *x = filled((size_t)(m * ldx), 6);
    float *dw = filled((size_t)(n * lddw), 7), *start = filled((size_t)(n * lddw), 7);
    gemm_dw(c, m, n, k, dy, lddy, x, ldx, dw, lddw, add);
    struct naive p = {n, k, m, dy, x, 1, lddy, ldx, 1, add ? start : NULL, lddw};
    assert_product(&p, dw);
    xfree(dy);
    xfree(x);
    xfree(dw);
    xfree(start);
}

static const struct {
    enum weight_form form;
    int n, k;
    bool row_scales;
} weight_cases[] = {
    {WEIGHT_F32, 1, 1, false},    {WEIGHT_F32, 37, 19, false},  {WEIGHT_F32, 64, 300, false},
    {WEIGHT_F32, 33, 257, false}, {WEIGHT_BF16, 45, 31, false}, {WEIGHT_BF16, 96, 272, false},
    {WEIGHT_BF16, 45, 50, false}, {WEIGHT_Q2, 16, 16, false},   {WEIGHT_Q2, 48, 288, true},
    {WEIGHT_Q2, 304, 80, false},  {WEIGHT_Q4, 16, 8, true},     {WEIGHT_Q4, 80, 264, true},
    {WEIGHT_Q4, 272, 56, false},  {WEIGHT_Q4, 48, 2096, true},  {WEIGHT_Q4, 32, 64, false},
};

static void test_against_naive(void **state)
{
    (void)state;
    static const int rows[] = {1, 2, 3, 5, 13, 14, 15, 29, 67};
    for (size_t s = 0; s < N_KERNELS; s++) {
        if (!compute_has(kernel_names[s]))
            continue;
        struct err e = {0};
        struct compute c;
        assert_int_equal(compute_open(&c, 2, kernel_names[s], &e), 0);
        for (size_t i = 0; i < sizeof weight_cases / sizeof weight_cases[0]; i++) {
            struct sample_weight w = make_weight(weight_cases[i].form, weight_cases[i].n,
                                                 weight_cases[i].k, weight_cases[i].row_scales);
            for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r += s == 0 ? 4 : 1) {
                check_forward(&c, &w, rows[r], r % 2 == 0);
                check_backward(&c, &w, rows[r], r % 2 == 1);
                check_weight_gradient(&c, rows[r] * 5, w.w.n, w.w.k < 64 ? w.w.k : 64, r % 2 == 0);
            }
            free_weight(&w);
        }
        compute_close(&c);
    }
}

/* All three products of one case into one array. */
static size_t all_products(struct compute *c, const struct sample_weight *s, int m, float *out)
{
    int n = s->w.n, k = s->w.k;
    float *x = filled((size_t)m * (size_t)k, 11), *dy = filled((size_t)m * (size_t)n, 12);
    float *y = out, *dx = y + m * n, *dw = dx + m * k;
    gemm_xwt(c, m, x, k, &s->w, y, n, false);
    gemm_xwt(c, m, x, k, &s->w, y, n, true);
    gemm_xw(c, m, dy, n, &s->w, dx, k, false);
    gemm_dw(c, m, n, k, dy, n, x, k, dw, k, false);
    xfree(x);
    xfree(dy);
    return (size_t)(m * n + m * k + n * k);
}

static void test_same_bits(void **state)
{
    (void)state;
    enum { M = 45 };
    for (size_t i = 0; i < sizeof weight_cases / sizeof weight_cases[0]; i++) {
        struct sample_weight w = make_weight(weight_cases[i].form, weight_cases[i].n,
                                             weight_cases[i].k, weight_cases[i].row_scales);
        size_t space = (size_t)(M * (w.w.n + w.w.k) + w.w.n * w.w.k);
        float *first = xalloc_array(space, sizeof *first),
              *other = xalloc_array(space, sizeof *other);
        bool have_first = false;
        for (size_t s = 0; s < N_KERNELS; s++) {
            if (!compute_has(kernel_names[s]))
                continue;
            for (int threads = 1; threads <= 3; threads++) {
                struct err e = {0};
                struct compute c;
                assert_int_equal(compute_open(&c, threads, kernel_names[s], &e), 0);
                size_t n = all_products(&c, &w, M, have_first ? other : first);
                if (have_first)
                    assert_memory_equal(first, other, n * sizeof *first);
                have_first = true;
                compute_close(&c);
            }
        }
        xfree(first);
        xfree(other);
        free_weight(&w);
    }
}

/* What few rows are to give: each element its chain of fma over k in order. y (+)= x w; x (m, n), w
 * (n, k), y (m, k). */
static void chains(int m, int ldx, const float *x, const struct sample_weight *w, bool add, int ldy,
                   float *y)
{
    int n = w->w.n, k = w->w.k;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++) {
            float sum = add ? y[i * ldy + j] : 0.0f;
            for (int r = 0; r < n; r++)
                sum = fmaf(x[i * ldx + r], w->dense[r * k + j], sum);
            y[i * ldy + j] = sum;
        }
}

static void check_straight(struct compute *c, const struct sample_weight *w, int m, bool add)
{
    int n = w->w.n, k = w->w.k, ldx = n + 3, ldy = k + 5;
    size_t bytes = (size_t)(m * ldy) * sizeof(float);
    float *x = filled((size_t)(m * ldx), 61), *y = filled((size_t)(m * ldy), 62);
    float *expected = filled((size_t)(m * ldy), 62);
    for (int i = 0; i < m; i++) /* is 0 times it, not left out */
        x[i * ldx + n / 2] = -0.0f;
    chains(m, ldx, x, w, add, ldy, expected);
    gemm_xw(c, m, x, ldx, &w->w, y, ldy, add);
    assert_memory_equal(y, expected, bytes);
    xfree(x);
    xfree(y);
    xfree(expected);
}

/* Few rows go straight to the floats and halves, 9 to what is packed of them: the same chains. */
static void test_few_rows_straight(void **state)
{
    static const int steps[] = {1, 31, 257, 700}, columns[] = {1, 7, 16, 31, 32, 33, 48, 100, 160};
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (size_t j = 0; j < sizeof columns / sizeof *columns; j++) {
            struct sample_weight w = make_weight(WEIGHT_F32, steps[i], columns[j], false);
            for (size_t s = 0; s < 2 * N_KERNELS; s++) {
                struct err e = {0};
                struct compute c;
                if (!compute_has(kernel_names[s / 2]))
                    continue;
                assert_int_equal(compute_open(&c, 1 + (int)s % 2, kernel_names[s / 2], &e), 0);
                for (int m = 1; m <= 9; m++)
                    for (int add = 0; add < 2; add++)
                        check_straight(&c, &w, m, add == 1);
                compute_close(&c);
            }
            free_weight(&w);
        }
}

/* Thin products behind w's, in one go or apart: out = y (m, n), then dx (m, k). */
static void thin_products(struct compute *c, const struct sample_weight *w, int m,
                          const struct gemm_thin *forth, int n_forth, const struct gemm_thin *back,
                          bool apart, float *out)
{
    int n = w->w.n, k = w->w.k;
    float *x = filled((size_t)m * (size_t)k, 31), *dy = filled((size_t)m * (size_t)n, 32);
    float *dx = out + m * n;
    for (int i = 0; i < m * (n + k); i++)
        out[i] = 0.25f;
    if (apart) {
        gemm_xwt(c, m, x, k, &w->w, out, n, false);
        for (int i = 0; i < n_forth; i++)
            gemm_xw(c, m, forth[i].x, forth[i].w.n, &forth[i].w, out + forth[i].first, n, true);
        gemm_xw(c, m, dy, n, &w->w, dx, k, true);
        gemm_xwt(c, m, back->x, back->w.k, &back->w, dx, k, true);
    } else {
        gemm_xwt_then(c, m, x, k, &w->w, out, n, n_forth, forth);
        gemm_xw_then(c, m, dy, n, &w->w, dx, k, true, 1, back);
    }
    xfree(x);
    xfree(dy);
}

static void check_thin(struct compute *c, const struct sample_weight *w, int m, int rank, int cut)
{
    int n = w->w.n, k = w->w.k;
    size_t space = (size_t)(m * (n + k));
    float *h = filled((size_t)(m * rank), 33), *b = filled((size_t)(rank * n), 34);
    float *a = filled((size_t)(k * rank), 35), *joined = xalloc_array(space, sizeof *joined),
          *apart = xalloc_array(space, sizeof *apart);
    const struct gemm_thin forth[] = {{h, weight_dense(b, rank, cut), 0},
                                      {h, weight_dense(b + rank * cut, rank, n - cut), cut}};
    const struct gemm_thin back = {h, weight_dense(a, k, rank), 0};
    thin_products(c, w, m, forth, 2, &back, true, apart);
    thin_products(c, w, m, forth, 2, &back, false, joined);
    assert_memory_equal(joined, apart, space * sizeof *joined);
    xfree(h);
    xfree(b);
    xfree(a);
    xfree(joined);
    xfree(apart);
}

/* Few rows, ranks and cuts that cannot follow on the tiles, and those that can. */
static void test_thin_products_follow(void **state)
{
    static const int rows[] = {1, 8, 9, 45, 519}, ranks[] = {1, 5, 32, 127, 129, 300};
    (void)state;
    for (size_t s = 0; s < N_KERNELS; s++)
        for (int form = WEIGHT_F32; form <= WEIGHT_Q2; form++) {
            struct err e = {0};
            struct compute c;
            if (!compute_has(kernel_names[s]) || (form != WEIGHT_F32 && form != WEIGHT_Q2))
                continue;
            assert_int_equal(compute_open(&c, 2, kernel_names[s], &e), 0);
            struct sample_weight w = make_weight((enum weight_form)form, 112, 80, true);
            for (int precision = 0; precision < (form == WEIGHT_Q2 ? 2 : 1); precision++)
                for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                    for (size_t j = 0; j < sizeof ranks / sizeof *ranks; j++)
                        for (int cut = 32; cut <= 80; cut += 16) {
                            c.precision = (enum compute_precision)precision;
                            check_thin(&c, &w, rows[i], ranks[j], cut);
                        }
            free_weight(&w);
            compute_close(&c);
        }
}

/* ---- in integers ---- */

/* The definition in kernels_int16.h, one element at a time; out[m][n] for a[m][k] and the element
 * (r, j) of W or its transpose as a level. factor: of the reduction index, or NULL. */
struct integer_product {
    int m, n, k;
    const float *a;
    int lda;
    const struct sample_weight *s;
    bool backward;
};

static int doubled_level(const struct sample_weight *s, int row, int column)
{
    float scale = s->w.scale[s->w.n_scales == 1 ? 0 : row];
    return (int)lrintf(2 * s->dense[row * s->w.k + column] / scale);
}

static void integer_row(const struct integer_product *p, int i, int32_t *q, float *scale)
{
    const struct weight *w = &p->s->w;
    float most = 0, *v = xalloc_array((size_t)p->k, sizeof *v);
    for (int r = 0; r < p->k; r++) {
        v[r] = p->a[i * p->lda + r];
        if (p->backward && w->n_scales > 1)
            v[r] *= w->scale[r];
        most = fabsf(v[r]) > most ? fabsf(v[r]) : most;
    }
    float inverse = most > 0 ? 32767.0f / most : 0;
    for (int r = 0; r < p->k; r++)
        q[r] = (int32_t)lrintf(v[r] * inverse);
    *scale = most / 32767.0f;
    xfree(v);
}

static void assert_integer_product(const struct integer_product *p, const float *start,
                                   const float *y, int ldy)
{
    const struct weight *w = &p->s->w;
    int32_t *q = xalloc_array((size_t)p->k, sizeof *q);
    for (int i = 0; i < p->m; i++) {
        float row_scale;
        integer_row(p, i, q, &row_scale);
        for (int j = 0; j < p->n; j++) {
            int64_t sum = 0;
            for (int r = 0; r < p->k; r++)
                sum += (int64_t)q[r] *
                       (p->backward ? doubled_level(p->s, r, j) : doubled_level(p->s, j, r));
            assert_true(sum == (int32_t)sum);
            float half = w->n_scales == 1 ? 0.5f * w->scale[0]
                         : p->backward    ? 0.5f
                                          : 0.5f * w->scale[j];
            float scale = row_scale * half;
            float expected =
                start ? fmaf((float)sum, scale, start[i * ldy + j]) : (float)sum * scale;
            assert_memory_equal(&y[i * ldy + j], &expected, sizeof expected);
        }
    }
    xfree(q);
}

static void check_integers(struct compute *c, const struct sample_weight *s, int m, bool backward,
                           bool add)
{
    int k = backward ? s->w.n : s->w.k, n = backward ? s->w.k : s->w.n, lda = k + 3, ldy = n + 5;
    float *a = filled((size_t)(m * lda), 1), *y = filled((size_t)(m * ldy), 2);
    float *start = filled((size_t)(m * ldy), 2);
    for (int r = 0; r < k && m > 2; r++) /* a row of zeros, and one too small to scale */
        a[lda + r] = 0, a[2 * lda + r] = 1e-38f;
    if (backward)
        gemm_xw(c, m, a, lda, &s->w, y, ldy, add);
    else
        gemm_xwt(c, m, a, lda, &s->w, y, ldy, add);
    for (int r = 0; r < k && m > 2; r++)
        a[2 * lda + r] = 0;
    struct integer_product p = {m, n, k, a, lda, s, backward};
    assert_integer_product(&p, add ? start : NULL, y, ldy);
    for (int i = 0; i < m; i++)
        assert_memory_equal(y + i * ldy + n, start + i * ldy + n, 5 * sizeof *y);
    xfree(a);
    xfree(y);
    xfree(start);
}

static void test_integers_are_exact(void **state)
{
    (void)state;
    static const int rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 29, 67};
    for (size_t s = 0; s < N_KERNELS; s++) {
        if (!compute_has(kernel_names[s]))
            continue;
        struct err e = {0};
        struct compute c;
        assert_int_equal(compute_open(&c, 2, kernel_names[s], &e), 0);
        c.precision = COMPUTE_INT16;
        for (size_t i = 0; i < sizeof weight_cases / sizeof weight_cases[0]; i++) {
            bool four = weight_cases[i].form == WEIGHT_Q4;
            if (weight_cases[i].form != WEIGHT_Q2 && (!four || weight_cases[i].k % 16 != 0))
                continue;
            struct sample_weight w = make_weight(weight_cases[i].form, weight_cases[i].n,
                                                 weight_cases[i].k, weight_cases[i].row_scales);
            for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
                check_integers(&c, &w, rows[r], false, r % 2 == 0);
                if (!four)
                    check_integers(&c, &w, rows[r], true, r % 2 == 1);
            }
            free_weight(&w);
        }
        compute_close(&c);
    }
}

/* Long reductions: tiles of few rows; beyond the sum's range in fp32; and close to fp32. */
static void test_integers_against_fp32(void **state)
{
    (void)state;
    static const int ks[] = {832, 6656, 16384, 22400};
    enum { M = 20, N = 16 };
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        struct err e = {0};
        struct compute c;
        int k = ks[i];
        struct sample_weight w = make_weight(WEIGHT_Q2, N, k, false);
        float *x = filled((size_t)(M * k), 41), one[M * N], other[M * N];
        assert_int_equal(compute_open(&c, 2, "auto", &e), 0);
        gemm_xwt(&c, M, x, k, &w.w, one, N, false);
        c.precision = COMPUTE_INT16;
        gemm_xwt(&c, M, x, k, &w.w, other, N, false);
        double error = 0, size = 0;
        for (int j = 0; j < M * N; j++) {
            error += ((double)one[j] - (double)other[j]) * ((double)one[j] - (double)other[j]);
            size += (double)one[j] * (double)one[j];
        }
        assert_true(sqrt(error / size) < 2e-4);
        assert_true((error == 0) == (k > 16384));
        compute_close(&c);
        xfree(x);
        free_weight(&w);
    }
}

/* The largest sums: every value the largest, every code at one end of its levels. */
static void test_integers_fit(void **state)
{
    (void)state;
    static const struct {
        enum weight_form form;
        int k;
        float top;
    } cases[] = {{WEIGHT_Q2, 16384, 1.5f}, {WEIGHT_Q4, 4352, 7.5f}};
    enum { M = 9, N = 16 };
    for (size_t s = 0; s < N_KERNELS; s++) {
        for (size_t i = 0; i < 4 && compute_has(kernel_names[s]); i++) {
            int k = cases[i / 2].k;
            float sign = i % 2 ? -1.0f : 1.0f, scale = 1, y[M * N];
            size_t bytes = weight_bytes(cases[i / 2].form, N, k);
            struct err e = {0};
            struct compute c;
            unsigned char *codes = xalloc(bytes);
            float *x = xalloc_array((size_t)(M * k), sizeof *x);
            memset(codes, sign > 0 ? 0xFF : 0, bytes);
            for (int j = 0; j < M * k; j++)
                x[j] = 1;
            struct weight w = weight_codes(cases[i / 2].form, N, k, codes, &scale, 1);
            assert_int_equal(compute_open(&c, 1, kernel_names[s], &e), 0);
            c.precision = COMPUTE_INT16;
            for (int m = 1; m <= M; m++) {
                gemm_xwt(&c, m, x, k, &w, y, N, false);
                for (int j = 0; j < m * N; j++)
                    assert_true(fabsf(y[j] - sign * cases[i / 2].top * (float)k) <
                                1e-3f * (float)k);
            }
            compute_close(&c);
            xfree(codes);
            xfree(x);
        }
    }
}

static void test_integers_keep_what_is_not_finite(void **state)
{
    (void)state;
    enum { M = 3, N = 16, K = 32 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct err e = {0};
    struct compute c;
    struct sample_weight w = make_weight(WEIGHT_Q2, N, K, true);
    assert_int_equal(compute_open(&c, 1, "auto", &e), 0);
    c.precision = COMPUTE_INT16;
    for (int i = 0; i < 3; i++) {
        float x[M * K], y[M * N], dx[M * K];
        for (int j = 0; j < M * K; j++)
            x[j] = value_at(51, (size_t)j);
        x[K + 5] = bad[i];
        gemm_xwt(&c, M, x, K, &w.w, y, N, false);
        gemm_xw(&c, M, x, K, &w.w, dx, K, false);
        for (int j = 0; j < M * N; j++)
            assert_true(isnan(y[j]) == (j / N == 1));
        for (int j = 0; j < M * K; j++)
            assert_true(isnan(dx[j]) == (j / K == 1));
    }
    free_weight(&w);
    compute_close(&c);
}

/* Row i does not depend on how many rows are multiplied with it. */
static void test_rows_alone(void **state)
{
    (void)state;
    enum { M = 600, N = 64, K = 272 };
    struct err e = {0};
    struct compute c;
    assert_int_equal(compute_open(&c, 2, "auto", &e), 0);
    struct sample_weight w = make_weight(WEIGHT_Q2, N, K, false);
    float *x = filled(M * K, 21), *y = xalloc_array(M * N, sizeof *y), one[N];
    gemm_xwt(&c, M, x, K, &w.w, y, N, false);
    for (int i = 0; i < M; i += 37) {
        gemm_xwt(&c, 1, x + i * K, K, &w.w, one, N, false);
        assert_memory_equal(one, y + i * N, sizeof one);
    }
    xfree(x);
    xfree(y);
    free_weight(&w);
    compute_close(&c);
}

static void test_names(void **state)
{
    (void)state;
    struct err e = {0};
    struct compute c;
    assert_int_equal(compute_open(&c, 1, "abacus", &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "abacus"));
    compute_close(&c);
    assert_true(compute_has("portable"));
    assert_true(compute_has("auto"));
}

/* Halves are the floats that they stand for: the same bits, one row or many. */
static void test_halves(void **state)
{
    (void)state;
    enum { M = 9, N = 300, K = 1040 };
    static const char *const sets[] = {"portable", "avx2", "avx512", "amx", "neon"};
    uint16_t *half = xalloc_array((size_t)N * K, sizeof *half);
    float *full = xalloc_array((size_t)N * K, sizeof *full);
    float *x = xalloc_array((size_t)M * K, sizeof *x), *y[2];
    y[0] = xalloc_array((size_t)M * K, sizeof *x);
    y[1] = xalloc_array((size_t)M * K, sizeof *x);
    struct rng r = rng_open(9, "halves");
    for (size_t i = 0; i < (size_t)N * K; i++) {
        uint16_t h = (uint16_t)rng_u32_at(&r, i);
        half[i] = (h & 0x7C00) == 0x7C00 ? (uint16_t)(h & 0x83FF) : h; /* many are subnormal */
        full[i] = tensor_f16_to_f32(half[i]);
        assert_true(fm_of_half(half[i]) == full[i]);
    }
    for (size_t i = 0; i < (size_t)M * K; i++)
        x[i] = rng_normal_at(&r, 1u << 24 | i);
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        for (int m = 1; m <= M && compute_has(sets[s]); m++) {
            for (int forward = 0; forward < 2; forward++) {
                for (int form = 0; form < 2; form++) {
                    struct compute c;
                    struct err e = {0};
                    struct weight w = form ? weight_half(half, N, K) : weight_dense(full, N, K);
                    assert_int_equal(compute_open(&c, 1 + form, sets[s], &e), 0);
                    memcpy(y[form], x, (size_t)M * K * sizeof *x);
                    if (forward)
                        gemm_xwt(&c, m, x, K, &w, y[form], N, true);
                    else
                        gemm_xw(&c, m, x, N, &w, y[form], K, m > 1);
                    compute_close(&c);
                }
                assert_memory_equal(y[0], y[1], (size_t)M * K * sizeof *x);
            }
        }
    }
    xfree(half);
    xfree(full);
    xfree(x);
    xfree(y[0]);
    xfree(y[1]);
}

static void check_panels(struct compute *c, const struct weight *rows, const struct weight *panels,
                         int m)
{
    int ldx = rows->k + 3, ldy = rows->n + 5;
    size_t bytes = (size_t)(m * ldy) * sizeof(float);
    float *x = filled((size_t)(m * ldx), 63);
    for (int add = 0; add < 2; add++) {
        float *y = filled((size_t)(m * ldy), 64), *expected = filled((size_t)(m * ldy), 64);
        gemm_xwt(c, m, x, ldx, rows, expected, ldy, add == 1);
        gemm_xwt(c, m, x, ldx, panels, y, ldy, add == 1);
        assert_memory_equal(y, expected, bytes);
        xfree(y);
        xfree(expected);
    }
    xfree(x);
}

/* A matrix by panels is the same matrix: the same bits, few rows or many. */
static void test_panels(void **state)
{
    static const enum weight_form forms[] = {WEIGHT_F32, WEIGHT_BF16, WEIGHT_F16};
    static const int inputs[] = {1, 31, 300}, outputs[] = {1, 16, 31, 64, 70, 96, 160, 200};
    static const int rows[] = {1, 2, 3, 4, 5, 8, 9, 40};
    (void)state;
    for (int i = 0; i < 3 * 3 * 8; i++) {
        struct sample_weight w =
            make_weight(forms[i % 3], outputs[i / 9], inputs[i / 3 % 3], false);
        for (size_t j = 0; w.w.form == WEIGHT_F16 && j < weight_bytes(w.w.form, w.w.n, w.w.k);
             j += 2)
            w.data[j + 1] &= 0xBF; /* finite */
        void *space = xalloc(weight_panel_bytes(&w.w));
        struct weight panels = weight_to_panels(&w.w, space);
        for (size_t s = 0; s < 2 * N_KERNELS; s++) {
            struct err e = {0};
            struct compute c;
            if (!compute_has(kernel_names[s / 2]))
                continue;
            assert_int_equal(compute_open(&c, 1 + (int)s % 2, kernel_names[s / 2], &e), 0);
            for (size_t m = 0; m < sizeof rows / sizeof *rows; m++)
                check_panels(&c, &w.w, &panels, rows[m]);
            compute_close(&c);
        }
        xfree(space);
        free_weight(&w);
    }
}

/* Tiles of 14 rows leave one or two, and begin in the middle of a panel. */
static void test_panels_cut(void **state)
{
    (void)state;
    struct sample_weight w = make_weight(WEIGHT_BF16, 320, 64, false);
    void *space = xalloc(weight_panel_bytes(&w.w));
    struct weight panels = weight_to_panels(&w.w, space);
    for (size_t s = 0; s < N_KERNELS; s++)
        for (int threads = 3; threads <= 8 && compute_has(kernel_names[s]); threads++) {
            struct err e = {0};
            struct compute c;
            assert_int_equal(compute_open(&c, threads, kernel_names[s], &e), 0);
            for (int m = 15; m <= 18; m++)
                check_panels(&c, &w.w, &panels, m);
            compute_close(&c);
        }
    xfree(space);
    free_weight(&w);
}

/* The toolkit's names of a precision mean integers, which is said; our own need no word. */
static void test_precision_names(void **state)
{
    (void)state;
    for (int i = 0; compute_precision_names[i]; i++) {
        bool f32 = strcmp(compute_precision_names[i], "f32") == 0;
        bool own = f32 || strcmp(compute_precision_names[i], "int16") == 0;
        assert_int_equal(compute_precision_of(i), f32 ? COMPUTE_F32 : COMPUTE_INT16);
        assert_true((compute_precision_note(i) == NULL) == own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_naive),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_few_rows_straight),
        cmocka_unit_test(test_thin_products_follow),
        cmocka_unit_test(test_rows_alone),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_precision_names),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_panels),
        cmocka_unit_test(test_panels_cut),
        cmocka_unit_test(test_integers_are_exact),
        cmocka_unit_test(test_integers_against_fp32),
        cmocka_unit_test(test_integers_fit),
        cmocka_unit_test(test_integers_keep_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
