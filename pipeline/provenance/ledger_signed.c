#include "pipeline/provenance/ledger_signed.h"

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_ssh.h"

static void put_verdict(struct json *item, const struct ssh_verdict *v)
{
    json_put_string(item, "state", v->good ? "good" : "bad");
    if (v->by != NULL)
        json_put_string(item, "by", v->by);
    if (v->key != NULL)
        json_put_string(item, "key", v->key);
    if (v->reason != NULL)
        json_put_string(item, "reason", v->reason);
}

static int check_one(struct git_repo *repo, const char *signers, const struct git_commit_info *info,
                     struct json *list, struct err *e)
{
    struct buf bytes, signature;
    struct ssh_verdict verdict = {0};
    buf_init(&bytes, BUF_MAX_DEFAULT);
    buf_init(&signature, BUF_MAX_DEFAULT);
    struct json *item = json_new_object();
    json_put_string(item, "commit", info->id);
    json_put_string(item, "ref", info->ref);
    json_put_i64(item, "time", info->time);
    int rc = git_repo_signature(repo, info->id, &bytes, &signature, e);
    if (rc == 0 && signature.n_bytes == 0)
        json_put_string(item, "state", "unsigned");
    else if (rc == 0)
        rc = ssh_check(signers, &bytes, &signature, info->time, &verdict, e);
    if (rc == 0 && signature.n_bytes > 0)
        put_verdict(item, &verdict);
    if (rc == 0)
        json_append(list, item);
    else
        json_free(item);
    ssh_verdict_release(&verdict);
    buf_release(&bytes);
    buf_release(&signature);
    return rc;
}

/* One run as a list of one. */
static int find_one(struct git_repo *repo, const char *commit, struct git_commits *out,
                    struct err *e)
{
    struct git_commit_info info = {0};
    struct git_entries unused = {0};
    int rc = git_repo_files(repo, commit, &info, &unused, e);
    git_entries_release(&unused);
    if (rc == 0)
        *git_commits_add(out) = info;
    return rc;
}

int ledger_check_signatures(struct git_repo *repo, const char *signers, const char *commit,
                            struct json *answer, struct err *e)
{
    struct git_commits commits = {0};
    int rc = commit != NULL ? find_one(repo, commit, &commits, e)
                            : git_repo_log(repo, NULL, 0, &commits, e);
    struct json *list = json_new_array();
    for (size_t i = 0; rc == 0 && i < commits.n_items; i++)
        rc = check_one(repo, signers, &commits.items[i], list, e);
    json_put(answer, "signatures", list);
    git_commits_release(&commits);
    return rc;
}
