#include "stages/text/jsonl.h"

#include <string.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/zfile.h"

static bool starts_with_mark(const char *text, size_t n)
{
    return n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0;
}

/* Spreadsheets and editors of Windows put it in front of what they save as UTF-8. */
static void skip_mark(struct jsonl *j)
{
    j->has_mark = starts_with_mark(j->at, j->n_left);
    j->at += j->has_mark ? 3 : 0;
    j->n_left -= j->has_mark ? 3 : 0;
}

int jsonl_open(struct jsonl *j, const char *path, struct err *e)
{
    *j = (struct jsonl){0};
    buf_init(&j->unpacked, BUF_MAX_DEFAULT);
    if (str_ends(path, ".zst")) {
        int status = zfile_read(path, JSONL_UNPACKED_BYTES_MAX, &j->unpacked, e);
        j->at = buf_text(&j->unpacked);
        j->n_left = j->unpacked.n_bytes;
        skip_mark(j);
        return status;
    }
    int status = file_map_open(&j->map, path, e);
    j->at = (const char *)j->map.bytes;
    j->n_left = j->map.n_bytes;
    skip_mark(j);
    return status;
}

void jsonl_close(struct jsonl *j)
{
    file_map_close(&j->map);
    buf_release(&j->unpacked);
    *j = (struct jsonl){0};
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t')
            return false;
    return true;
}

bool jsonl_next(struct jsonl *j)
{
    while (j->n_left > 0) {
        const char *newline = memchr(j->at, '\n', j->n_left);
        size_t n = newline ? (size_t)(newline - j->at) : j->n_left;
        size_t n_used = newline ? n + 1 : n;
        j->text = j->at;
        j->at += n_used;
        j->n_left -= n_used;
        j->line++;
        if (n > 0 && j->text[n - 1] == '\r')
            n--;
        j->n_text = n;
        if (!is_blank(j->text, n))
            return true;
        j->blank_lines++;
    }
    return false;
}

int jsonl_value(const struct jsonl *j, struct json **out, struct err *e)
{
    struct json_mark mark = {0};
    *out = NULL;
    if (j->line > LIMIT_JSONL_LINES)
        return err_set(e, ERR_LIMIT, "more lines than LIMIT_JSONL_LINES");
    if (j->n_text > LIMIT_JSONL_LINE_BYTES)
        return err_set(e, ERR_LIMIT, "the line has %zu bytes, LIMIT_JSONL_LINE_BYTES is %llu",
                       j->n_text, (unsigned long long)LIMIT_JSONL_LINE_BYTES);
    if (starts_with_mark(j->text, j->n_text))
        return err_set(e, ERR_FORMAT,
                       "column 1: byte order mark: one may stand in front of the file alone");
    int status = json_scan(j->text, j->n_text, &mark, e);
    if (status < 0)
        return err_wrap(e, "column %zu", mark.column);
    return json_parse(j->text, j->n_text, out, e);
}
