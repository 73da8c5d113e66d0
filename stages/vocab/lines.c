#include "stages/vocab/lines.h"

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"

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

static int read_one(struct lines *l, const char *path, struct err *e)
{
    struct buf *file = &l->files[l->n_files];
    uint64_t room = LINES_TEXT_BYTES_MAX - l->n_bytes;
    buf_init(file, BUF_MAX_DEFAULT);
    l->n_files++;
    int status =
        str_ends(path, ".zst") ? zfile_read(path, room, file, e) : file_read(path, room, file, e);
    if (status < 0)
        return status;
    size_t n_valid = file->n_bytes == 0 ? 0 : str_utf8_prefix(file->bytes, file->n_bytes);
    if (n_valid != file->n_bytes)
        return err_set(e, ERR_FORMAT, "%s: invalid UTF-8 at byte %zu", path, n_valid + 1);
    l->n_bytes += file->n_bytes;
    return 0;
}

static bool is_text_name(const char *path)
{
    return str_ends(path, ".txt") || str_ends(path, ".txt.zst");
}

/* Is `path`, less folder and suffix, the n bytes at `name`? */
static bool is_named(const char *path, const char *name, size_t n)
{
    const char *base = file_base_name(path);
    return strncmp(base, name, n) == 0 &&
           (str_eq(base + n, ".txt") || str_eq(base + n, ".txt.zst"));
}

static bool is_skipped(const char *path, const char *skip)
{
    for (const char *item = skip; *item != 0; item += strspn(item, ",")) {
        size_t n = strcspn(item, ",");
        if (is_named(path, item, n))
            return true;
        item += n;
    }
    return false;
}

static int check_skip(const struct file_list *list, const char *skip, struct err *e)
{
    for (const char *item = skip; *item != 0; item += strspn(item, ",")) {
        size_t n = strcspn(item, ",");
        bool found = false;
        for (size_t i = 0; i < list->n_paths && !found; i++)
            found = is_named(list->paths[i], item, n);
        if (!found)
            return err_set(e, ERR_CONFIG, "skip: the text has no file '%.*s'", (int)n, item);
        item += n;
    }
    return 0;
}

static int read_folder(struct lines *l, const char *path, const char *skip, struct err *e)
{
    struct file_list list = {0};
    int status = file_list_folder(path, &list, e);
    if (status == 0)
        status = check_skip(&list, skip, e);
    if (status < 0) {
        file_list_release(&list);
        return status;
    }
    l->files = xalloc_array(list.n_paths, sizeof *l->files);
    for (size_t i = 0; i < list.n_paths && status == 0; i++) {
        if (!is_text_name(list.paths[i]) || is_skipped(list.paths[i], skip))
            continue;
        char *file = file_join(path, list.paths[i]);
        status = read_one(l, file, e);
        xfree(file);
    }
    file_list_release(&list);
    if (status == 0 && l->n_files == 0)
        return err_set(e, ERR_MISSING, "%s: no .txt or .txt.zst file in it", path);
    return status;
}

int lines_read(struct lines *l, const char *path, const char *skip, size_t line_bytes_max,
               struct err *e)
{
    int status = 0;
    CHECK(line_bytes_max >= 4);
    *l = (struct lines){.line_bytes_max = line_bytes_max};
    if (file_is_folder(path)) {
        status = read_folder(l, path, skip, e);
    } else {
        l->files = xalloc_array(1, sizeof *l->files);
        status = read_one(l, path, e);
    }
    if (status < 0)
        return status;
    const char *line = NULL;
    size_t n_bytes = 0;
    for (size_t i = 0; i < l->n_files; i++)
        for (size_t at = 0; next_in_file(l, &l->files[i], &at, &line, &n_bytes);)
            l->n_lines++;
    if (l->n_lines == 0)
        return err_set(e, ERR_FORMAT, "%s: no line of text in it", path);
    return 0;
}

void lines_release(struct lines *l)
{
    for (size_t i = 0; i < l->n_files; i++)
        buf_release(&l->files[i]);
    xfree(l->files);
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
