#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "stages/model/model.h"
#include "stages/model/quant.h"
#include "stages/model/tensorfile.h"
#include "stages/model/transformer.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];
static char path[64], other[64];

static int make_folder(void **state)
{
    (void)state;
    if (scratch_open(folder) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    snprintf(other, sizeof other, "%s/b.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

static void f16_conversions_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float v = tensor_f16_to_f32((uint16_t)h);
        if (isnan(v))
            assert_true(isnan(tensor_f16_to_f32(tensor_f16_from_f32(v))));
        else
            assert_int_equal(tensor_f16_from_f32(v), h);
        v = tensor_bf16_to_f32((uint16_t)h);
        if (isnan(v))
            assert_true(isnan(tensor_bf16_to_f32(tensor_bf16_from_f32(v))));
        else
            assert_int_equal(tensor_bf16_from_f32(v), h);
    }
}

/* Between neighbours: the nearer one, and the even one in the middle. */
static void conversions_round_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = tensor_f16_to_f32((uint16_t)h), high = tensor_f16_to_f32((uint16_t)(h + 1));
        float middle = 0.5f * (low + high);
        assert_int_equal(tensor_f16_from_f32(middle), h + (h & 1));
        assert_int_equal(tensor_f16_from_f32(nextafterf(middle, 0)), h);
        assert_int_equal(tensor_f16_from_f32(nextafterf(middle, 1e9f)), h + 1);
        assert_int_equal(tensor_f16_from_f32(-middle), 0x8000 + h + (h & 1));
    }
    assert_int_equal(tensor_f16_from_f32(65519.0f), 0x7bff);
    assert_int_equal(tensor_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(tensor_f16_from_f32(1e-30f), 0);
    for (uint32_t h = 0; h < 0x7f7f; h++) {
        float middle = 0, low = tensor_bf16_to_f32((uint16_t)h);
        uint32_t bits = (h << 16) + 0x8000;
        memcpy(&middle, &bits, sizeof bits);
        assert_int_equal(tensor_bf16_from_f32(middle), h + (h & 1));
        assert_int_equal(tensor_bf16_from_f32(nextafterf(middle, low)), h);
    }
}

static const float values[24] = {0.5f, -1, 2,  3.25f, -4, 5,  6,  7,  8,  9,  10, 11,
                                 12,   13, 14, 15,    16, 17, 18, 19, 20, 21, 22, 23};

static void write_sample(const char *to, bool reversed)
{
    struct tensor_writer w;
    struct err e = {0};
    const uint64_t wide[2] = {2, 8}, odd[1] = {3};
    tensor_writer_init(&w);
    tensor_writer_meta(&w, "zeta", "last \"quoted\"");
    tensor_writer_meta(&w, "alpha", "first");
    for (int i = 0; i < 4; i++) {
        int which = reversed ? 3 - i : i;
        if (which == 0)
            tensor_writer_add_f32(&w, "b.half", DTYPE_F16, 2, wide, values);
        else if (which == 1)
            tensor_writer_add_f32(&w, "a.odd", DTYPE_F32, 1, odd, values);
        else if (which == 2)
            tensor_writer_add(&w, "c.bytes", DTYPE_U8, 1, odd, "xyz");
        else
            tensor_writer_add_f32(&w, "d.wide", DTYPE_F32, 2, wide, values);
    }
    need(tensor_writer_write(&w, to, &e), &e);
    tensor_writer_release(&w);
}

static void written_files_are_canonical(void **state)
{
    struct tensorfile f;
    struct err e = {0};
    struct content_id a, b;
    uint64_t n = 0;
    float back[16];
    (void)state;
    write_sample(path, false);
    write_sample(other, true);
    need(sha256_file(path, &a, &n, &e), &e);
    need(sha256_file(other, &b, &n, &e), &e);
    assert_string_equal(a.hex, b.hex);
    need(tensorfile_open(&f, path, &e), &e);
    assert_int_equal(f.n_tensors, 4);
    assert_int_equal((bytes_get_u64(f.map.bytes) + 8) % 64, 0);
    const struct tensor *t = tensorfile_find(&f, "d.wide");
    assert_non_null(t);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    tensor_to_f32(t, back);
    assert_memory_equal(back, values, sizeof back);
    t = tensorfile_find(&f, "b.half");
    tensor_to_f32(t, back);
    assert_memory_equal(back, values, sizeof back);
    assert_int_equal(tensor_elements(t), 16);
    assert_memory_equal(tensorfile_find(&f, "c.bytes")->data, "xyz", 3);
    assert_null(tensorfile_find(&f, "nothing"));
    assert_string_equal(tensorfile_meta(&f, "zeta"), "last \"quoted\"");
    assert_null(tensorfile_meta(&f, "beta"));
    tensorfile_close(&f);
    tensorfile_close(&f);
}

static void non_finite_values_are_refused(void **state)
{
    struct tensor_writer w;
    struct err e = {0};
    const uint64_t dims[1] = {1};
    const float large = 70000;
    (void)state;
    tensor_writer_init(&w);
    tensor_writer_add_f32(&w, "x", DTYPE_F16, 1, dims, &large);
    assert_int_equal(tensor_writer_write(&w, path, &e), ERR_NUMERIC);
    assert_false(file_exists(path));
    tensor_writer_release(&w);
}

/* Parses a file made of a header and n data bytes. */
static int parse(const char *header, size_t n_data, struct err *e)
{
    struct tensorfile f = {0};
    struct buf b;
    unsigned char length[8];
    buf_init(&b, 65536);
    bytes_put_u64(length, strlen(header));
    buf_add(&b, length, 8);
    buf_add_text(&b, header);
    for (size_t i = 0; i < n_data; i++)
        buf_add_char(&b, 'd');
    *e = (struct err){0};
    int rc = tensorfile_parse(&f, (unsigned char *)b.bytes, b.n_bytes, e);
    tensorfile_close(&f);
    buf_release(&b);
    return rc;
}

#define ENTRY(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void damaged_headers_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{",
        "{\"a\":1}",
        "{\"__metadata__\":[]," ENTRY("a", "U8", "[8]", "[0,8]") "}",
        "{\"__metadata__\":{\"k\":1}," ENTRY("a", "U8", "[8]", "[0,8]") "}",
        "{" ENTRY("a", "U8", "[7]", "[0,8]") "}",  /* wrong size */
        "{" ENTRY("a", "F32", "[8]", "[0,8]") "}", /* wrong width */
        "{" ENTRY("a", "I7", "[8]", "[0,8]") "}",  /* unknown dtype */
        "{" ENTRY("a", "U8", "[9]", "[0,9]") "}",  /* past the end */
        "{" ENTRY("a", "U8", "[4]", "[0,4]") "}",  /* bytes behind */
        "{" ENTRY("a", "U8", "[4]", "[4,8]") "}",  /* hole */
        "{" ENTRY("a", "U8", "[8]", "[8,0]") "}",  /* backwards */
        "{" ENTRY("a", "U8", "[8]", "[0]") "}",
        "{" ENTRY("a", "U8", "[-8]", "[0,8]") "}",
        "{" ENTRY("a", "U8", "[2,2,2,1,1]", "[0,8]") "}", /* too many dimensions */
        "{" ENTRY("a", "F32", "[9007199254740992,4096,4096]", "[0,8]") "}", /* overflow */
        "{" ENTRY("a", "U8", "[4]", "[0,4]") "," ENTRY("b", "U8", "[6]", "[2,8]") "}",
        "{" ENTRY("a", "U8", "[8]", "[0,8]") "," ENTRY("b", "U8", "[8]", "[0,8]") "}",
        "{" ENTRY("a", "U8", "[4]", "[0,4]") "," ENTRY("a", "U8", "[4]", "[4,8]") "}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8],\"more\":1}}",
    };
    struct err e;
    struct tensorfile f = {0};
    unsigned char bytes[16] = {255, 255, 255, 255, 255, 255, 255, 127};
    (void)state;
    assert_int_equal(parse("{" ENTRY("a", "U8", "[8]", "[0,8]") "}", 8, &e), 0);
    assert_int_equal(
        parse("{" ENTRY("b", "U8", "[4]", "[0,4]") "," ENTRY("a", "U8", "[4]", "[4,8]") "}", 8, &e),
        0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parse(bad[i], 8, &e) == 0)
            fail_msg("taken: %s", bad[i]);
    e = (struct err){0};
    assert_int_not_equal(parse("{" ENTRY("a", "U32", "[2]", "[0,8]") "}", 8, &e), 0);
    assert_non_null(strstr(e.text, "MLX stores weights so that it has quantised"));
    e = (struct err){0};
    assert_int_equal(tensorfile_parse(&f, bytes, sizeof bytes, &e), ERR_FORMAT);
    e = (struct err){0};
    assert_int_equal(tensorfile_parse(&f, bytes, 7, &e), ERR_FORMAT);
}

static void truncated_files_are_refused(void **state)
{
    struct buf b;
    struct err e = {0};
    (void)state;
    write_sample(path, false);
    buf_init(&b, 65536);
    need(file_read(path, 65536, &b, &e), &e);
    for (size_t n = 0; n < b.n_bytes; n++) {
        struct tensorfile f = {0};
        e = (struct err){0};
        assert_int_not_equal(tensorfile_parse(&f, (unsigned char *)b.bytes, n, &e), 0);
    }
    buf_release(&b);
}

static const struct shape tiny = {64, 32, 2, 2, 4, 2, 8, 48, 16, 10000, 1e-5, true};

static void models_round_trip(void **state)
{
    struct model m, mapped, copy;
    struct err e = {0};
    const struct tensor_meta meta = {"fmforge.note", "x"};
    (void)state;
    need(model_init(&m, &tiny, &e), &e);
    model_randomise(&m, 3);
    m.layers[1].key_range = (struct kv_range){-3, 2};
    need(model_save(&m, path, "base", DTYPE_F32, &meta, 1, &e), &e);
    need(model_open(&mapped, path, &e), &e);
    need(model_open_trainable(&copy, path, &e), &e);
    assert_memory_equal(copy.flat, m.flat, m.n_flat * sizeof(float));
    assert_true(shape_equal(&copy.shape, &tiny));
    assert_true(kv_range_scale(&copy.layers[1].key_range) == 3.0f / 128);
    assert_true(kv_range_scale(&copy.layers[0].key_range) == 0);
    assert_memory_equal(mapped.layers[2].linear[LINEAR_UP].data, m.layers[2].linear[LINEAR_UP].data,
                        48 * 32 * sizeof(float));
    need(model_save(&mapped, other, "base", DTYPE_BF16, NULL, 0, &e), &e);
    model_release(&mapped);
    need(model_open(&mapped, other, &e), &e);
    assert_int_equal(mapped.embedding.form, WEIGHT_BF16);
    model_release(&mapped);
    model_release(&copy);
    model_release(&m);
}

/* Linears in 2 bits, the embedding in 4: what was stored computes what its fp32 values compute. */
static void packed_models_round_trip(void **state)
{
    static unsigned char codes[20][64 * 48], table[64 * 32];
    static float scales[20], row_scales[64];
    struct model m, mapped, dense;
    struct compute c = {0};
    struct err e = {0};
    (void)state;
    need(compute_open(&c, 1, "auto", &e), &e);
    need(model_init(&m, &tiny, &e), &e);
    model_randomise(&m, 3);
    for (int i = 0; i < shape_n_linears(&tiny); i++) {
        struct weight *w = model_linear(&m, i);
        size_t n = (size_t)w->n * (size_t)w->k;
        scales[i] = quant_scale_search_q2(&c, w->data, n);
        need(quant_pack_q2(w->data, w->n, w->k, scales[i], false, codes[i], &e), &e);
        *w = weight_codes(WEIGHT_Q2, w->n, w->k, codes[i], &scales[i], 1);
    }
    quant_scales_q4(&c, m.flat, 64, 32, row_scales);
    need(quant_pack_q4(m.flat, 64, 32, row_scales, false, table, &e), &e);
    m.embedding = weight_codes(WEIGHT_Q4, 64, 32, table, row_scales, 64);
    need(model_save(&m, path, "base", DTYPE_F32, NULL, 0, &e), &e);
    need(model_open(&mapped, path, &e), &e);
    need(model_open_trainable(&dense, path, &e), &e);
    for (int i = 0; i < shape_n_linears(&tiny); i++) {
        const struct weight *w = model_linear(&mapped, i);
        float a[48], b[48];
        assert_int_equal(w->form, WEIGHT_Q2);
        assert_int_equal((uintptr_t)w->data % 64, 0);
        weight_unpack_row(w, w->n - 1, a);
        weight_unpack_row(model_linear(&dense, i), w->n - 1, b);
        assert_memory_equal(a, b, (size_t)w->k * sizeof *a);
    }
    assert_int_equal(mapped.embedding.form, WEIGHT_Q4);
    int32_t ids[5] = {1, 60, 3, 9, 3}, pos[5] = {0, 1, 2, 3, 4}, target[5] = {60, 3, 9, 3, -1};
    int32_t start[2] = {0, 5};
    struct batch b = {5, ids, pos, target, 1, start, NULL};
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = 5, .what = TRAIN_NOTHING};
    struct loss_sum packed = {0, 0, 0}, unpacked = {0, 0, 0};
    need(transformer_reserve(&t, &c, &tiny, &plan, &e), &e);
    need(transformer_loss(&t, &mapped, NULL, &b, 0, NULL, &packed, &e), &e);
    need(transformer_loss(&t, &dense, NULL, &b, 0, NULL, &unpacked, &e), &e);
    assert_memory_equal(&packed, &unpacked, sizeof packed);
    transformer_release(&t);
    model_release(&dense);
    model_release(&mapped);
    model_release(&m);
    compute_close(&c);
}

static void models_refuse_partial_files(void **state)
{
    struct model m;
    struct err e = {0};
    struct tensor_writer w;
    const uint64_t dims[2] = {64, 32};
    static const float zeros[64 * 32];
    struct buf shape;
    (void)state;
    buf_init(&shape, 4096);
    shape_write(&tiny, &shape);
    tensor_writer_init(&w);
    tensor_writer_meta(&w, "fmforge.shape", buf_text(&shape));
    tensor_writer_add_f32(&w, "embedding.weight", DTYPE_F32, 2, dims, zeros);
    tensor_writer_add_f32(&w, "stranger", DTYPE_F32, 2, dims, zeros);
    need(tensor_writer_write(&w, path, &e), &e);
    tensor_writer_release(&w);
    assert_int_equal(model_open(&m, path, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "layers.segment_0.layer_0.attention.norm.weight is missing"));
    buf_release(&shape);
}

/* A name is as long as its file's author likes; the message is not. */
static void long_names_fit_into_messages(void **state)
{
    struct model m;
    struct err e = {0};
    struct tensor_writer w;
    const uint64_t one = 1;
    static const float zero[1];
    static char name[20001];
    struct buf shape;
    (void)state;
    memset(name, 'a', sizeof name - 1); /* before every other name */
    buf_init(&shape, 4096);
    shape_write(&tiny, &shape);
    tensor_writer_init(&w);
    tensor_writer_meta(&w, "fmforge.shape", buf_text(&shape));
    need(model_init(&m, &tiny, &e), &e);
    for (int i = 0; i < shape_n_tensors(&tiny); i++) {
        struct shape_tensor t;
        shape_tensor(&tiny, i, &t);
        const uint64_t dims[2] = {(uint64_t)t.n, (uint64_t)t.k};
        tensor_writer_add_f32(&w, t.name, DTYPE_F32, t.k == 1 ? 1 : 2, dims, m.flat + t.offset);
    }
    tensor_writer_add_f32(&w, name, DTYPE_F32, 1, &one, zero);
    need(tensor_writer_write(&w, path, &e), &e);
    tensor_writer_release(&w);
    model_release(&m);
    assert_int_equal(model_open(&m, path, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "is not a tensor of this shape"));
    buf_release(&shape);
}

/* Writes a NaN over the first value of a tensor of the file. */
static void spoil(const char *name)
{
    struct tensorfile f = {0};
    struct err e = {0};
    unsigned char nan_bytes[4];
    bytes_put_u32(nan_bytes, 0x7fc00001);
    need(tensorfile_open(&f, path, &e), &e);
    const struct tensor *t = tensorfile_find(&f, name);
    assert_non_null(t);
    long at = (long)(t->data - f.map.bytes);
    tensorfile_close(&f);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(nan_bytes, 1, sizeof nan_bytes, file), sizeof nan_bytes);
    assert_int_equal(fclose(file), 0);
}

static void models_with_nan_are_refused(void **state)
{
    static const char *const names[] = {
        "embedding.weight.scale",
        "layers.segment_1.layer_1.feed_forward.norm.weight",
        "layers.segment_0.layer_1.attention.output_transform.wrapped.weight",
    };
    static unsigned char table[64 * 32];
    static float row_scales[64];
    struct model m, opened;
    struct compute c = {0};
    struct err e = {0};
    (void)state;
    need(compute_open(&c, 1, "auto", &e), &e);
    need(model_init(&m, &tiny, &e), &e);
    model_randomise(&m, 3);
    quant_scales_q4(&c, m.flat, 64, 32, row_scales);
    need(quant_pack_q4(m.flat, 64, 32, row_scales, false, table, &e), &e);
    m.embedding = weight_codes(WEIGHT_Q4, 64, 32, table, row_scales, 64);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        need(model_save(&m, path, "base", DTYPE_F32, NULL, 0, &e), &e);
        spoil(names[i]);
        assert_int_equal(model_open(&opened, path, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, names[i]));
        assert_non_null(strstr(e.text, "not finite"));
        e = (struct err){0};
        unlink(path);
    }
    model_release(&m);
    compute_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_conversions_round_trip),
        cmocka_unit_test(conversions_round_to_nearest_even),
        cmocka_unit_test(written_files_are_canonical),
        cmocka_unit_test(non_finite_values_are_refused),
        cmocka_unit_test(damaged_headers_are_refused),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(models_round_trip),
        cmocka_unit_test(packed_models_round_trip),
        cmocka_unit_test(models_refuse_partial_files),
        cmocka_unit_test(long_names_fit_into_messages),
        cmocka_unit_test(models_with_nan_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
