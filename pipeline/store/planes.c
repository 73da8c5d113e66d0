#include "pipeline/store/planes.h"

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"

/* Loops of fixed width: the compiler makes vector instructions of them (-O3, Makefile). */
static void split_2(const unsigned char *restrict from, unsigned char *restrict to, size_t n)
{
    unsigned char *restrict high = to + n;
    for (size_t i = 0; i < n; i++) {
        to[i] = from[2 * i];
        high[i] = from[2 * i + 1];
    }
}

static void merge_2(const unsigned char *restrict from, unsigned char *restrict to, size_t n)
{
    const unsigned char *restrict high = from + n;
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = from[i];
        to[2 * i + 1] = high[i];
    }
}

static void split_4(const unsigned char *restrict from, unsigned char *restrict to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = from[4 * i];
        to[n + i] = from[4 * i + 1];
        to[2 * n + i] = from[4 * i + 2];
        to[3 * n + i] = from[4 * i + 3];
    }
}

static void merge_4(const unsigned char *restrict from, unsigned char *restrict to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[4 * i] = from[i];
        to[4 * i + 1] = from[n + i];
        to[4 * i + 2] = from[2 * n + i];
        to[4 * i + 3] = from[3 * n + i];
    }
}

void planes_split(size_t width, const unsigned char *from, unsigned char *to, size_t n_bytes)
{
    CHECK(width == 2 || width == 4);
    CHECK(n_bytes % width == 0);
    if (width == 2)
        split_2(from, to, n_bytes / 2);
    else
        split_4(from, to, n_bytes / 4);
}

void planes_merge(size_t width, const unsigned char *from, unsigned char *to, size_t n_bytes)
{
    CHECK(width == 2 || width == 4);
    CHECK(n_bytes % width == 0);
    if (width == 2)
        merge_2(from, to, n_bytes / 2);
    else
        merge_4(from, to, n_bytes / 4);
}

/* ---- which plan ---- */

struct trial {
    struct zcoder *coder;
    size_t room;
    unsigned char *split, *packed;
    size_t sums[PLANES_MAX][ZFRAME_FAST + 1]; /* by plane and kind, over all samples */
};

/* Adds what one sample takes, split in planes of n bytes. */
static void try_sample(struct trial *t, size_t width, const unsigned char *sample)
{
    size_t n = PLANES_SAMPLE_BYTES / width;
    const unsigned char *planes = sample;
    if (width > 1) {
        planes_split(width, sample, t->split, PLANES_SAMPLE_BYTES);
        planes = t->split;
    }
    for (size_t p = 0; p < width; p++) {
        t->sums[p][ZFRAME_STORED] += n;
        for (int kind = ZFRAME_ENTROPY; kind <= ZFRAME_FAST; kind++)
            t->sums[p][kind] += zframe_pack(t->coder, (enum zframe_kind)kind, planes + p * n, n,
                                            t->packed, t->room);
    }
}

/* a is smaller than b by more than `percent` of b. */
static bool saves(size_t a, size_t b, size_t percent)
{
    return a * 100 < b * (100 - percent);
}

/* The quicker way unless the next saves something: at 64 GiB a size times 100 still fits. */
static size_t try_width(struct trial *t, size_t width, const unsigned char *samples,
                        size_t n_samples, struct planes_plan *plan)
{
    size_t total = 0;
    *plan = (struct planes_plan){.width = width};
    for (size_t p = 0; p < PLANES_MAX; p++)
        for (int kind = 0; kind <= ZFRAME_FAST; kind++)
            t->sums[p][kind] = 0;
    for (size_t i = 0; i < n_samples; i++)
        try_sample(t, width, samples + i * PLANES_SAMPLE_BYTES);
    for (size_t p = 0; p < width; p++) {
        const size_t *sums = t->sums[p];
        enum zframe_kind best = ZFRAME_STORED;
        if (saves(sums[ZFRAME_ENTROPY], sums[best], 1))
            best = ZFRAME_ENTROPY;
        if (saves(sums[ZFRAME_FAST], sums[best], 2))
            best = ZFRAME_FAST;
        plan->kinds[p] = best;
        total += sums[best];
    }
    return total;
}

struct planes_plan planes_choose(const unsigned char *samples, size_t n_samples)
{
    struct trial t = {.coder = zcoder_open(), .room = zframe_bound(PLANES_SAMPLE_BYTES)};
    struct planes_plan best, other;
    t.split = xalloc(PLANES_SAMPLE_BYTES);
    t.packed = xalloc(t.room);
    size_t plain = try_width(&t, 1, samples, n_samples, &best);
    size_t two = try_width(&t, 2, samples, n_samples, &other);
    size_t bytes = plain;
    if (saves(two, plain, 3)) {
        best = other;
        bytes = two;
    }
    size_t four = try_width(&t, 4, samples, n_samples, &other);
    if (saves(four, bytes, best.width == 1 ? 3 : 1))
        best = other;
    xfree(t.packed);
    xfree(t.split);
    zcoder_close(t.coder);
    return best;
}
