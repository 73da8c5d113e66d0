#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "stages/model/fmadapter.h"
#include "stages/model/shape.h"

/* The full model from the files of the shipped toolkit alone: every count and tensor that is known
 * of AFMTextV7, its adapter and its draft. */

#define TOOLKIT "configs/toolkits/afm-26.0.0/"
#define RANK 32

static struct shape base, draft;

static int read_shapes(void **state)
{
    struct err e = {0};
    (void)state;
    if (shape_read(TOOLKIT "shape.json", &base, &e) == 0 &&
        shape_read(TOOLKIT "draft_shape.json", &draft, &e) == 0)
        return 0;
    print_error("%s\n", e.text);
    return -1;
}

static void the_dimensions(void **state)
{
    (void)state;
    assert_int_equal(base.vocab, 153600);
    assert_int_equal(base.hidden, 2048);
    assert_int_equal(base.layers_0, 35);
    assert_int_equal(base.layers_1, 21);
    assert_int_equal(base.heads, 16);
    assert_int_equal(base.kv_heads, 2);
    assert_int_equal(base.head_dim, 128);
    assert_int_equal(base.ffn, 6656);
    assert_int_equal(base.context, 4096);
    assert_true(base.rope_theta == 500000);
    assert_true(base.norm_eps == 1e-5);
    assert_true(base.kv_quant);
    assert_int_equal(draft.vocab, 153600);
    assert_int_equal(draft.hidden, 256);
    assert_int_equal(draft.layers_0, 12);
    assert_int_equal(draft.layers_1, 0);
    assert_int_equal(draft.heads, 8);
    assert_int_equal(draft.head_dim, 32);
    assert_int_equal(draft.kv_heads, 4);
    assert_int_equal(draft.ffn, 768);
    assert_false(draft.kv_quant);
}

static void the_counts(void **state)
{
    struct shape_counts c = shape_count(&base, RANK);
    (void)state;
    assert_true(c.embedding == 314572800);
    assert_true(c.layer_0 == 50336000);
    assert_true(c.layer_1 == 49287296);
    assert_true(c.frozen == 3111368064);
    assert_true(c.frozen == c.embedding + 35 * c.layer_0 + 21 * c.layer_1 + 2048);
    assert_true(c.lora_0 == 1245184);
    assert_true(c.lora_1 == 1097728);
    assert_true(c.lora == 66633728);
    assert_true(c.lora == 35 * c.lora_0 + 21 * c.lora_1);
    assert_true(c.total == 3178001792);
    assert_true(c.modules == 350);
    assert_true(c.lora_tensors == 700);
    assert_true(c.linears == 280);
    assert_true(shape_lora_floats(&base, RANK) == 66633728);
    assert_int_equal(shape_n_modules(&base), 350);
    assert_int_equal(shape_n_linears(&base), 280);
}

static void the_draft(void **state)
{
    struct shape_counts c = shape_count(&draft, 0);
    (void)state;
    assert_true(c.embedding == 39321600);
    assert_true(c.layer_0 == 787008);
    assert_true(c.frozen == 48765952);
    assert_true(c.frozen == 39321600 + 12 * 787008 + 256);
}

/* The counts again, from the list of tensors that everything stores and loads by. */
static void the_list_of_tensors(void **state)
{
    const struct shape *shapes[] = {&base, &draft};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint64_t sum = 0;
        struct shape_tensor t;
        for (int j = 0; j < shape_n_tensors(shapes[i]); j++) {
            shape_tensor(shapes[i], j, &t);
            sum += (uint64_t)t.n * (uint64_t)t.k;
        }
        assert_true(sum == shape_count(shapes[i], RANK).frozen);
    }
    /* 9 and 8 tensors per layer, embedding, final norm; the output matrix is the embedding. */
    assert_int_equal(shape_n_tensors(&base), 2 + 35 * 9 + 21 * 8);
    assert_int_equal(shape_n_tensors(&draft), 2 + 12 * 9);
}

struct known {
    const char *name;
    int n, k;
};

static bool listed(const struct shape *s, const struct known *want)
{
    struct shape_tensor t;
    for (int i = 0; i < shape_n_tensors(s); i++) {
        shape_tensor(s, i, &t);
        if (strcmp(t.name, want->name) == 0)
            return t.n == want->n && t.k == want->k;
    }
    return false;
}

static void the_keys_of_the_checkpoint(void **state)
{
#define FIRST "layers.segment_0.layer_0."
#define LAST "layers.segment_0.layer_34."
#define REUSE "layers.segment_1.layer_20."
    static const struct known known[] = {
        {"embedding.weight", 153600, 2048},
        {"output_norm.weight", 2048, 1},
        {FIRST "attention.norm.weight", 2048, 1},
        {FIRST "attention.qkv_transform.wrapped.fused_linear.weight", 2560, 2048},
        {FIRST "attention.qk_norm.query_norm.weight", 128, 1},
        {LAST "attention.qk_norm.key_norm.weight", 128, 1},
        {LAST "attention.output_transform.wrapped.weight", 2048, 2048},
        {LAST "feed_forward.norm.weight", 2048, 1},
        {LAST "feed_forward.hidden_transform.linear_0.wrapped.weight", 6656, 2048},
        {LAST "feed_forward.hidden_transform.linear_1.wrapped.weight", 6656, 2048},
        {LAST "feed_forward.output_transform.wrapped.weight", 2048, 6656},
        {REUSE "attention.norm.weight", 2048, 1},
        {REUSE "attention.q_transform.wrapped.weight", 2048, 2048},
        {REUSE "attention.q_norm.query_norm.weight", 128, 1},
        {REUSE "attention.output_transform.wrapped.weight", 2048, 2048},
        {REUSE "feed_forward.hidden_transform.linear_1.wrapped.weight", 6656, 2048},
        {REUSE "feed_forward.output_transform.wrapped.weight", 2048, 6656},
    };
    static const struct known of_draft[] = {
        {"embedding.weight", 153600, 256},
        {"layers.layer_11.attention.qkv_transform.wrapped.fused_linear.weight", 512, 256},
        {"layers.layer_11.feed_forward.hidden_transform.linear_0.wrapped.weight", 768, 256},
    };
    char name[SHAPE_NAME_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!listed(&base, &known[i]))
            fail_msg("%s [%d, %d]", known[i].name, known[i].n, known[i].k);
    for (size_t i = 0; i < sizeof of_draft / sizeof of_draft[0]; i++)
        if (!listed(&draft, &of_draft[i]))
            fail_msg("%s [%d, %d]", of_draft[i].name, of_draft[i].n, of_draft[i].k);
    shape_range_name(&base, 34, false, name);
    assert_string_equal(name, LAST "attention.kv_quantizer.key_quantizer.activation_post_process."
                                   "range");
}

static void the_modules_of_an_adapter(void **state)
{
    static const struct known segment_0[] = {
        {"attention.qkv_transform.adapters.base_adapter.lora_0", 2048, 2048},
        {"attention.qkv_transform.adapters.base_adapter.lora_1", 256, 2048},
        {"attention.qkv_transform.adapters.base_adapter.lora_2", 256, 2048},
        {"attention.output_transform.adapters.base_adapter", 2048, 2048},
        {"feed_forward.hidden_transform.linear_0.adapters.base_adapter", 6656, 2048},
        {"feed_forward.hidden_transform.linear_1.adapters.base_adapter", 6656, 2048},
        {"feed_forward.output_transform.adapters.base_adapter", 2048, 6656},
    };
    uint64_t n = 0;
    struct shape_module m;
    char name[SHAPE_NAME_BYTES];
    (void)state;
    for (int i = 0; i < 35 * 7; i++) {
        const struct known *want = &segment_0[i % 7];
        shape_module(&base, i, RANK, &m);
        (void)snprintf(name, sizeof name, "layers.segment_0.layer_%d.%s", i / 7, want->name);
        assert_string_equal(m.name, name);
        assert_int_equal(m.out, want->n);
        assert_int_equal(m.in, want->k);
    }
    shape_module(&base, 35 * 7, RANK, &m);
    assert_string_equal(m.name,
                        "layers.segment_1.layer_0.attention.q_transform.adapters.base_adapter");
    for (int i = 0; i < shape_n_modules(&base); i++) {
        shape_module(&base, i, RANK, &m);
        n += (uint64_t)RANK * (uint64_t)(m.in + m.out);
    }
    assert_true(n == 66633728);
}

/* adapter_weights.bin: 64 + 700 x 64 bytes of headers, two bytes a value. */
static void the_size_of_a_package(void **state)
{
    (void)state;
    assert_true(fmadapter_weights_bytes(&base, RANK) == 133312320);
    assert_true(fmadapter_weights_bytes(&base, RANK) - 64 - 700 * 64 == 133267456);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dimensions),
        cmocka_unit_test(the_counts),
        cmocka_unit_test(the_draft),
        cmocka_unit_test(the_list_of_tensors),
        cmocka_unit_test(the_keys_of_the_checkpoint),
        cmocka_unit_test(the_modules_of_an_adapter),
        cmocka_unit_test(the_size_of_a_package),
    };
    return cmocka_run_group_tests(tests, read_shapes, NULL);
}
