#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

/*
 * ECMAScript's Number::toString (ECMA-262 6.1.6.1.20), which RFC 8785 prescribes: the shortest
 * digits that read back as the same double. printf and strtod of the C library are correctly
 * rounded, so trying 1..17 digits finds them.
 */
void json_add_number(struct buf *out, double v)
{
    CHECK(isfinite(v));
    if (v == 0) {
        buf_add_char(out, '0');
        return;
    }
    if (v < 0)
        buf_add_char(out, '-');
    v = fabs(v);
    char text[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    /* text is d[.ddd]e+-xx: take digits and exponent apart */
    char digits[20];
    int k = 0;
    char *p = text;
    for (; *p != 'e'; p++) {
        if (*p != '.')
            digits[k++] = *p;
    }
    while (k > 1 && digits[k - 1] == '0')
        k--;
    digits[k] = 0;
    int n = (int)strtol(p + 1, NULL, 10) + 1; /* value = 0.digits * 10^n */
    if (k <= n && n <= 21) {
        buf_printf(out, "%s%0*d", digits, n - k, 0);
        if (n == k)
            out->bytes[--out->n_bytes] = 0;
    } else if (0 < n && n <= 21) {
        buf_printf(out, "%.*s.%s", n, digits, digits + n);
    } else if (-6 < n && n <= 0) {
        buf_printf(out, "0.%.*s%s", -n, "000000", digits);
    } else {
        buf_printf(out, k > 1 ? "%c.%se%+d" : "%c%se%+d", digits[0], digits + 1, n - 1);
    }
}

void json_add_string(struct buf *out, const char *s)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letter[] = "\"\\bfnrt";
    buf_add_char(out, '"');
    for (; *s != 0; s++) {
        const char *hit = strchr(plain, *s);
        if (hit != NULL) {
            buf_add_char(out, '\\');
            buf_add_char(out, letter[hit - plain]);
        } else if ((unsigned char)*s < 0x20) {
            buf_printf(out, "\\u%04x", (unsigned)(unsigned char)*s);
        } else {
            buf_add_char(out, *s);
        }
    }
    buf_add_char(out, '"');
}

/* RFC 8785 sorts keys by UTF-16 code units; that is the order of UTF-8 bytes except that
 * characters past U+FFFF (lead byte 0xF0..) come before U+E000..U+FFFF (lead 0xEE, 0xEF). */
static int utf16_order(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    unsigned char x = (unsigned char)*a;
    unsigned char y = (unsigned char)*b;
    if (x >= 0xF0 && (y == 0xEE || y == 0xEF))
        return -1;
    if (y >= 0xF0 && (x == 0xEE || x == 0xEF))
        return 1;
    return x < y ? -1 : x > y;
}

static int by_key(const void *a, const void *b)
{
    return utf16_order(json_key(*(const struct json *const *)a),
                       json_key(*(const struct json *const *)b));
}

static void write_object(const struct json *v, struct buf *out)
{
    size_t n = json_count(v);
    const struct json **members = xalloc_array(n, sizeof(const struct json *));
    size_t i = 0;
    for (const struct json *m = json_first(v); m != NULL; m = json_next(m))
        members[i++] = m;
    if (n > 1)
        qsort(members, n, sizeof(const struct json *), by_key);
    buf_add_char(out, '{');
    for (i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        json_add_string(out, json_key(members[i]));
        buf_add_char(out, ':');
        json_write_canonical(members[i], out);
    }
    buf_add_char(out, '}');
    xfree(members);
}

/* What is the same in both forms. */
static void write_scalar(const struct json *v, struct buf *out)
{
    switch (json_type(v)) {
    case JSON_NULL:
        buf_add_text(out, "null");
        break;
    case JSON_BOOL:
        buf_add_text(out, json_bool(v) ? "true" : "false");
        break;
    case JSON_NUMBER:
        json_add_number(out, json_number(v));
        break;
    case JSON_STRING:
        json_add_string(out, json_string(v));
        break;
    default:
        CHECK(false);
    }
}

void json_write_canonical(const struct json *v, struct buf *out)
{
    if (json_type(v) == JSON_OBJECT) {
        write_object(v, out);
    } else if (json_type(v) == JSON_ARRAY) {
        buf_add_char(out, '[');
        for (const struct json *m = json_first(v); m != NULL; m = json_next(m)) {
            if (m != json_first(v))
                buf_add_char(out, ',');
            json_write_canonical(m, out);
        }
        buf_add_char(out, ']');
    } else {
        write_scalar(v, out);
    }
}

static void write_pretty(const struct json *v, int indent, int depth, struct buf *out)
{
    bool object = json_type(v) == JSON_OBJECT;
    if (!object && json_type(v) != JSON_ARRAY) {
        write_scalar(v, out);
        return;
    }
    buf_add_char(out, object ? '{' : '[');
    for (const struct json *m = json_first(v); m != NULL; m = json_next(m)) {
        buf_printf(out, "%s\n%*s", m == json_first(v) ? "" : ",", indent * (depth + 1), "");
        if (object) {
            json_add_string(out, json_key(m));
            buf_add_text(out, ": ");
        }
        write_pretty(m, indent, depth + 1, out);
    }
    if (json_first(v) != NULL)
        buf_printf(out, "\n%*s", indent * depth, "");
    buf_add_char(out, object ? '}' : ']');
}

void json_write_pretty(const struct json *v, int indent, struct buf *out)
{
    write_pretty(v, indent, 0, out);
    buf_add_char(out, '\n');
}
