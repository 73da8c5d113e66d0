#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/ptdraft.h"
#include "tests/unit/scratch.h"

static const struct shape shape = {.vocab = 64,
                                   .hidden = 16,
                                   .layers_0 = 2,
                                   .heads = 2,
                                   .kv_heads = 2,
                                   .head_dim = 8,
                                   .ffn = 32,
                                   .context = 64,
                                   .rope_theta = 500000,
                                   .norm_eps = 1e-5};

static char folder[SCRATCH_BYTES];
static char pt[64], out[64];

static int make_folder(void **state)
{
    (void)state;
    if (scratch_open(folder) != 0)
        return -1;
    snprintf(pt, sizeof pt, "%s/draft-model.pt", folder);
    snprintf(out, sizeof out, "%s/draft.safetensors", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return scratch_remove(folder);
}

/* What is done to the file of a whole draft. */
struct change {
    const char *drop;   /* a tensor that is left out */
    const char *twice;  /* a matrix that is there in both forms of its name */
    const char *narrow; /* a tensor of one row less */
    const char *bytes;  /* a tensor of int64 */
    bool plain;         /* names without .wrapped */
    bool output;        /* the tied output matrix beside, its first value as below */
    float output_first;
    bool extra;  /* a tensor of an adapter */
    bool bf16;   /* every value is one of BF16 */
    float first; /* value of the embedding's first element; 0: that of the model */
};

static void plain_name(const char *name, char to[SHAPE_NAME_BYTES])
{
    const char *at = strstr(name, ".wrapped");
    snprintf(to, SHAPE_NAME_BYTES, "%.*s%s", at ? (int)(at - name) : (int)strlen(name), name,
             at ? at + strlen(".wrapped") : "");
}

/* A draft with the values of model_randomise; the model stays for comparing. */
static void write_pt(const struct change *c, struct model *m)
{
    static const int64_t wide[4096];
    struct err e = {0};
    struct pt_writer w;
    memset(m, 0, sizeof *m);
    assert_int_equal(model_init(m, &shape, &e), 0);
    model_randomise(m, 3);
    if (fabsf(c->first) > 0 || isnan(c->first))
        m->flat[0] = c->first;
    for (size_t i = 0; i < m->n_flat && c->bf16; i++)
        m->flat[i] = tensor_bf16_to_f32(tensor_bf16_from_f32(m->flat[i]));
    pt_writer_init(&w);
    for (int i = 0; i < shape_n_tensors(&shape); i++) {
        struct shape_tensor t;
        char plain[SHAPE_NAME_BYTES];
        shape_tensor(&shape, i, &t);
        plain_name(t.name, plain);
        const uint64_t dims[2] = {(uint64_t)t.n - (c->narrow && str_eq(c->narrow, t.name)),
                                  (uint64_t)t.k};
        int n_dims = shape_is_norm(&t) ? 1 : 2;
        const float *values = m->flat + t.offset;
        if (c->drop && str_eq(c->drop, t.name))
            continue;
        if (c->bytes && str_eq(c->bytes, t.name))
            pt_writer_add(&w, t.name, PT_I64, n_dims, dims, wide);
        else
            pt_writer_add(&w, c->plain ? plain : t.name, PT_F32, n_dims, dims, values);
        if (c->twice && str_eq(c->twice, t.name))
            pt_writer_add(&w, plain, PT_F32, n_dims, dims, values);
    }
    float *output = xalloc_array((size_t)shape.vocab * (size_t)shape.hidden, sizeof *output);
    memcpy(output, m->flat, (size_t)shape.vocab * (size_t)shape.hidden * sizeof *output);
    output[0] += c->output_first;
    const uint64_t tied[2] = {(uint64_t)shape.vocab, (uint64_t)shape.hidden}, two = 2;
    if (c->output)
        pt_writer_add(&w, "output_transform.weight", PT_F32, 2, tied, output);
    if (c->extra)
        pt_writer_add(&w, "layers.layer_0.adapters.base_adapter.a_transpose", PT_F32, 1, &two,
                      output);
    if (pt_writer_write(&w, pt, &e) != 0)
        fail_msg("%s", e.text);
    pt_writer_release(&w);
    xfree(output);
}

static void takes(const struct change *c)
{
    struct err e = {0};
    struct model m, back;
    struct ptdraft d;
    write_pt(c, &m);
    if (ptdraft_open(&d, pt, &shape, &e) != 0 || ptdraft_save(&d, out, &e) != 0 ||
        model_open_trainable(&back, out, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(d.is_bf16, c->bf16);
    assert_int_equal(d.n_parameters, shape_count(&shape, 1).frozen);
    assert_int_equal(back.n_flat, m.n_flat);
    assert_memory_equal(back.flat, m.flat, m.n_flat * sizeof *m.flat);
    model_release(&back);
    model_release(&m);
    ptdraft_release(&d);
    ptdraft_release(&d);
    assert_int_equal(unlink(out), 0);
}

static void every_value_comes_through(void **state)
{
    (void)state;
    takes(&(struct change){.plain = false});
    takes(&(struct change){.plain = true});
    takes(&(struct change){.output = true});
    takes(&(struct change){.bf16 = true});
    takes(&(struct change){.bf16 = true, .plain = true, .output = true});
}

static void refuses(const struct change *c, enum err_code code, const char *message)
{
    struct err e = {0};
    struct model m;
    struct ptdraft d;
    write_pt(c, &m);
    assert_int_equal(ptdraft_open(&d, pt, &shape, &e), code);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
    ptdraft_release(&d);
    model_release(&m);
}

static void what_does_not_fit_is_listed(void **state)
{
#define QKV "layers.layer_1.attention.qkv_transform.wrapped.fused_linear.weight"
#define NORM "layers.layer_0.attention.norm.weight"
    (void)state;
    refuses(&(struct change){.drop = QKV}, ERR_FORMAT,
            "1 tensor does not fit the draft's shape: " QKV " is missing");
    refuses(&(struct change){.twice = QKV}, ERR_FORMAT,
            "1 tensor does not fit the draft's shape: " QKV " is there twice, with and without");
    refuses(&(struct change){.narrow = QKV}, ERR_FORMAT, QKV " is [47, 16], expected [48, 16]");
    refuses(&(struct change){.narrow = NORM}, ERR_FORMAT, NORM " is [15], expected [16]");
    refuses(&(struct change){.bytes = NORM}, ERR_FORMAT, NORM " is not of fp32, fp16 or bf16");
    refuses(&(struct change){.extra = true}, ERR_FORMAT,
            "layers.layer_0.adapters.base_adapter.a_transpose is no tensor of this shape");
    refuses(&(struct change){.output = true, .output_first = 1}, ERR_FORMAT,
            "output_transform.weight differs from embedding.weight");
    refuses(&(struct change){.drop = "embedding.weight", .output = true}, ERR_FORMAT,
            "2 tensors do not fit the draft's shape: embedding.weight is missing; "
            "output_transform.weight is no tensor of this shape");
    refuses(&(struct change){.drop = QKV, .narrow = NORM, .extra = true}, ERR_FORMAT,
            "3 tensors do not fit");
    refuses(&(struct change){.first = NAN}, ERR_NUMERIC,
            "embedding.weight: value 1 of 1024 is not finite");
}

static void only_the_shape_of_a_draft(void **state)
{
    struct err e = {0};
    struct ptdraft d;
    struct shape base = shape;
    (void)state;
    base.layers_1 = 1;
    assert_int_equal(ptdraft_open(&d, pt, &base, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "found layers_1 1 and kv_quant false, expected 0"));
    ptdraft_release(&d);
}

static void a_damaged_value_is_no_value(void **state)
{
    struct err e = {0};
    struct model m;
    struct ptdraft d;
    struct ptfile f = {0};
    (void)state;
    write_pt(&(struct change){.drop = NULL}, &m);
    assert_int_equal(ptfile_open(&f, pt, &e), 0);
    long at = (long)(ptfile_find(&f, "embedding.weight")->data - f.map.bytes);
    ptfile_close(&f);
    FILE *file = fopen(pt, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_not_equal(fputc(c ^ 1, file), EOF);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(ptdraft_open(&d, pt, &shape, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "the file is damaged"));
    ptdraft_release(&d);
    model_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_through),
        cmocka_unit_test(what_does_not_fit_is_listed),
        cmocka_unit_test(only_the_shape_of_a_draft),
        cmocka_unit_test(a_damaged_value_is_no_value),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
