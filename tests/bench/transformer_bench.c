/*
 * Time of one training step of a small model: hidden 256, 5 + 3 layers, ffn 832, vocabulary 4096,
 * 4 segments of 256 tokens, every token labelled; of decoding with its adapter, 1 and 8 sequences
 * behind prompts of 128 tokens; and of the passes of speculative decoding: the base over 1 to 9
 * tokens, the draft over one. A step over a base of 2 bits too, in both precisions. Arguments:
 * threads, kernel set, repetitions, the base's file.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/decoder.h"
#include "stages/model/transformer.h"

#define SEGMENTS 4
#define LENGTH 256
#define TOKENS (SEGMENTS * LENGTH)

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct setup {
    struct compute c;
    struct model m;
    struct adapter a;
    struct batch b;
    int repetitions;
};

static int measure(struct setup *s, const char *name, enum train_what what, bool lora,
                   struct err *e)
{
    struct transformer t = {0};
    struct transformer_plan plan = {.tokens_max = TOKENS,
                                    .rank = lora ? s->a.rank : 0,
                                    .what = what,
                                    .precision = s->c.precision};
    size_t n_grads = what == TRAIN_FULL ? s->m.n_flat : s->a.n_values;
    float *grads = xalloc_array(n_grads, sizeof *grads);
    float *m = xalloc_array(n_grads, sizeof *m), *v = xalloc_array(n_grads, sizeof *v);
    int rc = transformer_reserve(&t, &s->c, &s->m.shape, &plan, e);
    double best = 1e30;
    for (int i = 0; i < s->repetitions && rc == 0; i++) {
        struct loss_sum sum = {0};
        double start = seconds();
        rc = transformer_loss(&t, &s->m, lora ? &s->a : NULL, &s->b, 1.0f / TOKENS,
                              what == TRAIN_NOTHING ? NULL : grads, &sum, e);
        if (what != TRAIN_NOTHING) {
            struct adamw_step step = {0.0f, 0.9f, 0.999f, 1e-8f, 0, 1, i + 1};
            ops_adamw(&s->c, n_grads, &step, what == TRAIN_FULL ? s->m.flat : s->a.values, grads, m,
                      v);
        }
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    if (rc == 0)
        printf("%-24s %7.1f ms  %7.0f tokens/s  %6.1f MiB of activations\n", name, 1e3 * best,
               TOKENS / best, (double)t.arena.capacity_bytes / 1048576);
    transformer_release(&t);
    xfree(grads);
    xfree(m);
    xfree(v);
    return rc;
}

/* The step over a base of 2 bits, in both precisions. The model is exchanged for the time. */
static int measure_packed(const struct setup *s, const char *path, struct err *e)
{
    struct setup packed = *s;
    int rc = model_open(&packed.m, path, e);
    for (int i = 0; i < 2 && rc == 0; i++) {
        char name[64];
        packed.c.precision = (enum compute_precision)i;
        snprintf(name, sizeof name, "LoRA, 2-bit base, %s", compute_precision_names[i]);
        rc = measure(&packed, name, TRAIN_LORA, true, e);
    }
    model_release(&packed.m);
    return rc;
}

static int measure_decoding(struct setup *s, int sequences, struct err *e)
{
    enum { PROMPT = 128, STEPS = 32 };
    struct decoder d = {0};
    struct decoder_plan plan = {sequences, 256, 0};
    int32_t which[8], ids[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    int rc = decoder_reserve(&d, &s->c, &s->m, &s->a, &plan, e);
    double start = seconds();
    for (int i = 0; i < sequences && rc == 0; i++) {
        which[i] = i;
        rc = decoder_feed(&d, i, s->b.ids, PROMPT, NULL, e);
    }
    double middle = seconds();
    for (int i = 0; i < STEPS && rc == 0; i++)
        rc = decoder_step(&d, which, ids, sequences, e);
    if (rc == 0)
        printf("decoding %d at once     %7.0f prompt tokens/s  %7.0f tokens/s\n", sequences,
               PROMPT * sequences / (middle - start), STEPS * sequences / (seconds() - middle));
    decoder_release(&d);
    return rc;
}

/* The median time of feeding n tokens to one sequence of 128, with logits for each. */
static int measure_pass(struct setup *s, const struct model *m, const struct adapter *a, int n,
                        double *median, struct err *e)
{
    enum { PROMPT = 128, PASSES = 41 };
    struct decoder d = {0};
    struct decoder_plan plan = {1, 256, 0};
    float *logits = xalloc_array((size_t)n * (size_t)m->shape.vocab, sizeof *logits);
    double took[PASSES];
    int rc = decoder_reserve(&d, &s->c, m, a, &plan, e);
    if (rc == 0)
        rc = decoder_feed(&d, 0, s->b.ids, PROMPT, NULL, e);
    for (int i = 0; i < PASSES && rc == 0; i++) {
        d.lengths[0] = PROMPT;
        double start = seconds();
        rc = decoder_feed(&d, 0, s->b.ids, n, logits, e);
        double now = seconds() - start;
        int at = i;
        for (; at > 0 && took[at - 1] > now; at--)
            took[at] = took[at - 1];
        took[at] = now;
    }
    *median = rc == 0 ? took[PASSES / 2] : 0;
    decoder_release(&d);
    xfree(logits);
    return rc;
}

/* Passes over 1 to 9 tokens of a model with its adapter, in units of one of the draft too. */
static int measure_passes(struct setup *s, const char *name, double draft, struct err *e)
{
    static const int lengths[] = {1, 2, 3, 4, 5, 9};
    double median = 0;
    int rc = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0] && rc == 0; i++) {
        rc = measure_pass(s, &s->m, &s->a, lengths[i], &median, e);
        if (rc == 0)
            printf("%s, pass over %d  %7.3f ms, %.1f draft passes\n", name, lengths[i],
                   1e3 * median, median / draft);
    }
    return rc;
}

/* What speculative decoding is made of: over a dense base, and over one of 2 bits in both
 * precisions. */
static int measure_speculation(const struct setup *s, const char *path, struct err *e)
{
    struct shape shape = {4096, 64, 3, 0, 2, 1, 32, 192, 512, 500000, 1e-5, false};
    struct model draft = {0};
    struct setup dense = *s, packed = *s;
    double one = 0;
    memset(&packed.m, 0, sizeof packed.m);
    int rc = model_init(&draft, &shape, e);
    if (rc == 0) {
        model_randomise(&draft, 2);
        rc = measure_pass(&dense, &draft, NULL, 1, &one, e);
    }
    if (rc == 0)
        printf("draft, pass over 1     %7.3f ms\n", 1e3 * one);
    if (rc == 0)
        rc = measure_passes(&dense, "dense base", one, e);
    model_release(&draft);
    if (rc == 0)
        rc = model_open(&packed.m, path, e);
    for (int i = 0; i < 2 && rc == 0; i++) {
        char name[64];
        packed.c.precision = (enum compute_precision)i;
        snprintf(name, sizeof name, "2-bit base, %s", compute_precision_names[i]);
        rc = measure_passes(&packed, name, one, e);
    }
    model_release(&packed.m);
    return rc;
}

int main(int argc, char **argv)
{
    struct shape shape = {4096, 256, 5, 3, 4, 2, 64, 832, 512, 500000, 1e-5, true};
    static int32_t ids[TOKENS], pos[TOKENS], target[TOKENS], start[SEGMENTS + 1];
    const char *path = argc > 4 ? argv[4] : "configs/toolkits/nano-1.0/base.safetensors";
    struct setup s = {.repetitions = 5};
    struct err e = {0};
    int64_t threads = 2, repetitions = 5;
    if ((argc > 1 && !str_to_i64(argv[1], &threads)) ||
        (argc > 3 && !str_to_i64(argv[3], &repetitions)))
        return 2;
    s.repetitions = (int)repetitions;
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = (i * 7919 + 13) % shape.vocab;
        pos[i] = i % LENGTH;
        target[i] = (i * 7907 + 29) % shape.vocab;
    }
    for (int i = 0; i <= SEGMENTS; i++)
        start[i] = i * LENGTH;
    struct batch b = {TOKENS, ids, pos, target, SEGMENTS, start, NULL};
    s.b = b;
    int rc = compute_open(&s.c, (int)threads, argc > 2 ? argv[2] : "auto", &e);
    if (rc == 0)
        rc = model_init(&s.m, &shape, &e);
    if (rc == 0) {
        model_randomise(&s.m, 1);
        rc = adapter_init(&s.a, &shape, 32, 0, 1, &e);
    }
    if (rc == 0)
        rc = measure(&s, "forward, base", TRAIN_NOTHING, false, &e);
    if (rc == 0)
        rc = measure(&s, "step, full", TRAIN_FULL, false, &e);
    if (rc == 0)
        rc = measure(&s, "step, LoRA rank 32", TRAIN_LORA, true, &e);
    if (rc == 0)
        rc = measure_packed(&s, path, &e);
    if (rc == 0)
        rc = measure_decoding(&s, 1, &e);
    if (rc == 0)
        rc = measure_decoding(&s, 8, &e);
    if (rc == 0)
        rc = measure_speculation(&s, path, &e);
    if (rc != 0)
        fprintf(stderr, "transformer_bench: %s\n", e.text);
    adapter_release(&s.a);
    model_release(&s.m);
    compute_close(&s.c);
    return rc == 0 ? 0 : 1;
}
