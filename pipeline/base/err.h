#ifndef FMFORGE_BASE_ERR_H
#define FMFORGE_BASE_ERR_H

/*
 * Errors. A fallible function returns 0 or a negative enum err_code, takes `struct err *` last and
 * leaves it alone on success. The first cause wins: err_set at the cause, err_wrap on the way up
 * where the reader gains a name (file, line, tensor, step, stage). err_wrap puts its text and ": "
 * in front: "train: step 12: train.tok: truncated record at byte 8192".
 */

#include <stdarg.h>
#include <stddef.h>

enum err_code {
    ERR_IO = -1,      /* the operating system refused */
    ERR_FORMAT = -2,  /* bytes that are not what they claim to be */
    ERR_LIMIT = -3,   /* a limit of base/limits.h, named in the message */
    ERR_CONFIG = -4,  /* what a user wrote: manifest, options, parameters */
    ERR_MISSING = -5, /* a file, object, stage or library that is not there */
    ERR_NUMERIC = -6, /* a value that is not finite */
    ERR_NOMEM = -7,
};

#define ERR_TEXT_BYTES 2048

/* Zero-initialised = no error. Holds no resource. */
struct err {
    enum err_code code;
    char text[ERR_TEXT_BYTES]; /* always NUL-terminated; cut at the end when too long */
};

#define ERR_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define MUST_USE __attribute__((warn_unused_result))

/* Records the cause unless one is recorded already; returns the recorded code. */
int err_set(struct err *e, enum err_code code, const char *format, ...) ERR_PRINTF(3, 4);

/* As err_set, with ": " and the text of errno_value behind (ERR_IO). */
int err_set_errno(struct err *e, int errno_value, const char *format, ...) ERR_PRINTF(3, 4);

/* Puts "text: " in front of the recorded cause; returns the recorded code. */
int err_wrap(struct err *e, const char *format, ...) ERR_PRINTF(2, 3);

/* The program exit status that belongs to an error: ERR_CONFIG 2, every other 1. */
int err_exit_status(const struct err *e);

#endif
