#include "pipeline/manifest/folder_glob.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

struct search {
    const char *folder, *glob;
    char *found; /* relative; NULL: nothing yet */
};

bool folder_glob_is_good(const char *glob)
{
    for (const char *part = glob;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += n;
        if (*part == '\0')
            return true;
    }
}

static int walk(struct search *s, const char *below, const char *rest, struct err *e);

/* rest: what of the pattern is behind this entry; "" at the end. */
static int take(struct search *s, const char *path, const char *rest, struct err *e)
{
    struct stat st;
    char *full = file_join(s->folder, path);
    int rc = 0;
    if (lstat(full, &st) != 0)
        rc = errno == ENOENT || errno == ENOTDIR
                 ? 0
                 : err_set_errno(e, errno, "%s: cannot read its type", full);
    else if (S_ISLNK(st.st_mode))
        rc = err_set(e, ERR_CONFIG,
                     "%s is a symbolic link: only files that are in the folder themselves are "
                     "taken; put the file there",
                     full);
    else if (*rest && S_ISDIR(st.st_mode))
        rc = walk(s, path, rest, e);
    else if (*rest)
        rc = 0; /* a file where the pattern wants a folder: not what is looked for */
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_CONFIG, "%s is %s, expected a file (%s)", full,
                     S_ISDIR(st.st_mode) ? "a folder" : "a special file", s->glob);
    else if (s->found)
        rc = err_set(e, ERR_CONFIG, "%s: two files fit %s: %s and %s; one is expected", s->folder,
                     s->glob, s->found, path);
    else
        s->found = xstrdup(path);
    xfree(full);
    return rc;
}

/* below: the folder that is looked into, relative; "" at the top. */
static int walk(struct search *s, const char *below, const char *rest, struct err *e)
{
    size_t n = strcspn(rest, "/");
    char *part = xstrndup(rest, n);
    const char *behind = rest[n] ? rest + n + 1 : "";
    struct file_list names = {0};
    int rc = 0;
    if (strpbrk(part, "*?[")) {
        char *here = *below ? file_join(s->folder, below) : xstrdup(s->folder);
        rc = file_list_names(here, &names, e);
        xfree(here);
    } else {
        char *path = *below ? file_join(below, part) : xstrdup(part);
        rc = take(s, path, behind, e);
        xfree(path);
    }
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        if (fnmatch(part, names.paths[i], FNM_PERIOD | FNM_NOESCAPE) != 0)
            continue;
        char *path = *below ? file_join(below, names.paths[i]) : xstrdup(names.paths[i]);
        rc = take(s, path, behind, e);
        xfree(path);
    }
    file_list_release(&names);
    xfree(part);
    return rc;
}

int folder_glob(const char *folder, const char *glob, char **found, struct err *e)
{
    struct search s = {.folder = folder, .glob = glob};
    CHECK(folder_glob_is_good(glob));
    *found = NULL;
    int rc = walk(&s, "", glob, e);
    if (rc == 0)
        *found = s.found;
    else
        xfree(s.found);
    return rc;
}
