#include "pipeline/provenance/ledger_memory.h"

#include <string.h>

#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"

void *ledger_take(size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return xrealloc_array(NULL, bytes, 1);
}

void *ledger_take_zeroed(size_t n, size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return xalloc_array(n, bytes);
}

void *ledger_take_array(size_t n, size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return xrealloc_array(NULL, n, bytes);
}

void *ledger_change(void *p, size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return xrealloc_array(p, bytes, 1);
}

void *ledger_change_array(void *p, size_t n, size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return xrealloc_array(p, n, bytes);
}

char *ledger_copy_bytes(const char *text, size_t n, const char *file, int line)
{
    char *copy = ledger_take(size_add(n, 1), file, line);
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *ledger_copy(const char *text, const char *file, int line)
{
    return ledger_copy_bytes(text, strlen(text), file, line);
}

char *ledger_copy_at_most(const char *text, size_t n, const char *file, int line)
{
    return ledger_copy_bytes(text, strnlen(text, n), file, line);
}
