/* Adapters of other programs: every way of naming gives the same adapter, and what does not fit is
 * listed, all of it, before memory is taken. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "stages/model/lora_export.h"
#include "stages/model/lora_import.h"
#include "stages/model/lora_names.h"
#include "stages/model/ptfile.h"
#include "tests/unit/scratch.h"

static const struct shape tiny = {64, 32, 2, 1, 4, 2, 8, 48, 16, 10000, 1e-5, true};
enum { R = 4, Q = 32, KV = 16, ALL = Q + 2 * KV };

static char folder[SCRATCH_BYTES];
static char dir[64];
static struct adapter made; /* every value another one, all of them exact in bf16 and fp16 */

static int set_up(void **state)
{
    struct err e = {0};
    (void)state;
    if (scratch_open(folder) != 0 || adapter_init(&made, &tiny, R, 6, 1, &e) != 0)
        return -1;
    for (size_t i = 0; i < made.n_values; i++)
        made.values[i] = (float)(int)(i * 7 % 255) / 128.0f - 1.0f;
    made.base = sha256_of("base", 4);
    snprintf(dir, sizeof dir, "%s/x", folder);
    return file_make_folder(dir, &e);
}

static int tear_down(void **state)
{
    (void)state;
    adapter_release(&made);
    return scratch_remove(folder);
}

static void empty_folder(void)
{
    struct err e = {0};
    need(file_remove_tree(dir, &e), &e);
    need(file_make_folder(dir, &e), &e);
}

/* ---- a file in any way of naming ---- */

struct maker {
    enum lora_format format;
    struct tensor_writer w;
    float *kept[256]; /* borrowed by w */
    int n_kept;
    enum tensor_dtype dtype;
};

static void start(struct maker *k, enum lora_format format)
{
    memset(k, 0, sizeof *k);
    k->format = format;
    k->dtype = DTYPE_F32;
    tensor_writer_init(&k->w);
    empty_folder();
    scratch_put(dir, LORA_CONFIG_FILE,
                format == LORA_PEFT ? "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6}"
                                    : "{\"lora_parameters\":{\"rank\":4,\"scale\":1.5}}");
}

static void add(struct maker *k, const char *name, uint64_t rows, uint64_t columns,
                const float *values)
{
    const uint64_t dims[2] = {rows, columns};
    tensor_writer_add_f32(&k->w, name, k->dtype, 2, dims, values);
}

static float *keep(struct maker *k, size_t n)
{
    return k->kept[k->n_kept++] = xalloc_array(n, sizeof(float));
}

/* The pair of a module as module.lora_A.weight, module.lora_B.weight, or module.lora_a, .lora_b. */
static void add_pair(struct maker *k, const char *module, const struct shape_module *m)
{
    bool peft = k->format == LORA_PEFT;
    char *a = xasprintf(peft ? "base_model.model.%s.lora_A.weight" : "%s.lora_a", module);
    char *b = xasprintf(peft ? "base_model.model.%s.lora_B.weight" : "%s.lora_b", module);
    float *ta = keep(k, (size_t)m->in * R), *tb = keep(k, (size_t)m->out * R);
    for (int i = 0; i < m->in; i++)
        for (int r = 0; r < R; r++)
            ta[peft ? r * m->in + i : i * R + r] = adapter_a(&made, m)[i * R + r];
    for (int o = 0; o < m->out; o++)
        for (int r = 0; r < R; r++)
            tb[peft ? o * R + r : r * m->out + o] = adapter_b(&made, m)[r * m->out + o];
    add(k, a, peft ? R : (uint64_t)m->in, peft ? (uint64_t)m->in : R, ta);
    add(k, b, peft ? (uint64_t)m->out : R, peft ? R : (uint64_t)m->out, tb);
    xfree(a);
    xfree(b);
}

/* All modules; layer(m) and linear(m) name them. skip: a module that is left out, -1 = none. */
static void add_all(struct maker *k, const char *const layers[3], const char *const linears[7],
                    int skip)
{
    for (int i = 0; i < shape_n_modules(&tiny); i++) {
        struct shape_module m;
        shape_module(&tiny, i, R, &m);
        char *module = xasprintf("%s%s", layers[m.layer],
                                 linears[m.slot == LINEAR_QKV ? m.lora : (int)m.slot + 2]);
        if (i != skip)
            add_pair(k, module, &m);
        xfree(module);
    }
}

static void finish(struct maker *k)
{
    struct err e = {0};
    char *path = file_join(dir, k->format == LORA_PEFT ? LORA_PEFT_FILE : LORA_MLX_FILE);
    need(tensor_writer_write(&k->w, path, &e), &e);
    tensor_writer_release(&k->w);
    for (int i = 0; i < k->n_kept; i++)
        xfree(k->kept[i]);
    xfree(path);
}

static int take(enum lora_format format, const char *path, bool fresh_rest, struct adapter *out,
                struct lora_import *l, struct err *e)
{
    *l =
        (struct lora_import){.format = format, .shape = &tiny, .fresh_rest = fresh_rest, .seed = 3};
    int rc = lora_import_open(l, path, e);
    if (rc == 0)
        rc = lora_import_read(l, out, e);
    lora_import_close(l);
    return rc;
}

static void assert_same(enum lora_format format, const char *path)
{
    struct adapter found = {0};
    struct lora_import l;
    struct err e = {0};
    need(take(format, path, false, &found, &l, &e), &e);
    assert_int_equal(found.rank, made.rank);
    assert_true(found.alpha == made.alpha && found.scale == made.scale);
    assert_memory_equal(found.values, made.values, made.n_values * sizeof(float));
    assert_int_equal(l.n_modules, shape_n_modules(&tiny));
    adapter_release(&found);
}

static void assert_refused(enum lora_format format, const char *const *texts)
{
    struct adapter found = {0};
    struct lora_import l;
    struct err e = {0};
    assert_true(take(format, dir, false, &found, &l, &e) != 0);
    for (; *texts; texts++)
        if (!strstr(e.text, *texts))
            fail_msg("\"%s\" is not in \"%s\"", *texts, e.text);
    assert_null(found.values);
}

#define REFUSED(format, ...) assert_refused(format, (const char *const[]){__VA_ARGS__, NULL})

static const char *const LLAMA_LAYERS[] = {"model.layers.0.", "model.layers.1.", "model.layers.2."};
static const char *const MLX_LAYERS[] = {"model.layers.0.", "model.layers.1.",
                                         "model.kv_reuse_layers.0."};
static const char *const TOOLKIT_LAYERS[] = {
    "layers.segment_0.layer_0.", "layers.segment_0.layer_1.", "layers.segment_1.layer_0."};
static const char *const LLAMA[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                    "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                    "mlp.down_proj"};
static const char *const MLX[] = {"self_attn.q_proj",   "self_attn.k_proj", "self_attn.v_proj",
                                  "self_attn.out_proj", "mlp.gate_proj",    "mlp.up_proj",
                                  "mlp.down_proj"};

static void what_goes_out_comes_back(void **state)
{
    struct err e = {0};
    struct adapter found = {0};
    struct lora_import l;
    (void)state;
    for (int format = LORA_PEFT; format <= LORA_MLX; format++) {
        empty_folder();
        need(lora_export_save(&made, (enum lora_format)format, dir, &e), &e);
        assert_same((enum lora_format)format, dir);
        need(take((enum lora_format)format, dir, false, &found, &l, &e), &e);
        assert_string_equal(found.base.hex, made.base.hex);
        assert_int_equal(l.n_fused, 0);
        adapter_release(&found);
    }
}

static void names_of_all_programs_mean_the_same(void **state)
{
    struct maker k;
    (void)state;
    start(&k, LORA_PEFT);
    add_all(&k, LLAMA_LAYERS, LLAMA, -1);
    finish(&k);
    assert_same(LORA_PEFT, dir);
    start(&k, LORA_PEFT);
    add_all(&k, MLX_LAYERS, MLX, -1);
    finish(&k);
    assert_same(LORA_PEFT, dir);
    start(&k, LORA_MLX);
    add_all(&k, MLX_LAYERS, MLX, -1);
    finish(&k);
    assert_same(LORA_MLX, dir);
    for (int dtype = DTYPE_F16; dtype <= DTYPE_BF16; dtype++) {
        start(&k, LORA_PEFT);
        k.dtype = (enum tensor_dtype)dtype;
        add_all(&k, LLAMA_LAYERS, MLX, -1);
        finish(&k);
        assert_same(LORA_PEFT, dir);
    }
}

/* PEFT's older files are torch.save's. */
static void adapter_model_bin_is_taken(void **state)
{
    char *path = file_join(dir, LORA_PEFT_FILE), *older = file_join(dir, "adapter_model.bin");
    struct tensorfile f;
    struct pt_writer w;
    struct err e = {0};
    (void)state;
    empty_folder();
    need(lora_export_save(&made, LORA_PEFT, dir, &e), &e);
    need(tensorfile_open(&f, path, &e), &e);
    pt_writer_init(&w);
    for (size_t i = 0; i < f.n_tensors; i++)
        pt_writer_add(&w, f.tensors[i].name, PT_F32, 2, f.tensors[i].dims, f.tensors[i].data);
    need(pt_writer_write(&w, older, &e), &e);
    pt_writer_release(&w);
    tensorfile_close(&f);
    need(file_remove_tree(path, &e), &e);
    assert_same(LORA_PEFT, dir);
    xfree(older);
    xfree(path);
}

/* A single pair on the toolkit's fused QKV: three modules with one A. */
static void one_pair_on_a_fused_qkv_is_three(void **state)
{
    static const char *const linears[] = {"",
                                          "attention.q_transform.wrapped",
                                          "",
                                          "attention.output_transform.wrapped",
                                          "feed_forward.hidden_transform.linear_0.wrapped",
                                          "feed_forward.hidden_transform.linear_1.wrapped",
                                          "feed_forward.output_transform.wrapped"};
    struct adapter found = {0};
    struct lora_import l;
    struct maker k;
    struct err e = {0};
    (void)state;
    start(&k, LORA_PEFT);
    for (int layer = 0; layer < 3; layer++) {
        int first = shape_module_first(&tiny, layer), n = layer < 2 ? 7 : 5;
        struct shape_module m;
        for (int i = layer < 2 ? 3 : 0; i < n; i++) {
            shape_module(&tiny, first + i, R, &m);
            char *module = xasprintf("%s%s", TOOLKIT_LAYERS[layer],
                                     linears[m.slot == LINEAR_QKV ? 1 : (int)m.slot + 2]);
            add_pair(&k, module, &m);
            xfree(module);
        }
        if (layer == 2)
            continue;
        float *a = keep(&k, 32 * R), *b = keep(&k, ALL * R);
        for (int i = 0; i < 32 * R; i++)
            a[i] = (float)(i + layer);
        for (int i = 0; i < ALL * R; i++)
            b[i] = (float)(1000 * layer + i);
        char *module = xasprintf("base_model.model.%sattention.qkv_transform.wrapped.fused_linear",
                                 TOOLKIT_LAYERS[layer]);
        char *name_a = xasprintf("%s.lora_A.weight", module);
        char *name_b = xasprintf("%s.lora_B.weight", module);
        add(&k, name_a, R, 32, a);
        add(&k, name_b, ALL, R, b);
        xfree(name_b);
        xfree(name_a);
        xfree(module);
    }
    finish(&k);
    need(take(LORA_PEFT, dir, false, &found, &l, &e), &e);
    assert_int_equal(l.n_fused, 6);
    for (int i = 0; i < shape_n_modules(&tiny); i++) {
        struct shape_module m;
        shape_module(&tiny, i, R, &m);
        bool fused = m.layer < 2 && m.slot == LINEAR_QKV;
        for (int r = 0; r < R; r++)
            for (int o = 0; o < m.out; o++)
                assert_true(adapter_b(&found, &m)[r * m.out + o] ==
                            (fused ? (float)(1000 * m.layer + (m.out_first + o) * R + r)
                                   : adapter_b(&made, &m)[r * m.out + o]));
        for (int r = 0; r < R; r++)
            for (int c = 0; c < m.in; c++)
                assert_true(
                    adapter_a(&found, &m)[c * R + r] ==
                    (fused ? (float)(r * 32 + c + m.layer) : adapter_a(&made, &m)[c * R + r]));
    }
    adapter_release(&found);
}

static void adapter_final_is_taken(void **state)
{
    struct pt_writer w;
    struct err e = {0};
    char *path = file_join(folder, "adapter-final.pt");
    (void)state;
    for (int odd = 0; odd < 2; odd++) {
        pt_writer_init(&w);
        for (int i = 0; i < shape_n_modules(&tiny); i++) {
            struct shape_module m;
            char name[LORA_NAME_BYTES];
            shape_module(&tiny, i, R, &m);
            const uint64_t a[2] = {(uint64_t)m.in, R}, b[2] = {R, (uint64_t)m.out};
            lora_name_of(LORA_TOOLKIT, &tiny, &m, false, name);
            pt_writer_add_f32(&w, name, PT_F32, 2, a, adapter_a(&made, &m));
            lora_name_of(LORA_TOOLKIT, &tiny, &m, true, name);
            if (!odd || i != 4)
                pt_writer_add_f32(&w, name, PT_F32, 2, b, adapter_b(&made, &m));
        }
        need(pt_writer_write(&w, path, &e), &e);
        pt_writer_release(&w);
        struct lora_import l = {.format = LORA_TOOLKIT, .shape = &tiny, .alpha = odd ? 0 : 6};
        int rc = lora_import_open(&l, path, &e);
        assert_int_equal(rc, odd ? ERR_FORMAT : 0);
        assert_true(odd || (l.config.rank == R && l.config.alpha == 6));
        if (odd)
            assert_non_null(
                strstr(e.text, "linear_0.adapters.base_adapter.b_transpose is missing"));
        struct adapter found = {0};
        if (!odd) {
            need(lora_import_read(&l, &found, &e), &e);
            assert_memory_equal(found.values, made.values, made.n_values * sizeof(float));
        }
        adapter_release(&found);
        lora_import_close(&l);
    }
    xfree(path);
}

/* What a training saved as {"model": …}, or a compiled model under _orig_mod: told as that, not as
 * a list of all its tensors. */
static void an_adapter_below_a_key_is_told_as_that(void **state)
{
    struct pt_writer w;
    struct err e = {0};
    struct shape_module m;
    char name[LORA_NAME_BYTES], *below, *path = file_join(folder, "below.pt");
    (void)state;
    shape_module(&tiny, 2, R, &m);
    const uint64_t dims[2] = {(uint64_t)m.in, R};
    lora_name_of(LORA_TOOLKIT, &tiny, &m, false, name);
    below = xasprintf("state.model.%s", name);
    pt_writer_init(&w);
    pt_writer_add_f32(&w, below, PT_F32, 2, dims, adapter_a(&made, &m));
    need(pt_writer_write(&w, path, &e), &e);
    pt_writer_release(&w);
    struct lora_import l = {.format = LORA_TOOLKIT, .shape = &tiny};
    assert_int_equal(lora_import_open(&l, path, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "is there as state.model.layers.segment_0.layer_0.attention."));
    assert_non_null(strstr(e.text, "save it alone"));
    xfree(below);
    xfree(path);
}

static void a_missing_module_is_a_choice(void **state)
{
    struct adapter found = {0};
    struct lora_import l;
    struct shape_module m;
    struct maker k;
    struct err e = {0};
    (void)state;
    start(&k, LORA_PEFT);
    add_all(&k, LLAMA_LAYERS, LLAMA, 1);
    finish(&k);
    REFUSED(LORA_PEFT, "2 tensors do not fit an adapter of rank 4 of this shape",
            "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight is missing",
            "k_proj.lora_B.weight is missing");
    need(take(LORA_PEFT, dir, true, &found, &l, &e), &e);
    assert_int_equal(l.n_modules, shape_n_modules(&tiny) - 1);
    shape_module(&tiny, 1, R, &m);
    float a = 0;
    for (int i = 0; i < m.in * R; i++)
        a += fabsf(adapter_a(&found, &m)[i]);
    assert_true(a > 0);
    for (int i = 0; i < m.out * R; i++)
        assert_true(adapter_b(&found, &m)[i] == 0);
    adapter_release(&found);
    /* Half a pair is a fault, whatever was chosen. */
    start(&k, LORA_PEFT);
    add_all(&k, LLAMA_LAYERS, LLAMA, 1);
    add(&k, "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", R, 32, made.values);
    finish(&k);
    assert_int_equal(take(LORA_PEFT, dir, true, &found, &l, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "k_proj.lora_B.weight is missing"));
    /* Nothing at all is no adapter. */
    start(&k, LORA_PEFT);
    finish(&k);
    e = (struct err){0};
    assert_int_equal(take(LORA_PEFT, dir, true, &found, &l, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "there is no adapter in it"));
}

static void what_does_not_fit_is_listed(void **state)
{
    static const char *const strange[] = {
        "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight", /* there are three layers */
        "base_model.model.model.layers.2.self_attn.k_proj.lora_A.weight", /* reuses keys */
        "base_model.model.model.layers.2.self_attn.qkv_proj.lora_A.weight",
        "base_model.model.model.layers.00.mlp.up_proj.lora_A.weight",
        "base_model.model.model.layers.1.mlp.up_proj.lora_magnitude_vector",
        "base_model.model.lm_head.lora_A.weight",
        "model.layers.1.mlp.up_proj.lora_A.weight",
    };
    struct maker k;
    (void)state;
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        start(&k, LORA_PEFT);
        add_all(&k, LLAMA_LAYERS, LLAMA, -1);
        add(&k, strange[i], R, 32, made.values);
        finish(&k);
        REFUSED(LORA_PEFT, "1 tensor does not fit", strange[i], "is no LoRA tensor of this shape");
    }
    /* Twice the same module, under two names: fused and split. */
    start(&k, LORA_PEFT);
    add_all(&k, LLAMA_LAYERS, LLAMA, -1);
    add(&k, "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight", R, 32, made.values);
    finish(&k);
    REFUSED(LORA_PEFT, "qkv_proj.lora_A.weight gives what another tensor has given");
    start(&k, LORA_MLX);
    add_all(&k, MLX_LAYERS, MLX, -1);
    add(&k, "model.layers.0.mlp.up_proj.lora_a.0", 32, R, made.values);
    add(&k, "model.layers.0.self_attn.qkv_proj.lora_a.3", 32, R, made.values);
    finish(&k);
    REFUSED(LORA_MLX, "2 tensors do not fit", "up_proj.lora_a.0 is no", "lora_a.3 is no LoRA");
    /* Another rank, and a config that says so. */
    start(&k, LORA_MLX);
    add_all(&k, MLX_LAYERS, MLX, -1);
    finish(&k);
    scratch_put(dir, LORA_CONFIG_FILE, "{\"lora_parameters\":{\"rank\":8,\"scale\":1.5}}");
    REFUSED(LORA_MLX, "38 tensors do not fit an adapter of rank 8",
            "model.kv_reuse_layers.0.mlp.up_proj.lora_a is F32 [32, 4], expected [32, 8]", "; ...");
}

static void values_that_are_not_finite_are_named(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct err e = {0};
    (void)state;
    empty_folder();
    need(lora_export_save(&made, LORA_MLX, dir, &e), &e);
    for (int i = 0; i < 3; i++) {
        char *path = file_join(dir, LORA_MLX_FILE);
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, -4, SEEK_END), 0);
        assert_int_equal(fwrite(&bad[i], 4, 1, f), 1);
        assert_int_equal(fclose(f), 0);
        xfree(path);
        REFUSED(LORA_MLX, "1 tensor does not fit", "has a value that is not finite");
    }
}

static void a_stated_alpha_must_agree(void **state)
{
    struct err e = {0};
    (void)state;
    empty_folder();
    need(lora_export_save(&made, LORA_PEFT, dir, &e), &e);
    struct lora_import l = {.format = LORA_PEFT, .shape = &tiny, .alpha = 6};
    need(lora_import_open(&l, dir, &e), &e);
    lora_import_close(&l);
    l.alpha = 2;
    assert_int_equal(lora_import_open(&l, dir, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "alpha is 6 there, but alpha 2 is asked for"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_out_comes_back),
        cmocka_unit_test(names_of_all_programs_mean_the_same),
        cmocka_unit_test(adapter_model_bin_is_taken),
        cmocka_unit_test(one_pair_on_a_fused_qkv_is_three),
        cmocka_unit_test(adapter_final_is_taken),
        cmocka_unit_test(an_adapter_below_a_key_is_told_as_that),
        cmocka_unit_test(a_missing_module_is_a_choice),
        cmocka_unit_test(what_does_not_fit_is_listed),
        cmocka_unit_test(values_that_are_not_finite_are_named),
        cmocka_unit_test(a_stated_alpha_must_agree),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
