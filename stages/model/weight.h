#ifndef FMFORGE_MODEL_WEIGHT_H
#define FMFORGE_MODEL_WEIGHT_H

/*
 * A matrix W[N][K] (N outputs, K inputs) in one of its storage forms. Forms are unpacked to fp32
 * tile by tile inside the product; a dense copy never exists.
 *
 * Q2 "q2-16x16-v1": codes q in 0..3, w = scale * (q - 1.5), one scale per tensor (or per row).
 *   Groups of 16 outputs x 16 inputs = 64 bytes; group (n/16, k/16) lies at
 *   ((n/16) * (K/16) + k/16) * 64. 32-bit little-endian lane n%16 of the group belongs to output n;
 *   bits 2i, 2i+1 of the lane hold input k%16 == i. N and K are multiples of 16.
 * Q4 "q4-16x8-v1": codes q in 0..15, w = scale[n] * (q - 7.5), one scale per row (or per tensor).
 *   Groups of 16 outputs x 8 inputs = 64 bytes at ((n/16) * (K/8) + k/8) * 64; bits 4i..4i+3 of
 *   lane n%16 hold input k%8 == i. N a multiple of 16, K of 8.
 * F32, BF16, F16 (IEEE half, finite): row-major; or by panels of 64 outputs,
 *   [N / 64, rounded up][K][64], 0 beyond N: for products of few rows with a matrix that stays, in
 *   the order in which they read it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weight_form {
    WEIGHT_F32,
    WEIGHT_BF16,
    WEIGHT_Q2,
    WEIGHT_Q4,
    WEIGHT_F16,
};

struct weight {
    enum weight_form form;
    int n, k;           /* N rows (outputs), K columns (inputs) */
    const void *data;   /* borrowed: mapped or in an arena; 64-byte aligned */
    const float *scale; /* Q2, Q4: borrowed, n_scales of them */
    int n_scales;       /* 1 or n */
    bool panels;        /* F32, BF16, F16: data lies by panels */
};

/* Outputs of a panel. */
#define WEIGHT_PANEL 64

/* A dense fp32 matrix, row-major, borrowed. */
struct weight weight_dense(const float *data, int n, int k);
/* One of codes, borrowed. n_scales: 1 or n. */
struct weight weight_codes(enum weight_form form, int n, int k, const void *codes,
                           const float *scale, int n_scales);
/* A dense one in halves. */
struct weight weight_half(const uint16_t *data, int n, int k);
size_t weight_bytes(enum weight_form form, int n, int k); /* of data, row-major or of codes */
/* The same values by panels, in memory of the caller, 64-byte aligned. w: F32, BF16 or F16,
 * row-major. */
size_t weight_panel_bytes(const struct weight *w);
struct weight weight_to_panels(const struct weight *w, void *panels);
/* One row as fp32: out[k]. The exact values the products use. */
void weight_unpack_row(const struct weight *w, int row, float *out);
const char *weight_layout_name(enum weight_form form); /* "f32", "bf16", "q2-16x16-v1", ... */

#endif
