#include "pipeline/provenance/ledger_check.h"

#include "pipeline/base/str.h"
#include "pipeline/provenance/ledger_git.h"
#include "pipeline/provenance/ledger_pack.h"

#define OBJECT_BYTES_MAX ((size_t)1 << 30)

int ledger_check_all(const char *repo, struct ledger_check *out, struct buf *damage, struct err *e)
{
    *out = (struct ledger_check){0};
    struct git_repo *r = NULL;
    struct git_ids ids = {0};
    struct buf content;
    buf_init(&content, OBJECT_BYTES_MAX);
    int rc = pack_check(repo, damage, e);
    if (rc == 0 && damage->n_bytes > 0) {
        buf_release(&content);
        return 0; /* the rest would only be found missing */
    }
    if (rc == 0)
        rc = git_repo_open(repo, false, &r, e);
    if (rc == 0)
        rc = git_repo_ids(r, &ids, e);
    out->n_objects = ids.n_ids;
    for (size_t i = 0; rc == 0 && i < ids.n_ids; i++) {
        struct err why = {0};
        const char *type = "";
        if (git_repo_object(r, ids.ids[i].hex, &type, &content, damage, &why) != 0)
            buf_printf(damage, "%s\n", why.text);
        out->n_commits += str_eq(type, "commit");
    }
    if (rc == 0)
        rc = git_repo_check_refs(r, &out->n_refs, damage, e);
    git_ids_release(&ids);
    git_repo_close(r);
    buf_release(&content);
    return rc;
}
