#ifndef FMFORGE_BASE_XALLOC_H
#define FMFORGE_BASE_XALLOC_H

/* Small one-off allocations. They abort when the system has no memory. Released with xfree. */

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *xalloc(size_t bytes);                          /* zeroed; never NULL, also for 0 bytes */
void *xalloc_array(size_t count, size_t item_bytes); /* zeroed; overflow aborts */
void *xrealloc_array(void *p, size_t count, size_t item_bytes); /* new part not zeroed */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void xfree(void *p); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
