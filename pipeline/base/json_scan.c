#include <stdlib.h>
#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/json.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

/*
 * A recursive-descent scanner of RFC 8259 that builds nothing but the list of keys of the objects
 * that are open, to find repeated ones. What it refuses beyond the RFC, because a reader further
 * on would lose it: repeated keys, NUL, lone surrogates, integers past 2^53, numbers past double.
 */

struct key {
    size_t text;   /* offset of the decoded key in scan.keys_text */
    size_t length; /* bytes */
    size_t source; /* offset in the source, for the message */
};

struct scan {
    const char *text;
    size_t n_bytes;
    size_t at;
    size_t fail_at; /* where the failure lies */
    size_t n_values;
    struct key *keys;
    size_t n_keys, keys_room;
    struct buf keys_text;
    struct err *e;
};

static int fail(struct scan *s, size_t at, const char *reason)
{
    s->fail_at = at;
    return err_set(s->e, ERR_FORMAT, "%s", reason);
}

static int peek(const struct scan *s)
{
    return s->at < s->n_bytes ? (unsigned char)s->text[s->at] : -1;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->n_bytes && strchr(" \t\r\n", s->text[s->at]) != NULL && s->text[s->at] != 0)
        s->at++;
}

static int unexpected(struct scan *s, const char *expected)
{
    s->fail_at = s->at;
    int c = peek(s);
    if (c < 0)
        return err_set(s->e, ERR_FORMAT, "expected %s, found the end of the text", expected);
    if (c < 0x20 || c >= 0x7F)
        return err_set(s->e, ERR_FORMAT, "expected %s, found byte 0x%02X", expected, (unsigned)c);
    return err_set(s->e, ERR_FORMAT, "expected %s, found '%c'", expected, c);
}

static int hex4(struct scan *s, unsigned *out)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = peek(s);
        unsigned digit = 0;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A') + 10;
        else
            return unexpected(s, "four hex digits behind \\u");
        v = v << 4 | digit;
    }
    *out = v;
    return 0;
}

static void add_utf8(struct buf *b, unsigned c)
{
    if (c < 0x80) {
        buf_add_char(b, (char)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    buf_add_char(b, (char)(lead[more] | (c >> (6 * more))));
    for (int i = more - 1; i >= 0; i--)
        buf_add_char(b, (char)(0x80 | ((c >> (6 * i)) & 0x3F)));
}

/* Behind a backslash. `decoded` may be NULL. */
static int scan_escape(struct scan *s, struct buf *decoded)
{
    size_t start = s->at - 1;
    int c = peek(s);
    static const char plain[] = "\"\\/bfnrt";
    static const char meaning[] = "\"\\/\b\f\n\r\t";
    const char *hit = c > 0 ? strchr(plain, c) : NULL;
    if (hit != NULL) {
        s->at++;
        if (decoded != NULL)
            buf_add_char(decoded, meaning[hit - plain]);
        return 0;
    }
    if (c != 'u')
        return unexpected(s, "one of \"\\/bfnrtu behind the backslash");
    s->at++;
    unsigned unit = 0;
    int rc = hex4(s, &unit);
    if (rc != 0)
        return rc;
    if (unit == 0)
        return fail(s, start, "the escape \\u0000 (NUL) is not taken");
    if (unit >= 0xDC00 && unit <= 0xDFFF)
        return fail(s, start, "a low surrogate escape without the high one before it");
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        unsigned low = 0;
        if (s->n_bytes - s->at < 2 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
            return fail(s, start, "a high surrogate escape without the low one behind it");
        s->at += 2;
        rc = hex4(s, &low);
        if (rc != 0)
            return rc;
        if (low < 0xDC00 || low > 0xDFFF)
            return fail(s, start, "a high surrogate escape without the low one behind it");
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    if (decoded != NULL)
        add_utf8(decoded, unit);
    return 0;
}

static int scan_string(struct scan *s, struct buf *decoded)
{
    size_t start = s->at;
    CHECK(peek(s) == '"');
    s->at++;
    for (;;) {
        int c = peek(s);
        if (c < 0)
            return fail(s, start, "a string that does not end");
        if (c == '"') {
            s->at++;
            return 0;
        }
        if (c < 0x20)
            return fail(s, s->at,
                        c == 0
                            ? "a NUL byte inside a string"
                            : "a raw control character inside a string (write \\n, \\t, \\u00..)");
        s->at++;
        if (c == '\\') {
            int rc = scan_escape(s, decoded);
            if (rc != 0)
                return rc;
        } else if (decoded != NULL) {
            buf_add_char(decoded, (char)c);
        }
    }
}

static size_t scan_digits(struct scan *s)
{
    size_t n = 0;
    while (peek(s) >= '0' && peek(s) <= '9') {
        s->at++;
        n++;
    }
    return n;
}

/* Past 2^53 only what canonical JSON writes for a double: then nothing is lost, and what is written
 * can be read again (1e20 is written as 100000000000000000000). */
static bool is_canonical_integer(const char *number)
{
    double v = 0;
    if (!str_to_f64(number, &v))
        return false;
    struct buf again;
    buf_init(&again, BUF_MAX_DEFAULT);
    json_add_number(&again, v);
    bool same = str_eq(buf_text(&again), number);
    buf_release(&again);
    return same;
}

/* The grammar is checked here; the value only where it would be lost later. */
static int scan_number(struct scan *s)
{
    size_t start = s->at;
    bool integer = true;
    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0')
        s->at++;
    else if (scan_digits(s) == 0)
        return unexpected(s, "a digit");
    if (peek(s) >= '0' && peek(s) <= '9')
        return fail(s, start, "a number with a leading zero");
    if (peek(s) == '.') {
        integer = false;
        s->at++;
        if (scan_digits(s) == 0)
            return unexpected(s, "a digit behind the decimal point");
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        integer = false;
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (scan_digits(s) == 0)
            return unexpected(s, "a digit in the exponent");
    }
    char *number = xstrndup(s->text + start, s->at - start);
    int64_t whole = 0;
    double real = 0;
    bool fits = true;
    if (integer && !str_eq(number, "-0"))
        fits = (str_to_i64(number, &whole) && whole <= ((int64_t)1 << 53) &&
                whole >= -((int64_t)1 << 53)) ||
               is_canonical_integer(number);
    else
        fits = str_to_f64(number, &real);
    xfree(number);
    if (!fits)
        return fail(s, start,
                    integer ? "an integer beyond 2^53 (write it as a string)"
                            : "a number too large for a double");
    return 0;
}

static int by_text(const void *a, const void *b, void *texts)
{
    const struct key *x = a;
    const struct key *y = b;
    const char *base = texts;
    size_t n = x->length < y->length ? x->length : y->length;
    int order = memcmp(base + x->text, base + y->text, n);
    if (order != 0)
        return order;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->source < y->source ? -1 : 1;
}

/* Looks for repeats among the keys of the object that ends here. */
static int close_keys(struct scan *s, size_t first)
{
    size_t n = s->n_keys - first;
    struct key *keys = s->keys + first;
    char *base = (char *)buf_text(&s->keys_text); /* all keys may be "": then it has no memory */
    int rc = 0;
    if (n > 1)
        qsort_r(keys, n, sizeof *keys, by_text, base);
    for (size_t i = 1; i < n && rc == 0; i++) {
        if (keys[i].length == keys[i - 1].length &&
            memcmp(base + keys[i].text, base + keys[i - 1].text, keys[i].length) == 0) {
            s->fail_at = keys[i].source;
            rc = err_set(s->e, ERR_FORMAT, "the key \"%.*s\" stands twice in one object",
                         (int)(keys[i].length > 100 ? 100 : keys[i].length), base + keys[i].text);
        }
    }
    s->n_keys = first;
    if (first == 0)
        buf_clear(&s->keys_text);
    return rc;
}

static int scan_value(struct scan *s, int depth);

static int scan_key(struct scan *s)
{
    if (peek(s) != '"')
        return unexpected(s, "a key in double quotes");
    if (s->n_keys == s->keys_room) {
        s->keys_room = s->keys_room == 0 ? 32 : s->keys_room * 2;
        s->keys = xrealloc_array(s->keys, s->keys_room, sizeof *s->keys);
    }
    struct key key = {.text = s->keys_text.n_bytes, .source = s->at};
    int rc = scan_string(s, &s->keys_text);
    if (rc != 0)
        return rc;
    key.length = s->keys_text.n_bytes - key.text;
    s->keys[s->n_keys++] = key;
    skip_space(s);
    if (peek(s) != ':')
        return unexpected(s, "':' behind the key");
    s->at++;
    return 0;
}

/* An array or object behind its opening bracket. */
static int scan_members(struct scan *s, bool object, int depth)
{
    char end = object ? '}' : ']';
    size_t first_key = s->n_keys;
    skip_space(s);
    if (peek(s) == end) {
        s->at++;
        return 0;
    }
    for (;;) {
        int rc = 0;
        skip_space(s);
        if (object)
            rc = scan_key(s);
        if (rc == 0)
            rc = scan_value(s, depth + 1);
        if (rc != 0)
            return rc;
        skip_space(s);
        int c = peek(s);
        if (c != ',' && c != end)
            return unexpected(s, object ? "',' or '}'" : "',' or ']'");
        s->at++;
        if (c == end)
            return object ? close_keys(s, first_key) : 0;
    }
}

static int scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n_bytes - s->at < n || memcmp(s->text + s->at, word, n) != 0)
        return unexpected(s, "a JSON value");
    s->at += n;
    return 0;
}

static int scan_value(struct scan *s, int depth)
{
    skip_space(s);
    int c = peek(s);
    if (++s->n_values > LIMIT_JSON_VALUES) {
        s->fail_at = s->at;
        return err_set(s->e, ERR_LIMIT, "more values than LIMIT_JSON_VALUES, %zu",
                       LIMIT_JSON_VALUES);
    }
    if (c == '{' || c == '[') {
        if (depth >= LIMIT_JSON_DEPTH)
            return fail(s, s->at, "nested deeper than the limit of 64");
        s->at++;
        return scan_members(s, c == '{', depth);
    }
    if (c == '"')
        return scan_string(s, NULL);
    if (c == 't')
        return scan_word(s, "true");
    if (c == 'f')
        return scan_word(s, "false");
    if (c == 'n')
        return scan_word(s, "null");
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(s);
    return unexpected(s, "a JSON value");
}

static struct json_mark mark_at(const char *text, size_t at)
{
    struct json_mark m = {1, 1};
    for (size_t i = 0; i < at; i++) {
        m.column++;
        if (text[i] == '\n')
            m = (struct json_mark){m.line + 1, 1};
    }
    return m;
}

static int scan_all(struct scan *s)
{
    size_t valid = str_utf8_prefix(s->text, s->n_bytes);
    if (s->n_bytes >= 3 && memcmp(s->text, "\xEF\xBB\xBF", 3) == 0)
        return fail(s, 0, "a byte order mark before the value");
    if (valid != s->n_bytes)
        return fail(s, valid, "bytes that are not valid UTF-8");
    int rc = scan_value(s, 0);
    if (rc != 0)
        return rc;
    skip_space(s);
    if (s->at != s->n_bytes)
        return fail(s, s->at, "more text behind the value");
    return 0;
}

int json_scan(const char *text, size_t n_bytes, struct json_mark *mark, struct err *e)
{
    struct scan s = {.text = text, .n_bytes = n_bytes, .e = e};
    buf_init(&s.keys_text, BUF_MAX_DEFAULT);
    int rc = 0;
    if (n_bytes > LIMIT_JSON_BYTES)
        rc = err_set(e, ERR_LIMIT, "more than the limit of %llu bytes",
                     (unsigned long long)LIMIT_JSON_BYTES);
    else
        rc = scan_all(&s);
    if (rc != 0 && mark != NULL)
        *mark = mark_at(text, s.fail_at);
    buf_release(&s.keys_text);
    xfree(s.keys);
    return rc;
}
