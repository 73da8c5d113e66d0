#ifndef FMFORGE_MODEL_GRID_H
#define FMFORGE_MODEL_GRID_H

/*
 * Which storage form holds a matrix without any loss. A base that was trained on a grid and saved
 * as fp32 (REFERENCE 6.2) has few distinct values; they are found, not assumed:
 *
 * - q2: every value is scale * (q - 1.5), q in 0..3, one scale for the matrix or one per row;
 * - q4: every value is scale * (q - 7.5), q in 0..15, one scale per row; 0 for a row of zeros, as
 *   the one of the padding id can be;
 * - bf16: every value is a bfloat16;
 * - f32: the rest.
 *
 * "Is" means the same fp32 bits as the products unpack (weight.h).
 */

#include <stdbool.h>

#include "stages/model/compute.h"
#include "stages/model/weight.h"

#define GRID_DISTINCT_MAX 17 /* counted up to here */

struct grid_found {
    enum weight_form form;
    int n_scales;        /* q2: 1 or n; q4: n */
    bool finite;         /* false: nothing else is set */
    int distinct;        /* values in the whole matrix, at most GRID_DISTINCT_MAX */
    int distinct_by_row; /* the most in one row */
};

/* w: (n, k) fp32. scale: room for n; holds the scales of the form found. */
struct grid_found grid_find(struct compute *c, const float *w, int n, int k, float *scale);

#endif
