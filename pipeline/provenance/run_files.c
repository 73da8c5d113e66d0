#include "pipeline/provenance/run_files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

void run_files_add(struct run_files *f, const char *path, const void *bytes, size_t n_bytes)
{
    if ((f->n_items & (f->n_items - 1)) == 0)
        f->items = xrealloc_array(f->items, f->n_items == 0 ? 1 : f->n_items * 2, sizeof *f->items);
    struct run_file *file = &f->items[f->n_items++];
    *file = (struct run_file){xstrdup(path), xalloc(n_bytes + 1), n_bytes};
    if (n_bytes > 0)
        memcpy(file->bytes, bytes, n_bytes);
    file->bytes[n_bytes] = '\0';
}

static int by_path(const void *a, const void *b)
{
    const struct run_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

void run_files_sort(struct run_files *f)
{
    if (f->n_items > 0)
        qsort(f->items, f->n_items, sizeof *f->items, by_path);
}

void run_files_sums(const struct run_files *f, struct buf *out)
{
    for (size_t i = 0; i < f->n_items; i++) {
        struct content_id id = sha256_of(f->items[i].bytes, f->items[i].n_bytes);
        buf_printf(out, "%s  %s\n", id.hex, f->items[i].path);
    }
}

void run_files_pack(const struct run_files *f, struct buf *out)
{
    for (size_t i = 0; i < f->n_items; i++) {
        buf_printf(out, "%zu %s\n", f->items[i].n_bytes, f->items[i].path);
        buf_add(out, f->items[i].bytes, f->items[i].n_bytes);
        buf_add(out, "\n", 1);
    }
}

static bool is_below(const char *path)
{
    for (;; path++) {
        size_t n = strcspn(path, "/");
        if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && strncmp(path, "..", 2) == 0))
            return false;
        path += n;
        if (*path == '\0')
            return true;
    }
}

static int read_one(const struct buf *b, size_t *at, struct run_files *out)
{
    const char *text = (const char *)b->bytes + *at, *end = memchr(text, '\n', b->n_bytes - *at);
    const char *space = end ? memchr(text, ' ', (size_t)(end - text)) : NULL;
    if (!space)
        return -1;
    char *digits = xstrndup(text, (size_t)(space - text));
    char *path = xstrndup(space + 1, (size_t)(end - space - 1));
    size_t left = b->n_bytes - *at - (size_t)(end + 1 - text);
    int64_t n = 0;
    bool good = str_to_i64(digits, &n) && n >= 0 && (uint64_t)n < left && end[1 + n] == '\n' &&
                is_below(path) &&
                (out->n_items == 0 || strcmp(out->items[out->n_items - 1].path, path) < 0);
    if (good) {
        run_files_add(out, path, end + 1, (size_t)n);
        *at += (size_t)(end + 1 - text) + (size_t)n + 1;
    }
    xfree(path);
    xfree(digits);
    return good ? 0 : -1;
}

int run_files_read(const char *path, uint64_t max_bytes, struct run_files *out, struct err *e)
{
    *out = (struct run_files){NULL, 0};
    struct buf b;
    buf_init(&b, (size_t)max_bytes + 1);
    int rc = file_read(path, max_bytes, &b, e);
    for (size_t at = 0; rc == 0 && at < b.n_bytes;)
        if (read_one(&b, &at, out) != 0)
            rc = err_set(e, ERR_FORMAT,
                         "%s: byte %zu: expected \"<bytes> <path>\" and the bytes of a file, in "
                         "the order of their paths",
                         path, at);
    buf_release(&b);
    return rc;
}

void run_files_release(struct run_files *f)
{
    for (size_t i = 0; i < f->n_items; i++) {
        xfree(f->items[i].path);
        xfree(f->items[i].bytes);
    }
    xfree(f->items);
    *f = (struct run_files){NULL, 0};
}
