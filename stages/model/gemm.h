#ifndef FMFORGE_MODEL_GEMM_H
#define FMFORGE_MODEL_GEMM_H

/*
 * The three matrix products of training, fp32. All matrices row-major (a weight of gemm_xwt may
 * lie by panels, weight.h); ld* are row strides in floats. Each output element is one chain of fma
 * over the reduction index in ascending order, starting at 0 (add = false) or at the element's old
 * value (add = true); therefore neither blocking, threads, kernel set nor the number of rows M
 * changes a bit of any row. With COMPUTE_INT16 (compute.h) products with packed weights are exact
 * integer sums instead, scaled once per element (but for gradients through 4 bits): as independent
 * of all these, and within 2e-4 of the fp32 product (relative to the row's root mean square;
 * PERFORMANCE: measured 1.2e-4). This header is the seam for other arithmetic and other devices.
 */

#include <stdbool.h>

#include "stages/model/compute.h"
#include "stages/model/weight.h"

/* y[M][N] (+)= x[M][K] . W[N][K]^T        (forward; chain over k) */
void gemm_xwt(struct compute *c, int m, const float *x, int ldx, const struct weight *w, float *y,
              int ldy, bool add);
/* dx[M][K] (+)= dy[M][N] . W[N][K]         (backward to the input; chain over n) */
void gemm_xw(struct compute *c, int m, const float *dy, int lddy, const struct weight *w, float *dx,
             int lddx, bool add);
/* dw[N][K] (+)= dy[M][N]^T . x[M][K]       (weight gradient; chain over m) */
void gemm_dw(struct compute *c, int m, int n, int k, const float *dy, int lddy, const float *x,
             int ldx, float *dw, int lddw, bool add);

/* A product over a short reduction R that is added to columns [first, ...) of another one's result:
 * an adapter's, to the base's. */
struct gemm_thin {
    const float *x;  /* (M, R) */
    struct weight w; /* gemm_xwt_then: (R, columns); gemm_xw_then: (columns, R) */
    int first;
};
#define GEMM_THIN_MAX 3

/* The bits of gemm_xwt and then gemm_xw(thin.x, thin.w, add) for each; y is written once. */
void gemm_xwt_then(struct compute *c, int m, const float *x, int ldx, const struct weight *w,
                   float *y, int ldy, int n_thin, const struct gemm_thin *thin);
/* The bits of gemm_xw and then gemm_xwt(thin.x, thin.w, add) for each. */
void gemm_xw_then(struct compute *c, int m, const float *dy, int lddy, const struct weight *w,
                  float *dx, int lddx, bool add, int n_thin, const struct gemm_thin *thin);

#endif
