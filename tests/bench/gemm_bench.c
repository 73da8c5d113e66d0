/*
 * Speed of the products: GFLOP/s per shape.
 *
 *   gemm_bench [threads] [kernels]
 *
 * Built by hand or by `make bench`. Takes the best of several runs, so that other programs on the
 * machine disturb it less.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/base/xalloc.h"
#include "stages/model/compute.h"
#include "stages/model/gemm.h"
#include "stages/model/ops.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct shape {
    int m, n, k;
};

static const struct shape shapes[] = {
    {1024, 512, 256},  {1024, 256, 256},  {1024, 832, 256}, {1024, 256, 832}, {512, 4096, 256},
    {1024, 4096, 256}, {1024, 32, 256},   {1024, 256, 32},  {1024, 832, 32},  {512, 2048, 2048},
    {512, 6656, 2048}, {512, 2048, 6656}, {64, 64, 64},     {8, 832, 256},    {1, 832, 256},
    {1, 256, 832},     {1, 4096, 256},    {1, 2048, 2048},
};

static float *filled(size_t n, unsigned seed)
{
    float *p = xalloc_array(n + 16, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
    }
    return p;
}

enum product {
    XWT,
    XW,
    DW,
    XWT_Q2,
    XW_Q2,
    XWT_INT16, /* Q2 too */
    XW_INT16,
    N_PRODUCTS,
};

static double measure(struct compute *c, enum product which, const struct shape *s,
                      const unsigned char *codes)
{
    size_t m = (size_t)s->m, n = (size_t)s->n, k = (size_t)s->k;
    float *x = filled(m * k, 1), *w = filled(n * k, 2), *y = filled(m * n, 3);
    float scale = 0.01f;
    struct weight dense = weight_dense(w, s->n, s->k);
    struct weight q2 = {WEIGHT_Q2, s->n, s->k, codes, &scale, 1};
    const struct weight *weight = which >= XWT_Q2 ? &q2 : &dense;
    double flop = 2.0 * (double)m * (double)n * (double)k, best = 1e30;
    int repeat = (int)(2e8 / flop) + 1;
    c->precision = which >= XWT_INT16 ? COMPUTE_INT16 : COMPUTE_F32;
    for (int round = 0; round < 12; round++) {
        double start = now_s();
        for (int i = 0; i < repeat; i++) {
            if (which == XWT || which == XWT_Q2 || which == XWT_INT16)
                gemm_xwt(c, s->m, x, s->k, weight, y, s->n, false);
            else if (which == XW || which == XW_Q2 || which == XW_INT16)
                gemm_xw(c, s->m, y, s->n, weight, x, s->k, false);
            else
                gemm_dw(c, s->m, s->n, s->k, y, s->n, x, s->k, w, s->k, false);
        }
        double time = (now_s() - start) / repeat;
        best = time < best ? time : best;
    }
    xfree(x);
    xfree(w);
    xfree(y);
    return flop / best / 1e9;
}

static void measure_rows(struct compute *c)
{
    enum { ROWS = 512, VOCAB = 4096, N = 7500000 };
    float *logits = filled((size_t)ROWS * VOCAB, 4);
    int32_t target[ROWS] = {0};
    double loss[ROWS], best = 1e30;
    for (int round = 0; round < 5; round++) {
        double start = now_s();
        ops_cross_entropy(c, ROWS, VOCAB, logits, target, 1e-3f, loss, NULL);
        best = now_s() - start < best ? now_s() - start : best;
    }
    printf("cross entropy 512 x 4096: %.2f ms\n", best * 1e3);
    float *p = filled(N, 5), *g = filled(N, 6), *m = filled(N, 7), *v = xalloc_array(N, sizeof *v);
    struct adamw_step s = {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 1};
    best = 1e30;
    for (int round = 0; round < 5; round++) {
        double start = now_s();
        ops_adamw(c, N, &s, p, g, m, v);
        best = now_s() - start < best ? now_s() - start : best;
    }
    printf("adamw 7.5 M: %.2f ms\n", best * 1e3);
    best = 1e30;
    for (int round = 0; round < 5; round++) {
        double start = now_s();
        ops_swiglu(c, 1024, 832, p, g, m);
        best = now_s() - start < best ? now_s() - start : best;
    }
    printf("swiglu 1024 x 832: %.3f ms\n", best * 1e3);
    xfree(logits);
    xfree(p);
    xfree(g);
    xfree(m);
    xfree(v);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct compute c;
    if (compute_open(&c, argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1, argc > 2 ? argv[2] : "auto",
                     &e) < 0) {
        fprintf(stderr, "gemm_bench: %s\n", e.text);
        return 1;
    }
    unsigned char *codes = aligned_alloc(64, (size_t)8192 * 8192 / 4);
    memset(codes, 0x1B, (size_t)8192 * 8192 / 4);
    printf("%s, %d threads, GFLOP/s\n%17s %8s %8s %8s %8s %8s %8s %8s\n", compute_kernels_name(&c),
           thread_pool_size(c.pool), "M x N x K", "xwt", "xw", "dw", "xwt q2", "xw q2", "xwt i16",
           "xw i16");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        printf("%5d %5d %5d", shapes[i].m, shapes[i].n, shapes[i].k);
        for (int which = 0; which < N_PRODUCTS; which++)
            printf(" %8.1f", measure(&c, (enum product)which, &shapes[i], codes));
        printf("\n");
    }
    measure_rows(&c);
    free(codes);
    compute_close(&c);
    return 0;
}
