#include "stages/model/crc32.h"

#include <zlib.h>

#include "pipeline/base/xalloc.h"

#define PART_BYTES (1 << 20)

uint32_t crc32_add(uint32_t sum, const void *bytes, size_t n_bytes)
{
    return (uint32_t)crc32_z(sum, bytes, n_bytes);
}

struct parts {
    const unsigned char *bytes;
    size_t n_bytes;
    uint32_t *sums;
};

static void sum_part(void *context, size_t i, int i_thread)
{
    const struct parts *p = context;
    size_t at = i * PART_BYTES, left = p->n_bytes - at;
    (void)i_thread;
    p->sums[i] = crc32_add(0, p->bytes + at, left < PART_BYTES ? left : PART_BYTES);
}

uint32_t crc32_of(struct thread_pool *pool, const void *bytes, size_t n_bytes)
{
    size_t n_parts = (n_bytes + PART_BYTES - 1) / PART_BYTES;
    if (!pool || n_parts < 2)
        return crc32_add(0, bytes, n_bytes);
    struct parts p = {bytes, n_bytes, xalloc_array(n_parts, sizeof *p.sums)};
    thread_pool_run(pool, n_parts, sum_part, &p);
    size_t last = n_bytes - (n_parts - 1) * PART_BYTES;
    uLong whole = crc32_combine_gen(PART_BYTES), sum = p.sums[0];
    for (size_t i = 1; i + 1 < n_parts; i++)
        sum = crc32_combine_op(sum, p.sums[i], whole);
    sum = crc32_combine(sum, p.sums[n_parts - 1], (z_off_t)last);
    xfree(p.sums);
    return (uint32_t)sum;
}
