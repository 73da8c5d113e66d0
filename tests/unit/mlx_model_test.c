/* Names and config.json of mlx-lm's afm7. The list of names is what mlx.utils.tree_flatten says of
 * the model of that shape (tests/ref/open_formats_check.py compares with the library itself). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "stages/model/mlx_model.h"

static const struct shape tiny = {64, 32, 2, 1, 4, 2, 8, 48, 16, 500000, 1e-5, true};

static void tensors_have_the_names_of_afm7(void **state)
{
    static const char *const names[] = {
        "model.embedding.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.self_attn.qkv_proj.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.self_attn.k_norm.weight",
        "model.layers.0.self_attn.out_proj.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
    };
    static const char *const last[] = {
        "model.kv_reuse_layers.0.input_layernorm.weight",
        "model.kv_reuse_layers.0.self_attn.q_proj.weight",
        "model.kv_reuse_layers.0.self_attn.q_norm.weight",
        "model.kv_reuse_layers.0.self_attn.out_proj.weight",
        "model.kv_reuse_layers.0.post_attention_layernorm.weight",
        "model.kv_reuse_layers.0.mlp.gate_proj.weight",
        "model.kv_reuse_layers.0.mlp.up_proj.weight",
        "model.kv_reuse_layers.0.mlp.down_proj.weight",
        "model.output_norm.weight",
    };
    char name[SHAPE_NAME_BYTES];
    struct shape_tensor t;
    (void)state;
    assert_int_equal(shape_n_tensors(&tiny), 10 + 9 + 9);
    for (int i = 0; i < 10; i++) {
        shape_tensor(&tiny, i, &t);
        mlx_tensor_name(&tiny, &t, name);
        assert_string_equal(name, names[i]);
    }
    for (int i = 0; i < 9; i++) {
        shape_tensor(&tiny, 19 + i, &t);
        mlx_tensor_name(&tiny, &t, name);
        assert_string_equal(name, last[i]);
    }
    shape_linear(&tiny, 0, &t);
    assert_true(mlx_wrapped_name(&tiny, &t, name));
    assert_string_equal(name, "model.layers.0.self_attn.qkv_proj.linear.weight");
    shape_tensor(&tiny, 0, &t);
    assert_false(mlx_wrapped_name(&tiny, &t, name));
    mlx_scale_name(1, true, name);
    assert_string_equal(name, "model.layers.1.self_attn.quant_value_scale");
}

static void a_fused_module_has_lists(void **state)
{
    char name[SHAPE_NAME_BYTES];
    struct shape_module m;
    (void)state;
    shape_module(&tiny, 2, 8, &m);
    mlx_lora_name(&tiny, &m, true, name);
    assert_string_equal(name, "model.layers.0.self_attn.qkv_proj.lora_b.2");
    shape_module(&tiny, shape_module_first(&tiny, 2), 8, &m);
    mlx_lora_name(&tiny, &m, false, name);
    assert_string_equal(name, "model.kv_reuse_layers.0.self_attn.q_proj.lora_a");
    shape_module(&tiny, 6, 8, &m);
    mlx_lora_name(&tiny, &m, false, name);
    assert_string_equal(name, "model.layers.0.mlp.down_proj.lora_a");
}

/* Whatever the scale, the range has it, and the toolkit's rule for ranges is kept. */
static void ranges_have_their_scale(void **state)
{
    (void)state;
    for (int i = 1; i < 20000; i++) {
        float scale = 1e-4f * (float)i * (1 + 1.1920929e-7f * (float)(i % 7));
        struct kv_range r = mlx_range_of_scale(scale);
        assert_true(kv_range_scale(&r) == scale);
        assert_true(r.min < 0 && r.max > 0 && r.max / 127.0f <= scale);
        assert_true(nextafterf(nextafterf(r.max, INFINITY), INFINITY) / 127.0f > scale);
    }
}

static int check(const char *text, const struct shape *s, struct err *e)
{
    struct json *config = NULL;
    int rc = json_parse(text, strlen(text), &config, e);
    if (rc == 0)
        rc = mlx_config_check(config, s, e);
    json_free(config);
    return rc;
}

#define CONFIG(type, rest)                                                               \
    "{\"model_type\":\"" type "\",\"vocab_size\":64,\"hidden_dim\":32,\"num_layers\":3," \
    "\"num_kv_reuse_layers\":1,\"num_heads\":4,\"num_kv_heads\":2" rest "}"

static void configs_are_compared_with_the_shape(void **state)
{
    struct shape other = tiny;
    struct err e = {0};
    struct buf text;
    (void)state;
    buf_init(&text, 4096);
    assert_int_equal(mlx_config_write(&tiny, &text, &e), 0);
    if (check(buf_text(&text), &tiny, &e) != 0)
        fail_msg("%s", e.text);
    other.ffn = 64;
    other.rope_theta = 10000;
    assert_int_equal(check(buf_text(&text), &other, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "hidden_dim_scale_factor is 1.5, the shape has 2; "
                                   "rope_theta is 500000, the shape has 10000"));
    e = (struct err){0};
    /* 104 is 3.25 * 32: the defaults of afm7. */
    other = tiny;
    other.ffn = 104;
    assert_int_equal(check(CONFIG("afm7", ",\"rope_theta\":500000.0"), &other, &e), 0);
    assert_int_equal(check(CONFIG("afm7", ""), &other, &e), ERR_FORMAT);
    assert_non_null(
        strstr(e.text, "rope_theta is absent, which means 50000, the shape has 500000"));
    e = (struct err){0};
    other.rope_theta = 50000;
    assert_int_equal(check(CONFIG("afm7", ""), &other, &e), 0);
    assert_int_equal(check(CONFIG("afm", ""), &other, &e), ERR_FORMAT);
    e = (struct err){0};
    assert_int_equal(check("{\"model_type\":\"afm7\"}", &other, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "vocab_size is absent, the shape has 64"));
    e = (struct err){0};
    assert_int_equal(check(CONFIG("afm7", ",\"quantization\":{}"), &other, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "quantization: MLX has rounded"));
    buf_release(&text);
}

/* afm7 truncates hidden * factor: the factor that is written gives every width back. */
static void every_width_survives_its_factor(void **state)
{
    struct shape s = tiny;
    (void)state;
    for (s.hidden = 32; s.hidden <= 2080; s.hidden += 32)
        for (s.ffn = 16; s.ffn < 2000; s.ffn += 16 * 7) {
            struct err e = {0};
            struct buf text;
            s.head_dim = s.hidden / s.heads;
            buf_init(&text, 4096);
            assert_int_equal(mlx_config_write(&s, &text, &e), 0);
            if (check(buf_text(&text), &s, &e) != 0)
                fail_msg("%d, %d: %s", s.hidden, s.ffn, e.text);
            buf_release(&text);
        }
}

static void what_afm7_is_not_is_not_written(void **state)
{
    struct shape s = tiny;
    struct err e = {0};
    struct buf text;
    (void)state;
    buf_init(&text, 4096);
    s.head_dim = 16;
    assert_int_equal(mlx_config_write(&s, &text, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "this model's are 16 wide"));
    e = (struct err){0};
    s = tiny;
    s.kv_quant = false;
    assert_int_equal(mlx_config_write(&s, &text, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "always quantises"));
    assert_int_equal(text.n_bytes, 0);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_the_names_of_afm7),
        cmocka_unit_test(a_fused_module_has_lists),
        cmocka_unit_test(ranges_have_their_scale),
        cmocka_unit_test(configs_are_compared_with_the_shape),
        cmocka_unit_test(every_width_survives_its_factor),
        cmocka_unit_test(what_afm7_is_not_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
