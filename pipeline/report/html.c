#include "pipeline/report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"

/* A name up to here is not broken. */
#define NAME_WIDTH 16

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

static void add_ascii(struct buf *out, char c)
{
    unsigned char u = (unsigned char)c;
    if (c == '&')
        buf_add_text(out, "&amp;");
    else if (c == '<')
        buf_add_text(out, "&lt;");
    else if (c == '>')
        buf_add_text(out, "&gt;");
    else if (c == '"')
        buf_add_text(out, "&quot;");
    else if (c == '\'')
        buf_add_text(out, "&#39;");
    else if (u < 0x20 && c != '\n' && c != '\t')
        buf_printf(out, "\xE2\x90%c", (char)(0x80 + u)); /* U+2400 + c */
    else if (u == 0x7F)
        buf_add_text(out, "\xE2\x90\xA1"); /* U+2421 */
    else
        buf_add_char(out, c);
}

/* Controls of Latin-1 and the noncharacters that end the first plane; HTML allows neither. */
static bool is_refused(const char *s, size_t n_left)
{
    if (n_left >= 2 && memcmp(s, "\xC2", 1) == 0)
        return (unsigned char)s[1] < 0xA0;
    return n_left >= 3 && (memcmp(s, "\xEF\xBF\xBE", 3) == 0 || memcmp(s, "\xEF\xBF\xBF", 3) == 0);
}

static void add_valid(struct buf *out, const char *s, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (s[i] == '\r' && i + 1 < n_bytes && s[i + 1] == '\n')
            continue; /* a line ends in one character here */
        if (is_refused(s + i, n_bytes - i)) {
            buf_add_text(out, REPLACEMENT);
            i += (unsigned char)s[i] == 0xC2 ? 1 : 2;
        } else if ((unsigned char)s[i] < 0x80) {
            add_ascii(out, s[i]);
        } else {
            buf_add_char(out, s[i]);
        }
    }
}

void html_add_text_n(struct buf *out, const char *s, size_t n_bytes)
{
    while (n_bytes > 0) {
        size_t n_valid = str_utf8_prefix(s, n_bytes);
        add_valid(out, s, n_valid);
        s += n_valid;
        n_bytes -= n_valid;
        if (n_bytes > 0) {
            buf_add_text(out, REPLACEMENT);
            s++;
            n_bytes--;
        }
    }
}

void html_add_text(struct buf *out, const char *s)
{
    html_add_text_n(out, s, strlen(s));
}

void html_add_name(struct buf *out, const char *s)
{
    if (html_width(s) <= NAME_WIDTH || strchr(s, ' ')) {
        html_add_text(out, s);
        return;
    }
    while (*s) {
        size_t n = strcspn(s, "_[,=/");
        n += s[n] != '\0';
        html_add_text_n(out, s, n);
        s += n;
        if (*s)
            buf_add_text(out, "<wbr>");
    }
}

void html_add_attribute(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(out, " %s=\"", name);
    html_add_text(out, value);
    buf_add_char(out, '"');
}

void html_add_classes(struct buf *out, const char *a, const char *b, const char *c)
{
    const char *const names[] = {a, b, c};
    bool any = false;
    for (size_t i = 0; i < 3; i++) {
        if (!names[i] || !*names[i])
            continue;
        buf_add_text(out, any ? " " : " class=\"");
        html_add_text(out, names[i]);
        any = true;
    }
    if (any)
        buf_add_char(out, '"');
}

void html_add_exact(struct buf *out, double v)
{
    buf_add_text(out, " data-value=\"");
    json_add_number(out, v);
    buf_add_char(out, '"');
}

/* Digits in groups of three once there are five of them. */
static void add_grouped(struct buf *out, double v)
{
    char digits[40];
    int n = snprintf(digits, sizeof digits, "%.0f", fabs(v));
    CHECK(n > 0 && n < (int)sizeof digits);
    if (v < 0)
        buf_add_char(out, '-');
    for (int i = 0; i < n; i++) {
        if (i > 0 && n > 4 && (n - i) % 3 == 0)
            buf_add_char(out, ',');
        buf_add_char(out, digits[i]);
    }
}

/* v = 0.d1d2d3d4 * 10^point: the four digits of v, trailing zeros cut, and where its point is. */
static int take_digits(double v, char digits[5], int *point)
{
    char text[40];
    snprintf(text, sizeof text, "%.3e", fabs(v));
    int n = 0;
    const char *p = text;
    for (; *p != 'e'; p++) {
        /* the point between them is the locale's */
        if (*p >= '0' && *p <= '9' && n < 4)
            digits[n++] = *p;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    bool negative = p[1] == '-';
    int exponent = 0;
    for (p += 2; *p; p++)
        exponent = exponent * 10 + (*p - '0');
    *point = (negative ? -exponent : exponent) + 1;
    return n;
}

static void add_significant(struct buf *out, double v)
{
    char digits[5];
    int point = 0;
    int n = take_digits(v, digits, &point);
    if (v < 0)
        buf_add_char(out, '-');
    if (point < -3 || point > 15)
        buf_printf(out, "%c%s%se%d", digits[0], n > 1 ? "." : "", digits + 1, point - 1);
    else if (point <= 0)
        buf_printf(out, "0.%.*s%s", -point, "000", digits);
    else if (n <= point)
        buf_printf(out, "%s%.*s", digits, point - n, "000000000000000");
    else
        buf_printf(out, "%.*s.%s", point, digits, digits + point);
}

void html_add_number(struct buf *out, double v)
{
    double size = fabs(v);
    if (v == 0)
        buf_add_char(out, '0');
    else if (size < 1e15 && (size >= 1000 || v == floor(v)))
        add_grouped(out, v);
    else
        add_significant(out, v);
}

void html_add_number_span(struct buf *out, double v)
{
    buf_add_text(out, "<span");
    html_add_exact(out, v);
    buf_add_char(out, '>');
    html_add_number(out, v);
    buf_add_text(out, "</span>");
}

void html_add_fixed(struct buf *out, double v, int decimals)
{
    static const long long scales[] = {1,      10,      100,      1000,      10000,
                                       100000, 1000000, 10000000, 100000000, 1000000000};
    CHECK(decimals >= 0 && decimals <= 9);
    long long scale = scales[decimals];
    CHECK(fabs(v) * (double)scale < 1e15);
    long long scaled = llround(fabs(v) * (double)scale);
    if (v < 0 && scaled != 0)
        buf_add_char(out, '-');
    buf_printf(out, "%lld", scaled / scale);
    if (decimals > 0)
        buf_printf(out, ".%0*lld", decimals, scaled % scale);
}

/* Hangul, kana, Han and full forms, roughly: from U+1100 on, lead bytes tell enough. */
static size_t character_width(unsigned char lead)
{
    if ((lead & 0xC0) == 0x80)
        return 0;
    return lead >= 0xE3 ? 2 : 1;
}

size_t html_width(const char *s)
{
    size_t width = 0;
    for (; *s; s++)
        width += character_width((unsigned char)*s);
    return width;
}

size_t html_cut(const char *s, size_t width)
{
    size_t used = 0;
    size_t i = 0;
    for (; s[i]; i++) {
        used += character_width((unsigned char)s[i]);
        if (used > width)
            break;
    }
    return i;
}
