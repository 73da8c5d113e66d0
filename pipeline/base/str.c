#include "pipeline/base/str.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/xalloc.h"

bool str_eq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

bool str_to_u64(const char *s, uint64_t *out)
{
    if (*s == 0 || (s[0] == '0' && s[1] != 0))
        return false;
    uint64_t v = 0;
    for (; *s != 0; s++) {
        if (*s < '0' || *s > '9')
            return false;
        uint64_t digit = (uint64_t)(*s - '0');
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

bool str_to_i64(const char *s, int64_t *out)
{
    bool negative = *s == '-';
    uint64_t v = 0;
    if (!str_to_u64(s + (negative ? 1 : 0), &v))
        return false;
    uint64_t most = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (v > most || (negative && v == 0))
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool is_json_number(const char *s)
{
    if (*s == '-')
        s++;
    if (*s == '0') {
        s++;
    } else {
        if (*s < '1' || *s > '9')
            return false;
        while (*s >= '0' && *s <= '9')
            s++;
    }
    if (*s == '.') {
        s++;
        if (*s < '0' || *s > '9')
            return false;
        while (*s >= '0' && *s <= '9')
            s++;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '+' || *s == '-')
            s++;
        if (*s < '0' || *s > '9')
            return false;
        while (*s >= '0' && *s <= '9')
            s++;
    }
    return *s == 0;
}

bool str_to_f64(const char *s, double *out)
{
    if (!is_json_number(s))
        return false;
    char *end = NULL;
    double v = strtod(s, &end);
    if (*end != 0 || !isfinite(v))
        return false;
    *out = v;
    return true;
}

bool str_to_bytes(const char *s, uint64_t *out)
{
    size_t n = strlen(s);
    if (n == 0 || n > 31)
        return false;
    char digits[32];
    memcpy(digits, s, n + 1);
    static const char units[] = "KMGT";
    const char *unit = strchr(units, digits[n - 1]);
    unsigned shift = 0;
    if (unit != NULL) {
        shift = 10 * (unsigned)(unit - units + 1);
        digits[n - 1] = 0;
    }
    uint64_t v = 0;
    if (!str_to_u64(digits, &v) || v > UINT64_MAX >> shift)
        return false;
    *out = v << shift;
    return true;
}

bool str_is_hex(const char *s, size_t n_digits)
{
    return strspn(s, "0123456789abcdef") == n_digits && s[n_digits] == 0;
}

unsigned str_hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10u;
}

bool str_is_word(const char *s)
{
    static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    size_t n = strspn(s, word);
    return n > 0 && s[n] == 0;
}

/* Bytes of the valid sequence at s (1..4), or 0. */
static size_t utf8_sequence(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || n < length)
        return 0;
    unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    }
    return length;
}

size_t str_utf8_prefix(const char *s, size_t n_bytes)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t i = 0;
    while (i < n_bytes) {
        size_t length = utf8_sequence(u + i, n_bytes - i);
        if (length == 0)
            break;
        i += length;
    }
    return i;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t str_distance(const char *a, const char *b)
{
    size_t n = strlen(a);
    size_t m = strlen(b);
    size_t *rows = xalloc_array(3 * (m + 1), sizeof *rows);
    size_t *before = rows;
    size_t *last = rows + (m + 1);
    size_t *now = rows + 2 * (m + 1);
    for (size_t j = 0; j <= m; j++)
        now[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *turn = before;
        before = last;
        last = now;
        now = turn;
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replace = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(replace, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    size_t distance = now[m];
    xfree(rows);
    return distance;
}

const char *str_nearest(const char *wanted, const char *const *names, size_t n_names)
{
    const char *best = NULL;
    size_t best_distance = strlen(wanted) / 3 + 2;
    if (strlen(wanted) > 256)
        return NULL;
    for (size_t i = 0; i < n_names; i++) {
        size_t distance = str_distance(wanted, names[i]);
        if (distance < best_distance && distance < strlen(names[i])) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

char *str_format_bytes(uint64_t n_bytes, char out[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n_bytes;
    size_t i = 0;
    while (v >= 1024 && i < 6) {
        v /= 1024;
        i++;
    }
    int n = i == 0 ? snprintf(out, 16, "%u B", (unsigned)n_bytes)
                   : snprintf(out, 16, v < 100 ? "%.1f %s" : "%.0f %s", v, units[i]);
    CHECK(n > 0 && n < 16);
    return out;
}

char *str_format_seconds(double seconds, char out[24])
{
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(out, 24, "? s");
    else if (seconds < 0.1)
        snprintf(out, 24, "%.1f ms", seconds * 1e3);
    else if (seconds < 60)
        snprintf(out, 24, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(out, 24, "%d min %d s", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(out, 24, "%d h %d min", (int)(seconds / 3600), (int)seconds / 60 % 60);
    return out;
}
