#include "stages/model/grid.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

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

static void count(const float *row, int k, struct values *v)
{
    uint32_t last = 0;
    bool first = true;
    for (int i = 0; i < k && v->n < GRID_DISTINCT_MAX; i++) {
        uint32_t bits;
        memcpy(&bits, row + i, sizeof bits);
        if (first || bits != last)
            note(v, bits);
        last = bits;
        first = false;
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

static bool is_bf16(const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, sizeof bits);
        if (bits & 0xFFFF)
            return false;
    }
    return true;
}

static bool is_finite(const float *w, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, sizeof bits);
        bits &= 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    return most < 0x7F800000;
}

struct grid_found grid_find(const float *w, int n, int k, float *scale)
{
    size_t elements = (size_t)n * (size_t)k;
    struct grid_found f = {.form = WEIGHT_F32, .finite = is_finite(w, elements)};
    struct values all = {.n = 0};
    bool q2 = n % 16 == 0 && k % 16 == 0, q4 = n % 16 == 0 && k % 8 == 0;
    if (!f.finite)
        return f;
    for (int row = 0; row < n; row++) {
        struct values v = {.n = 0};
        count(w + (size_t)row * (size_t)k, k, &v);
        for (int i = 0; i < v.n && all.n < GRID_DISTINCT_MAX; i++)
            note(&all, v.bits[i]);
        f.distinct_by_row = v.n > f.distinct_by_row ? v.n : f.distinct_by_row;
        float s = q2 || q4 ? find_scale(&v, q2 ? 1.5f : 7.5f) : 0;
        if (s == 0 && q2) { /* no row of 2 bits: are all rows so far of 4? */
            q2 = false;
            for (int r = 0; r < row && q4; r++) {
                struct values again = {.n = 0};
                count(w + (size_t)r * (size_t)k, k, &again);
                scale[r] = find_scale(&again, 7.5f);
                q4 = scale[r] != 0;
            }
            s = q4 ? find_scale(&v, 7.5f) : 0;
        }
        q4 = q4 && s != 0;
        scale[row] = s;
    }
    f.distinct = all.n;
    float one = q2 ? find_scale(&all, 1.5f) : 0;
    if (q2) {
        f.form = WEIGHT_Q2;
        f.n_scales = one != 0 ? 1 : n;
        scale[0] = one != 0 ? one : scale[0];
    } else if (q4) {
        one = find_scale(&all, 7.5f); /* a row may fit several scales: what fits all is meant */
        for (int row = 0; row < n && one != 0; row++)
            scale[row] = one;
        f.form = WEIGHT_Q4;
        f.n_scales = n;
    } else if (is_bf16(w, elements)) {
        f.form = WEIGHT_BF16;
    }
    return f;
}
