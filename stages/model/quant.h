#ifndef FMFORGE_MODEL_QUANT_H
#define FMFORGE_MODEL_QUANT_H

/*
 * Quantised weights: the grids, training on them (fake quantisation), and the storage forms of
 * weight.h.
 *
 * 2 bits: w = s (l - 0.5), l in {-1, 0, 1, 2}: the balanced set {-1.5, -0.5, 0.5, 1.5} s, one s per
 *   tensor. l = clamp(rint(w / s + 0.5), -1, 2), half to even; the stored code is l + 1. For
 *   training s = f max|W| with a learnable factor f (Apple's 2025 report on its foundation models).
 * 4 bits: w = s (l - 7.5), l in 0..15, one s per row; l = clamp(rint(w / s + 7.5), 0, 15).
 *   s = max|row| / 7.5 puts the row's largest value on the last level and clips nothing. A row of
 *   zeros has s = 0 and l = 8.
 *
 * Gradients. Rounding counts as the identity inside the clip range and as a constant outside
 * (straight-through, Bengio et al. 2013). For the scale (LSQ, Esser et al. 2020) with u = w / s:
 *   d w_q / d s = (l - 0.5) - u inside, (l - 0.5) = +-1.5 outside.
 * The caller multiplies by d s / d f = max|W|; max|W| itself counts as a constant.
 *
 * What training used is what is stored, exactly: quant_pack_* applies the same rounding, and the
 * products unpack scale * (code - 1.5) to the same floats as quant_fake_q2 wrote.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/err.h"
#include "stages/model/compute.h"
#include "stages/model/fmath.h"

/* The rounding, in one place. s > 0. */
static inline float quant_level_q2(float w, float s)
{
    float v = w / s + 0.5f;
    v = v < -1.0f ? -1.0f : v;
    v = v > 2.0f ? 2.0f : v;
    return fm_rintf(v);
}

static inline float quant_level_q4(float w, float s)
{
    float v = w / s + 7.5f;
    v = v < 0.0f ? 0.0f : v;
    v = v > 15.0f ? 15.0f : v;
    v = s == 0.0f ? 8.0f : v;
    return fm_rintf(v);
}

/* max |w|, in any order the same. */
float quant_abs_max(struct compute *c, const float *w, size_t n);

/* out = w on the grid of s > 0; out may be w. */
void quant_fake_q2(struct compute *c, const float *w, size_t n, float s, float *out);
/* dw (overwritten; may be dwq) and *ds from the gradient dwq at the grid values. */
void quant_fake_q2_backward(struct compute *c, const float *w, size_t n, float s, const float *dwq,
                            float *dw, double *ds);

/* scale[i] = max|row i| / 7.5. */
void quant_scales_q4(struct compute *c, const float *w, int n, int k, float *scale);
/* out = each row on its grid; out may be w. Backward is the identity: nothing is clipped. */
void quant_fake_q4_rows(struct compute *c, const float *w, int n, int k, const float *scale,
                        float *out);

/* The scale with the least squared rounding error, for rounding without training and as the start
 * of training: 64 candidates up to max|W|, then 31 around the best. 1 for a tensor of zeros. */
float quant_scale_search_q2(struct compute *c, const float *w, size_t n);

/* Codes of W[n][k] in the layout of weight.h; out has weight_bytes(form, n, k) bytes. exact: a
 * value that is not on the grid is ERR_FORMAT with row and column; otherwise it is rounded. n % 16
 * == 0, k % 16 == 0 (Q2) or k % 8 == 0 (Q4). */
int quant_pack_q2(const float *w, int n, int k, float scale, bool exact, unsigned char *out,
                  struct err *e) MUST_USE;
int quant_pack_q2_rows(const float *w, int n, int k, const float *scale /* n */, bool exact,
                       unsigned char *out, struct err *e) MUST_USE;
int quant_pack_q4(const float *w, int n, int k, const float *scale /* n */, bool exact,
                  unsigned char *out, struct err *e) MUST_USE;

#endif
