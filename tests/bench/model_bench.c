/*
 * Speed and memory of a model of any size, from its file:
 *
 *   model_bench BASE [tokens [threads [what [length]]]]
 *
 * what: step (a LoRA step of rank 32 over so many tokens, all labelled, every layer computed again
 * from its input; in segments of `length`, by default one), step-kept (nothing computed again),
 * step-full (every parameter of a dense model of that shape instead, in fp32),
 * decode (one token after another behind a prompt of `length` tokens, by default 16),
 * decode-adapter (the same with an adapter in fp16, which is there before the base is read, as in
 * the stages), prefill (so many tokens at once, behind such a prompt). One per process, so
 * that the peak of resident memory is its own. In both precisions in turn, median of three.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/decoder.h"
#include "stages/model/transformer.h"

#define RUNS 3
#define PROMPT 16

struct bench {
    struct compute c;
    struct model m;
    struct adapter a;
    int n_tokens;
    int n_segments;
    int prompt; /* tokens before what is measured in decode and prefill */
    int32_t *ids, *pos, *target, *segments;
    struct batch b;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double peak_gib(void)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtod(line + 6, NULL);
    if (f)
        fclose(f);
    return kib / 1048576;
}

static void print(const struct bench *b, const char *name, int tokens, double *took)
{
    qsort(took, RUNS, sizeof *took, compare);
    printf("%-28s %-5s %9.1f ms %9.2f tokens/s  peak %.2f GiB\n", name,
           compute_precision_names[b->c.precision], 1e3 * took[RUNS / 2], tokens / took[RUNS / 2],
           peak_gib());
    fflush(stdout);
}

static int step(struct bench *b, bool recompute, struct err *e)
{
    struct transformer t = {0};
    struct transformer_plan plan = {
        .tokens_max = b->n_tokens, .rank = b->a.rank, .what = TRAIN_LORA, .recompute = recompute};
    float *grads = xalloc_array(b->a.n_values, sizeof *grads);
    float *m = xalloc_array(b->a.n_values, sizeof *m), *v = xalloc_array(b->a.n_values, sizeof *v);
    int rc = 0;
    for (int precision = 1; precision >= 0 && rc == 0; precision--) { /* the smaller one first */
        double took[RUNS] = {0};
        transformer_release(&t);
        plan.precision = b->c.precision = (enum compute_precision)precision;
        rc = transformer_reserve(&t, &b->c, &b->m.shape, &plan, e);
        for (int i = 0; i < RUNS && rc == 0; i++) {
            struct loss_sum sum = {0};
            struct adamw_step adam = {0.0f, 0.9f, 0.999f, 1e-8f, 0, 1, i + 1};
            double start = seconds();
            memset(grads, 0, b->a.n_values * sizeof *grads);
            rc = transformer_loss(&t, &b->m, &b->a, &b->b, 1.0f / (float)b->n_tokens, grads, &sum,
                                  e);
            ops_adamw(&b->c, b->a.n_values, &adam, b->a.values, grads, m, v);
            took[i] = seconds() - start;
        }
        print(b, recompute ? "LoRA step, recomputed" : "LoRA step", b->n_tokens, took);
    }
    transformer_release(&t);
    xfree(grads);
    xfree(m);
    xfree(v);
    return rc;
}

/* Every parameter, in fp32: the model is exchanged for a dense one with other weights. */
static int step_full(struct bench *b, struct err *e)
{
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = b->n_tokens, .what = TRAIN_FULL};
    struct shape shape = b->m.shape;
    double took[RUNS] = {0};
    b->c.precision = COMPUTE_F32;
    model_release(&b->m);
    int rc = model_init(&b->m, &shape, e);
    if (rc != 0)
        return rc;
    model_randomise(&b->m, 1);
    size_t n = b->m.n_flat;
    float *grads = xalloc_array(n, sizeof *grads);
    float *m = xalloc_array(n, sizeof *m), *v = xalloc_array(n, sizeof *v);
    rc = transformer_reserve(&t, &b->c, &shape, &plan, e);
    for (int i = 0; i < RUNS && rc == 0; i++) {
        struct loss_sum sum = {0};
        struct adamw_step adam = {0.0f, 0.9f, 0.999f, 1e-8f, 0, 1, i + 1};
        double start = seconds();
        memset(grads, 0, n * sizeof *grads);
        rc = transformer_loss(&t, &b->m, NULL, &b->b, 1.0f / (float)b->n_tokens, grads, &sum, e);
        ops_adamw(&b->c, n, &adam, b->m.flat, grads, m, v);
        took[i] = seconds() - start;
    }
    print(b, "full step", b->n_tokens, took);
    transformer_release(&t);
    xfree(grads);
    xfree(m);
    xfree(v);
    return rc;
}

/* n tokens at once, or one after another, behind the prompt. */
static int decode(struct bench *b, const struct adapter *a, int n, bool at_once, struct err *e)
{
    struct decoder d = {0};
    struct decoder_plan plan = {1, b->prompt + n, 0};
    const int32_t first = 0;
    int rc = decoder_reserve(&d, &b->c, &b->m, a, &plan, e);
    for (int precision = 1; precision >= 0 && rc == 0; precision--) {
        double took[RUNS] = {0};
        b->c.precision = (enum compute_precision)precision;
        d.lengths[0] = 0;
        rc = decoder_feed(&d, 0, b->ids, b->prompt, NULL, e);
        for (int i = 0; i < RUNS && rc == 0; i++) {
            d.lengths[0] = b->prompt;
            double start = seconds();
            if (at_once && rc == 0)
                rc = decoder_feed(&d, 0, b->ids, n, NULL, e);
            for (int j = 0; j < n && !at_once && rc == 0; j++)
                rc = decoder_step(&d, &first, b->ids + j, 1, e);
            took[i] = seconds() - start;
        }
        print(b, at_once ? "prefill" : a ? "decode, fp16 adapter" : "decode", n, took);
    }
    decoder_release(&d);
    return rc;
}

static int run(struct bench *b, const char *path, int threads, const char *what, int length,
               struct err *e)
{
    int rc = compute_open(&b->c, threads, "auto", e);
    if (rc == 0)
        rc = model_open(&b->m, path, e);
    if (rc != 0)
        return rc;
    b->prompt = length > 0 ? length : PROMPT;
    size_t n = (size_t)(b->n_tokens > b->prompt ? b->n_tokens : b->prompt);
    if (length <= 0 || length > b->n_tokens)
        length = b->n_tokens;
    b->ids = xalloc_array(n, sizeof *b->ids);
    b->pos = xalloc_array(n, sizeof *b->pos);
    b->target = xalloc_array(n, sizeof *b->target);
    for (int i = 0; i < (int)n; i++) {
        b->ids[i] = (int32_t)(((int64_t)i * 7919 + 13) % b->m.shape.vocab);
        b->pos[i] = i % length;
        b->target[i] = (int32_t)(((int64_t)i * 7907 + 29) % b->m.shape.vocab);
    }
    b->n_segments = (b->n_tokens + length - 1) / length;
    b->segments = xalloc_array((size_t)b->n_segments + 1, sizeof *b->segments);
    for (int i = 0; i <= b->n_segments; i++)
        b->segments[i] = i < b->n_segments ? i * length : b->n_tokens;
    b->b = (struct batch){b->n_tokens, b->ids, b->pos, b->target, b->n_segments, b->segments, NULL};
    bool steps = str_starts(what, "step");
    if (strcmp(what, "step-full") == 0)
        return step_full(b, e);
    if (strcmp(what, "decode") == 0)
        return decode(b, NULL, b->n_tokens, false, e);
    if (rc == 0)
        rc = adapter_init(&b->a, &b->m.shape, 32, 0, 1, e);
    if (rc == 0 && !steps) {
        adapter_round_f16(&b->a);
        adapter_halve(&b->a);
    }
    if (rc == 0 && steps)
        rc = step(b, strcmp(what, "step") == 0, e);
    else if (rc == 0)
        rc = decode(b, &b->a, b->n_tokens, strcmp(what, "prefill") == 0, e);
    return rc;
}

int main(int argc, char **argv)
{
    struct bench b = {.n_tokens = 512};
    struct err e = {0};
    int64_t tokens = 512, threads = 2, length = 0;
    const char *path = argc > 1 ? argv[1] : "configs/toolkits/nano-1.0/base.safetensors";
    if ((argc > 2 && !str_to_i64(argv[2], &tokens)) ||
        (argc > 3 && !str_to_i64(argv[3], &threads)) ||
        (argc > 5 && !str_to_i64(argv[5], &length)) || tokens < 1 || tokens > 1 << 20 ||
        threads < 1 || threads > 1024 || length < 0 || length > 1 << 20) {
        fprintf(stderr, "usage: model_bench BASE [tokens [threads [step|step-kept|step-full|"
                        "decode|decode-adapter|prefill "
                        "[length]]]]\n");
        return 2;
    }
    b.n_tokens = (int)tokens;
    int rc = run(&b, path, (int)threads, argc > 4 ? argv[4] : "step", (int)length, &e);
    if (rc != 0)
        fprintf(stderr, "model_bench: %s\n", e.text);
    xfree(b.ids);
    xfree(b.pos);
    xfree(b.target);
    xfree(b.segments);
    adapter_release(&b.a);
    model_release(&b.m);
    compute_close(&b.c);
    return rc == 0 ? 0 : 1;
}
