#include "pipeline/manifest/assignment.h"

#include <stdbool.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"

#define SHOWN 80 /* of a line that is refused */

struct span {
    const char *at, *end;
};

static const char *skip_blanks(struct span s)
{
    while (s.at < s.end && (*s.at == ' ' || *s.at == '\t'))
        s.at++;
    return s.at;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Is the first word of the line the name? */
static bool begins_with(struct span line, const char *name)
{
    size_t n = strlen(name);
    line.at = skip_blanks(line);
    return (size_t)(line.end - line.at) >= n && memcmp(line.at, name, n) == 0 &&
           (line.at + n == line.end || !is_name_char(line.at[n]));
}

/* The digits of a line that is as the rule says, or NULL. */
static const char *digits_of(struct span line, const char *name, size_t n_digits)
{
    if (skip_blanks(line) != line.at)
        return NULL;
    line.at += strlen(name);
    line.at = skip_blanks(line);
    if (line.at == line.end || *line.at++ != '=')
        return NULL;
    line.at = skip_blanks(line);
    if (line.end - line.at < (ptrdiff_t)n_digits + 2 || (*line.at != '"' && *line.at != '\''))
        return NULL;
    char quote = *line.at++;
    const char *digits = line.at;
    for (size_t i = 0; i < n_digits; i++, line.at++)
        if (!((*line.at >= '0' && *line.at <= '9') || (*line.at >= 'a' && *line.at <= 'f')))
            return NULL;
    if (*line.at++ != quote)
        return NULL;
    line.at = skip_blanks(line);
    return line.at == line.end || *line.at == '#' ? digits : NULL;
}

static int fail_form(const char *path, size_t i_line, struct span line, const char *name,
                     size_t n_digits, struct err *e)
{
    bool plain = line.end - line.at <= SHOWN;
    for (const char *c = line.at; c < line.end; c++)
        plain = plain && (unsigned char)*c >= ' ' && *c != 0x7f;
    return err_set(e, ERR_FORMAT,
                   "%s:%zu: found %.*s, expected %s = \"%zu lower-case hex digits\" and nothing "
                   "else on the line (the file is read as text and is not executed)",
                   path, i_line, plain ? (int)(line.end - line.at) : (int)strlen("another form"),
                   plain ? line.at : "another form", name, n_digits);
}

int assignment_parse_hex(const char *path, const char *text, size_t n_bytes, const char *name,
                         size_t n_digits, char *hex, struct err *e)
{
    struct span found = {NULL, NULL};
    size_t i_line = 0, i_found = 0;
    CHECK(n_digits <= ASSIGNMENT_DIGITS_MAX);
    if (str_utf8_prefix(text, n_bytes) != n_bytes || memchr(text, '\0', n_bytes))
        return err_set(e, ERR_FORMAT, "%s: no text (it has bytes that are no UTF-8, or NUL)", path);
    for (const char *at = text, *end = text + n_bytes; at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        struct span line = {at, line_end ? line_end : end};
        at = line_end ? line_end + 1 : end;
        i_line++;
        if (line.end > line.at && line.end[-1] == '\r')
            line.end--;
        if (!begins_with(line, name))
            continue;
        if (found.at)
            return err_set(e, ERR_FORMAT, "%s: lines %zu and %zu both begin with %s, expected one",
                           path, i_found, i_line, name);
        found = line;
        i_found = i_line;
    }
    if (!found.at)
        return err_set(e, ERR_FORMAT, "%s: no line %s = \"%zu hex digits\"", path, name, n_digits);
    const char *digits = digits_of(found, name, n_digits);
    if (!digits)
        return fail_form(path, i_found, found, name, n_digits, e);
    memcpy(hex, digits, n_digits);
    hex[n_digits] = '\0';
    return 0;
}

int assignment_read_hex(const char *path, const char *name, size_t n_digits, char *hex,
                        struct err *e)
{
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    int rc = file_read(path, ASSIGNMENT_BYTES_MAX, &text, e);
    if (rc == 0)
        rc = assignment_parse_hex(path, buf_text(&text), text.n_bytes, name, n_digits, hex, e);
    buf_release(&text);
    return rc;
}
