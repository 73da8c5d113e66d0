/*
 * The C model against others: logits, loss, gradients and AdamW as tests/ref/parity.py computed
 * them with PyTorch in float64, read from tests/ref/parity.json; logits, loss and gradients as
 * tests/ref/check_tamm.py had them from Apple's tamm in fp32, read from tests/ref/tamm.json. The
 * files also hold the base (dense BF16) and the adapter as safetensors of parity.py's own writer.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/ops.h"
#include "stages/model/transformer.h"
#include "tests/unit/scratch.h"

#define PYTORCH "tests/ref/parity.json"
#define TAMM "tests/ref/tamm.json"
#define TOKENS_MAX 64
#define BOUND_FORWARD 1e-4 /* logits, loss, gradients: |found - expected| / |expected| */
#define BOUND_ADAMW 1e-5   /* parameters and moments after the last step */

struct adamw_plan {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t steps;
};

struct fixture {
    const char *path;
    struct json *root;
    char folder[SCRATCH_BYTES];
    char *base, *adapter;      /* files in folder */
    struct buf expected_bytes; /* of the variant */
    struct tensorfile expected;
    struct compute c;
    struct model m; /* trainable, to serve both kinds of training */
    struct adapter a;
    struct adamw_plan adamw;
    int n_tokens, n_segments, n_labels;
    int32_t ids[TOKENS_MAX], pos[TOKENS_MAX], target[TOKENS_MAX], start[TOKENS_MAX + 1];
    struct batch b;
};

/* ---- the fixture ---- */

static void add_base64(struct buf *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int n_bits = 0;
    for (; *text != '\0' && *text != '='; text++) {
        const char *digit = strchr(digits, *text);
        assert_non_null(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            unsigned char byte = (unsigned char)(bits >> (n_bits - 8));
            buf_add(out, &byte, 1);
            n_bits -= 8;
        }
    }
}

/* Lines of base64; every line but the last holds whole groups. */
static void decode(const struct fixture *f, const char *key, struct buf *out)
{
    const struct json *list = NULL;
    struct err e = {0};
    need(json_need_array(f->root, key, &list, &e), &e);
    for (const struct json *v = json_first(list); v != NULL; v = json_next(v))
        add_base64(out, json_string(v));
}

static char *publish(const struct fixture *f, const char *key)
{
    struct buf bytes;
    struct err e = {0};
    char *path = xasprintf("%s/%s.safetensors", f->folder, key);
    buf_init(&bytes, BUF_MAX_DEFAULT);
    decode(f, key, &bytes);
    need(file_write(path, bytes.bytes, bytes.n_bytes, &e), &e);
    buf_release(&bytes);
    return path;
}

static int read_ints(const struct fixture *f, const char *key, int32_t *out, int n_max)
{
    const struct json *list = NULL;
    struct err e = {0};
    int n = 0;
    need(json_need_array(f->root, key, &list, &e), &e);
    for (const struct json *v = json_first(list); v != NULL; v = json_next(v)) {
        assert_true(n < n_max && json_is_integer(v));
        out[n++] = (int32_t)json_number(v);
    }
    return n;
}

static void read_batch(struct fixture *f)
{
    f->n_tokens = read_ints(f, "ids", f->ids, TOKENS_MAX);
    assert_int_equal(f->n_tokens, read_ints(f, "targets", f->target, TOKENS_MAX));
    f->n_segments = read_ints(f, "segment_starts", f->start, TOKENS_MAX + 1) - 1;
    assert_int_equal(f->n_segments, 3);
    for (int i = 0, segment = 0; i < f->n_tokens; i++) {
        segment += i == f->start[segment + 1];
        f->pos[i] = i - f->start[segment];
        f->n_labels += f->target[i] >= 0;
    }
    f->b = (struct batch){f->n_tokens, f->ids, f->pos, f->target, f->n_segments, f->start, NULL};
}

static void read_adamw(struct fixture *f)
{
    const struct json *v = NULL;
    struct err e = {0};
    need(json_need_object(f->root, "adamw", &v, &e), &e);
    need(json_need_f64(v, "lr", &f->adamw.lr, &e), &e);
    need(json_need_f64(v, "beta1", &f->adamw.beta1, &e), &e);
    need(json_need_f64(v, "beta2", &f->adamw.beta2, &e), &e);
    need(json_need_f64(v, "eps", &f->adamw.eps, &e), &e);
    need(json_need_f64(v, "weight_decay", &f->adamw.weight_decay, &e), &e);
    need(json_need_i64(v, "steps", &f->adamw.steps, &e), &e);
}

/* variant: "expected_on" or "expected_off", for the KV quantisers. */
static void fixture_open(struct fixture *f, const char *path, const char *variant)
{
    struct err e = {0};
    memset(f, 0, sizeof *f);
    f->path = path;
    need(json_read(path, &f->root, &e), &e);
    assert_int_equal(scratch_open(f->folder), 0);
    f->base = publish(f, "base");
    f->adapter = publish(f, "adapter");
    buf_init(&f->expected_bytes, BUF_MAX_DEFAULT);
    decode(f, variant, &f->expected_bytes);
    need(tensorfile_parse(&f->expected, (const unsigned char *)f->expected_bytes.bytes,
                          f->expected_bytes.n_bytes, &e),
         &e);
    need(compute_open(&f->c, 1, "auto", &e), &e);
    need(model_open_trainable(&f->m, f->base, &e), &e);
    need(adapter_open(&f->a, f->adapter, &f->m.shape, &e), &e);
    for (int i = 0; i < f->m.shape.layers_0; i++) {
        assert_true(f->m.layers[i].key_range.max > 0 && f->m.layers[i].value_range.max > 0);
        if (strcmp(variant, "expected_off") == 0)
            f->m.layers[i].key_range = f->m.layers[i].value_range = (struct kv_range){0, 0};
    }
    read_batch(f);
    if (strcmp(path, PYTORCH) == 0)
        read_adamw(f);
}

static void fixture_close(struct fixture *f)
{
    adapter_release(&f->a);
    model_release(&f->m);
    compute_close(&f->c);
    tensorfile_close(&f->expected);
    buf_release(&f->expected_bytes);
    assert_int_equal(scratch_remove(f->folder), 0);
    xfree(f->base);
    xfree(f->adapter);
    json_free(f->root);
}

/* The values of an expected tensor; xfree. */
static float *expected(const struct fixture *f, const char *name, size_t n)
{
    const struct tensor *t = tensorfile_find(&f->expected, name);
    if (t == NULL)
        fail_msg("%s has no %s", f->path, name);
    assert_int_equal(tensor_elements(t), n);
    float *values = xalloc_array(n, sizeof *values);
    tensor_to_f32(t, values);
    return values;
}

/* ---- comparing ---- */

/* The largest of several relative errors and the tensor it was seen in. */
struct worst {
    double error;
    char name[SHAPE_NAME_BYTES + 16];
};

static void see(struct worst *w, double error, const char *name)
{
    if (error <= w->error)
        return;
    w->error = error;
    snprintf(w->name, sizeof w->name, "%s", name);
}

/* |found - expected| / |expected - from|; from NULL = 0. */
static double relative(const float *found, const float *expected_values, const float *from,
                       size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)found[i] - (double)expected_values[i];
        double v = (double)expected_values[i] - (from == NULL ? 0 : (double)from[i]);
        difference += d * d;
        size += v * v;
    }
    assert_true(size > 0);
    return sqrt(difference / size);
}

static void report(const char *what, const struct worst *w, double bound)
{
    print_message("parity: %-34s %.2g%s%s\n", what, w->error, w->name[0] ? " in " : "", w->name);
    if (!(w->error <= bound))
        fail_msg("%s: relative error %.3g in %s, at most %g allowed", what, w->error, w->name,
                 bound);
}

/* parity.py's fingerprint of g: norm, projections on weights and on reversed weights. Relative
 * error of the three against the norm. */
static double fingerprint_error(const float *g, const float *weights, size_t n, const float want[3])
{
    double norm = 0, along = 0, reversed = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        norm += (double)g[i] * (double)g[i];
        size += (double)weights[i] * (double)weights[i];
        along += (double)g[i] * (double)weights[i];
        reversed += (double)g[i] * (double)weights[n - 1 - i];
    }
    double found[3] = {sqrt(norm), along / sqrt(size), reversed / sqrt(size)}, sum = 0;
    for (int i = 0; i < 3; i++)
        sum += (found[i] - (double)want[i]) * (found[i] - (double)want[i]);
    assert_true(want[0] > 0);
    return sqrt(sum) / (double)want[0];
}

/* A or B of a module, in order; at = position in an array of all of them. */
struct part {
    size_t at, n;
    char name[SHAPE_NAME_BYTES + 16];
};

static int n_parts(const struct fixture *f)
{
    return 2 * shape_n_modules(&f->m.shape);
}

static struct part part_of(const struct fixture *f, int i)
{
    struct shape_module m;
    struct part p;
    shape_module(&f->m.shape, i / 2, f->a.rank, &m);
    p.at = i % 2 == 0 ? m.a_offset : m.b_offset;
    p.n = (size_t)(i % 2 == 0 ? m.in : m.out) * (size_t)f->a.rank;
    adapter_name_at(&f->a, p.at, p.name);
    return p;
}

/* ---- the passes ---- */

static void check_logits(struct fixture *f)
{
    struct transformer t = {0};
    struct transformer_plan plan = {
        .tokens_max = f->n_tokens, .rank = f->a.rank, .what = TRAIN_NOTHING};
    struct batch all = f->b;
    struct err e = {0};
    struct worst w = {0};
    int32_t any[TOKENS_MAX] = {0}; /* every row is wanted */
    size_t vocab = (size_t)f->m.shape.vocab, n = (size_t)f->n_tokens;
    float *want = expected(f, "logits", n * vocab);
    float *logits = xalloc_array(n * vocab, sizeof *logits);
    float *hidden = xalloc_array(n * (size_t)f->m.shape.hidden, sizeof *hidden);
    int n_rows = 0;
    all.target = any;
    need(transformer_reserve(&t, &f->c, &f->m.shape, &plan, &e), &e);
    need(transformer_hidden(&t, &f->m, &f->a, &all, hidden, &n_rows, &e), &e);
    assert_int_equal(n_rows, f->n_tokens);
    transformer_logits(&f->c, &f->m, n_rows, hidden, logits);
    for (size_t row = 0; row < n; row++) {
        char name[32];
        snprintf(name, sizeof name, "token %zu", row);
        see(&w, relative(logits + row * vocab, want + row * vocab, NULL, vocab), name);
    }
    report("logits", &w, BOUND_FORWARD);
    transformer_release(&t);
    xfree(hidden);
    xfree(logits);
    xfree(want);
}

/* Adds the gradients of the mean loss; returns the loss. */
static float pass(struct fixture *f, struct transformer *t, const struct adapter *a, float *grads)
{
    struct loss_sum sum = {0, 0, 0};
    struct err e = {0};
    need(transformer_loss(t, &f->m, a, &f->b, 1.0f / (float)f->n_labels, grads, &sum, &e), &e);
    assert_int_equal(sum.n_tokens, f->n_labels);
    return (float)(sum.loss / (double)sum.n_tokens);
}

static void check_loss(const struct fixture *f, const char *name, float found)
{
    struct worst w = {0};
    float *want = expected(f, name, 1);
    see(&w, relative(&found, want, NULL, 1), name);
    report(name, &w, BOUND_FORWARD);
    xfree(want);
}

static void check_gradients(const struct fixture *f, const float *grads)
{
    struct worst w = {0};
    float *want = expected(f, "gradients", f->a.n_values);
    for (int i = 0; i < n_parts(f); i++) {
        struct part p = part_of(f, i);
        see(&w, relative(grads + p.at, want + p.at, NULL, p.n), p.name);
    }
    report("LoRA gradients", &w, BOUND_FORWARD);
    xfree(want);
}

static void check_moment(const struct fixture *f, const char *name, const float *moment,
                         const float *first)
{
    struct worst w = {0};
    float *want = expected(f, name, 3 * (size_t)n_parts(f));
    for (int i = 0; i < n_parts(f); i++) {
        struct part p = part_of(f, i);
        see(&w, fingerprint_error(moment + p.at, first + p.at, p.n, want + 3 * i), p.name);
    }
    report(name, &w, BOUND_ADAMW);
    xfree(want);
}

static void check_after(const struct fixture *f, const float *first)
{
    struct worst w = {0}, moved = {0};
    float *want = expected(f, "after", f->a.n_values);
    for (int i = 0; i < n_parts(f); i++) {
        struct part p = part_of(f, i);
        const float *found = f->a.values + p.at;
        see(&w, relative(found, want + p.at, NULL, p.n), p.name);
        see(&moved, relative(found, want + p.at, first + p.at, p.n), p.name);
    }
    report("parameters after AdamW", &w, BOUND_ADAMW);
    /* A step is the quotient of two moments, ill-conditioned where a gradient is nearly 0, and its
     * last digits are lost in the sum. */
    report("their movement", &moved, BOUND_FORWARD);
    xfree(want);
}

static void check_training(struct fixture *f)
{
    struct transformer t = {0};
    struct transformer_plan plan = {
        .tokens_max = f->n_tokens, .rank = f->a.rank, .what = TRAIN_LORA};
    struct err e = {0};
    size_t n = f->a.n_values;
    float *grads = xalloc_array(n, sizeof *grads), *first = xalloc_array(n, sizeof *first);
    float *m = xalloc_array(n, sizeof *m), *v = xalloc_array(n, sizeof *v);
    memcpy(first, f->a.values, n * sizeof *first);
    need(transformer_reserve(&t, &f->c, &f->m.shape, &plan, &e), &e);
    for (int64_t step = 1; step <= f->adamw.steps; step++) {
        struct adamw_step s = {(float)f->adamw.lr,
                               (float)f->adamw.beta1,
                               (float)f->adamw.beta2,
                               (float)f->adamw.eps,
                               (float)f->adamw.weight_decay,
                               1.0f,
                               step};
        memset(grads, 0, n * sizeof *grads);
        float loss = pass(f, &t, &f->a, grads);
        if (step == 1) {
            check_loss(f, "loss", loss);
            check_gradients(f, grads);
        }
        ops_adamw(&f->c, n, &s, f->a.values, grads, m, v);
    }
    check_after(f, first);
    check_moment(f, "moment_1", m, first);
    check_moment(f, "moment_2", v, first);
    transformer_release(&t);
    xfree(grads);
    xfree(first);
    xfree(m);
    xfree(v);
}

/* Gradients of every parameter of the base, without an adapter: as in pre-training. */
static void check_base_training(struct fixture *f)
{
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = f->n_tokens, .what = TRAIN_FULL};
    struct err e = {0};
    struct worst w = {0};
    int n_tensors = shape_n_tensors(&f->m.shape);
    float *grads = xalloc_array(f->m.n_flat, sizeof *grads);
    float *want = expected(f, "base_gradients", 3 * (size_t)n_tensors);
    need(transformer_reserve(&t, &f->c, &f->m.shape, &plan, &e), &e);
    check_loss(f, "base_loss", pass(f, &t, NULL, grads));
    for (int i = 0; i < n_tensors; i++) {
        struct shape_tensor s;
        shape_tensor(&f->m.shape, i, &s);
        see(&w,
            fingerprint_error(grads + s.offset, f->m.flat + s.offset, (size_t)s.n * (size_t)s.k,
                              want + 3 * i),
            s.name);
    }
    report("base gradients (projections)", &w, BOUND_FORWARD);
    transformer_release(&t);
    xfree(grads);
    xfree(want);
}

/* Loss and gradients of the adapter, without a step. */
static void check_first_step(struct fixture *f)
{
    struct transformer t = {0};
    struct transformer_plan plan = {
        .tokens_max = f->n_tokens, .rank = f->a.rank, .what = TRAIN_LORA};
    struct err e = {0};
    float *grads = xalloc_array(f->a.n_values, sizeof *grads);
    need(transformer_reserve(&t, &f->c, &f->m.shape, &plan, &e), &e);
    check_loss(f, "loss", pass(f, &t, &f->a, grads));
    check_gradients(f, grads);
    transformer_release(&t);
    xfree(grads);
}

static void compare(const char *path, const char *variant)
{
    struct fixture f;
    if (!file_exists(path)) {
        print_message("skipped: %s is not below the working folder\n", path);
        skip();
    }
    fixture_open(&f, path, variant);
    check_logits(&f);
    if (strcmp(path, PYTORCH) == 0) {
        check_base_training(&f);
        check_training(&f);
    } else {
        check_first_step(&f);
    }
    fixture_close(&f);
}

static void equals_pytorch(void **state)
{
    (void)state;
    compare(PYTORCH, "expected_off");
}

static void equals_pytorch_with_kv_quantisers(void **state)
{
    (void)state;
    compare(PYTORCH, "expected_on");
}

static void equals_tamm(void **state)
{
    (void)state;
    compare(TAMM, "expected_off");
}

static void equals_tamm_with_kv_quantisers(void **state)
{
    (void)state;
    compare(TAMM, "expected_on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pytorch),
        cmocka_unit_test(equals_pytorch_with_kv_quantisers),
        cmocka_unit_test(equals_tamm),
        cmocka_unit_test(equals_tamm_with_kv_quantisers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
