#include "tests/fuzz/seed.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define SEED_BYTES_MAX ((size_t)1 << 16)

static int digit_of(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == 0 ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Behind "hh*": the count. */
static size_t take_count(const char **p)
{
    size_t n = 0;
    while (**p >= '0' && **p <= '9' && n < SEED_BYTES_MAX)
        n = n * 10 + (size_t)(*(*p)++ - '0');
    return n;
}

/* One item of a hex text at *p; false when it is none. */
static bool take_item(const char **p, struct buf *out)
{
    if (**p == '"') {
        const char *end = strchr(*p + 1, '"');
        if (end == NULL)
            return false;
        buf_add(out, *p + 1, (size_t)(end - *p) - 1);
        *p = end + 1;
        return true;
    }
    int high = digit_of((*p)[0]);
    int low = high < 0 ? -1 : digit_of((*p)[1]);
    if (low < 0)
        return false;
    *p += 2;
    size_t n = 1;
    if (**p == '*') {
        (*p)++;
        n = take_count(p);
    }
    for (size_t i = 0; i < n && buf_fits(out, 1); i++)
        buf_add_char(out, (char)(high << 4 | low));
    return true;
}

static int decode(const char *text, struct buf *out, struct err *e)
{
    const char *p = text;
    while (*p != 0) {
        if (strchr(" \t\r\n", *p) != NULL) {
            p++;
        } else if (*p == '#') {
            p += strcspn(p, "\n");
        } else if (!take_item(&p, out)) {
            return err_set(e, ERR_FORMAT, "not a hex seed at byte %zu", (size_t)(p - text));
        }
    }
    return 0;
}

int seed_read(struct seed *s, const char *path, struct err *e)
{
    struct buf text;
    buf_init(&text, SEED_BYTES_MAX);
    buf_init(&s->bytes, SEED_BYTES_MAX);
    s->name = NULL;
    int rc = file_read(path, SEED_BYTES_MAX - 1, &text, e);
    const char *name = file_base_name(path);
    if (rc == 0 && str_ends(name, ".hex")) {
        s->name = xstrndup(name, strlen(name) - 4);
        rc = decode(buf_text(&text), &s->bytes, e);
        if (rc != 0)
            (void)err_wrap(e, "%s", path);
    } else if (rc == 0) {
        s->name = xstrdup(name);
        buf_add(&s->bytes, text.bytes, text.n_bytes);
    }
    buf_release(&text);
    if (rc != 0)
        seed_release(s);
    return rc;
}

void seed_release(struct seed *s)
{
    xfree(s->name);
    s->name = NULL;
    buf_release(&s->bytes);
}

int seed_list_read(struct seed_list *l, const char *folder, struct err *e)
{
    struct file_list files = {0};
    *l = (struct seed_list){0};
    int rc = file_list_folder(folder, &files, e);
    if (rc == 0 && files.n_paths == 0)
        rc = err_set(e, ERR_MISSING, "%s: no seeds", folder);
    if (rc == 0)
        l->seeds = xalloc_array(files.n_paths, sizeof *l->seeds);
    for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
        char *path = file_join(folder, files.paths[i]);
        rc = seed_read(&l->seeds[i], path, e);
        l->n_seeds += rc == 0;
        xfree(path);
    }
    file_list_release(&files);
    if (rc != 0)
        seed_list_release(l);
    return rc;
}

void seed_list_release(struct seed_list *l)
{
    for (size_t i = 0; i < l->n_seeds; i++)
        seed_release(&l->seeds[i]);
    xfree(l->seeds);
    *l = (struct seed_list){0};
}
