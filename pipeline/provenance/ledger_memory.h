#ifndef FMFORGE_PROVENANCE_LEDGER_MEMORY_H
#define FMFORGE_PROVENANCE_LEDGER_MEMORY_H

/*
 * Memory for libgit2, whose own code uses the NULL of a failed allocation here and there. With
 * these a lack of memory ends the program with a message, as xalloc does; what it was about to
 * write is then as after a kill. In the form of its git_allocator; xfree gives back.
 */

#include <stddef.h>

void *ledger_take(size_t bytes, const char *file, int line);
void *ledger_take_zeroed(size_t n, size_t bytes, const char *file, int line);
void *ledger_take_array(size_t n, size_t bytes, const char *file, int line);
void *ledger_change(void *p, size_t bytes, const char *file, int line);
void *ledger_change_array(void *p, size_t n, size_t bytes, const char *file, int line);
char *ledger_copy(const char *text, const char *file, int line);
char *ledger_copy_at_most(const char *text, size_t n, const char *file, int line);
/* Exactly n bytes, whatever is in them. */
char *ledger_copy_bytes(const char *text, size_t n, const char *file, int line);

/* Initialisers of a git_allocator; before libgit2 1.8 it has others, too. */
#define LEDGER_MEMORY .gmalloc = ledger_take, .grealloc = ledger_change, .gfree = xfree
#define LEDGER_MEMORY_OTHERS                                                                       \
    .gcalloc = ledger_take_zeroed, .gmallocarray = ledger_take_array,                              \
    .greallocarray = ledger_change_array, .gstrdup = ledger_copy, .gstrndup = ledger_copy_at_most, \
    .gsubstrdup = ledger_copy_bytes

#endif
