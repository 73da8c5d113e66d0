#include "stages/text/corpus.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/base/zfile.h"

/* What a file that is no text begins with. */
struct magic {
    const char *bytes;
    size_t n_bytes;
    const char *what; /* and what to do */
};

#define UNPACK ": unpack it, or leave it out"
#define LEAVE_OUT ": leave it out"

static const struct magic MAGICS[] = {
    {"\x1F\x8B", 2, "gzip data" UNPACK},
    {"PK\x03\x04", 4, "a zip archive" UNPACK},
    {"\xFD"
     "7zXZ",
     5, "xz data" UNPACK},
    {"BZh", 3, "bzip2 data" UNPACK},
    {"\x28\xB5\x2F\xFD", 4, "zstd data: name it .txt.zst"},
    {"\x89PNG", 4, "a PNG image" LEAVE_OUT},
    {"\xFF\xD8\xFF", 3, "a JPEG image" LEAVE_OUT},
    {"%PDF-", 5, "a PDF document" LEAVE_OUT},
    {"\xFF\xFE", 2, "UTF-16 text: save it as UTF-8"},
    {"\xFE\xFF", 2, "UTF-16 text: save it as UTF-8"},
};

static const char *find_magic(const struct buf *text)
{
    for (size_t i = 0; i < sizeof MAGICS / sizeof MAGICS[0]; i++)
        if (text->n_bytes >= MAGICS[i].n_bytes &&
            memcmp(text->bytes, MAGICS[i].bytes, MAGICS[i].n_bytes) == 0)
            return MAGICS[i].what;
    return NULL;
}

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

/* That it is text. The place is the first byte that is none. */
static int check_text(const char *path, const struct buf *text, struct err *e)
{
    const char *nul = memchr(text->bytes, '\0', text->n_bytes);
    size_t at = str_utf8_prefix(text->bytes, text->n_bytes);
    bool is_nul = nul && (size_t)(nul - text->bytes) < at;
    if (is_nul)
        at = (size_t)(nul - text->bytes);
    if (at == text->n_bytes)
        return 0;
    const char *magic = find_magic(text);
    if (magic)
        return err_set(e, ERR_FORMAT, "%s: expected UTF-8 text, found %s", path, magic);
    size_t line = 1;
    for (size_t i = 0; i < at; i++)
        line += text->bytes[i] == '\n';
    return err_set(e, ERR_FORMAT,
                   "%s:%zu: expected UTF-8 text, found %s at byte %zu of the file: %s", path, line,
                   is_nul ? "a NUL byte" : "invalid UTF-8", at + 1,
                   is_nul ? "it is binary or UTF-16; leave it out or save it as UTF-8"
                          : "convert it (iconv), or take the line out");
}

/* Only blanks and line ends? Of a text that was checked: there is no NUL. */
static bool is_empty(const struct buf *text)
{
    for (size_t i = 0; i < text->n_bytes; i++)
        if (!strchr(" \t\r\n", text->bytes[i]))
            return false;
    return true;
}

static void find_long_lines(struct corpus *c, const char *path, const struct buf *text)
{
    size_t line = 1;
    for (size_t at = 0; at < text->n_bytes; line++) {
        const char *end = memchr(text->bytes + at, '\n', text->n_bytes - at);
        size_t n = end ? (size_t)(end - text->bytes) - at : text->n_bytes - at;
        if (n > CORPUS_LONG_LINE_BYTES)
            finding_add(&c->long_lines, "%s:%zu (%zu bytes)", file_base_name(path), line, n);
        at += n + 1;
    }
}

int corpus_read(struct corpus *c, size_t i, uint64_t max_bytes, const char *limit, struct buf *text,
                struct err *e)
{
    const char *path = c->files[i].path;
    int status = str_ends(path, ".zst") ? zfile_read(path, max_bytes, text, e)
                                        : file_read(path, max_bytes, text, e);
    if (status < 0)
        return status == ERR_LIMIT ? err_wrap(e, "%s", limit) : status;
    if (text->n_bytes > 0)
        status = check_text(path, text, e);
    if (status < 0)
        return status;
    if (is_empty(text) && c->n_files == 1)
        return err_set(e, ERR_FORMAT, "%s: there is no text in it", path);
    if (is_empty(text))
        finding_add(&c->empty, "%s", file_base_name(path));
    find_long_lines(c, path, text);
    return 0;
}

void corpus_take_findings(struct corpus *c, const char *name, struct json *table)
{
    finding_close(&c->others, name, "file left out, it is no *.txt or *.txt.zst", table);
    finding_close(&c->empty, name, "file without text", table);
    finding_close(&c->long_lines, name, "very long line", table);
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
    *c = (struct corpus){0};
}
