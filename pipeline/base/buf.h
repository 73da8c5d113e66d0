#ifndef FMFORGE_BASE_BUF_H
#define FMFORGE_BASE_BUF_H

/*
 * A growing byte buffer with a maximum that is fixed at init. Always NUL-terminated behind its
 * last byte, so text can be read as a C string. Growing past the maximum aborts (CHECK) unless the
 * caller asked with buf_fits first.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *bytes; /* NULL while empty and never used; use buf_text for a C string */
    size_t n_bytes;
    size_t capacity_bytes;
    size_t max_bytes;
};

#define BUF_MAX_DEFAULT ((size_t)1 << 31)

void buf_init(struct buf *b, size_t max_bytes); /* owns nothing yet */
void buf_release(struct buf *b);                /* safe twice and on zeroed */
void buf_clear(struct buf *b);                  /* keeps the memory */
bool buf_fits(const struct buf *b, size_t more_bytes);
void buf_add(struct buf *b, const void *bytes, size_t n_bytes);
void buf_add_text(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_add_u32(struct buf *b, uint32_t v); /* little endian */
void buf_add_u64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args);
const char *buf_text(const struct buf *b); /* "" when empty; borrowed until the next change */
char *buf_steal(struct buf *b);            /* caller xfrees; the buffer is empty after */

#endif
