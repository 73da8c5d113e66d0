#ifndef FMFORGE_STORE_PLANES_H
#define FMFORGE_STORE_PLANES_H

/*
 * Byte planes. The numbers of a file of weights look random as a whole; but their bytes of one
 * place, taken together, do not: the sign and the exponents of bf16 take 2.7 bits instead of 8. A
 * plane is every width-th byte: of 2-byte numbers plane 1 has the high bytes, of 4-byte numbers
 * plane 3. Which width a file gets, and how each plane is packed, is told by packing samples of it.
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/zfile.h"

#define PLANES_MAX 4
/* What is split at a time. A multiple of each width; split and packed it stays in a core's cache.
 */
#define PLANES_CHUNK_BYTES ((size_t)256 << 10)

/* How a file is packed. */
struct planes_plan {
    size_t width; /* 1: not split; 2, 4 */
    enum zframe_kind kinds[PLANES_MAX];
};

/* n_bytes is a multiple of width; to has the planes one after another. */
void planes_split(size_t width, const unsigned char *from, unsigned char *to, size_t n_bytes);
void planes_merge(size_t width, const unsigned char *from, unsigned char *to, size_t n_bytes);

/* Samples are taken from files that are split at all. */
#define PLANES_SAMPLES 8
#define PLANES_SAMPLE_BYTES ((size_t)16 << 10)
/* The best plan by samples, each PLANES_SAMPLE_BYTES long and one after another; each begins at a
 * multiple of PLANES_MAX in its file. A file is split when that saves 3 % and more. The answer
 * depends on these bytes and on libzstd alone. */
struct planes_plan planes_choose(const unsigned char *samples, size_t n_samples);

#endif
