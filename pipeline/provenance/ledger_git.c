#include "pipeline/provenance/ledger_git.h"

#include <errno.h>
#include <git2.h>
#include <git2/sys/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_gate.h"
#include "pipeline/provenance/ledger_incoming.h"
#include "pipeline/provenance/ledger_loose.h"
#include "pipeline/provenance/ledger_memory.h"
#include "pipeline/provenance/ledger_pack.h"
#include "pipeline/provenance/ledger_ssh.h"
#include "pipeline/provenance/ledger_write.h"

#define REF_GLOB "refs/prov/*"
#define SIGNATURE_FIELD "gpgsig" /* git's name for it, whatever made it */
#define LOCK_TRIES 40
#define LOCK_WAIT_MS 50
#define INCOMING_PRIORITY 100 /* above the library's own: new objects go there */
#define BLOB_BYTES_MAX ((uint64_t)256 << 20)

struct git_repo {
    git_repository *repo;
    git_odb *odb;
    char *path;
    int gate; /* flock on the folder that holds the repository: one writer at a time */
    struct git_ids written; /* since it was opened: each after those that it names */
};

/* libgit2's last message, never NULL. */
static const char *said(void)
{
    const git_error *last = git_error_last();
    return last != NULL && last->message != NULL ? last->message : "unknown error";
}

/* Before the library starts. From 1.8 on it makes the others of the first three. */
static void use_memory(void)
{
#if LIBGIT2_VER_MAJOR == 1 && LIBGIT2_VER_MINOR < 8
    static git_allocator allocator = {LEDGER_MEMORY, LEDGER_MEMORY_OTHERS};
#else
    static git_allocator allocator = {LEDGER_MEMORY};
#endif
    git_libgit2_opts(GIT_OPT_SET_ALLOCATOR, &allocator);
}

void git_start(void)
{
    use_memory();
    git_libgit2_init();
    static const int levels[] = {GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG,
                                 GIT_CONFIG_LEVEL_GLOBAL, GIT_CONFIG_LEVEL_PROGRAMDATA};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "");
    git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 1);
    /* It reads what an object names before it writes it, and so what look_first has not seen. */
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_OBJECT_CREATION, 0);
}

/* ---- opening ---- */

/* The library reports a foreign owner as a missing config value: say it properly. */
static int open_failed(const char *path, int code, struct err *e)
{
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (there && st.st_uid != geteuid() && strstr(said(), "safe.directory") != NULL)
        return err_set(e, ERR_IO,
                       "%s belongs to user %ld, this is user %ld: run as its owner, change its "
                       "owner, or use another folder",
                       path, (long)st.st_uid, (long)geteuid());
    if (there && st.st_uid != geteuid() && (code == GIT_EOWNER || code == GIT_ENOTFOUND))
        return err_set(e, ERR_IO, "%s belongs to user %ld, this is user %ld: %s", path,
                       (long)st.st_uid, (long)geteuid(), said());
    if (!there)
        return err_set(e, ERR_MISSING, "%s: no ledger here", path);
    return err_set(e, ERR_FORMAT, "%s: cannot be opened as a git repository: %s", path, said());
}

/* Made beside its place and renamed, so that a kill leaves a whole repository or none. */
static int make_repository(struct git_repo *r, struct err *e)
{
    char *part = xasprintf("%s.new", r->path);
    char *parent = ledger_parent(r->path);
    git_repository *fresh = NULL;
    git_repository_init_options options;
    git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
    options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKDIR;
    options.initial_head = "main";
    int rc = file_remove_tree(part, e);
    if (rc == 0 && git_repository_init_ext(&fresh, part, &options) != 0)
        rc = err_set(e, ERR_IO, "%s: cannot make the ledger: %s", part, said());
    git_repository_free(fresh);
    if (rc == 0 && rename(part, r->path) != 0)
        rc = err_set_errno(e, errno, "%s: cannot make the ledger", r->path);
    if (rc == 0)
        rc = file_sync_folder(parent, e);
    xfree(parent);
    xfree(part);
    return rc;
}

int git_repo_open(const char *path, bool make, struct git_repo **out, struct err *e)
{
    struct git_repo *r = xalloc(sizeof *r);
    r->path = xstrdup(path);
    r->gate = -1;
    int rc = make ? ledger_gate(path, &r->gate, e) : 0;
    if (rc == 0 && make && !file_exists(path))
        rc = make_repository(r, e);
    if (rc == 0 && make)
        rc = loose_mend_head(path, e);
    if (rc == 0 && file_exists(path))
        rc = pack_need_whole(path, e);
    if (rc == 0) {
        /* Not git_repository_open_bare: it looks at neither the format's version nor the owner. */
        unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_NO_DOTGIT;
        int code = git_repository_open_ext(&r->repo, path, flags, NULL);
        if (code == 0)
            code = git_repository_odb(&r->odb, r->repo);
        if (code != 0)
            rc = open_failed(path, code, e);
    }
    if (rc != 0) {
        git_repo_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void git_repo_close(struct git_repo *r)
{
    if (r == NULL)
        return;
    git_odb_free(r->odb);
    git_repository_free(r->repo);
    if (r->gate >= 0)
        close(r->gate);
    git_ids_release(&r->written);
    xfree(r->path);
    xfree(r);
}

/* ---- objects ---- */

/* Where a damaged object lies, as far as that can be said. */
static int object_failed(const struct git_repo *r, const char *what, const git_oid *id,
                         struct err *e)
{
    char hex[GIT_HEX + 1];
    git_oid_tostr(hex, sizeof hex, id);
    char *loose = xasprintf("%s/objects/%.2s/%s", r->path, hex, hex + 2);
    bool is_loose = file_exists(loose);
    bool absent = !is_loose && strstr(said(), "not found") != NULL;
    int rc = 0;
    if (absent)
        rc = err_set(e, ERR_FORMAT, "%s %s is missing from %s", what, hex, r->path);
    else
        rc = err_set(e, ERR_FORMAT, "%s %s is damaged: %s: %s%s", what, hex, said(),
                     is_loose ? "" : "in a pack of ", is_loose ? loose : r->path);
    xfree(loose);
    return rc;
}

/* Every object is looked at (ledger_loose.h) before the library reads it. */
static int look_first(const struct git_repo *r, const git_oid *id, struct err *e)
{
    char hex[GIT_HEX + 1];
    git_oid_tostr(hex, sizeof hex, id);
    return loose_check(r->path, hex, e);
}

static int read_commit(struct git_repo *r, const git_oid *id, git_commit **out, struct err *e)
{
    int rc = look_first(r, id, e);
    if (rc == 0 && git_commit_lookup(out, r->repo, id) != 0)
        rc = object_failed(r, "commit", id, e);
    return rc;
}

static int read_tree(struct git_repo *r, const git_oid *id, git_tree **out, struct err *e)
{
    int rc = look_first(r, id, e);
    if (rc == 0 && git_tree_lookup(out, r->repo, id) != 0)
        rc = object_failed(r, "tree", id, e);
    return rc;
}

static int read_object(struct git_repo *r, const git_oid *id, git_odb_object **out, struct err *e)
{
    int rc = look_first(r, id, e);
    if (rc == 0 && git_odb_read(out, r->odb, id) != 0)
        rc = object_failed(r, "object", id, e);
    return rc;
}

/* ---- writing ---- */

static int add_id(const git_oid *id, void *payload)
{
    struct git_ids *ids = payload;
    if ((ids->n_ids & (ids->n_ids - 1)) == 0)
        ids->ids = xrealloc_array(ids->ids, ids->n_ids == 0 ? 1 : ids->n_ids * 2, sizeof *ids->ids);
    git_oid_tostr(ids->ids[ids->n_ids++].hex, GIT_HEX + 1, id);
    return 0;
}

/* Its id; remembered in the order of writing. */
static int written(struct git_repo *r, const git_oid *id, char hex[GIT_HEX + 1])
{
    git_oid_tostr(hex, GIT_HEX + 1, id);
    return add_id(id, &r->written);
}

int git_repo_put_blob(struct git_repo *r, const void *bytes, size_t n_bytes, char hex[GIT_HEX + 1],
                      struct buf *notes, struct err *e)
{
    git_oid id;
    if (git_odb_hash(&id, bytes, n_bytes, GIT_OBJECT_BLOB) == 0)
        loose_make_way(r->path, git_oid_tostr(hex, GIT_HEX + 1, &id), notes);
    if (git_blob_create_from_buffer(&id, r->repo, bytes, n_bytes) != 0)
        return err_set(e, ERR_IO, "%s: cannot add a file: %s", r->path, said());
    return written(r, &id, hex);
}

int git_repo_put_tree(struct git_repo *r, const struct git_new_entry *entries, size_t n_entries,
                      char hex[GIT_HEX + 1], struct buf *notes, struct err *e)
{
    git_treebuilder *tree = NULL;
    git_oid id;
    int code = git_treebuilder_new(&tree, r->repo, NULL);
    for (size_t i = 0; i < n_entries && code == 0; i++) {
        code = git_oid_fromstr(&id, entries[i].hex);
        if (code == 0)
            code = git_treebuilder_insert(NULL, tree, entries[i].name, &id,
                                          entries[i].is_folder ? GIT_FILEMODE_TREE
                                                               : GIT_FILEMODE_BLOB);
    }
    if (code == 0)
        code = git_treebuilder_write(&id, tree);
    if (code == 0 && loose_make_way(r->path, git_oid_tostr(hex, GIT_HEX + 1, &id), notes))
        code = git_treebuilder_write(&id, tree);
    git_treebuilder_free(tree);
    return code == 0 ? written(r, &id, hex)
                     : err_set(e, ERR_IO, "%s: cannot write a tree: %s", r->path, said());
}

/* A commit in the making. It is made (and signed) once for a parent, however often its ref is busy.
 */
struct making {
    const struct git_new_commit *asked;
    git_oid tree;
    git_signature *who;
    git_oid id;
    git_oid parent; /* zeros: none */
    bool made;
    char *incoming; /* where its objects are until its ref moves */
    int sync_fd;
};

/* As commit objects are: the signature is a header of its own, over all the rest. */
static int make_signed(struct git_repo *r, struct making *m, const git_tree *tree, size_t n_parents,
                       const git_commit **parents, struct err *e)
{
    git_buf plain = GIT_BUF_INIT;
    struct buf signature;
    buf_init(&signature, BUF_MAX_DEFAULT);
    int code = git_commit_create_buffer(&plain, r->repo, m->who, m->who, "UTF-8", m->asked->message,
                                        tree, n_parents, parents);
    if (code == 0 && ssh_sign(m->asked->sign_key, plain.ptr, plain.size, &signature, e) != 0)
        code = GIT_EUSER;
    if (code == 0)
        code = git_commit_create_with_signature(&m->id, r->repo, plain.ptr, buf_text(&signature),
                                                SIGNATURE_FIELD);
    buf_release(&signature);
    git_buf_dispose(&plain);
    return code;
}

static int make_commit(struct git_repo *r, struct making *m, const git_commit *parent,
                       struct err *e)
{
    static const git_oid none = {{0}};
    const git_oid *parent_id = parent != NULL ? git_commit_id(parent) : &none;
    const git_commit *parents[1] = {parent};
    size_t n_parents = parent != NULL ? 1 : 0;
    git_tree *tree = NULL;
    if (m->made && git_oid_equal(&m->parent, parent_id))
        return 0;
    int code = read_tree(r, &m->tree, &tree, e) != 0 ? GIT_EUSER : 0;
    if (code == 0 && m->asked->sign_key != NULL)
        code = make_signed(r, m, tree, n_parents, parents, e);
    else if (code == 0)
        code = git_commit_create(&m->id, r->repo, NULL, m->who, m->who, "UTF-8", m->asked->message,
                                 tree, n_parents, parents);
    git_oid_cpy(&m->parent, parent_id);
    m->made = code == 0;
    git_tree_free(tree);
    return code;
}

/* One try: 0, or libgit2's code; GIT_EUSER when e has the reason. */
static int commit_once(struct git_repo *r, struct making *m, struct err *e)
{
    const char *ref = m->asked->ref;
    git_reference *old_ref = NULL;
    git_reference *new_ref = NULL;
    git_commit *parent = NULL;
    int code = git_reference_lookup(&old_ref, r->repo, ref);
    if (code == GIT_ENOTFOUND)
        code = 0;
    if (code == 0 && old_ref != NULL &&
        read_commit(r, git_reference_target(old_ref), &parent, e) != 0)
        code = GIT_EUSER;
    if (code == 0)
        code = make_commit(r, m, parent, e);
    if (code == 0 && incoming_take(r->path, m->incoming, m->sync_fd, &r->written, e) != 0)
        code = GIT_EUSER;
    git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
    if (code == 0 && old_ref != NULL)
        code = git_reference_create_matching(&new_ref, r->repo, ref, &m->id, 1,
                                             git_reference_target(old_ref), "run");
    else if (code == 0)
        code = git_reference_create(&new_ref, r->repo, ref, &m->id, 0, "run");
    git_commit_free(parent);
    git_reference_free(new_ref);
    git_reference_free(old_ref);
    return code;
}

/* From here on objects are written there, and not synced one by one. */
static int open_incoming(struct git_repo *r, struct making *m, struct err *e)
{
    git_odb_backend *backend = NULL;
    int rc = incoming_open(r->path, &m->incoming, &m->sync_fd, e);
    if (rc == 0 && (git_odb_backend_loose(&backend, m->incoming, -1, 0, 0, 0) != 0 ||
                    git_odb_add_backend(r->odb, backend, INCOMING_PRIORITY) != 0))
        rc = err_set(e, ERR_IO, "%s: %s", m->incoming, said());
    git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 0);
    return rc;
}

int git_repo_commit(struct git_repo *r, const struct git_new_commit *asked,
                    char commit[GIT_HEX + 1], struct buf *notes, struct err *e)
{
    CHECK(r->gate >= 0);
    int valid = 0;
    const char *ref = asked->ref;
    if (git_reference_name_is_valid(&valid, ref) != 0 || !valid || !str_starts(ref, "refs/prov/"))
        return err_set(e, ERR_CONFIG, "\"%s\" is not a ref below refs/prov/", ref);
    struct making m = {.asked = asked};
    char tree[GIT_HEX + 1];
    int rc = open_incoming(r, &m, e);
    if (rc == 0)
        rc = ledger_write_tree(r, asked->files, tree, notes, e);
    if (rc == 0 && git_oid_fromstr(&m.tree, tree) != 0)
        rc = err_set(e, ERR_IO, "%s: %s", r->path, said());
    if (rc == 0 && git_signature_new(&m.who, "fmforge", "fmforge@localhost", asked->time, 0) != 0)
        rc = err_set(e, ERR_IO, "%s: %s", r->path, said());
    int code = rc;
    for (int i = 0; rc == 0; i++) {
        code = commit_once(r, &m, e);
        bool busy = code == GIT_ELOCKED || code == GIT_EMODIFIED || code == GIT_EEXISTS;
        if (!busy || i > LOCK_TRIES)
            break;
        if (i == LOCK_TRIES)
            ledger_remove_lock(r->path, ref, notes);
        usleep(LOCK_WAIT_MS * 1000);
    }
    if (rc == 0 && code == GIT_EUSER)
        rc = err_wrap(e, "%s: cannot commit on %s", r->path, ref);
    else if (rc == 0 && code != 0)
        rc = err_set(e, ERR_IO, "%s: cannot commit on %s: %s", r->path, ref, said());
    if (rc == 0)
        git_oid_tostr(commit, GIT_HEX + 1, &m.id);
    git_signature_free(m.who);
    if (m.sync_fd >= 0)
        close(m.sync_fd);
    xfree(m.incoming);
    return rc;
}

/* ---- reading ---- */

static void fill_info(struct git_commit_info *info, const git_commit *c, const char *ref)
{
    *info = (struct git_commit_info){.time = (int64_t)git_commit_time(c)};
    git_oid_tostr(info->id, sizeof info->id, git_commit_id(c));
    git_oid_tostr(info->tree, sizeof info->tree, git_commit_tree_id(c));
    if (git_commit_parentcount(c) > 0)
        git_oid_tostr(info->parent, sizeof info->parent, git_commit_parent_id(c, 0));
    const char *message = git_commit_message(c);
    size_t n = strlen(message);
    while (n > 0 && message[n - 1] == '\n')
        n--;
    info->message = xstrndup(message, n);
    info->ref = xstrdup(ref);
}

/* Follows first parents from a ref's tip; at most max (0 = all). */
static int walk_ref(struct git_repo *r, const char *ref, size_t max, struct git_commits *out,
                    struct err *e)
{
    git_oid id;
    int code = git_reference_name_to_id(&id, r->repo, ref);
    if (code == GIT_ENOTFOUND)
        return err_set(e, ERR_MISSING, "%s: no ref %s", r->path, ref);
    if (code != 0)
        return err_set(e, ERR_FORMAT, "%s: ref %s is damaged: %s", r->path, ref, said());
    int rc = 0;
    bool more = true;
    for (size_t n = 0; rc == 0 && more && (max == 0 || n < max); n++) {
        git_commit *c = NULL;
        rc = read_commit(r, &id, &c, e);
        if (rc != 0)
            break;
        fill_info(git_commits_add(out), c, ref);
        more = git_commit_parentcount(c) > 0;
        if (more)
            git_oid_cpy(&id, git_commit_parent_id(c, 0));
        git_commit_free(c);
    }
    return rc == 0 ? 0 : err_wrap(e, "%s", ref);
}

int git_repo_log(struct git_repo *r, const char *ref, size_t max, struct git_commits *out,
                 struct err *e)
{
    *out = (struct git_commits){0};
    int rc = 0;
    if (ref != NULL) {
        rc = walk_ref(r, ref, max, out, e);
    } else {
        git_reference_iterator *refs = NULL;
        const char *name = NULL;
        struct buf damage;
        buf_init(&damage, BUF_MAX_DEFAULT);
        rc = loose_check_refs(r->path, &damage, e);
        if (rc == 0 && damage.n_bytes > 0)
            rc = err_set(e, ERR_FORMAT, "%.*s", (int)strcspn(buf_text(&damage), "\n"),
                         buf_text(&damage));
        buf_release(&damage);
        if (rc == 0 && git_reference_iterator_glob_new(&refs, r->repo, REF_GLOB) != 0)
            rc = err_set(e, ERR_FORMAT, "%s: refs cannot be read: %s", r->path, said());
        int code = 0;
        while (rc == 0 && (code = git_reference_next_name(&name, refs)) == 0)
            rc = walk_ref(r, name, max, out, e);
        if (rc == 0 && code != GIT_ITEROVER)
            rc = err_set(e, ERR_FORMAT, "%s: refs cannot be read: %s", r->path, said());
        git_reference_iterator_free(refs);
        git_commits_sort(out);
        while (max > 0 && out->n_items > max)
            git_commit_info_release(&out->items[--out->n_items]);
    }
    if (rc != 0)
        git_commits_release(out);
    return rc;
}

static int find_commit(struct git_repo *r, const char *hex, git_commit **out, struct err *e)
{
    git_oid id;
    size_t n = strlen(hex);
    if (n < 6 || n > GIT_HEX || strspn(hex, "0123456789abcdef") != n ||
        git_oid_fromstrn(&id, hex, n) != 0)
        return err_set(e, ERR_CONFIG,
                       "\"%s\" is no run: expected 6 to 40 hex digits of its id, last or last~N",
                       hex);
    git_oid full;
    int code = git_odb_exists_prefix(&full, r->odb, &id, n);
    if (code == GIT_EAMBIGUOUS)
        return err_set(e, ERR_CONFIG, "run id %s is ambiguous: give more digits", hex);
    if (code != 0)
        return err_set(e, ERR_MISSING, "%s: no run %s", r->path, hex);
    return read_commit(r, &full, out, e);
}

int git_repo_signature(struct git_repo *r, const char *commit, struct buf *bytes,
                       struct buf *signature, struct err *e)
{
    git_commit *c = NULL;
    git_buf found = GIT_BUF_INIT;
    git_buf rest = GIT_BUF_INIT;
    git_oid id;
    buf_clear(bytes);
    buf_clear(signature);
    int rc = find_commit(r, commit, &c, e);
    if (rc != 0)
        return rc;
    git_oid_cpy(&id, git_commit_id(c));
    int code = git_commit_extract_signature(&found, &rest, r->repo, &id, SIGNATURE_FIELD);
    if (code == 0) {
        buf_add(bytes, rest.ptr, rest.size);
        buf_add(signature, found.ptr, found.size);
        buf_add_char(signature, '\n');
    } else if (code != GIT_ENOTFOUND) {
        rc = object_failed(r, "commit", &id, e);
    }
    git_buf_dispose(&found);
    git_buf_dispose(&rest);
    git_commit_free(c);
    return rc;
}

static void add_entry(struct git_entries *l, const char *folder, const git_tree_entry *entry)
{
    if ((l->n_items & (l->n_items - 1)) == 0)
        l->items = xrealloc_array(l->items, l->n_items == 0 ? 1 : l->n_items * 2, sizeof *l->items);
    struct git_entry *item = &l->items[l->n_items++];
    item->path = xasprintf("%s%s", folder, git_tree_entry_name(entry));
    git_oid_tostr(item->blob, sizeof item->blob, git_tree_entry_id(entry));
}

/* Adds the files of a tree and of those below it; folder is "" or ends with a slash. */
static int add_tree(struct git_repo *r, const git_oid *id, const char *folder, int depth,
                    struct git_entries *out, struct err *e)
{
    git_tree *tree = NULL;
    if (depth > LIMIT_FOLDER_DEPTH)
        return err_set(e, ERR_LIMIT, "%s: a tree is deeper than %d", r->path, LIMIT_FOLDER_DEPTH);
    int rc = read_tree(r, id, &tree, e);
    for (size_t i = 0; rc == 0 && i < git_tree_entrycount(tree); i++) {
        const git_tree_entry *entry = git_tree_entry_byindex(tree, i);
        if (git_tree_entry_type(entry) == GIT_OBJECT_TREE) {
            char *below = xasprintf("%s%s/", folder, git_tree_entry_name(entry));
            rc = add_tree(r, git_tree_entry_id(entry), below, depth + 1, out, e);
            xfree(below);
        } else {
            add_entry(out, folder, entry);
        }
    }
    git_tree_free(tree);
    return rc;
}

int git_repo_files(struct git_repo *r, const char *commit, struct git_commit_info *info,
                   struct git_entries *out, struct err *e)
{
    *out = (struct git_entries){0};
    git_commit *c = NULL;
    int rc = find_commit(r, commit, &c, e);
    if (rc == 0)
        rc = add_tree(r, git_commit_tree_id(c), "", 0, out, e);
    if (rc == 0)
        git_entries_sort(out);
    if (rc == 0 && info != NULL)
        fill_info(info, c, "");
    if (rc != 0)
        git_entries_release(out);
    git_commit_free(c);
    return rc;
}

int git_repo_blob_at(struct git_repo *r, const char *commit, const char *path,
                     char blob[GIT_HEX + 1], struct err *e)
{
    git_commit *c = NULL;
    git_oid id;
    int rc = find_commit(r, commit, &c, e);
    if (rc == 0)
        git_oid_cpy(&id, git_commit_tree_id(c));
    for (const char *part = path; rc == 0 && part != NULL;) {
        git_tree *tree = NULL;
        size_t n = strcspn(part, "/");
        char *name = xstrndup(part, n);
        rc = read_tree(r, &id, &tree, e);
        const git_tree_entry *entry = rc == 0 ? git_tree_entry_byname(tree, name) : NULL;
        if (rc == 0 && entry == NULL)
            rc = err_set(e, ERR_MISSING, "run %.12s has no %s", commit, path);
        if (rc == 0)
            git_oid_cpy(&id, git_tree_entry_id(entry));
        part = part[n] == '/' ? part + n + 1 : NULL;
        git_tree_free(tree);
        xfree(name);
    }
    if (rc == 0)
        git_oid_tostr(blob, GIT_HEX + 1, &id);
    git_commit_free(c);
    return rc;
}

static int open_object(struct git_repo *r, const char *hex, git_oid *id, git_odb_object **object,
                       struct err *e)
{
    if (git_oid_fromstr(id, hex) != 0)
        return err_set(e, ERR_CONFIG, "\"%s\" is no object id", hex);
    return read_object(r, id, object, e);
}

int git_repo_blob(struct git_repo *r, const char *blob, struct buf *out, struct err *e)
{
    git_oid id;
    git_odb_object *object = NULL;
    buf_clear(out);
    int rc = open_object(r, blob, &id, &object, e);
    if (rc != 0)
        return rc;
    if (git_odb_object_size(object) > BLOB_BYTES_MAX)
        rc = err_set(e, ERR_LIMIT, "object %s is larger than %llu bytes", blob,
                     (unsigned long long)BLOB_BYTES_MAX);
    else
        buf_add(out, git_odb_object_data(object), git_odb_object_size(object));
    git_odb_object_free(object);
    return rc;
}

/* ---- checking ---- */

int git_repo_ids(struct git_repo *r, struct git_ids *out, struct err *e)
{
    *out = (struct git_ids){0};
    if (git_odb_foreach(r->odb, add_id, out) != 0)
        return err_set(e, ERR_FORMAT, "%s: objects cannot be listed: %s", r->path, said());
    return 0;
}

static void check_link(struct git_repo *r, const char *from, const git_oid *id, struct buf *damage)
{
    if (git_odb_exists(r->odb, id))
        return;
    char hex[GIT_HEX + 1];
    git_oid_tostr(hex, sizeof hex, id);
    buf_printf(damage, "object %s is missing (named by %s)\n", hex, from);
}

static void check_commit_links(struct git_repo *r, const git_oid *id, const char *hex,
                               struct buf *damage)
{
    git_commit *commit = NULL;
    if (git_commit_lookup(&commit, r->repo, id) != 0) {
        buf_printf(damage, "commit %s cannot be read: %s\n", hex, said());
        return;
    }
    check_link(r, hex, git_commit_tree_id(commit), damage);
    for (unsigned i = 0; i < git_commit_parentcount(commit); i++)
        check_link(r, hex, git_commit_parent_id(commit, i), damage);
    git_commit_free(commit);
}

static void check_tree_links(struct git_repo *r, const git_oid *id, const char *hex,
                             struct buf *damage)
{
    git_tree *tree = NULL;
    if (git_tree_lookup(&tree, r->repo, id) != 0) {
        buf_printf(damage, "tree %s cannot be read: %s\n", hex, said());
        return;
    }
    for (size_t i = 0; i < git_tree_entrycount(tree); i++)
        check_link(r, hex, git_tree_entry_id(git_tree_entry_byindex(tree, i)), damage);
    git_tree_free(tree);
}

int git_repo_object(struct git_repo *r, const char *hex, const char **type, struct buf *out,
                    struct buf *damage, struct err *e)
{
    git_oid id;
    git_odb_object *object = NULL;
    buf_clear(out);
    int rc = open_object(r, hex, &id, &object, e);
    if (rc != 0)
        return rc;
    git_object_t kind = git_odb_object_type(object);
    *type = git_object_type2string(kind);
    buf_add(out, git_odb_object_data(object), git_odb_object_size(object));
    git_odb_object_free(object);
    if (kind == GIT_OBJECT_COMMIT)
        check_commit_links(r, &id, hex, damage);
    else if (kind == GIT_OBJECT_TREE)
        check_tree_links(r, &id, hex, damage);
    return 0;
}

int git_repo_check_refs(struct git_repo *r, uint64_t *n_refs, struct buf *damage, struct err *e)
{
    loose_check_head(r->path, damage);
    int rc = loose_check_refs(r->path, damage, e);
    if (rc != 0)
        return rc;
    git_reference_iterator *refs = NULL;
    git_reference *ref = NULL;
    *n_refs = 0;
    if (git_reference_iterator_new(&refs, r->repo) != 0)
        return err_set(e, ERR_FORMAT, "%s: refs cannot be read: %s", r->path, said());
    int code = 0;
    while ((code = git_reference_next(&ref, refs)) == 0) {
        ++*n_refs;
        git_commit *commit = NULL;
        const git_oid *id = git_reference_target(ref);
        struct err why = {0};
        if (id == NULL)
            buf_printf(damage, "ref %s is symbolic\n", git_reference_name(ref));
        else if (read_commit(r, id, &commit, &why) != 0)
            buf_printf(damage, "ref %s: %s\n", git_reference_name(ref), why.text);
        git_commit_free(commit);
        git_reference_free(ref);
    }
    if (code != GIT_ITEROVER)
        buf_printf(damage, "%s: refs cannot be read: %s\n", r->path, said());
    git_reference_iterator_free(refs);
    return 0;
}

/* ---- the source code around a path ---- */

static int source_failed(const char *path, int code, struct err *e)
{
    if (code == GIT_ENOTFOUND && strstr(said(), "safe.directory") == NULL)
        return err_set(e, ERR_MISSING, "no git repository around %s", path);
    if (code == GIT_EOWNER || strstr(said(), "safe.directory") != NULL ||
        strstr(said(), "not owned") != NULL)
        return err_set(e, ERR_MISSING, "the git repository around %s belongs to another user",
                       path);
    return err_set(e, ERR_MISSING, "the git repository around %s cannot be read: %s", path, said());
}

static int read_status(git_repository *repo, struct git_source *out, struct err *e)
{
    git_status_list *list = NULL;
    git_status_options options;
    git_status_options_init(&options, GIT_STATUS_OPTIONS_VERSION);
    options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
    options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS |
                    GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
    if (git_status_list_new(&list, repo, &options) != 0)
        return err_set(e, ERR_MISSING, "its status cannot be read: %s", said());
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
    return err_set(e, ERR_MISSING, "the git repository around %s is damaged: %s", path, said());
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
                     said());
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
