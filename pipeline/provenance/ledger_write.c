#include "pipeline/provenance/ledger_write.h"

#include <string.h>

#include "pipeline/base/xalloc.h"

/* Files in the order of their paths, and the next one to write. */
struct writing {
    const struct run_files *files;
    size_t i;
    struct buf *notes;
};

static int write_file(struct git_repo *r, const struct writing *w, const struct run_file *f,
                      char hex[GIT_HEX + 1], struct err *e)
{
    int rc = git_repo_put_blob(r, f->bytes, f->n_bytes, hex, w->notes, e);
    return rc < 0 ? err_wrap(e, "%s", f->path) : 0;
}

/* The folder of the next file, whose path begins with n_prefix bytes of folders. Not by an index of
 * the library's: that reads the folders that it has written, and one that was there before may be
 * damaged. */
static int write_folder(struct git_repo *r, struct writing *w, size_t n_prefix,
                        char hex[GIT_HEX + 1], struct err *e)
{
    struct git_new_entry *entries = NULL;
    size_t n = 0;
    int rc = 0;
    const char *first = w->i < w->files->n_items ? w->files->items[w->i].path : "";
    while (rc == 0 && w->i < w->files->n_items &&
           strncmp(w->files->items[w->i].path, first, n_prefix) == 0) {
        const char *path = w->files->items[w->i].path, *name = path + n_prefix;
        size_t n_name = strcspn(name, "/");
        entries = xrealloc_array(entries, n + 1, sizeof *entries);
        struct git_new_entry *entry = &entries[n++];
        entry->name = xstrndup(name, n_name);
        entry->is_folder = name[n_name] == '/';
        rc = entry->is_folder ? write_folder(r, w, n_prefix + n_name + 1, entry->hex, e)
                              : write_file(r, w, &w->files->items[w->i++], entry->hex, e);
    }
    if (rc == 0)
        rc = git_repo_put_tree(r, entries, n, hex, w->notes, e);
    for (size_t i = 0; i < n; i++)
        xfree(entries[i].name);
    xfree(entries);
    return rc;
}

int ledger_write_tree(struct git_repo *r, const struct run_files *files, char tree[GIT_HEX + 1],
                      struct buf *notes, struct err *e)
{
    struct writing w = {.files = files, .notes = notes};
    return write_folder(r, &w, 0, tree, e);
}
