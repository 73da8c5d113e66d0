#ifndef FMFORGE_BASE_CHILD_H
#define FMFORGE_BASE_CHILD_H

/*
 * Another program, run to its end: bytes in, bytes out, and never longer than it may take. It has
 * no terminal (a session of its own), so it cannot ask anybody anything, and no descriptor but 0,
 * 1, 2 and, where it is given one, 3. It is killed when this process dies.
 */

#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* What a child prints on one stream; more is ERR_LIMIT. */
#define CHILD_PRINT_BYTES_MAX ((size_t)1 << 20)
/* Where the child finds `extra`. */
#define CHILD_EXTRA_PATH "/dev/fd/3"

struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked for in PATH */
    const void *input;       /* stdin; NULL: /dev/null */
    size_t n_input_bytes;
    const void *extra; /* a file that it may open as CHILD_EXTRA_PATH; NULL: none */
    size_t n_extra_bytes;
    const char *const *env_drop; /* names that it does not get from our environment; or NULL */
    const char *const *env_add;  /* "NAME=value"; or NULL. Both NULL-terminated. */
    int limit_ms;
};

struct child_result {
    struct buf out;  /* stdout */
    struct buf note; /* stderr */
    int status;      /* as waitpid gives it */
};

/* 0 when it ran, whatever its status. ERR_MISSING: no such program in PATH. ERR_LIMIT: it took
 * longer than limit_ms, or printed too much, and was killed. Release the result also after an
 * error. */
int child_run(const struct child_spec *spec, struct child_result *out, struct err *e) MUST_USE;
void child_result_release(struct child_result *r); /* safe on zeroed and twice */

#endif
