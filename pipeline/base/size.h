#ifndef FMFORGE_BASE_SIZE_H
#define FMFORGE_BASE_SIZE_H

/* Products and sums that become sizes. Overflow aborts (checked) or is reported (try). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/check.h"

static inline bool size_try_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool size_try_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline size_t size_mul(size_t a, size_t b)
{
    size_t product = 0;
    bool ok = size_try_mul(a, b, &product);
    CHECK(ok);
    return product;
}

static inline size_t size_add(size_t a, size_t b)
{
    size_t sum = 0;
    bool ok = size_try_add(a, b, &sum);
    CHECK(ok);
    return sum;
}

/* The least multiple of `alignment` (a power of two) that is not below n. */
static inline size_t size_align(size_t n, size_t alignment)
{
    CHECK(alignment != 0 && (alignment & (alignment - 1)) == 0);
    return size_add(n, alignment - 1) & ~(alignment - 1);
}

#endif
