#include "stages/text/letters.h"

#include <stdbool.h>

/* Bytes of a punctuation mark above ASCII, 0 where none begins: U+0080 to U+00BF (quotes, signs)
 * and U+2000 to U+207F (spaces, dashes, curly quotes, dots). */
static size_t mark_bytes(const char *text)
{
    const unsigned char *t = (const unsigned char *)text;
    if (t[0] == 0xC2)
        return 2;
    return t[0] == 0xE2 && (t[1] == 0x80 || t[1] == 0x81) ? 3 : 0;
}

static bool is_kept(unsigned char x)
{
    return (x >= 'a' && x <= 'z') || (x >= '0' && x <= '9') || x >= 0x80;
}

static bool is_digit(char x)
{
    return x >= '0' && x <= '9';
}

/* An operator of sums and code, and no mark of prose: "12 - 3" and "C++", but "e-mail", "*so*". */
static bool is_operator(const char *text, const char *at, char last)
{
    const char *next = at + 1;
    while (*next == ' ')
        next++;
    switch (*at) {
    case '=':
    case '<':
    case '>':
    case '^':
    case '%':
        return true;
    case '+':
    case '#':
        return is_digit(*next) || (at > text && is_kept((unsigned char)(at[-1] | 0x20)));
    case '-':
    case '*':
    case '/':
        return is_digit(last) || is_digit(*next) || *next == '=';
    default:
        return false;
    }
}

void letters_write(const char *text, struct buf *out)
{
    size_t before = out->n_bytes;
    char last = 0;      /* kept */
    bool apart = false; /* something but a comma was left out since */
    for (const char *at = text; *at;) {
        size_t n = mark_bytes(at);
        char x = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
        if (n == 0 && (is_kept((unsigned char)x) || is_operator(text, at, last))) {
            if (apart && is_digit(last) && is_digit(x))
                buf_add_char(out, ' ');
            buf_add_char(out, x);
            last = x;
            apart = false;
        } else {
            apart |= x != ',';
        }
        at += n > 0 ? n : 1;
    }
    if (out->n_bytes == before)
        buf_add_text(out, text);
}
