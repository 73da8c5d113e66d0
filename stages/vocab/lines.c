#include "stages/vocab/lines.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

/* The next line of a file from *at on, empty ones and document ends left out. */
static bool next_in_file(const struct lines *l, const struct buf *file, size_t *at,
                         const char **line, size_t *n_bytes)
{
    while (*at < file->n_bytes) {
        const char *start = file->bytes + *at;
        size_t n_left = file->n_bytes - *at;
        const char *newline = memchr(start, '\n', n_left);
        size_t n = newline ? (size_t)(newline - start) : n_left;
        size_t n_used = newline ? n + 1 : n;
        if (n > l->line_bytes_max) {
            /* Cut before the last space that fits, else before the character that does not. */
            size_t cut = l->line_bytes_max;
            while (cut > 0 && start[cut] != ' ')
                cut--;
            if (cut == 0) {
                cut = l->line_bytes_max;
                while (cut > 1 && ((unsigned char)start[cut] & 0xC0) == 0x80)
                    cut--;
            }
            n = cut;
            n_used = cut;
        }
        *at += n_used;
        if (n > 0 && start[n - 1] == '\r')
            n--;
        if (n == 0 ||
            (n == strlen(LINES_DOCUMENT_END) && memcmp(start, LINES_DOCUMENT_END, n) == 0))
            continue;
        *line = start;
        *n_bytes = n;
        return true;
    }
    return false;
}

static bool is_skipped(const char *name, const char *skip)
{
    size_t length = strlen(name);
    for (const char *item = skip; *item != 0; item += strspn(item, ",")) {
        size_t n = strcspn(item, ",");
        if (n == length && strncmp(item, name, n) == 0)
            return true;
        item += n;
    }
    return false;
}

static int check_skip(const struct corpus *c, const char *skip, struct err *e)
{
    for (const char *item = skip; *item != 0; item += strspn(item, ",")) {
        size_t n = strcspn(item, ",");
        if (!corpus_has(c, item, n))
            return err_set(e, ERR_CONFIG, "skip: the text has no file '%.*s'", (int)n, item);
        item += n;
    }
    return 0;
}

static int read_files(struct lines *l, const char *path, const char *skip, struct err *e)
{
    int status = corpus_open(&l->corpus, path, e);
    if (status == 0 && file_is_folder(path))
        status = check_skip(&l->corpus, skip, e);
    else
        skip = "";
    size_t n = l->corpus.n_files;
    l->files = xalloc_array(n, sizeof *l->files);
    for (size_t i = 0; i < n && status == 0; i++) {
        if (is_skipped(l->corpus.files[i].name, skip))
            continue;
        struct buf *file = &l->files[l->n_files++];
        buf_init(file, BUF_MAX_DEFAULT);
        status = corpus_read(&l->corpus, i, LINES_TEXT_BYTES_MAX - l->n_bytes,
                             "LINES_TEXT_BYTES_MAX", file, e);
        l->n_bytes += file->n_bytes;
    }
    return status;
}

int lines_read(struct lines *l, const char *path, const char *skip, size_t line_bytes_max,
               struct err *e)
{
    CHECK(line_bytes_max >= 4);
    *l = (struct lines){.line_bytes_max = line_bytes_max};
    int status = read_files(l, path, skip, e);
    if (status < 0)
        return err_wrap(e, "text");
    const char *line = NULL;
    size_t n_bytes = 0;
    for (size_t i = 0; i < l->n_files; i++)
        for (size_t at = 0; next_in_file(l, &l->files[i], &at, &line, &n_bytes);) {
            l->n_lines++;
            l->n_cuts += at < l->files[i].n_bytes && l->files[i].bytes[at - 1] != '\n';
        }
    if (l->n_lines == 0)
        return err_set(e, ERR_FORMAT, "text: %s: no line of text in it", path);
    return 0;
}

void lines_release(struct lines *l)
{
    for (size_t i = 0; i < l->n_files; i++)
        buf_release(&l->files[i]);
    xfree(l->files);
    corpus_close(&l->corpus);
    *l = (struct lines){0};
}

struct lines_walk lines_walk_open(const struct lines *l, uint64_t n_wanted)
{
    uint64_t n = n_wanted < l->n_lines ? n_wanted : l->n_lines;
    return (struct lines_walk){.lines = l, .n_wanted = n};
}

bool lines_walk_next(struct lines_walk *w, const char **line, size_t *n_bytes)
{
    const struct lines *l = w->lines;
    while (w->i_file < l->n_files) {
        if (!next_in_file(l, &l->files[w->i_file], &w->at, line, n_bytes)) {
            w->i_file++;
            w->at = 0;
            continue;
        }
        /* Bresenham: line i is taken where floor(i * wanted / all) steps. Both are below 2^31. */
        uint64_t i = w->i_line++;
        if ((i + 1) * w->n_wanted / l->n_lines > i * w->n_wanted / l->n_lines)
            return true;
    }
    return false;
}
