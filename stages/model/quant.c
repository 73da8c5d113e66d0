#include "stages/model/quant.h"

#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "stages/model/kernels.h"
#include "stages/model/weight.h"

struct quant_run {
    const struct kernels *k;
    const float *w, *dwq;
    float s;
    float *out, *scale;
    const float *scale_in;
    size_t columns;
};

static void abs_max_rows(void *context, int first, int n)
{
    const struct quant_run *r = context;
    for (int i = first; i < first + n; i++)
        r->out[i] = r->k->abs_max(r->columns, r->w + (size_t)i * r->columns);
}

float quant_abs_max(struct compute *c, const float *w, size_t n)
{
    /* 64 slices and a rest. */
    enum { SLICES = 64 };
    float largest[SLICES + 1];
    struct quant_run r = {.k = c->kernels, .w = w, .out = largest, .columns = n / SLICES};
    compute_rows(c, SLICES, r.columns, abs_max_rows, &r);
    size_t done = r.columns * SLICES;
    largest[SLICES] = c->kernels->abs_max(n - done, w + done);
    return c->kernels->row_max(SLICES + 1, largest);
}

static void fake_q2_block(void *context, size_t first, size_t n)
{
    const struct quant_run *r = context;
    r->k->fake_q2(n, r->s, r->w + first, r->out + first);
}

void quant_fake_q2(struct compute *c, const float *w, size_t n, float s, float *out)
{
    CHECK(s > 0);
    struct quant_run r = {.k = c->kernels, .w = w, .s = s, .out = out};
    compute_blocks(c, n, fake_q2_block, &r);
}

static double fake_q2_backward_block(void *context, size_t first, size_t n)
{
    const struct quant_run *r = context;
    return r->k->fake_q2_backward(n, r->s, r->w + first, r->dwq + first, r->out + first);
}

void quant_fake_q2_backward(struct compute *c, const float *w, size_t n, float s, const float *dwq,
                            float *dw, double *ds)
{
    CHECK(s > 0);
    struct quant_run r = {.k = c->kernels, .w = w, .s = s, .dwq = dwq, .out = dw};
    *ds = compute_block_sum(c, n, fake_q2_backward_block, &r);
}

static void scale_q4_rows(void *context, int first, int n)
{
    const struct quant_run *r = context;
    for (int i = first; i < first + n; i++)
        r->scale[i] = r->k->abs_max(r->columns, r->w + (size_t)i * r->columns) / 7.5f;
}

void quant_scales_q4(struct compute *c, const float *w, int n, int k, float *scale)
{
    struct quant_run r = {.k = c->kernels, .w = w, .scale = scale, .columns = (size_t)k};
    compute_rows(c, n, (size_t)k, scale_q4_rows, &r);
}

static void fake_q4_rows(void *context, int first, int n)
{
    const struct quant_run *r = context;
    for (int i = first; i < first + n; i++) {
        size_t at = (size_t)i * r->columns;
        r->k->fake_q4(r->columns, r->scale_in[i], r->w + at, r->out + at);
    }
}

void quant_fake_q4_rows(struct compute *c, const float *w, int n, int k, const float *scale,
                        float *out)
{
    struct quant_run r = {
        .k = c->kernels,
        .w = w,
        .scale_in = scale,
        .out = out,
        .columns = (size_t)k,
    };
    compute_rows(c, n, (size_t)k, fake_q4_rows, &r);
}

static double q2_error_block(void *context, size_t first, size_t n)
{
    const struct quant_run *r = context;
    return r->k->q2_error(n, r->s, r->w + first);
}

float quant_scale_search_q2(struct compute *c, const float *w, size_t n)
{
    enum { COARSE = 64, FINE = 16 };
    float largest = quant_abs_max(c, w, n), best = 0.0f;
    if (!(largest > 0.0f))
        return 1.0f;
    double best_error = 0;
    struct quant_run r = {.k = c->kernels, .w = w};
    for (int i = 1; i <= COARSE; i++) {
        r.s = largest * ((float)i / COARSE);
        double error = compute_block_sum(c, n, q2_error_block, &r);
        if (best == 0.0f || error < best_error) {
            best = r.s;
            best_error = error;
        }
    }
    float middle = best, step = largest / (COARSE * FINE);
    for (int i = 1 - FINE; i < FINE; i++) {
        r.s = middle + (float)i * step;
        double error = compute_block_sum(c, n, q2_error_block, &r);
        if (error < best_error) {
            best = r.s;
            best_error = error;
        }
    }
    return best;
}

/* The codes of 32 / bits values as one lane; *fits: all of them have one, and the very value where
 * exact. Written without branches: it vectorises. */
static inline uint32_t pack_lane(const float *v, float s, int bits, bool exact, bool *fits)
{
    int per_lane = 32 / bits, bad = 0;
    float half = bits == 2 ? 1.5f : 7.5f, code[16];
    for (int i = 0; i < per_lane; i++) {
        code[i] = bits == 2 ? quant_level_q2(v[i], s) + 1.0f : quant_level_q4(v[i], s);
        int none = !(code[i] >= 0.0f), off = s * (code[i] - half) != v[i];
        bad += none | (off & (int)exact);
    }
    uint32_t lane = 0;
    *fits = bad == 0;
    for (int i = 0; i < per_lane && *fits; i++)
        lane |= (uint32_t)(int32_t)code[i] << (bits * i);
    return lane;
}

/* The error of the first value without a code. */
static int say_misfit(const float *v, float s, int bits, bool exact, int row, int column,
                      struct err *e)
{
    for (int i = 0;; i++) {
        CHECK(i < 32 / bits);
        float code = bits == 2 ? quant_level_q2(v[i], s) + 1.0f : quant_level_q4(v[i], s);
        if (!(code >= 0.0f))
            return err_set(e, ERR_NUMERIC, "row %d, column %d: %g has no code", row, column + i,
                           (double)v[i]);
        if (exact && s * (code - (bits == 2 ? 1.5f : 7.5f)) != v[i])
            return err_set(e, ERR_FORMAT,
                           "row %d, column %d: %.9g is not on the %d-bit grid of scale %.9g", row,
                           column + i, (double)v[i], bits, (double)s);
    }
}

/* One group of 16 outputs; lane n%16 collects 32 / bits codes of output n. */
static int pack_codes(const float *w, int n, int k, const float *scale, bool row_scales, int bits,
                      bool exact, unsigned char *out, struct err *e)
{
    int per_group = 32 / bits;
    for (int row = 0; row < n; row++) {
        float s = scale[row_scales ? row : 0];
        for (int column = 0; column < k; column += per_group) {
            const float *v = w + (size_t)row * (size_t)k + (size_t)column;
            bool fits;
            uint32_t lane =
                bits == 2 ? pack_lane(v, s, 2, exact, &fits) : pack_lane(v, s, 4, exact, &fits);
            if (!fits)
                return say_misfit(v, s, bits, exact, row, column, e);
            size_t group =
                (size_t)(row / 16) * (size_t)(k / per_group) + (size_t)(column / per_group);
            bytes_put_u32(out + group * 64 + (size_t)(row % 16) * 4, lane);
        }
    }
    return 0;
}

int quant_pack_q2(const float *w, int n, int k, float scale, bool exact, unsigned char *out,
                  struct err *e)
{
    CHECK(n % 16 == 0 && k % 16 == 0);
    CHECK(scale > 0);
    return pack_codes(w, n, k, &scale, false, 2, exact, out, e);
}

int quant_pack_q2_rows(const float *w, int n, int k, const float *scale, bool exact,
                       unsigned char *out, struct err *e)
{
    CHECK(n % 16 == 0 && k % 16 == 0);
    return pack_codes(w, n, k, scale, true, 2, exact, out, e);
}

int quant_pack_q4(const float *w, int n, int k, const float *scale, bool exact, unsigned char *out,
                  struct err *e)
{
    CHECK(n % 16 == 0 && k % 8 == 0);
    return pack_codes(w, n, k, scale, true, 4, exact, out, e);
}
