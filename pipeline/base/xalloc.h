#ifndef FMFORGE_BASE_XALLOC_H
#define FMFORGE_BASE_XALLOC_H

/* Small one-off allocations. When the system has no memory the program ends there, with "PROGRAM:
 * out of memory" and exit status 1; what is on disk is then as after a kill. Released with xfree.
 */

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *xalloc(size_t bytes);                          /* zeroed; never NULL, also for 0 bytes */
void *xalloc_array(size_t count, size_t item_bytes); /* zeroed; overflow is a CHECK */
void *xrealloc_array(void *p, size_t count, size_t item_bytes); /* new part not zeroed */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void xfree(void *p);  /* NULL is fine */
void *xneed(void *p); /* what a library has allocated; NULL ends the program like the others */

#ifdef __cplusplus
}
#endif

#endif
