#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "pipeline/base/machine.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/kit/plan_mem.h"
#include "stages/kit/stage.h"
#include "stages/model/decoder.h"
#include "stages/model/lora_training.h"

/* What is printed before a run is what the run reserves. */

static const struct shape full = {153600, 2048, 35, 21, 16, 2, 128, 6656, 4096, 500000, 1e-5, true};
static const struct shape nano = {4096, 256, 5, 3, 4, 2, 64, 832, 512, 500000, 1e-5, true};
static const struct shape *const shapes[] = {&full, &nano};

static uint64_t part(const struct plan_mem *p, const char *name)
{
    for (size_t i = 0; i < p->n_parts; i++)
        if (str_eq(p->parts[i].name, name))
            return p->parts[i].bytes;
    fail_msg("no part %s", name);
    return 0;
}

static void parts_add_up(void **state)
{
    struct plan_mem p = {0};
    (void)state;
    plan_mem_add(&p, "weights", 3 << 20);
    plan_mem_add(&p, "nothing", 0);
    plan_mem_add(&p, "scratch", 512);
    plan_mem_add(&p, "weights", 1 << 20);
    assert_int_equal(p.n_parts, 2);
    assert_true(plan_mem_total(&p) == (4 << 20) + 512);
    char *text = plan_mem_text(&p);
    assert_string_equal(text, "4.0 MiB: 4.0 MiB weights, 512 B scratch");
    xfree(text);
}

/* No machine has an exbibyte; what is taken already is not missing. */
static void shortage(void **state)
{
    struct plan_mem p = {0};
    struct machine_memory machine;
    (void)state;
    if (!machine_memory(&machine))
        skip();
    plan_mem_add(&p, "weights", (uint64_t)1 << 60);
    char *text = plan_mem_shortage(&p, "buy it");
    assert_non_null(text);
    assert_non_null(strstr(text, " more are needed, "));
    assert_non_null(strstr(text, " are left here: buy it"));
    xfree(text);
    plan_mem_taken(&p);
    plan_mem_add(&p, "scratch", 1);
    assert_null(plan_mem_shortage(&p, "buy it"));
}

static void passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct shape *s = shapes[i];
        struct transformer_plan train = {.tokens_max = 512, .rank = 8, .what = TRAIN_LORA};
        struct transformer_plan look = {.tokens_max = 512, .rank = 8, .what = TRAIN_NOTHING};
        struct decoder_plan answer = {.sequences = 3, .positions = s->context};
        struct plan_mem of_train = {0}, of_look = {0}, of_answer = {0};
        transformer_memory(s, &train, 2, &of_train);
        transformer_memory(s, &look, 2, &of_look);
        struct model model = {.shape = *s};
        decoder_memory(&model, &answer, 8, 2, &of_answer);
        assert_true(plan_mem_total(&of_train) == transformer_bytes(s, &train, 2));
        assert_true(plan_mem_total(&of_look) == transformer_bytes(s, &look, 2));
        assert_true(plan_mem_total(&of_answer) == decoder_bytes(&model, &answer, 8, 2));
        /* Without a backward pass one layer's activations serve all. */
        assert_true(part(&of_look, "activations") * (uint64_t)(shape_layers(s) - 1) <
                    part(&of_train, "activations"));
        /* Keys and values of the layers that have their own, fp32 or their codes. */
        uint64_t cells = (uint64_t)s->layers_0 * 3 * (uint64_t)s->context;
        uint64_t least = 2 * cells * (uint64_t)shape_kv_dim(s) * (s->kv_quant ? 1 : sizeof(float));
        assert_in_range(part(&of_answer, "keys and values"), least, least + 16384);
    }
}

/* What it takes now, computed again, and computed again a row at a time. */
static void check_advice(struct lora_training *t)
{
    uint64_t takes[3];
    for (int i = 0; i < 3; i++) {
        struct plan_mem p = {0};
        t->options.recompute = i > 0;
        t->options.micro_tokens = i == 2;
        lora_training_memory(t, &p);
        takes[i] = plan_mem_total(&p);
    }
    assert_true(takes[0] > takes[1] && takes[1] > takes[2]);
    t->options.recompute = false;
    t->options.micro_tokens = 0;
    static const char *const says[4] = {NULL, "activation_checkpointing: true it would be",
                                        "micro_batch_tokens: 1 it would be", "still too much"};
    for (int i = 0; i < 4; i++) {
        char *text = lora_training_advice(t, i < 3 ? takes[i] : takes[2] - 1);
        assert_true((text == NULL) == (i == 0));
        assert_true(i == 0 || strstr(text, says[i]) != NULL);
        xfree(text);
    }
    t->options.recompute = true;
    t->options.micro_tokens = 1;
    char *text = lora_training_advice(t, takes[2] - 1);
    assert_non_null(strstr(text, "left here: shorten the rows"));
    xfree(text);
}

static void training(void **state)
{
    const struct stage_spec spec = {.name = "test"};
    const struct stage_run run = {.spec = &spec, .n_threads = 2};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct model base = {.shape = *shapes[i]};
        struct adapter adapter = {
            .shape = *shapes[i], .rank = 32, .n_values = shape_lora_floats(shapes[i], 32)};
        struct lora_training t = {
            .run = &run,
            .base = &base,
            .adapter = &adapter,
            .rows = {.n_rows = 1000, .row_tokens_max = 300},
            .valid = {.n_rows = 10, .row_tokens_max = 300},
            .options = {.total_steps = 100, .rows_per_step = 4, .keep_best = true},
        };
        struct transformer_plan plan = {
            .tokens_max = LORA_MICRO_TOKENS, .rank = 32, .what = TRAIN_LORA};
        struct plan_mem p = {0};
        lora_training_memory(&t, &p);
        assert_true(part(&p, "activations") + part(&p, "scratch") ==
                    transformer_bytes(shapes[i], &plan, 2));
        assert_true(part(&p, "gradients") == adapter_bytes(shapes[i], 32));
        assert_true(part(&p, "moments") == 2 * adapter_bytes(shapes[i], 32));
        assert_true(part(&p, "best so far") == adapter_bytes(shapes[i], 32));
        assert_true(part(&p, "gradients") + part(&p, "moments") + part(&p, "order of rows") ==
                    trainer_bytes(adapter.n_values, 1000));
        assert_true(part(&p, "best so far") + part(&p, "curves") == train_loop_bytes(&t.loop));
        check_advice(&t);
    }
    /* LoRA weights, gradients and moments of the full model in fp32: 1.07 GB. */
    assert_true(4 * adapter_bytes(&full, 32) == 4 * 4 * (uint64_t)66633728);
}

static void weights(void **state)
{
    struct tensorfile f = {0};
    struct err e = {0};
    uint64_t sum = 0;
    (void)state;
    assert_int_equal(tensorfile_open(&f, "configs/toolkits/nano-1.0/base.safetensors", &e), 0);
    for (size_t i = 0; i < f.n_tensors; i++)
        sum += f.tensors[i].n_bytes;
    tensorfile_close(&f);
    assert_true(model_tensor_bytes(&nano, WEIGHT_Q2, WEIGHT_Q4) == sum);
    /* 12.4, 6.2 and 0.86 GB. */
    assert_true(model_tensor_bytes(&full, WEIGHT_F32, WEIGHT_F32) / 100000000 == 124);
    assert_true(model_tensor_bytes(&full, WEIGHT_BF16, WEIGHT_BF16) / 100000000 == 62);
    assert_true(model_tensor_bytes(&full, WEIGHT_Q2, WEIGHT_Q4) / 10000000 == 85);
}

static void the_machine(void **state)
{
    struct machine_memory m = {0};
    (void)state;
    if (!machine_memory(&m)) {
        print_message("skipped: this system does not say how much memory it has\n");
        skip();
    }
    assert_true(m.total_bytes > 1 << 20);
    assert_true(m.available_bytes <= m.total_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_add_up), cmocka_unit_test(shortage), cmocka_unit_test(passes),
        cmocka_unit_test(training),     cmocka_unit_test(weights),  cmocka_unit_test(the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
