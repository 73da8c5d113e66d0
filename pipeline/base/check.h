#ifndef FMFORGE_BASE_CHECK_H
#define FMFORGE_BASE_CHECK_H

/*
 * CHECK is for our own mistakes: preconditions, invariants, shapes. It is always on, names the
 * function and the condition (no line number: a comment must not change a binary) and aborts.
 * Bytes from outside are never CHECKed; they are errors (err.h).
 * DCHECK is for per-element loops and is compiled out of release builds.
 */

#ifdef __cplusplus
extern "C" {
#endif

_Noreturn void check_failed(const char *function, const char *condition);

#ifdef __cplusplus
}
#endif

#define CHECK(condition)                        \
    do {                                        \
        if (!(condition))                       \
            check_failed(__func__, #condition); \
    } while (0)

#ifdef NDEBUG
#define DCHECK(condition) ((void)0)
#else
#define DCHECK(condition) CHECK(condition)
#endif

#endif
