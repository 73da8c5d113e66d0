#ifndef FMFORGE_BASE_STR_H
#define FMFORGE_BASE_STR_H

/* Text: the one strict parser from text to number, comparison, nearest name, UTF-8. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool str_eq(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/*
 * Whole text or nothing: no space, no sign '+', no leading zeros ("010" is refused), no overflow.
 * f64: decimal or exponent form of JSON, plus forms such as "1e-4"; never nan, inf or hex.
 */
bool str_to_i64(const char *s, int64_t *out);
bool str_to_u64(const char *s, uint64_t *out);
bool str_to_f64(const char *s, double *out);
/* "512", "64K", "20M", "8G" (powers of 1024). */
bool str_to_bytes(const char *s, uint64_t *out);

/* Exactly n lower-case hex digits. */
bool str_is_hex(const char *s, size_t n_digits);
/* The value of one of these digits. */
unsigned str_hex_digit(char c);
/* [A-Za-z0-9_]+ : what Apple's runtime takes as an adapter name. */
bool str_is_word(const char *s);

/* Length of the valid UTF-8 prefix; equal to n_bytes when all is valid (no surrogates, no
 * overlong forms, nothing past U+10FFFF; NUL is valid here). */
size_t str_utf8_prefix(const char *s, size_t n_bytes);

/* Edit distance (insert, delete, replace, swap of neighbours). */
size_t str_distance(const char *a, const char *b);
/* The name nearest to `wanted`, or NULL when none is near enough to suggest. Borrowed. */
const char *str_nearest(const char *wanted, const char *const *names, size_t n_names);

/* 1536 -> "1.5 KiB"; writes at most 16 bytes and returns out. */
char *str_format_bytes(uint64_t n_bytes, char out[16]);
/* 75.2 s -> "1 min 15 s", 0.0123 -> "12.3 ms". */
char *str_format_seconds(double seconds, char out[24]);

#endif
