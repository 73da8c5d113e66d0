#include "pipeline/store/listing.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

static bool path_is_safe(const char *path, size_t n)
{
    if (n == 0 || path[0] == '/')
        return false;
    size_t start = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && path[i] != '/')
            continue;
        size_t part = i - start;
        if (part == 0 || (part == 1 && path[start] == '.') ||
            (part == 2 && path[start] == '.' && path[start + 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

bool listing_next(const char **cursor, struct content_id *id, const char **path, size_t *n_path)
{
    const char *line = *cursor;
    const char *end = strchr(line, '\n');
    if (end == NULL || end - line < SHA256_HEX + 3 || line[SHA256_HEX] != ' ' ||
        line[SHA256_HEX + 1] != ' ')
        return false;
    memcpy(id->hex, line, SHA256_HEX);
    id->hex[SHA256_HEX] = '\0';
    *path = line + SHA256_HEX + 2;
    *n_path = (size_t)(end - *path);
    if (!str_is_hex(id->hex, SHA256_HEX) || !path_is_safe(*path, *n_path))
        return false;
    *cursor = end + 1;
    return true;
}

/* ---- the whole ---- */

struct place {
    const char *path;
    size_t n;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int order = memcmp(x->path, y->path, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

static int check_place(const struct place *places, size_t i, struct err *e)
{
    const struct place *p = &places[i];
    if (i > 0 && compare_places(p - 1, p) >= 0)
        return err_set(e, ERR_FORMAT, "%.*s: paths are not in ascending order", (int)p->n, p->path);
    for (size_t n = 1; n < p->n; n++) {
        const struct place above = {p->path, n};
        if (p->path[n] == '/' && bsearch(&above, places, i, sizeof *places, compare_places))
            return err_set(e, ERR_FORMAT, "%.*s: it lies below a file", (int)p->n, p->path);
    }
    return 0;
}

int listing_check(const char *text, struct err *e)
{
    size_t n_lines = 0, n = 0;
    for (const char *c = text; *c != '\0'; c++)
        n_lines += *c == '\n';
    struct place *places = xalloc_array(n_lines + 1, sizeof *places);
    struct content_id id;
    const char *cursor = text;
    int rc = 0;
    while (rc == 0 && listing_next(&cursor, &id, &places[n].path, &places[n].n)) {
        rc = check_place(places, n, e);
        n++;
    }
    if (rc == 0 && *cursor != '\0')
        rc = err_set(e, ERR_FORMAT, "line %zu is none of a folder's listing", n + 1);
    xfree(places);
    return rc;
}
