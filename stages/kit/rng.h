#ifndef FMFORGE_KIT_RNG_H
#define FMFORGE_KIT_RNG_H

/*
 * Random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC'11), key = first 8 bytes of SHA-256("<seed>/<stream name>"). Counter based: value i of a
 * stream is a pure function of (seed, stream, i).
 */

#include <stdint.h>

struct rng {
    uint32_t key[2];
    uint64_t next; /* index of the next 32-bit value; may be saved and restored */
};

/* One block: out = Philox4x32-10(counter, key). Checked against the authors' test vectors. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

struct rng rng_open(int64_t seed, const char *stream);
uint32_t rng_u32_at(const struct rng *r, uint64_t index); /* pure */
uint32_t rng_below(struct rng *r, uint32_t n);            /* unbiased, n >= 1 */
/* Mean 0, variance 1, close to normal: the sum of 12 uniforms less 6 (so never past 6). Integer
 * arithmetic up to the last step: the same bits everywhere, without log or cos. */
float rng_normal_at(const struct rng *r, uint64_t index);
/* Fisher-Yates: fills order[0..n) with a permutation of 0..n-1. */
void rng_shuffle(struct rng *r, uint32_t *order, uint32_t n);

#endif
