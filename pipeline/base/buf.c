#include "pipeline/base/buf.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max_bytes = max_bytes};
}

void buf_release(struct buf *b)
{
    xfree(b->bytes);
    *b = (struct buf){.max_bytes = b->max_bytes};
}

void buf_clear(struct buf *b)
{
    b->n_bytes = 0;
    if (b->bytes != NULL)
        b->bytes[0] = 0;
}

bool buf_fits(const struct buf *b, size_t more_bytes)
{
    return more_bytes <= b->max_bytes - b->n_bytes;
}

/* Room for more_bytes and the NUL behind them. */
static void grow(struct buf *b, size_t more_bytes)
{
    CHECK(buf_fits(b, more_bytes));
    size_t wanted = size_add(size_add(b->n_bytes, more_bytes), 1);
    if (wanted <= b->capacity_bytes)
        return;
    size_t capacity = b->capacity_bytes < 128 ? 128 : size_mul(b->capacity_bytes, 2);
    if (capacity < wanted)
        capacity = wanted;
    b->bytes = xrealloc_array(b->bytes, capacity, 1);
    b->capacity_bytes = capacity;
}

void buf_add(struct buf *b, const void *bytes, size_t n_bytes)
{
    grow(b, n_bytes);
    if (n_bytes > 0)
        memcpy(b->bytes + b->n_bytes, bytes, n_bytes);
    b->n_bytes += n_bytes;
    b->bytes[b->n_bytes] = 0;
}

void buf_add_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_add_u32(struct buf *b, uint32_t v)
{
    unsigned char bytes[4];
    bytes_put_u32(bytes, v);
    buf_add(b, bytes, sizeof bytes);
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    unsigned char bytes[8];
    bytes_put_u64(bytes, v);
    buf_add(b, bytes, sizeof bytes);
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    CHECK(n >= 0);
    grow(b, (size_t)n);
    int written = vsnprintf(b->bytes + b->n_bytes, (size_t)n + 1, format, again);
    CHECK(written == n);
    b->n_bytes += (size_t)n;
    va_end(again);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

const char *buf_text(const struct buf *b)
{
    return b->bytes == NULL ? "" : b->bytes;
}

char *buf_steal(struct buf *b)
{
    grow(b, 0);
    b->bytes[b->n_bytes] = 0;
    char *bytes = b->bytes;
    *b = (struct buf){.max_bytes = b->max_bytes};
    return bytes;
}
