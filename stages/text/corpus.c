#include "stages/text/corpus.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"

#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

static bool is_text_name(const char *path)
{
    return str_ends(path, ".txt") || str_ends(path, ".txt.zst");
}

static void add_file(struct corpus *c, char *path)
{
    const char *base = file_base_name(path);
    size_t n = strlen(base);
    if (str_ends(base, ".zst"))
        n -= strlen(".zst");
    if (n > 4 && strncmp(base + n - 4, ".txt", 4) == 0)
        n -= 4;
    c->files[c->n_files++] = (struct corpus_file){path, xstrndup(base, n)};
}

static int open_folder(struct corpus *c, const char *path, struct err *e)
{
    struct file_list list = {0};
    int status = file_list_folder(path, &list, e);
    c->files = xalloc_array(list.n_paths, sizeof *c->files);
    for (size_t i = 0; status == 0 && i < list.n_paths; i++) {
        if (is_text_name(list.paths[i]))
            add_file(c, file_join(path, list.paths[i]));
        else
            finding_add(&c->others, "%s", list.paths[i]);
    }
    file_list_release(&list);
    if (status == 0 && c->n_files == 0)
        status = err_set(e, ERR_MISSING, "%s: no *.txt or *.txt.zst in this folder", path);
    return status;
}

int corpus_open(struct corpus *c, const char *path, struct err *e)
{
    *c = (struct corpus){0};
    if (file_is_folder(path)) {
        c->is_folder = true;
        int status = open_folder(c, path, e);
        if (status < 0)
            corpus_close(c);
        return status;
    }
    c->files = xalloc_array(1, sizeof *c->files);
    add_file(c, xstrdup(path));
    return 0;
}

bool corpus_has(const struct corpus *c, const char *name, size_t n_bytes)
{
    for (size_t i = 0; i < c->n_files; i++)
        if (strlen(c->files[i].name) == n_bytes && memcmp(c->files[i].name, name, n_bytes) == 0)
            return true;
    return false;
}

/* Only blanks and line ends? Of a text that was checked: there is no NUL. */
static bool is_empty(const struct buf *text)
{
    for (size_t i = 0; i < text->n_bytes; i++)
        if (!strchr(" \t\r\n", text->bytes[i]))
            return false;
    return true;
}

static void find_long_lines(struct corpus *c, const char *place, const struct buf *text)
{
    size_t line = 1;
    for (size_t at = 0; at < text->n_bytes; line++) {
        const char *end = memchr(text->bytes + at, '\n', text->n_bytes - at);
        size_t n = end ? (size_t)(end - text->bytes) - at : text->n_bytes - at;
        if (n > CORPUS_LONG_LINE_BYTES)
            finding_add(&c->long_lines, "%s%zu (%zu bytes)", place, line, n);
        at += n + 1;
    }
}

/* The mark that some editors put in front of UTF-8: no part of the text. */
static void take_mark(struct corpus *c, const char *path, struct buf *text)
{
    size_t n = strlen(BYTE_ORDER_MARK);
    if (text->n_bytes < n || memcmp(text->bytes, BYTE_ORDER_MARK, n) != 0)
        return;
    text->n_bytes -= n;
    memmove(text->bytes, text->bytes + n, text->n_bytes + 1);
    finding_add(&c->marks, "%s", c->is_folder ? file_base_name(path) : "at its beginning");
}

static int check(struct corpus *c, const char *path, struct buf *text, struct err *e)
{
    /* What a folder's files are called is known by their content ids, what a file is called is not:
     * no name of it may reach an output. */
    char *place = c->is_folder ? xasprintf("%s:", file_base_name(path)) : xstrdup("");
    int status = text->n_bytes > 0 ? plain_check(path, place, text, &c->plain, e) : 0;
    if (status == 0) {
        take_mark(c, path, text);
        if (is_empty(text) && c->n_files == 1)
            status = err_set(e, ERR_FORMAT, "%s: there is no text in it", path);
        else if (is_empty(text))
            finding_add(&c->empty, "%s", file_base_name(path));
        find_long_lines(c, place, text);
    }
    xfree(place);
    return status;
}

int corpus_read(struct corpus *c, size_t i, uint64_t max_bytes, const char *limit, struct buf *text,
                struct err *e)
{
    const char *path = c->files[i].path;
    int status = str_ends(path, ".zst") ? zfile_read(path, max_bytes, text, e)
                                        : file_read(path, max_bytes, text, e);
    if (status < 0)
        return status == ERR_LIMIT ? err_wrap(e, "%s", limit) : status;
    return check(c, path, text, e);
}

void corpus_take_findings(struct corpus *c, const char *name, struct json *table)
{
    finding_close(&c->others, name, "file left out, it is no *.txt or *.txt.zst", table);
    finding_close(&c->empty, name, "file without text", table);
    finding_close(&c->long_lines, name, "very long line", table);
    finding_close(&c->marks, name, "byte order mark, left out", table);
    finding_close(&c->plain.controls, name, "control character, kept", table);
    finding_close(&c->plain.broken, name,
                  "character that an earlier conversion has lost (U+FFFD), kept", table);
}

void corpus_close(struct corpus *c)
{
    for (size_t i = 0; i < c->n_files; i++) {
        xfree(c->files[i].path);
        xfree(c->files[i].name);
    }
    xfree(c->files);
    finding_release(&c->others);
    finding_release(&c->empty);
    finding_release(&c->long_lines);
    finding_release(&c->marks);
    plain_release(&c->plain);
    *c = (struct corpus){0};
}
