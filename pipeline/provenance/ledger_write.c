#include "pipeline/provenance/ledger_write.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"

/* Files in the order of their paths, and the next one to write. */
struct writing {
    const char *dir;
    struct file_list files;
    size_t i;
    struct buf *notes;
};

static int write_file(struct git_repo *r, const struct writing *w, const char *path,
                      char hex[GIT_HEX + 1], struct err *e)
{
    struct file_map m;
    char *full = file_join(w->dir, path);
    int rc = file_map_open(&m, full, e);
    if (rc == 0) {
        rc = git_repo_put_blob(r, m.bytes != NULL ? (const void *)m.bytes : "", m.n_bytes, hex,
                               w->notes, e);
        file_map_close(&m);
        if (rc < 0)
            rc = err_wrap(e, "%s", path);
    }
    xfree(full);
    return rc;
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
    const char *first = w->i < w->files.n_paths ? w->files.paths[w->i] : "";
    while (rc == 0 && w->i < w->files.n_paths &&
           strncmp(w->files.paths[w->i], first, n_prefix) == 0) {
        const char *path = w->files.paths[w->i], *name = path + n_prefix;
        size_t n_name = strcspn(name, "/");
        entries = xrealloc_array(entries, n + 1, sizeof *entries);
        struct git_new_entry *entry = &entries[n++];
        entry->name = xstrndup(name, n_name);
        entry->is_folder = name[n_name] == '/';
        rc = entry->is_folder ? write_folder(r, w, n_prefix + n_name + 1, entry->hex, e)
                              : write_file(r, w, w->files.paths[w->i++], entry->hex, e);
    }
    if (rc == 0)
        rc = git_repo_put_tree(r, entries, n, hex, w->notes, e);
    for (size_t i = 0; i < n; i++)
        xfree(entries[i].name);
    xfree(entries);
    return rc;
}

int ledger_write_tree(struct git_repo *r, const char *dir, char tree[GIT_HEX + 1],
                      struct buf *notes, struct err *e)
{
    struct writing w = {.dir = dir, .notes = notes};
    int rc = file_list_folder(dir, &w.files, e);
    if (rc == 0)
        rc = write_folder(r, &w, 0, tree, e);
    file_list_release(&w.files);
    return rc;
}
