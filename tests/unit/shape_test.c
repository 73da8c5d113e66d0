#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "stages/model/shape.h"

static const struct shape full = {153600, 2048, 35, 21, 16, 2, 128, 6656, 4096, 500000, 1e-5, true};
static const struct shape draft = {153600, 256, 12, 0, 8, 4, 32, 768, 4096, 500000, 1e-5, false};
static const char *const nano_text =
    "{\"context\":512,\"ffn\":832,\"head_dim\":64,\"heads\":4,\"hidden\":256,\"kv_heads\":2,"
    "\"kv_quant\":true,\"layers_0\":5,\"layers_1\":3,\"norm_eps\":0.00001,\"rope_theta\":500000,"
    "\"vocab\":4096}";

static void full_shape_counts(void **state)
{
    struct shape_counts c = shape_count(&full, 32);
    (void)state;
    assert_true(c.frozen == 3111368064);
    assert_true(c.embedding == 314572800);
    assert_true(c.layer_0 == 50336000);
    assert_true(c.layer_1 == 49287296);
    assert_true(c.lora_0 == 1245184);
    assert_true(c.lora_1 == 1097728);
    assert_true(c.lora == 66633728);
    assert_true(c.total == 3178001792);
    assert_true(c.modules == 350);
    assert_true(c.lora_tensors == 700);
    assert_true(c.linears == 280);
    assert_true(shape_count(&draft, 0).frozen == 48765952);
}

static void flat_array_has_no_overlap(void **state)
{
    size_t end = 0;
    struct shape_tensor t, again;
    (void)state;
    for (int i = 0; i < shape_n_tensors(&full); i++) {
        shape_tensor(&full, i, &t);
        assert_true(t.offset == end); /* all widths of this shape are multiples of 16 */
        assert_true(t.offset % 16 == 0);
        end = t.offset + (size_t)t.n * (size_t)t.k;
        shape_tensor_at(&full, end - 1, &again);
        assert_string_equal(again.name, t.name);
        if (t.linear >= 0) {
            shape_linear(&full, t.linear, &again);
            assert_memory_equal(&again, &t, sizeof t);
        }
    }
    assert_true(end == shape_flat_floats(&full));
    end = 0;
    for (int i = 0; i < shape_n_modules(&full); i++) {
        struct shape_module m;
        shape_module(&full, i, 32, &m);
        assert_true(m.a_offset == end);
        assert_true(m.b_offset == end + 32 * (size_t)m.in);
        end = m.b_offset + 32 * (size_t)m.out;
    }
    assert_true(end == shape_lora_floats(&full, 32));
}

static void names_are_the_toolkits(void **state)
{
    struct shape_tensor t;
    struct shape_module m;
    char name[SHAPE_NAME_BYTES];
    (void)state;
    shape_tensor(&full, 0, &t);
    assert_string_equal(t.name, "embedding.weight");
    shape_tensor(&full, 2, &t);
    assert_string_equal(t.name, "layers.segment_0.layer_0.attention.qkv_transform.wrapped."
                                "fused_linear.weight");
    assert_int_equal(t.n, 2560);
    assert_int_equal(t.k, 2048);
    shape_tensor(&full, shape_n_tensors(&full) - 1, &t);
    assert_string_equal(t.name, "output_norm.weight");
    shape_linear(&full, 5 * 35, &t);
    assert_string_equal(t.name, "layers.segment_1.layer_0.attention.q_transform.wrapped.weight");
    shape_module(&full, 1, 32, &m);
    assert_string_equal(m.name, "layers.segment_0.layer_0.attention.qkv_transform.adapters."
                                "base_adapter.lora_1");
    assert_int_equal(m.out, 256);
    assert_int_equal(m.out_first, 2048);
    shape_module(&full, 2, 32, &m);
    assert_int_equal(m.out_first, 2304);
    shape_module(&full, 349, 32, &m);
    assert_string_equal(m.name, "layers.segment_1.layer_20.feed_forward.output_transform.adapters."
                                "base_adapter");
    assert_int_equal(m.in, 6656);
    shape_range_name(&full, 34, true, name);
    assert_string_equal(name, "layers.segment_0.layer_34.attention.kv_quantizer.value_quantizer."
                              "activation_post_process.range");
    shape_tensor(&draft, 1, &t);
    assert_string_equal(t.name, "layers.layer_0.attention.norm.weight");
}

static void json_round_trip_is_canonical(void **state)
{
    struct shape s = {0};
    struct err e = {0};
    struct buf b;
    (void)state;
    buf_init(&b, 4096);
    assert_int_equal(shape_parse(nano_text, strlen(nano_text), &s, &e), 0);
    assert_int_equal(s.ffn, 832);
    assert_true(s.kv_quant);
    shape_write(&s, &b);
    assert_string_equal(buf_text(&b), nano_text);
    buf_release(&b);
}

/* The nano text with one piece of it replaced. */
static int parse_changed(const char *from, const char *to, struct err *e)
{
    char text[512];
    struct shape s;
    const char *at = strstr(nano_text, from);
    assert_non_null(at);
    size_t before = (size_t)(at - nano_text);
    int n = snprintf(text, sizeof text, "%.*s%s%s", (int)before, nano_text, to, at + strlen(from));
    *e = (struct err){0};
    return shape_parse(text, (size_t)n, &s, e);
}

static void rules_are_checked(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(parse_changed("\"heads\":4", "\"heads\":5", &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "kv_heads"));
    assert_int_equal(parse_changed("\"hidden\":256", "\"hidden\":250", &e), ERR_CONFIG);
    assert_int_equal(parse_changed("\"vocab\":4096", "\"vocab\":4097", &e), ERR_CONFIG);
    assert_int_equal(parse_changed("\"ffn\":832", "\"ffn\":840", &e), ERR_CONFIG);
    assert_int_equal(parse_changed("\"layers_0\":5", "\"layers_0\":0", &e), ERR_CONFIG);
    assert_int_equal(parse_changed("\"head_dim\":64", "\"head_dim\":12", &e), ERR_CONFIG);
    assert_int_equal(parse_changed("\"norm_eps\":0.00001", "\"norm_eps\":0", &e), ERR_CONFIG);
    assert_int_equal(parse_changed("\"context\":512", "\"context\":-1", &e), ERR_CONFIG);
    assert_int_not_equal(parse_changed("\"ffn\":832", "\"fnn\":832", &e), 0);
    assert_int_not_equal(parse_changed("\"ffn\":832,", "", &e), 0);
    assert_int_not_equal(parse_changed("\"ffn\":832", "\"ffn\":832.5", &e), 0);
    assert_int_not_equal(parse_changed("\"kv_quant\":true", "\"kv_quant\":1", &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_shape_counts),      cmocka_unit_test(flat_array_has_no_overlap),
        cmocka_unit_test(names_are_the_toolkits), cmocka_unit_test(json_round_trip_is_canonical),
        cmocka_unit_test(rules_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
