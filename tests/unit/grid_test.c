/* Which form holds a matrix: found where it is there, and never claimed where it is not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "stages/model/grid.h"

enum { N = 32, K = 208 };

static float w[N * K], scale[N];
static struct compute compute;

static unsigned draw(unsigned i)
{
    i = i * 2654435761u + 12345u;
    return (i ^ i >> 15) >> 7;
}

static void fill(int levels, bool by_row)
{
    for (int r = 0; r < N; r++)
        for (int i = 0; i < K; i++)
            w[r * K + i] =
                (by_row ? 0.0137f * (float)(r % 5 + 1) : 0.0137f) *
                ((float)(draw((unsigned)(r * K + i)) % (unsigned)levels) - (float)(levels - 1) / 2);
}

/* Every value is what the form unpacks. */
static void assert_holds(const struct grid_found *f)
{
    float half = f->form == WEIGHT_Q2 ? 1.5f : 7.5f;
    for (int r = 0; r < N; r++)
        for (int i = 0; i < K; i++) {
            float s = scale[f->n_scales == 1 ? 0 : r],
                  level = s == 0 ? 0.5f : rintf(w[r * K + i] / s + half) - half;
            assert_true(level >= -half && level <= half && s * level == w[r * K + i]);
        }
}

static void grids_are_found(void **state)
{
    static const struct {
        int levels;
        bool by_row;
        enum weight_form form;
        int n_scales;
    } cases[] = {{4, false, WEIGHT_Q2, 1},
                 {4, true, WEIGHT_Q2, N},
                 {16, false, WEIGHT_Q4, N},
                 {16, true, WEIGHT_Q4, N},
                 {2, false, WEIGHT_Q2, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fill(cases[i].levels, cases[i].by_row);
        struct grid_found f = grid_find(&compute, w, N, K, scale);
        assert_true(f.finite);
        assert_int_equal(f.form, cases[i].form);
        assert_int_equal(f.n_scales, cases[i].n_scales);
        assert_int_equal(f.distinct_by_row, cases[i].levels);
        assert_holds(&f);
    }
}

/* One value off, in the last row, by one unit in the last place; levels that are not halves; sizes
 * that cannot be packed. */
static void nothing_is_claimed(void **state)
{
    (void)state;
    for (int levels = 4; levels <= 16; levels += 12) {
        for (int at = N * K - 1; at > N * K - K; at -= 100) {
            fill(levels, true);
            w[at] = nextafterf(w[at], 1);
            assert_int_equal(grid_find(&compute, w, N, K, scale).form, WEIGHT_F32);
        }
        fill(levels, false);
        assert_int_equal(grid_find(&compute, w, N - 1, K, scale).form, WEIGHT_F32);
    }
    for (int i = 0; i < N * K; i++)
        w[i] = (float)(i % 4) - 2; /* -2, -1, 0, 1 */
    struct grid_found f = grid_find(&compute, w, N, K, scale);
    assert_int_equal(f.form, WEIGHT_BF16);
    assert_int_equal(f.distinct, 4);
    for (int i = 0; i < N * K; i++)
        w[i] = 0;
    assert_int_equal(grid_find(&compute, w, N, K, scale).form, WEIGHT_BF16);
    for (int i = 0; i < N * K; i++)
        w[i] = sinf((float)i);
    f = grid_find(&compute, w, N, K, scale);
    assert_int_equal(f.form, WEIGHT_F32);
    assert_int_equal(f.distinct, GRID_DISTINCT_MAX);
    w[77] = NAN;
    assert_false(grid_find(&compute, w, N, K, scale).finite);
    w[77] = -INFINITY;
    assert_false(grid_find(&compute, w, N, K, scale).finite);
}

/* Rows of 2 bits and one of 4: all of 4, also those that came first. */
static void forms_of_rows_are_mixed(void **state)
{
    (void)state;
    fill(4, true);
    for (int i = 0; i < K; i++)
        w[(N - 2) * K + i] = 0.5f * ((float)(i % 16) - 7.5f);
    struct grid_found f = grid_find(&compute, w, N, K, scale);
    assert_int_equal(f.form, WEIGHT_Q4);
    assert_holds(&f);
}

/* A row of zeros, as the one of the padding id can be, is a row of 4 bits; -0 is another value. */
static void rows_of_zeros(void **state)
{
    (void)state;
    fill(16, true);
    for (int i = 0; i < K; i++)
        w[i] = 0;
    struct grid_found f = grid_find(&compute, w, N, K, scale);
    assert_int_equal(f.form, WEIGHT_Q4);
    assert_true(scale[0] == 0 && scale[1] > 0);
    assert_holds(&f);
    w[5] = -0.0f;
    assert_int_equal(grid_find(&compute, w, N, K, scale).form, WEIGHT_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids_are_found),
        cmocka_unit_test(nothing_is_claimed),
        cmocka_unit_test(forms_of_rows_are_mixed),
        cmocka_unit_test(rows_of_zeros),
    };
    struct err e = {0};
    if (compute_open(&compute, 2, "auto", &e) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    compute_close(&compute);
    return failed;
}
