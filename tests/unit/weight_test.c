/* Weight forms: sizes, rows. The layouts are written out here once more, by hand. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/model/weight.h"

static void test_bytes(void **state)
{
    (void)state;
    assert_int_equal(weight_bytes(WEIGHT_F32, 3, 5), 60);
    assert_int_equal(weight_bytes(WEIGHT_BF16, 3, 5), 30);
    assert_int_equal(weight_bytes(WEIGHT_Q2, 32, 48), 32 * 48 / 4);
    assert_int_equal(weight_bytes(WEIGHT_Q4, 32, 24), 32 * 24 / 2);
    /* A full-size embedding does not overflow an int. */
    assert_true(weight_bytes(WEIGHT_F32, 153600, 2048) == (size_t)153600 * 2048 * 4);
    assert_string_equal(weight_layout_name(WEIGHT_Q2), "q2-16x16-v1");
    assert_string_equal(weight_layout_name(WEIGHT_Q4), "q4-16x8-v1");
}

static void test_dense(void **state)
{
    (void)state;
    float data[6] = {1, 2, 3, 4, 5, 6}, row[3];
    struct weight w = weight_dense(data, 2, 3);
    weight_unpack_row(&w, 1, row);
    assert_memory_equal(row, data + 3, sizeof row);
}

static void test_bf16(void **state)
{
    (void)state;
    uint16_t data[4] = {0x3F80, 0xC000, 0x0000, 0x3E20};
    struct weight w = {.form = WEIGHT_BF16, .n = 2, .k = 2, .data = data};
    float row[2];
    weight_unpack_row(&w, 0, row);
    assert_true(row[0] == 1.0f && row[1] == -2.0f);
    weight_unpack_row(&w, 1, row);
    assert_true(row[0] == 0.0f && row[1] == 0.15625f);
}

/* 70 outputs are two panels, the second one filled up with zeros. */
static void test_panels(void **state)
{
    (void)state;
    enum { OUTPUTS = 70, INPUTS = 3 };
    uint16_t data[OUTPUTS * INPUTS], panels[2 * WEIGHT_PANEL * INPUTS];
    for (int i = 0; i < OUTPUTS * INPUTS; i++)
        data[i] = (uint16_t)(i + 1);
    memset(panels, 0xFF, sizeof panels);
    struct weight rows = {.form = WEIGHT_BF16, .n = OUTPUTS, .k = INPUTS, .data = data};
    assert_int_equal(weight_panel_bytes(&rows), sizeof panels);
    struct weight w = weight_to_panels(&rows, panels);
    assert_true(w.panels && w.data == panels && w.form == WEIGHT_BF16 && w.n == OUTPUTS);
    for (int n = 0; n < 2 * WEIGHT_PANEL; n++)
        for (int k = 0; k < INPUTS; k++)
            assert_int_equal(panels[n / WEIGHT_PANEL * WEIGHT_PANEL * INPUTS + k * WEIGHT_PANEL +
                                    n % WEIGHT_PANEL],
                             n < OUTPUTS ? data[n * INPUTS + k] : 0);
}

enum { N = 48, K = 64 };

static int code_of(int n, int k, int levels)
{
    return (n * 7 + k * 5 + n * k) % levels;
}

/* The formula of weight.h, bit by bit. */
static unsigned char *packed(int bits)
{
    int per_group = 32 / bits;
    unsigned char *data = xalloc(N * K * (size_t)bits / 8);
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) {
            int group = n / 16 * (K / per_group) + k / per_group;
            int bit = bits * (k % per_group);
            data[group * 64 + n % 16 * 4 + bit / 8] |=
                (unsigned char)(code_of(n, k, 1 << bits) << (bit % 8));
        }
    return data;
}

static void check_codes(enum weight_form form, int bits, float zero)
{
    unsigned char *data = packed(bits);
    float scale[N], row[K];
    for (int n = 0; n < N; n++)
        scale[n] = 0.5f + 0.013f * (float)n;
    struct weight per_row = weight_codes(form, N, K, data, scale, N);
    struct weight whole = weight_codes(form, N, K, data, scale, 1);
    for (int n = 0; n < N; n++) {
        weight_unpack_row(&per_row, n, row);
        for (int k = 0; k < K; k++)
            assert_true(row[k] == scale[n] * ((float)code_of(n, k, 1 << bits) - zero));
        weight_unpack_row(&whole, n, row);
        for (int k = 0; k < K; k++)
            assert_true(row[k] == scale[0] * ((float)code_of(n, k, 1 << bits) - zero));
    }
    xfree(data);
}

static void test_q2(void **state)
{
    (void)state;
    check_codes(WEIGHT_Q2, 2, 1.5f);
}

static void test_q4(void **state)
{
    (void)state;
    check_codes(WEIGHT_Q4, 4, 7.5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),  cmocka_unit_test(test_dense), cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_panels), cmocka_unit_test(test_q2),    cmocka_unit_test(test_q4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
