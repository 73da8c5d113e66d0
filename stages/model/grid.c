#include "stages/model/grid.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "pipeline/base/xalloc.h"

/* ---- distinct values ---- */

struct values {
    uint32_t bits[GRID_DISTINCT_MAX];
    int n;
};

static void note(struct values *v, uint32_t bits)
{
    for (int i = 0; i < v->n; i++)
        if (v->bits[i] == bits)
            return;
    if (v->n < GRID_DISTINCT_MAX)
        v->bits[v->n++] = bits;
}

/* So many values are looked at together: nearly all blocks of a matrix on a grid bring nothing new.
 */
#define LOOK 64

/* How many are not a, b, c or d. A plain loop, which vectorises. */
static uint32_t count_others(const uint32_t *bits, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    uint32_t others = 0;
    for (int j = 0; j < LOOK; j++)
        others += 1u ^ ((uint32_t)(bits[j] == a) | (uint32_t)(bits[j] == b) |
                        (uint32_t)(bits[j] == c) | (uint32_t)(bits[j] == d));
    return others;
}

/* Are these LOOK among the values, of which none is there twice? */
static bool all_known(const uint32_t *bits, const struct values *v)
{
    uint32_t known = 0;
    for (int i = 0; i < v->n; i += 4) {
        uint32_t four[4];
        for (int j = 0; j < 4; j++)
            four[j] = v->bits[i + j < v->n ? i + j : i];
        known += LOOK - count_others(bits, four[0], four[1], four[2], four[3]);
    }
    return known == LOOK;
}

static void count(const float *row, int k, struct values *v)
{
    uint32_t bits[LOOK];
    for (int i = 0; i < k && v->n < GRID_DISTINCT_MAX; i += LOOK) {
        int n = k - i < LOOK ? k - i : LOOK;
        memcpy(bits, row + i, (size_t)n * sizeof *bits);
        if (n == LOOK && all_known(bits, v))
            continue;
        for (int j = 0; j < n; j++)
            note(v, bits[j]);
    }
}

/* ---- grids ---- */

/* Is every value of the list scale * level for a level -half, -half + 1, ..., half? */
static bool on_grid(const struct values *v, float scale, float half)
{
    for (int i = 0; i < v->n; i++) {
        float value, level;
        memcpy(&value, &v->bits[i], sizeof value);
        level = rintf(value / scale + half) - half;
        if (!(level >= -half && level <= half) || scale * level != value)
            return false;
    }
    return true;
}

/* A scale with which every value is on the grid of 2 half + 1 levels; 0 = there is none. */
static float find_scale(const struct values *v, float half)
{
    if (v->n == 0 || v->n > (int)(2 * half + 1))
        return 0;
    float least = INFINITY;
    for (int i = 0; i < v->n; i++) {
        float value;
        memcpy(&value, &v->bits[i], sizeof value);
        least = fabsf(value) < least ? fabsf(value) : least;
    }
    if (least == 0 || !isfinite(least))
        return 0;
    /* The smallest is some half level; division may be off by one unit. */
    for (float level = 0.5f; level <= half; level += 1) {
        float near = least / level;
        const float tries[3] = {near, nextafterf(near, INFINITY), nextafterf(near, 0)};
        for (int i = 0; i < 3; i++)
            if (tries[i] > 0 && isfinite(tries[i]) && on_grid(v, tries[i], half))
                return tries[i];
    }
    return 0;
}

/* ---- a matrix ---- */

struct row {
    struct values values;
    bool finite, bf16;
};

struct look {
    const float *w;
    int k;
    struct row *rows;
};

static void look_at_rows(void *context, int first, int n)
{
    const struct look *l = context;
    for (int r = first; r < first + n; r++) {
        const float *row = l->w + (size_t)r * (size_t)l->k;
        uint32_t endless = 0, low = 0;
        for (int i = 0; i < l->k; i++) {
            uint32_t bits;
            memcpy(&bits, row + i, sizeof bits);
            low |= bits;
            endless |= (bits & 0x7F800000) == 0x7F800000;
        }
        l->rows[r] = (struct row){.finite = endless == 0, .bf16 = (low & 0xFFFF) == 0};
        count(row, l->k, &l->rows[r].values);
    }
}

/* Every row's scale for a grid; false when a row has none, or none has one. With 4 bits a row of
 * nothing but +0 has the scale 0 (quant.h). */
static bool row_scales(const struct row *rows, int n, float half, float *scale)
{
    bool any = false;
    for (int r = 0; r < n; r++) {
        const struct values *v = &rows[r].values;
        bool zeros = half == 7.5f && v->n == 1 && v->bits[0] == 0;
        scale[r] = find_scale(v, half);
        if (scale[r] == 0 && !zeros)
            return false;
        any |= !zeros;
    }
    return any;
}

/* A row may fit several scales: what fits all rows is meant. */
static bool one_scale(const struct values *all, int n, float half, float *scale)
{
    float one = find_scale(all, half);
    for (int r = 0; r < n && one != 0; r++)
        scale[r] = one;
    return one != 0;
}

struct grid_found grid_find(struct compute *c, const float *w, int n, int k, float *scale)
{
    struct look l = {w, k, xalloc_array((size_t)n, sizeof *l.rows)};
    struct grid_found f = {.form = WEIGHT_F32, .finite = true};
    struct values all = {.n = 0};
    bool bf16 = true;
    compute_rows(c, n, (size_t)k, look_at_rows, &l);
    for (int r = 0; r < n; r++) {
        const struct values *v = &l.rows[r].values;
        f.finite = f.finite && l.rows[r].finite;
        bf16 = bf16 && l.rows[r].bf16;
        f.distinct_by_row = v->n > f.distinct_by_row ? v->n : f.distinct_by_row;
        for (int i = 0; i < v->n && all.n < GRID_DISTINCT_MAX; i++)
            note(&all, v->bits[i]);
    }
    f.distinct = all.n;
    bool q2 = n % 16 == 0 && k % 16 == 0, q4 = n % 16 == 0 && k % 8 == 0;
    if (!f.finite) {
        f.form = WEIGHT_F32;
    } else if (q2 && one_scale(&all, n, 1.5f, scale)) {
        f.form = WEIGHT_Q2;
        f.n_scales = 1;
    } else if (q2 && row_scales(l.rows, n, 1.5f, scale)) {
        f.form = WEIGHT_Q2;
        f.n_scales = n;
    } else if (q4 && (one_scale(&all, n, 7.5f, scale) || row_scales(l.rows, n, 7.5f, scale))) {
        f.form = WEIGHT_Q4;
        f.n_scales = n;
    } else if (bf16) {
        f.form = WEIGHT_BF16;
    }
    xfree(l.rows);
    return f;
}
