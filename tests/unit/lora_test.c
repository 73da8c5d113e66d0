#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stages/kit/rng.h"
#include "stages/model/gemm.h"
#include "stages/model/lora.h"
#include "stages/model/model.h"
#include "tests/unit/scratch.h"

static const struct shape tiny = {64, 32, 2, 2, 4, 2, 8, 48, 16, 10000, 1e-5, true};

static char folder[SCRATCH_BYTES];
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (scratch_open(folder) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

static void fresh_adapters_are_seeded(void **state)
{
    struct adapter a, b, c;
    struct err e = {0};
    double sum = 0;
    size_t n = 0;
    (void)state;
    need(adapter_init(&a, &tiny, 32, 0, 1, &e), &e);
    need(adapter_init(&b, &tiny, 32, 0, 1, &e), &e);
    need(adapter_init(&c, &tiny, 32, 8, 2, &e), &e);
    assert_true(a.scale == 0.5f && c.scale == 0.25f);
    assert_memory_equal(a.values, b.values, a.n_values * sizeof(float));
    assert_memory_not_equal(a.values, c.values, a.n_values * sizeof(float));
    for (int i = 0; i < shape_n_modules(&tiny); i++) {
        struct shape_module m;
        shape_module(&tiny, i, 32, &m);
        for (int j = 0; j < 32 * m.out; j++)
            assert_true(adapter_b(&a, &m)[j] == 0);
        for (int j = 0; j < 32 * m.in; j++, n++)
            sum += (double)adapter_a(&a, &m)[j] * (double)adapter_a(&a, &m)[j] * m.in;
    }
    assert_true(fabs(sum / (double)n - 1) < 0.05); /* variance 1 / in */
    adapter_release(&a);
    adapter_release(&b);
    adapter_release(&c);
    assert_int_equal(adapter_init(&a, &tiny, 0, 0, 1, &e), ERR_CONFIG);
}

static void files_round_trip(void **state)
{
    struct adapter a, b;
    struct err e = {0};
    char name[SHAPE_NAME_BYTES + 16];
    const struct content_id base = sha256_of("base", 4), stranger = sha256_of("another", 7);
    const struct tensor_meta meta = {"fmforge.base", base.hex};
    (void)state;
    need(adapter_init(&a, &tiny, 8, 3, 1, &e), &e);
    for (size_t i = 0; i < a.n_values; i++)
        a.values[i] += 0.01f * (float)(i % 13);
    need(adapter_save(&a, path, DTYPE_F32, &meta, 1, &e), &e);
    need(adapter_open(&b, path, &tiny, &e), &e);
    assert_int_equal(b.rank, 8);
    assert_true(b.scale == a.scale);
    assert_string_equal(b.base.hex, base.hex);
    assert_int_equal(adapter_check_base(&b, &base, &e), 0);
    assert_int_equal(adapter_check_base(&a, &stranger, &e), 0); /* does not say */
    assert_int_equal(adapter_check_base(&b, &stranger, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "trained on base"));
    e = (struct err){0};
    assert_memory_equal(a.values, b.values, a.n_values * sizeof(float));
    adapter_release(&b);
    need(adapter_save(&a, path, DTYPE_F16, &meta, 1, &e), &e);
    need(adapter_open(&b, path, &tiny, &e), &e);
    for (size_t i = 0; i < a.n_values; i++)
        assert_true(fabsf(a.values[i] - b.values[i]) <= 5e-4f * fabsf(a.values[i]) + 1e-7f);
    adapter_release(&b);
    adapter_name_at(&a, 0, name);
    assert_string_equal(name, "layers.segment_0.layer_0.attention.qkv_transform.adapters."
                              "base_adapter.lora_0.a_transpose");
    adapter_name_at(&a, a.n_values - 1, name);
    assert_string_equal(name, "layers.segment_1.layer_1.feed_forward.output_transform.adapters."
                              "base_adapter.b_transpose");
    adapter_release(&a);
    adapter_release(&a);
}

/* Another shape's file, and a file with one tensor more. */
static void misfits_are_listed(void **state)
{
    struct adapter a, b;
    struct err e = {0};
    struct shape deeper = tiny, wider = tiny, shallower = tiny;
    (void)state;
    deeper.layers_1 = 3;
    wider.ffn = 64;
    shallower.layers_1 = 1;
    need(adapter_init(&a, &tiny, 8, 0, 1, &e), &e);
    need(adapter_save(&a, path, DTYPE_F32, NULL, 0, &e), &e);
    assert_int_equal(adapter_open(&b, path, &deeper, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "10 tensors do not fit"));
    assert_non_null(strstr(e.text, "layers.segment_1.layer_2.attention.q_transform.adapters."
                                   "base_adapter.a_transpose is missing"));
    e = (struct err){0};
    assert_int_equal(adapter_open(&b, path, &wider, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "is F32 [8, 48], expected F32, F16 or BF16 [8, 64]"));
    e = (struct err){0};
    assert_int_equal(adapter_open(&b, path, &shallower, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "is not a tensor of this adapter"));
    assert_null(b.values);
    adapter_release(&a);
    struct model m;
    e = (struct err){0};
    assert_int_equal(model_open(&m, path, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "kind is \"adapter\", expected \"base\""));
}

/* A name is as long as its file's author likes; the message is not. */
static void long_names_fit_into_messages(void **state)
{
    struct adapter a;
    struct err e = {0};
    struct tensor_writer w;
    const uint64_t one = 1;
    static const float zero[1];
    static char name[20001];
    (void)state;
    memset(name, 'x', sizeof name - 1);
    need(adapter_init(&a, &tiny, 1, 0, 1, &e), &e);
    tensor_writer_init(&w);
    for (int i = 0; i < shape_n_modules(&tiny); i++) {
        struct shape_module m;
        char full[SHAPE_NAME_BYTES + 16];
        shape_module(&tiny, i, 1, &m);
        const uint64_t a_dims[2] = {(uint64_t)m.in, 1}, b_dims[2] = {1, (uint64_t)m.out};
        snprintf(full, sizeof full, "%s.a_transpose", m.name);
        tensor_writer_add_f32(&w, full, DTYPE_F32, 2, a_dims, adapter_a(&a, &m));
        snprintf(full, sizeof full, "%s.b_transpose", m.name);
        tensor_writer_add_f32(&w, full, DTYPE_F32, 2, b_dims, adapter_b(&a, &m));
    }
    tensor_writer_add_f32(&w, name, DTYPE_F32, 1, &one, zero);
    need(tensor_writer_write(&w, path, &e), &e);
    tensor_writer_release(&w);
    adapter_release(&a);
    assert_int_equal(adapter_open(&a, path, &tiny, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "is not a tensor of this adapter"));
}

/* Against double, on one module with strides. */
static void passes_equal_double(void **state)
{
    enum { M = 5, IN = 16, OUT = 32, R = 3, LD = 40 };
    static float a[IN * R], b[R * OUT], x[M * LD], y[M * LD], h[M * R], dy[M * LD], dh[M * R];
    static float da[IN * R], db[R * OUT], dx[M * LD];
    struct rng r = rng_open(4, "lora");
    struct compute c = {0};
    struct err e = {0};
    (void)state;
    need(compute_open(&c, 2, "auto", &e), &e);
    for (int i = 0; i < M * LD; i++) {
        x[i] = rng_normal_at(&r, (uint64_t)i);
        dy[i] = rng_normal_at(&r, 1000 + (uint64_t)i);
    }
    for (int i = 0; i < IN * R; i++)
        a[i] = rng_normal_at(&r, 2000 + (uint64_t)i);
    for (int i = 0; i < R * OUT; i++)
        b[i] = rng_normal_at(&r, 3000 + (uint64_t)i);
    struct lora_view l = {weight_dense(a, IN, R), weight_dense(b, R, OUT), 0.5f};
    lora_forward(&c, M, &l, x, LD, h);
    gemm_xw(&c, M, h, R, &l.b, y, LD, true);
    lora_backward(&c, M, &l, x, LD, h, dy, LD, dh, da, db);
    gemm_xwt(&c, M, dh, R, &l.a, dx, LD, true);
    for (int m = 0; m < M; m++) {
        for (int o = 0; o < OUT; o++) {
            double sum = 0;
            for (int q = 0; q < R; q++)
                for (int i = 0; i < IN; i++)
                    sum +=
                        0.5 * (double)x[m * LD + i] * (double)a[i * R + q] * (double)b[q * OUT + o];
            assert_true(fabs(sum - (double)y[m * LD + o]) < 1e-4);
        }
        for (int i = 0; i < IN; i++) {
            double sum = 0;
            for (int q = 0; q < R; q++)
                for (int o = 0; o < OUT; o++)
                    sum += 0.5 * (double)dy[m * LD + o] * (double)a[i * R + q] *
                           (double)b[q * OUT + o];
            assert_true(fabs(sum - (double)dx[m * LD + i]) < 1e-4);
        }
        assert_true(y[m * LD + OUT] == 0 && dx[m * LD + IN] == 0);
    }
    for (int q = 0; q < R; q++)
        for (int i = 0; i < IN; i++) {
            double sum = 0;
            for (int m = 0; m < M; m++)
                for (int o = 0; o < OUT; o++)
                    sum += 0.5 * (double)x[m * LD + i] * (double)dy[m * LD + o] *
                           (double)b[q * OUT + o];
            assert_true(fabs(sum - (double)da[i * R + q]) < 1e-4);
        }
    compute_close(&c);
}

static void rounding_gives_values_of_fp16(void **state)
{
    static const struct shape shape = {64, 32, 1, 1, 4, 2, 8, 48, 64, 10000, 1e-5, true};
    struct adapter a = {0};
    struct err e = {0};
    (void)state;
    assert_int_equal(adapter_init(&a, &shape, 4, 0, 6, &e), 0);
    a.values[0] = 0.1f;
    a.values[1] = 65504.0f;
    a.values[2] = 1e6f; /* export names it */
    a.values[3] = -1e-9f;
    adapter_round_f16(&a);
    assert_true(a.values[0] == 0.0999755859375f);
    assert_true(a.values[1] == 65504.0f && a.values[2] == 1e6f && a.values[3] == 0);
    for (size_t i = 4; i < a.n_values; i++)
        assert_true(a.values[i] == tensor_f16_to_f32(tensor_f16_from_f32(a.values[i])));
    adapter_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_adapters_are_seeded),
        cmocka_unit_test(files_round_trip),
        cmocka_unit_test(misfits_are_listed),
        cmocka_unit_test(long_names_fit_into_messages),
        cmocka_unit_test(passes_equal_double),
        cmocka_unit_test(rounding_gives_values_of_fp16),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
