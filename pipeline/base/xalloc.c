#include "pipeline/base/xalloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/size.h"

void *xneed(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
        _exit(1);
    }
    return p;
}

void *xalloc(size_t bytes)
{
    return xneed(calloc(1, bytes == 0 ? 1 : bytes));
}

void *xalloc_array(size_t count, size_t item_bytes)
{
    return xalloc(size_mul(count, item_bytes));
}

void *xrealloc_array(void *p, size_t count, size_t item_bytes)
{
    size_t bytes = size_mul(count, item_bytes);
    return xneed(realloc(p, bytes == 0 ? 1 : bytes));
}

char *xstrndup(const char *s, size_t n)
{
    char *copy = xalloc(size_add(n, 1));
    memcpy(copy, s, n);
    return copy;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    va_end(args);
    return xneed(n >= 0 ? text : NULL);
}

void xfree(void *p)
{
    free(p);
}
