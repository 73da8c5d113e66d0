/* What ledger_git.h says of the source code around a path: another repository than the ledger. */

#include <git2.h>
#include <string.h>

#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_git.h"

static int source_failed(const char *path, int code, struct err *e)
{
    if (code == GIT_ENOTFOUND && strstr(git_said(), "safe.directory") == NULL)
        return err_set(e, ERR_MISSING, "no git repository around %s", path);
    if (code == GIT_EOWNER || strstr(git_said(), "safe.directory") != NULL ||
        strstr(git_said(), "not owned") != NULL)
        return err_set(e, ERR_MISSING, "the git repository around %s belongs to another user",
                       path);
    return err_set(e, ERR_MISSING, "the git repository around %s cannot be read: %s", path,
                   git_said());
}

static int read_status(git_repository *repo, struct git_source *out, struct err *e)
{
    git_status_list *list = NULL;
    git_status_options options;
    git_status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
    options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS |
                    GIT_STATUS_OPT_EXCLUDE_SUBMODULES | GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
    if (git_status_list_new(&list, repo, &options) != 0)
        return err_set(e, ERR_MISSING, "its status cannot be read: %s", git_said());
    size_t n = git_status_list_entrycount(list);
    out->dirty = xalloc_array(n + 1, sizeof *out->dirty);
    out->deleted = xalloc_array(n + 1, sizeof *out->deleted);
    for (size_t i = 0; i < n; i++) {
        const git_status_entry *entry = git_status_byindex(list, i);
        const git_diff_delta *delta =
            entry->index_to_workdir ? entry->index_to_workdir : entry->head_to_index;
        if (delta != NULL && delta->new_file.path != NULL)
            out->dirty[out->n_dirty++] = xstrdup(delta->new_file.path);
    }
    git_status_list_free(list);
    git_source_order(out);
    return 0;
}

/* HEAD may name a commit that is not there, and the status would say nothing of it. */
static int check_head(git_reference *head, const char *path, struct err *e)
{
    git_object *tree = NULL;
    int code = git_reference_peel(&tree, head, GIT_OBJECT_TREE);
    git_object_free(tree);
    if (code == 0)
        return 0;
    return err_set(e, ERR_MISSING, "the git repository around %s is damaged: %s", path, git_said());
}

int git_source_read(const char *path, struct git_source *out, struct err *e)
{
    *out = (struct git_source){0};
    git_repository *repo = NULL;
    git_reference *head = NULL;
    int rc = 0;
    int code = git_repository_open_ext(&repo, path, 0, NULL);
    if (code != 0)
        return source_failed(path, code, e);
    code = git_repository_head(&head, repo);
    if (git_repository_is_bare(repo))
        rc = err_set(e, ERR_MISSING, "the git repository around %s has no work tree", path);
    else if (code == GIT_EUNBORNBRANCH || code == GIT_ENOTFOUND)
        rc = err_set(e, ERR_MISSING, "the git repository around %s has no commit yet", path);
    else if (code != 0)
        rc = err_set(e, ERR_MISSING, "the git repository around %s cannot be read: %s", path,
                     git_said());
    if (rc == 0)
        rc = check_head(head, path, e);
    if (rc == 0) {
        git_oid_tostr(out->commit, sizeof out->commit, git_reference_target(head));
        if (git_reference_is_branch(head))
            out->branch = xstrdup(git_reference_shorthand(head));
        out->root = xstrdup(git_repository_workdir(repo));
        rc = read_status(repo, out, e);
    }
    if (rc != 0)
        git_source_release(out);
    git_reference_free(head);
    git_repository_free(repo);
    return rc;
}
