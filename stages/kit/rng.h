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

struct rng rng_open(int64_t seed, const char *stream);
uint32_t rng_u32_at(const struct rng *r, uint64_t index); /* pure */
uint32_t rng_u32(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* unbiased, n >= 1 */
float rng_uniform(struct rng *r);              /* [0,1), 24 bits */
float rng_normal_at(const struct rng *r, uint64_t index); /* standard normal, own Box-Muller */
/* Fisher-Yates: fills order[0..n) with a permutation of 0..n-1. */
void rng_shuffle(struct rng *r, uint32_t *order, uint32_t n);

#endif
