#include "stages/kit/rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/sha256.h"

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4];
    memcpy(c, counter, sizeof c);
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
        memcpy(c, next, sizeof c);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

struct rng rng_open(int64_t seed, const char *stream)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%" PRId64 "/%s", seed, stream);
    CHECK(n > 0 && (size_t)n < sizeof text);
    uint32_t key[4];
    sha256_key128(text, (size_t)n, key);
    return (struct rng){.key = {key[0], key[1]}};
}

static void block_at(const struct rng *r, uint64_t i_block, uint32_t out[4])
{
    uint32_t counter[4] = {(uint32_t)i_block, (uint32_t)(i_block >> 32), 0, 0};
    rng_philox(counter, r->key, out);
}

uint32_t rng_u32_at(const struct rng *r, uint64_t index)
{
    uint32_t block[4];
    block_at(r, index / 4, block);
    return block[index % 4];
}

static uint32_t next_u32(struct rng *r)
{
    return rng_u32_at(r, r->next++);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    CHECK(n >= 1);
    /* Values at and past the largest multiple of n are drawn again. */
    uint32_t surplus = (uint32_t)((((uint64_t)1 << 32)) % n);
    for (;;) {
        uint32_t v = next_u32(r);
        if (v <= UINT32_MAX - surplus)
            return v % n;
    }
}

float rng_normal_at(const struct rng *r, uint64_t index)
{
    int64_t sum = 0;
    for (uint64_t b = 0; b < 3; b++) {
        uint32_t block[4];
        block_at(r, index * 3 + b, block);
        for (int i = 0; i < 4; i++)
            sum += block[i] >> 8;
    }
    return (float)(sum - 6 * ((int64_t)1 << 24)) * 0x1p-24f;
}

void rng_shuffle(struct rng *r, uint32_t *order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = rng_below(r, i);
        uint32_t turn = order[i - 1];
        order[i - 1] = order[j];
        order[j] = turn;
    }
}
