/* Grids: rounding, gradients, scale search, packing; what training used is what is stored. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/model/gemm.h"
#include "stages/model/quant.h"
#include "stages/model/weight.h"

static const char *const kernel_names[] = {"portable", "avx2", "avx512", "amx", "neon"};
#define N_KERNELS (sizeof kernel_names / sizeof kernel_names[0])

enum { ROWS = 48, COLUMNS = 208, SIZE = ROWS * COLUMNS };

/* A sum of uniforms: bell-shaped, deviation about 0.1. */
static float *bell(size_t n, uint32_t seed)
{
    float *p = xalloc_array(n, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int j = 0; j < 4; j++) {
            seed = seed * 1664525u + 1013904223u;
            sum += (float)(seed >> 8) / 16777216.0f - 0.5f;
        }
        p[i] = sum * 0.17f;
    }
    return p;
}

static struct compute open_compute(const char *name, int n_threads)
{
    struct err e = {0};
    struct compute c;
    assert_int_equal(compute_open(&c, n_threads, name, &e), 0);
    return c;
}

static void test_grid_q2(void **state)
{
    (void)state;
    struct compute c = open_compute("auto", 2);
    const float s = 0.25f;
    float w[7] = {-9.0f, -0.3f, -0.01f, 0.01f, 0.3f, 9.0f, 0.125f}, out[7];
    float expected[7] = {-0.375f, -0.375f, -0.125f, 0.125f, 0.375f, 0.375f, 0.125f};
    quant_fake_q2(&c, w, 7, s, out);
    assert_memory_equal(out, expected, sizeof out);
    compute_close(&c);
}

static void test_gradient_q2(void **state)
{
    (void)state;
    struct compute c = open_compute("auto", 2);
    float *w = bell(SIZE, 1), *dwq = bell(SIZE, 2), *dw = xalloc_array(SIZE, sizeof *dw);
    const float s = 0.09f;
    double ds = 0, expected = 0;
    quant_fake_q2_backward(&c, w, SIZE, s, dwq, dw, &ds);
    for (int i = 0; i < SIZE; i++) {
        double u = (double)w[i] / (double)s, level = rint(u + 0.5);
        bool inside = level >= -1 && level <= 2;
        double slope = inside ? level - 0.5 - u : level < -1 ? -1.5 : 1.5;
        expected += (double)dwq[i] * slope;
        assert_true(dw[i] == (inside ? dwq[i] : 0.0f));
    }
    assert_true(fabs(ds - expected) < 1e-4);
    /* dw may be dwq. */
    quant_fake_q2_backward(&c, w, SIZE, s, dwq, dwq, &expected);
    assert_memory_equal(dw, dwq, SIZE * sizeof *dw);
    assert_true(ds == expected);
    xfree(w);
    xfree(dwq);
    xfree(dw);
    compute_close(&c);
}

/* Training's values, packed exactly, unpack to the same floats, row by row and in products. */
static void test_pack_is_what_training_used(void **state)
{
    (void)state;
    struct compute c = open_compute("auto", 2);
    struct err e = {0};
    float *w = bell(SIZE, 3), *used = xalloc_array(SIZE, sizeof *used), row[COLUMNS];
    float *x = bell(5 * COLUMNS, 4), y[5 * ROWS], z[5 * ROWS], scale[ROWS];
    unsigned char *codes = xalloc(SIZE / 2), *direct = xalloc(SIZE / 2);
    for (int bits = 2; bits <= 4; bits += 2) {
        struct weight packed = weight_codes(bits == 2 ? WEIGHT_Q2 : WEIGHT_Q4, ROWS, COLUMNS, codes,
                                            scale, bits == 2 ? 1 : ROWS);
        if (bits == 2) {
            scale[0] = 0.21f * quant_abs_max(&c, w, SIZE);
            quant_fake_q2(&c, w, SIZE, scale[0], used);
            assert_int_equal(quant_pack_q2(used, ROWS, COLUMNS, scale[0], true, codes, &e), 0);
            assert_int_equal(quant_pack_q2(w, ROWS, COLUMNS, scale[0], false, direct, &e), 0);
        } else {
            quant_scales_q4(&c, w, ROWS, COLUMNS, scale);
            quant_fake_q4_rows(&c, w, ROWS, COLUMNS, scale, used);
            assert_int_equal(quant_pack_q4(used, ROWS, COLUMNS, scale, true, codes, &e), 0);
            assert_int_equal(quant_pack_q4(w, ROWS, COLUMNS, scale, false, direct, &e), 0);
        }
        assert_memory_equal(codes, direct, weight_bytes(packed.form, ROWS, COLUMNS));
        for (int i = 0; i < ROWS; i++) {
            weight_unpack_row(&packed, i, row);
            assert_memory_equal(row, used + i * COLUMNS, sizeof row);
        }
        struct weight dense = weight_dense(used, ROWS, COLUMNS);
        gemm_xwt(&c, 5, x, COLUMNS, &dense, y, ROWS, false);
        gemm_xwt(&c, 5, x, COLUMNS, &packed, z, ROWS, false);
        assert_memory_equal(y, z, sizeof y);
    }
    xfree(w);
    xfree(used);
    xfree(x);
    xfree(codes);
    xfree(direct);
    compute_close(&c);
}

static void test_pack_refuses(void **state)
{
    (void)state;
    float w[16 * 16], scale[16];
    unsigned char codes[16 * 16 / 2];
    for (int i = 0; i < 256; i++)
        w[i] = 0.5f;
    for (int i = 0; i < 16; i++)
        scale[i] = 1.0f;
    struct err e = {0};
    assert_int_equal(quant_pack_q2(w, 16, 16, 1.0f, true, codes, &e), 0);
    w[3 * 16 + 4] = 0.75f;
    assert_int_equal(quant_pack_q2(w, 16, 16, 1.0f, true, codes, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "row 3, column 4"));
    assert_int_equal(quant_pack_q2(w, 16, 16, 1.0f, false, codes, &e), 0);
    e = (struct err){0};
    assert_int_equal(quant_pack_q4(w, 16, 16, scale, true, codes, &e), ERR_FORMAT);
    e = (struct err){0};
    w[3 * 16 + 4] = NAN;
    assert_int_equal(quant_pack_q2(w, 16, 16, 1.0f, false, codes, &e), ERR_NUMERIC);
}

static void test_zero_rows(void **state)
{
    (void)state;
    struct compute c = open_compute("auto", 1);
    float w[16 * 8] = {0}, scale[16], out[16 * 8];
    unsigned char codes[16 * 8 / 2];
    struct err e = {0};
    quant_scales_q4(&c, w, 16, 8, scale);
    quant_fake_q4_rows(&c, w, 16, 8, scale, out);
    assert_memory_equal(w, out, sizeof w);
    assert_int_equal(quant_pack_q4(w, 16, 8, scale, true, codes, &e), 0);
    assert_true(quant_scale_search_q2(&c, w, 128) == 1.0f);
    compute_close(&c);
}

static double error_q2(const float *w, float s)
{
    double sum = 0;
    for (int i = 0; i < SIZE; i++) {
        double d = (double)(s * (quant_level_q2(w[i], s) - 0.5f)) - (double)w[i];
        sum += d * d;
    }
    return sum;
}

static void test_search(void **state)
{
    (void)state;
    struct compute c = open_compute("auto", 2);
    float *w = bell(SIZE, 5);
    float largest = quant_abs_max(&c, w, SIZE), found = quant_scale_search_q2(&c, w, SIZE);
    for (int i = 1; i <= 300; i++) /* nothing on a fine line is better by more than 0.1 % */
        assert_true(error_q2(w, found) <= 1.001 * error_q2(w, largest * (float)i / 300.0f));
    xfree(w);
    compute_close(&c);
}

static void test_same_bits(void **state)
{
    (void)state;
    enum { N = 40003 }; /* several blocks and a ragged end */
    float *w = bell(N, 6), *dwq = bell(N, 7);
    float *first = xalloc_array(2 * N, sizeof *first), *other = xalloc_array(2 * N, sizeof *other);
    double ds_first = 0;
    float found_first = 0;
    bool have_first = false;
    for (size_t s = 0; s < N_KERNELS; s++)
        for (int threads = 1; threads <= 3; threads++) {
            if (!compute_has(kernel_names[s]))
                continue;
            struct compute c = open_compute(kernel_names[s], threads);
            float *out = have_first ? other : first;
            double ds = 0;
            quant_fake_q2(&c, w, N, 0.11f, out);
            quant_fake_q2_backward(&c, w, N, 0.11f, dwq, out + N, &ds);
            float found = quant_scale_search_q2(&c, w, 5000);
            if (have_first) {
                assert_memory_equal(first, other, 2 * N * sizeof *first);
                assert_true(ds == ds_first && found == found_first);
            }
            ds_first = ds;
            found_first = found;
            have_first = true;
            compute_close(&c);
        }
    xfree(w);
    xfree(dwq);
    xfree(first);
    xfree(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid_q2),
        cmocka_unit_test(test_gradient_q2),
        cmocka_unit_test(test_pack_is_what_training_used),
        cmocka_unit_test(test_pack_refuses),
        cmocka_unit_test(test_zero_rows),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
