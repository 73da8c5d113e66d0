#ifndef FMFORGE_MODEL_KERNELS_H
#define FMFORGE_MODEL_KERNELS_H

/*
 * A kernel set: the inner loops, compiled once for each instruction set from the same source text
 * (kernels_body.h). All sets give the same bytes:
 * - what is a sum over the reduction index of a product is one chain of fma per output element;
 * - a sum along a row (norms, softmax, dots) has 16 lanes, element i goes to lane i % 16, and the
 *   lanes are added by the tree (l, l+8), (l, l+4), (l, l+2), (0, 1);
 * - everything else is element by element with IEEE operations in the order written.
 * Only attention.c, compute.c, gemm.c, ops*.c and quant.c include this header. A kernel runs in one
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stages/model/weight.h"

/* Blocking of the products, the same in all sets; see kernels_gemm.h. */
#define GEMM_K_BLOCK 256  /* reduction steps per block */
#define GEMM_ROWS_MAX 504 /* rows of a tile: 516 KiB of L2; a multiple of 4, 6, 8 and 14 */
#define GEMM_PANEL 32     /* columns of a packed panel */
/* So many rows are multiplied with packed weights, floats, halves and bf16 straight from where
 * these are: packing would cost more than their product. */
#define GEMM_FEW_ROWS 8
/* Per thread, 2 MiB: an L2 cache of today. */
#define GEMM_PACK_FLOATS (512 * 1024)

/* Products in integers (kernels_int16.h): the longest reduction (21,845 would still fit into
 * 32 bits, but its panels hardly into the packing space). */
#define GEMM_INT16_K_MAX 16384
#define GEMM_INT16_K_MAX_Q4 4352
#define GEMM_INT16_PANEL_ROWS 8 /* of the largest micro kernel of pairs */
#define GEMM_INT16_SCALES 512   /* floats of packing space for the rows' scales */

/* Packing space at the end of a tile's for the products that follow it (gemm_job.then), which have
 * so many reduction steps together. */
#define GEMM_THEN_STEPS 256 /* at most */
static inline int gemm_then_floats(int steps, int rows)
{
    return steps == 0 ? 0 : (16 + GEMM_THEN_STEPS) * GEMM_PANEL + (rows + 16) * steps + 64;
}

/* Rows of a tile whose packed halves of A and B fit beside each other and beside what follows;
 * 0 = none do. As bytes (kernels_tiles.h) steps come in 64s and rows in 16s, B takes half. */
static inline int gemm_int16_rows(int k, int then_steps)
{
    int rows = (GEMM_PACK_FLOATS - GEMM_INT16_SCALES - 64 - gemm_then_floats(then_steps, 0)) /
                   ((k + 63) / 64 * 32 + 1 + then_steps) -
               GEMM_PANEL - GEMM_INT16_PANEL_ROWS;
    rows = rows > GEMM_ROWS_MAX ? GEMM_ROWS_MAX : rows;
    return rows < 0 ? 0 : rows / GEMM_INT16_PANEL_ROWS * GEMM_INT16_PANEL_ROWS;
}

/* C[m][n] (+)= A . B. A is a[m][k], or a[k][m] when a_by_k. B is b(n, k) as a weight (b_by_k false,
 * W rows are outputs) or b(k, n) (b_by_k true; a weight by panels too). */
struct gemm_job {
    int m, n, k;
    const float *a;
    size_t lda;
    bool a_by_k, b_by_k;
    struct weight b;
    size_t ldb; /* F32, F16 and BF16: row stride of b.data in elements; by panels: of a step */
    float *c;
    size_t ldc;
    bool add;
    /* Short products that are added to C where a tile has just made it, while that is near: with
     * the same m and ldc, c = this one's + a multiple of GEMM_PANEL columns, n as well (or up to
     * the end), a[m][k], and GEMM_THEN_STEPS or less together. */
    const struct gemm_job *then;
    int n_then;
};

/* Few rows are multiplied with B where it is: its elements lie in the order of the reduction. */
static inline bool gemm_is_straight(const struct gemm_job *job)
{
    return job->b_by_k && !job->a_by_k &&
           (job->b.form == WEIGHT_F32 || job->b.form == WEIGHT_F16 || job->b.form == WEIGHT_BF16);
}

/* What row i of a product of attention leaves out, where `sees` is first + i / heads. */
enum attention_part {
    SEES_COLUMNS, /* columns from `sees` on; n is a multiple of GEMM_PANEL */
    SEES_STEPS,   /* steps from `sees` on: A is 0 there, in the next 16 at least */
    IS_SEEN,      /* steps before i - first: A is 0 there, for the columns of 15 rows before */
};

/* C[m][n] (+)= A . B with B in panels of GEMM_PANEL columns, b_panel floats apart. A is a[m][k], or
 * a[k][m] of IS_SEEN, which may be read up to 16 floats beyond its rows. */
struct attention_job {
    enum attention_part part;
    int first, heads; /* heads is 1 of IS_SEEN */
    int m, n, k;
    const float *a;
    size_t lda;
    const float *b;
    size_t b_panel;
    float *c;
    size_t ldc;
    bool add;
};
/* Packing space: of the last rows where they are no whole micro kernel. */
#define ATTENTION_PACK_FLOATS (17 * GEMM_K_BLOCK)

struct adamw_factors {
    float decay; /* 1 - lr wd */
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float step;           /* lr / (1 - b1^t) */
    float inv_correction; /* 1 / sqrt(1 - b2^t) */
    float eps, gscale;
};

struct kernels {
    const char *name;
    int width;        /* floats of a vector */
    int rows_step;    /* tiles have a multiple of this many rows where they can */
    bool int16_tiles; /* products in integers take as long for a few rows as for one */

    /* Rows [row, row+rows) x columns [col, col+cols) of the job; pack: GEMM_PACK_FLOATS floats.
     * col is a multiple of GEMM_PANEL. */
    void (*gemm_tile)(const struct gemm_job *job, int row, int rows, int col, int cols,
                      float *pack);

    /* The same in integers: a Q2 weight, or outputs of a Q4 one; A is a[m][k], rows <=
     * gemm_int16_rows(k, steps of what follows). */
    void (*gemm_int16_tile)(const struct gemm_job *job, int row, int rows, int col, int cols,
                            float *pack);

    /* Panels of GEMM_PANEL columns for attention: panels[i / 32][step][i % 32] of n rows of k
     * steps, or of `cols` columns of k rows with the panels so many floats apart; 0 beyond. */
    void (*pack_rows)(int n, int k, const float *x, size_t ldx, float *panels);
    void (*pack_columns)(int k, int cols, const float *x, size_t ldx, size_t apart, float *panels);
    void (*attention_product)(const struct attention_job *job, float *pack);
    /* In place exp(x * scale - largest * scale) of n scores; returns 1 / sum. The row has 16 more
     * floats, which become 0. */
    float (*softmax)(size_t n, float scale, float *p);
    /* p *= inverse; dp = (p (dp - delta)) scale; the next 16 of both become 0. */
    void (*softmax_backward)(size_t n, float inverse, float delta, float scale, float *p,
                             float *dp);
    void (*normalise)(size_t n, float factor, float *y); /* y = y factor + 0: no negative zeros */

    /* One row each; formulas in ops.h. */
    float (*rmsnorm)(int dim, const float *x, const float *w, float eps, float *y); /* rstd */
    void (*rmsnorm_backward)(int dim, const float *dy, const float *x, const float *w, float rstd,
                             float *dx, bool add);
    /* dw[i] += sum over rows m of dy[m][i] * (x[m][i] * rstd[m * rstd_step]). */
    void (*rmsnorm_dw)(int m, int cols, const float *dy, size_t lddy, const float *x, size_t ldx,
                       const float *rstd, size_t rstd_step, float *dw);
    void (*rope)(int d, const float *cos_sin, const float *x, float *y);
    void (*rope_backward)(int d, const float *cos_sin, const float *dy, float *dx);
    void (*kv_quant)(int n, float scale, const float *x, float *y);
    float (*abs_max)(size_t n, const float *x);
    void (*swiglu)(size_t n, const float *gate, const float *up, float *y);
    void (*swiglu_backward)(size_t n, const float *dy, const float *gate, const float *up,
                            float *dgate, float *dup);
    float (*round16)(size_t n, float *x, int16_t *q); /* returns the scale; q may be NULL */
    void (*unpack16)(size_t n, const int16_t *q, float scale, float *x);
    void (*unpack8)(size_t n, const int8_t *q, float scale, float *x);
    double (*cross_entropy)(int vocab, float *logits, int32_t target, float dscale, bool *correct);
    double (*reverse_kl)(int vocab, float *student, float *teacher, float dscale);
    double (*overlap)(int vocab, const float *student, const float *teacher);
    void (*add)(size_t n, const float *x, float *y);
    void (*scale)(size_t n, float s, float *y);
    float (*dot)(size_t n, const float *x, const float *y);
    float (*row_max)(size_t n, const float *x);
    /* y = exp(x * scale - shift), returns the sum; y may be x. */
    float (*row_exp)(size_t n, const float *x, float scale, float shift, float *y);
    double (*sum_squares)(size_t n, const float *x);
    bool (*all_finite)(size_t n, const float *x);
    void (*adamw)(size_t n, const struct adamw_factors *s, float *p, const float *g, float *m,
                  float *v);
    /* Quantisation; formulas in quant.h. */
    void (*fake_q2)(size_t n, float s, const float *w, float *out);
    double (*fake_q2_backward)(size_t n, float s, const float *w, const float *dwq, float *dw);
    void (*fake_q4)(size_t n, float s, const float *w, float *out);
    double (*q2_error)(size_t n, float s, const float *w);
};

extern const struct kernels kernels_portable;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
extern const struct kernels kernels_amx;
#endif
#if defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

#endif
