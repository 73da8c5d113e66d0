#include "pipeline/engine/toolkit_find.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define SHELF_MAX 256

/* What the given files say about their base. */
struct wanted {
    char signature[TOOLKIT_SIGNATURE_DIGITS + 1]; /* of a package; "" */
    char base[SHA256_HEX + 1];                    /* of a checkpoint; "" */
    const char *path;
};

static void copy_member(const struct json *o, const char *key, size_t n_digits, char *out)
{
    const char *text = json_text(o, key);
    if (str_is_hex(text, n_digits))
        memcpy(out, text, n_digits + 1);
}

static void read_package(const char *path, struct wanted *w)
{
    char *metadata = file_join(path, "metadata.json");
    struct json *v = NULL;
    struct err ignored = {0};
    if (file_exists(metadata) && json_read(metadata, &v, &ignored) == 0)
        copy_member(v, "baseModelSignature", TOOLKIT_SIGNATURE_DIGITS, w->signature);
    json_free(v);
    xfree(metadata);
}

/* safetensors: 8 bytes length, then JSON with "__metadata__". */
static void read_checkpoint(const char *path, struct wanted *w)
{
    struct file_map m = {0};
    struct err ignored = {0};
    if (file_map_open(&m, path, &ignored) < 0)
        return;
    struct json *v = NULL;
    uint64_t n = m.n_bytes >= 8 ? bytes_get_u64(m.bytes) : 0;
    if (n > 1 && n <= LIMIT_TENSOR_HEADER_BYTES && n <= m.n_bytes - 8 && m.bytes[8] == '{' &&
        json_parse((const char *)m.bytes + 8, (size_t)n, &v, &ignored) == 0)
        copy_member(json_get(v, "__metadata__"), "fmforge.base", SHA256_HEX, w->base);
    json_free(v);
    file_map_close(&m);
}

static void read_wanted(const char *const *paths, size_t n_paths, struct wanted *w)
{
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < n_paths && !w->signature[0] && !w->base[0]; i++) {
        if (!paths[i])
            continue;
        w->path = paths[i];
        if (file_is_folder(paths[i]))
            read_package(paths[i], w);
        else
            read_checkpoint(paths[i], w);
    }
}

static bool fits(const struct toolkit_dir *t, const struct wanted *w)
{
    if (w->signature[0])
        return str_eq(t->signature, w->signature);
    const struct facet *base = toolkit_dir_facet(t, "base");
    struct content_id id;
    struct err ignored = {0};
    return base && base->type == FACET_PATH && sha256_file(base->path, &id, NULL, &ignored) == 0 &&
           str_eq(id.hex, w->base);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Folders below the shelf that hold a toolkit.yaml, sorted. */
static size_t list_shelf(const char *shelf, char *folders[SHELF_MAX])
{
    size_t n = 0;
    DIR *dir = opendir(shelf);
    for (struct dirent *f = dir ? readdir(dir) : NULL; f && n < SHELF_MAX; f = readdir(dir)) {
        if (f->d_name[0] == '.')
            continue;
        char *folder = file_join(shelf, f->d_name);
        char *yaml = file_join(folder, "toolkit.yaml");
        if (file_exists(yaml))
            folders[n++] = folder;
        else
            xfree(folder);
        xfree(yaml);
    }
    if (dir)
        closedir(dir);
    qsort(folders, n, sizeof folders[0], by_text);
    return n;
}

static int open_given(struct toolkit_dir *out, const char *folder, const struct wanted *w,
                      struct err *e)
{
    int rc = toolkit_dir_open(out, folder, e);
    if (rc < 0 || (!w->signature[0] && !w->base[0]) || fits(out, w))
        return rc;
    const struct facet *base = toolkit_dir_facet(out, "base");
    if (!w->signature[0] && base && base->type == FACET_STAGE)
        return 0; /* whoever opens the checkpoint with what the stage made compares them */
    if (w->signature[0])
        return err_set(e, ERR_CONFIG,
                       "%s was made for the base with signature %s; toolkit %s has %s", w->path,
                       w->signature, out->label, out->signature);
    return err_set(e, ERR_CONFIG, "%s was trained on base %.12s, which is not that of toolkit %s",
                   w->path, w->base, out->label);
}

int toolkit_find(struct toolkit_dir *out, const char *folder, const char *shelf,
                 const char *const *paths, size_t n_paths, struct err *e)
{
    struct wanted w;
    memset(out, 0, sizeof *out);
    read_wanted(paths, n_paths, &w);
    if (folder)
        return open_given(out, folder, &w, e);
    char *folders[SHELF_MAX];
    size_t n = list_shelf(shelf, folders);
    bool any = !w.signature[0] && !w.base[0]; /* nothing is known: only a single one will do */
    bool found = false;
    struct buf list;
    buf_init(&list, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < n && !found; i++) {
        struct err broken = {0};
        int rc = toolkit_dir_open(out, folders[i], &broken);
        found = rc == 0 && (any ? n == 1 : fits(out, &w));
        buf_printf(&list, "%s%s (%s)", i ? ", " : "", folders[i],
                   rc == 0 ? out->signature : "cannot be read");
        if (!found)
            toolkit_dir_release(out);
    }
    int rc = 0;
    if (!found && any)
        rc = err_set(e, ERR_CONFIG, "which toolkit? Give --toolkit DIR; %s has %s", shelf,
                     n ? buf_text(&list) : "none");
    else if (!found)
        rc = err_set(e, ERR_CONFIG, "no toolkit in %s is the one of %s (%s %s); it has %s", shelf,
                     w.path, w.signature[0] ? "signature" : "base",
                     w.signature[0] ? w.signature : w.base, n ? buf_text(&list) : "none");
    buf_release(&list);
    for (size_t i = 0; i < n; i++)
        xfree(folders[i]);
    return rc;
}

static bool same_file(const char *a, const char *b)
{
    struct content_id id_a, id_b;
    struct err ignored = {0};
    uint64_t bytes_a = 0, bytes_b = 0;
    return file_exists(a) && file_exists(b) && file_size(a, &bytes_a, &ignored) == 0 &&
           file_size(b, &bytes_b, &ignored) == 0 && bytes_a == bytes_b &&
           sha256_file(a, &id_a, NULL, &ignored) == 0 &&
           sha256_file(b, &id_b, NULL, &ignored) == 0 && str_eq(id_a.hex, id_b.hex);
}

static bool owns(const struct toolkit_dir *t, const char *path)
{
    for (size_t i = 0; i < t->n_facets; i++)
        if (t->facets[i].type == FACET_PATH && same_file(t->facets[i].path, path))
            return true;
    return false;
}

bool toolkit_find_owner(struct toolkit_dir *out, const char *shelf, const char *path)
{
    struct wanted w;
    memset(out, 0, sizeof *out);
    read_wanted(&path, 1, &w);
    char *folders[SHELF_MAX];
    size_t n = list_shelf(shelf, folders);
    bool found = false, known = w.signature[0] || w.base[0];
    for (size_t i = 0; i < n; i++) {
        struct err broken = {0};
        if (!found && toolkit_dir_open(out, folders[i], &broken) == 0)
            found = known ? fits(out, &w) : owns(out, path);
        if (!found)
            toolkit_dir_release(out);
        xfree(folders[i]);
    }
    return found;
}
