#ifndef FMFORGE_MANIFEST_ASSIGNMENT_H
#define FMFORGE_MANIFEST_ASSIGNMENT_H

/*
 * A constant out of a file of program text, which is read as text and never executed. One rule:
 *
 *   NAME = "0123..."      # a comment may follow
 *
 * at the beginning of a line, with exactly so many lower-case hex digits in quotes of either kind.
 * One line of the file begins with NAME (blanks in front count), and it has this form; two of them,
 * or one of another form, are refused: what such a program means is not guessed.
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"

/* More than any file of constants has. */
#define ASSIGNMENT_BYTES_MAX ((uint64_t)1 << 20)
#define ASSIGNMENT_DIGITS_MAX 64

/* hex: n_digits + 1 bytes; n_digits at most ASSIGNMENT_DIGITS_MAX. ERR_FORMAT: "path:line: what was
 * found, what was expected". */
int assignment_parse_hex(const char *path, const char *text, size_t n_bytes, const char *name,
                         size_t n_digits, char *hex, struct err *e) MUST_USE;
/* The same of a file; also ERR_MISSING, ERR_LIMIT, ERR_IO. */
int assignment_read_hex(const char *path, const char *name, size_t n_digits, char *hex,
                        struct err *e) MUST_USE;

#endif
