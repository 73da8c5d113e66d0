#include "pipeline/provenance/ledger_verbs.h"

#include <string.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/flag.h"
#include "pipeline/base/json.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_check.h"
#include "pipeline/provenance/ledger_git.h"
#include "pipeline/provenance/ledger_signed.h"
#include "pipeline/provenance/ledger_ssh.h"
#include "pipeline/provenance/runs.h"

/* A run's own files: statements of 100,000 stages stay far below. */
#define FILE_BYTES_MAX ((size_t)1 << 30)
/* Changed source files that are listed, and those that are hashed; what is above is counted and
 * said. */
#define DIRTY_FILES_MAX 500
#define DIRTY_BYTES_MAX ((uint64_t)64 << 20)

struct options {
    const char *repo;
    const char *ref;
    const char *files;
    const char *message_file;
    int64_t time;
    int64_t max;
    const char *commit;
    const char *path;
    const char *digest;
    const char *sign;
    const char *signers;
};

#define N_FLAGS 11

static void make_flags(struct options *o, struct flag flags[N_FLAGS])
{
    const struct flag table[N_FLAGS] = {
        {"repo", 0, FLAG_STRING, &o->repo, "DIR", "the ledger: a bare git repository"},
        {"ref", 0, FLAG_STRING, &o->ref, "REF", "refs/prov/NAME"},
        {"files", 0, FLAG_STRING, &o->files, "FILE", "commit: the run's files (run_files.h)"},
        {"message-file", 0, FLAG_STRING, &o->message_file, "FILE", "commit: its message"},
        {"time", 0, FLAG_INT, &o->time, "UNIX", "commit: its time in seconds"},
        {"max", 0, FLAG_INT, &o->max, "N", "log: at most N runs (0: all)"},
        {"commit", 0, FLAG_STRING, &o->commit, "ID",
         "cat, list, show, signatures: the run, 6 to 40 digits"},
        {"path", 0, FLAG_STRING, &o->path, "PATH", "cat, find: a path of the run; source: a path"},
        {"digest", 0, FLAG_STRING, &o->digest, "HEX", "find: a SHA-256"},
        {"sign", 0, FLAG_STRING, &o->sign, "KEY", "commit, sign: an SSH key"},
        {"signers", 0, FLAG_STRING, &o->signers, "FILE", "signatures: allowed signers"},
    };
    memcpy(flags, table, sizeof table);
}

struct json *ledger_text(const char *s)
{
    size_t n = strlen(s);
    if (str_utf8_prefix(s, n) == n)
        return json_new_string(s);
    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s < 0x80)
            buf_add_char(&b, *s);
        else
            buf_printf(&b, "\\x%02x", (unsigned char)*s);
    }
    struct json *v = json_new_string(buf_text(&b));
    buf_release(&b);
    return v;
}

static struct json *info_to_json(const struct git_commit_info *info)
{
    struct json *v = json_new_object();
    json_put_string(v, "commit", info->id);
    json_put(v, "ref", ledger_text(info->ref));
    json_put_i64(v, "time", info->time);
    json_put(v, "message", ledger_text(info->message));
    if (info->parent[0] != '\0')
        json_put_string(v, "parent", info->parent);
    return v;
}

static int need(const char *value, const char *flag, struct err *e)
{
    return value != NULL ? 0 : err_set(e, ERR_CONFIG, "--%s is missing", flag);
}

static int do_commit(const struct options *o, struct json *answer, struct err *e)
{
    struct git_repo *repo = NULL;
    struct buf message, notes;
    struct run_files files = {NULL, 0};
    char commit[GIT_HEX + 1] = "";
    buf_init(&message, BUF_MAX_DEFAULT);
    buf_init(&notes, BUF_MAX_DEFAULT);
    int rc = need(o->ref, "ref", e);
    if (rc == 0)
        rc = need(o->files, "files", e);
    if (rc == 0)
        rc = need(o->message_file, "message-file", e);
    if (rc == 0 && (o->time <= 0 || o->time > 253402300799))
        rc = err_set(e, ERR_CONFIG, "--time is missing or no Unix time");
    if (rc == 0)
        rc = file_read(o->message_file, LIMIT_JSON_BYTES, &message, e);
    if (rc == 0 && str_utf8_prefix(buf_text(&message), message.n_bytes) != message.n_bytes)
        rc = err_set(e, ERR_FORMAT, "%s: not UTF-8", o->message_file);
    if (rc == 0)
        rc = run_files_read(o->files, RUN_FILES_BYTES_MAX, &files, e);
    if (rc == 0)
        rc = git_repo_open(o->repo, true, &repo, e);
    if (rc == 0)
        rc = git_repo_commit(
            repo, &(struct git_new_commit){o->ref, &files, buf_text(&message), o->time, o->sign},
            commit, &notes, e);
    if (rc == 0) {
        json_put_string(answer, "commit", commit);
        if (notes.n_bytes > 0)
            json_put(answer, "notes", ledger_text(buf_text(&notes)));
    }
    git_repo_close(repo);
    run_files_release(&files);
    buf_release(&message);
    buf_release(&notes);
    return rc;
}

/* A trial: can this key sign now? */
static int do_sign(const struct options *o, struct err *e)
{
    struct buf signature;
    buf_init(&signature, BUF_MAX_DEFAULT);
    int rc = need(o->sign, "sign", e);
    if (rc == 0)
        rc = ssh_sign(o->sign, "trial\n", 6, &signature, e);
    buf_release(&signature);
    return rc;
}

static int do_signatures(struct git_repo *repo, const struct options *o, struct json *answer,
                         struct err *e)
{
    int rc = need(o->signers, "signers", e);
    return rc == 0 ? ledger_check_signatures(repo, o->signers, o->commit, answer, e) : rc;
}

static int do_log(struct git_repo *repo, const struct options *o, struct json *answer,
                  struct err *e)
{
    struct git_commits commits;
    int rc = git_repo_log(repo, o->ref, o->max > 0 ? (size_t)o->max : 0, &commits, e);
    if (rc != 0)
        return rc;
    struct json *list = json_new_array();
    for (size_t i = 0; i < commits.n_items; i++)
        json_append(list, info_to_json(&commits.items[i]));
    json_put(answer, "commits", list);
    git_commits_release(&commits);
    return 0;
}

static void put_content(struct json *item, const struct buf *b)
{
    const char *bytes = buf_text(b);
    if (memchr(bytes, 0, b->n_bytes) == NULL && str_utf8_prefix(bytes, b->n_bytes) == b->n_bytes) {
        json_put_string(item, "text", bytes);
        return;
    }
    struct buf hex;
    buf_init(&hex, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < b->n_bytes; i++)
        buf_printf(&hex, "%02x", (unsigned char)bytes[i]);
    json_put_string(item, "hex", buf_text(&hex));
    buf_release(&hex);
}

static int do_cat(struct git_repo *repo, const struct options *o, struct json *answer,
                  struct err *e)
{
    struct buf b;
    char blob[GIT_HEX + 1];
    buf_init(&b, FILE_BYTES_MAX);
    int rc = need(o->commit, "commit", e);
    if (rc == 0)
        rc = need(o->path, "path", e);
    if (rc == 0)
        rc = git_repo_blob_at(repo, o->commit, o->path, blob, e);
    if (rc == 0)
        rc = git_repo_blob(repo, blob, &b, e);
    if (rc == 0) {
        json_put_string(answer, "blob", blob);
        json_put_i64(answer, "bytes", (int64_t)b.n_bytes);
        put_content(answer, &b);
    }
    buf_release(&b);
    return rc;
}

static int do_show(struct git_repo *repo, const struct options *o, struct json *answer,
                   struct err *e)
{
    struct git_commit_info info = {0};
    struct git_entries entries = {0};
    int rc = need(o->commit, "commit", e);
    if (rc == 0)
        rc = git_repo_files(repo, o->commit, &info, &entries, e);
    if (rc != 0)
        return rc;
    struct json *list = json_new_array();
    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    for (size_t i = 0; i < entries.n_items; i++) {
        struct json *item = json_new_object();
        struct err damage = {0};
        json_put(item, "path", ledger_text(entries.items[i].path));
        json_put_string(item, "blob", entries.items[i].blob);
        if (git_repo_blob(repo, entries.items[i].blob, &b, &damage) != 0) {
            json_put(item, "damage", ledger_text(damage.text));
        } else {
            json_put_i64(item, "bytes", (int64_t)b.n_bytes);
            put_content(item, &b);
        }
        json_append(list, item);
    }
    json_put_string(answer, "commit", info.id);
    json_put_i64(answer, "time", info.time);
    json_put(answer, "message", ledger_text(info.message));
    if (info.parent[0] != '\0')
        json_put_string(answer, "parent", info.parent);
    json_put(answer, "files", list);
    buf_release(&b);
    git_entries_release(&entries);
    git_commit_info_release(&info);
    return 0;
}

/* What find looks for, and where it was found: a line of a `sha256sum` file. */
struct search {
    const char *digest;
    const char *path;
    bool made; /* in run.json: only as what a stage made */
    char found_digest[SHA256_HEX + 1];
    char *found_path;
};

static bool search_lines(struct search *s, const char *lines)
{
    for (const char *line = lines; *line != '\0';) {
        const char *end = strchr(line, '\n');
        size_t n = end != NULL ? (size_t)(end - line) : strlen(line);
        bool hit =
            n > SHA256_HEX + 2 &&
            (s->digest != NULL ? memcmp(line, s->digest, SHA256_HEX) == 0
                               : n - SHA256_HEX - 2 == strlen(s->path) &&
                                     memcmp(line + SHA256_HEX + 2, s->path, strlen(s->path)) == 0);
        if (hit) {
            memcpy(s->found_digest, line, SHA256_HEX);
            s->found_path = xstrndup(line + SHA256_HEX + 2, n - SHA256_HEX - 2);
            return true;
        }
        line += n + (end != NULL ? 1 : 0);
    }
    return false;
}

/* Did a stage of this run make it, now or before? A blocked one may have a result, too: no gate
 * that it needs has let it through, and the run has neither its recipe nor its statement. */
static bool run_made(const char *text, size_t n, const char *digest)
{
    struct json *run = NULL;
    struct err ignored = {0};
    bool made = false;
    if (json_parse(text, n, &run, &ignored) != 0)
        return false;
    for (const struct json *s = json_items(run, "stages"); s != NULL && !made; s = json_next(s)) {
        if (!run_stage_made(s))
            continue;
        for (const struct json *o = json_items(s, "outputs"); o != NULL; o = json_next(o))
            made = made || str_eq(json_text(o, "id"), digest);
    }
    json_free(run);
    return made;
}

static bool search_run(const struct search *s, const struct buf *run)
{
    return strstr(buf_text(run), s->digest) != NULL &&
           (!s->made || run_made(buf_text(run), run->n_bytes, s->digest));
}

/* The first of the commits whose file `name` has it. Equal files are read once. */
static bool search_commits(struct git_repo *repo, const struct git_commits *commits,
                           const char *name, struct search *s, size_t *i_found, struct json *damage)
{
    char last[GIT_HEX + 1] = "";
    struct buf b;
    bool found = false;
    buf_init(&b, FILE_BYTES_MAX);
    for (size_t i = 0; i < commits->n_items && !found; i++) {
        char blob[GIT_HEX + 1];
        struct err e = {0};
        int rc = git_repo_blob_at(repo, commits->items[i].id, name, blob, &e);
        if (rc == 0 && str_eq(blob, last))
            continue;
        if (rc == 0)
            rc = git_repo_blob(repo, blob, &b, &e);
        if (rc != 0) {
            err_wrap(&e, "run %.12s", commits->items[i].id);
            json_append(damage, ledger_text(e.text));
            continue;
        }
        memcpy(last, blob, sizeof last);
        *i_found = i;
        if (str_eq(name, "run.json"))
            found = search_run(s, &b);
        else
            found = search_lines(s, buf_text(&b));
    }
    buf_release(&b);
    return found;
}

static int do_find(struct git_repo *repo, const struct options *o, struct json *answer,
                   struct err *e)
{
    struct search s = {.digest = o->digest, .path = o->path, .made = true};
    struct git_commits commits;
    if ((o->digest == NULL) == (o->path == NULL))
        return err_set(e, ERR_CONFIG, "find takes --digest or --path");
    if (o->digest != NULL && !str_is_hex(o->digest, SHA256_HEX))
        return err_set(e, ERR_CONFIG, "\"%s\" is no SHA-256", o->digest);
    int rc = git_repo_log(repo, o->ref, 0, &commits, e);
    if (rc != 0)
        return rc;
    struct json *damage = json_new_array();
    size_t i = 0;
    const char *where = NULL;
    if (search_commits(repo, &commits, "artifacts.sha256", &s, &i, damage))
        where = "artifact";
    else if (s.digest != NULL && search_commits(repo, &commits, "run.json", &s, &i, damage))
        where = "output"; /* a folder: artifacts.sha256 has its files */
    s.made = false;
    if (where == NULL && s.digest != NULL &&
        search_commits(repo, &commits, "run.json", &s, &i, damage))
        where = "input";
    if (where != NULL) {
        json_put_string(answer, "commit", commits.items[i].id);
        json_put(answer, "ref", ledger_text(commits.items[i].ref));
        json_put_i64(answer, "time", commits.items[i].time);
        json_put_string(answer, "where", where);
        json_put_string(answer, "digest", s.found_path != NULL ? s.found_digest : s.digest);
        if (s.found_path != NULL)
            json_put(answer, "path", ledger_text(s.found_path));
    }
    if (json_count(damage) > 0)
        json_put(answer, "damage", damage);
    else
        json_free(damage);
    xfree(s.found_path);
    git_commits_release(&commits);
    return 0;
}

static int do_check(const struct options *o, struct json *answer, struct err *e)
{
    struct ledger_check counts;
    struct buf damage;
    buf_init(&damage, BUF_MAX_DEFAULT);
    int rc = ledger_check_all(o->repo, &counts, &damage, e);
    if (rc == 0) {
        json_put_i64(answer, "objects", (int64_t)counts.n_objects);
        json_put_i64(answer, "commits", (int64_t)counts.n_commits);
        json_put_i64(answer, "refs", (int64_t)counts.n_refs);
        struct json *list = json_new_array();
        char *lines = buf_steal(&damage);
        for (char *line = lines; line != NULL && *line != '\0';) {
            char *end = strchr(line, '\n');
            if (end != NULL)
                *end = '\0';
            json_append(list, ledger_text(line));
            line = end != NULL ? end + 1 : NULL;
        }
        xfree(lines);
        json_put(answer, "damage", list);
    }
    buf_release(&damage);
    return rc;
}

/* ---- source ---- */

/* Is this path inside a store of fmforge that the repository does not ignore? */
static bool in_store(const char *root, const char *path)
{
    bool found = false;
    for (const char *slash = strchr(path, '/'); slash != NULL && !found;
         slash = strchr(slash + 1, '/')) {
        char *version = xasprintf("%s%.*s/version", root, (int)(slash - path), path);
        struct buf b;
        struct err ignored = {0};
        buf_init(&b, 4096);
        found = file_exists(version) && file_read(version, 64, &b, &ignored) == 0 &&
                str_starts(buf_text(&b), "fmforge store ");
        buf_release(&b);
        xfree(version);
    }
    return found;
}

/* What git has of a link is where it leads. */
static bool hash_link(const char *path, struct content_id *id)
{
    char target[4096];
    ssize_t n = readlink(path, target, sizeof target);
    if (n < 0)
        return false;
    *id = sha256_of(target, (size_t)n);
    return true;
}

static struct json *dirty_to_json(const struct git_source *s, size_t i, uint64_t *budget)
{
    struct json *item = json_new_object();
    json_put(item, "path", ledger_text(s->dirty[i]));
    if (s->deleted[i])
        return item;
    char *full = file_join(s->root, s->dirty[i]);
    struct content_id id;
    struct err e = {0};
    uint64_t n_bytes = 0;
    if (hash_link(full, &id)) {
        json_put_string(item, "sha256", id.hex);
    } else if (file_is_folder(full)) {
        json_put_string(item, "unhashed", "a submodule, or another repository");
    } else if (file_size(full, &n_bytes, &e) == 0 && n_bytes > *budget) {
        json_put_string(item, "unhashed", "too large");
    } else if (e.code == 0 && sha256_file(full, &id, &n_bytes, &e) == 0) {
        json_put_string(item, "sha256", id.hex);
        *budget -= n_bytes < *budget ? n_bytes : *budget;
    } else {
        json_put(item, "unhashed", ledger_text(e.text));
    }
    xfree(full);
    return item;
}

static int do_source(const struct options *o, struct json *answer, struct err *e)
{
    struct git_source s;
    struct err why = {0};
    int rc = need(o->path, "path", e);
    if (rc != 0)
        return rc;
    if (git_source_read(o->path, &s, &why) != 0) {
        json_put(answer, "unavailable", ledger_text(why.text));
        return 0;
    }
    json_put_string(answer, "commit", s.commit);
    if (s.branch != NULL)
        json_put(answer, "branch", ledger_text(s.branch));
    struct json *dirty = json_new_array();
    uint64_t budget = DIRTY_BYTES_MAX;
    int64_t total = 0;
    for (size_t i = 0; i < s.n_dirty; i++) {
        if (in_store(s.root, s.dirty[i]))
            continue;
        if (total++ < DIRTY_FILES_MAX)
            json_append(dirty, dirty_to_json(&s, i, &budget));
    }
    json_put(answer, "dirty", dirty);
    json_put_i64(answer, "dirty_total", total);
    git_source_release(&s);
    return 0;
}

/* ---- dispatch ---- */

static int run_reader(const char *verb, const struct options *o, struct json *answer, struct err *e)
{
    struct git_repo *repo = NULL;
    int rc = git_repo_open(o->repo, false, &repo, e);
    if (rc != 0)
        return rc;
    if (str_eq(verb, "log"))
        rc = do_log(repo, o, answer, e);
    else if (str_eq(verb, "cat"))
        rc = do_cat(repo, o, answer, e);
    else if (str_eq(verb, "show"))
        rc = do_show(repo, o, answer, e);
    else if (str_eq(verb, "signatures"))
        rc = do_signatures(repo, o, answer, e);
    else
        rc = do_find(repo, o, answer, e);
    git_repo_close(repo);
    return rc;
}

int ledger_verb(int argc, char **argv, struct buf *out, struct err *e)
{
    static const char *const verbs[] = {"commit", "log",    "cat",  "show",      "find",
                                        "check",  "source", "sign", "signatures"};
    size_t n_verbs = sizeof verbs / sizeof verbs[0];
    struct options o = {0};
    struct flag flags[N_FLAGS];
    size_t n_positionals = 0;
    bool help = false;
    bool known = false;
    for (size_t i = 0; i < n_verbs; i++)
        known = known || str_eq(argv[0], verbs[i]);
    if (!known)
        return err_set(e, ERR_CONFIG, "unknown verb \"%s\"", argv[0]);
    make_flags(&o, flags);
    int rc = flag_parse(argc, argv, flags, N_FLAGS, NULL, 0, &n_positionals, &help, e);
    if (rc != 0)
        return rc;
    if (help) {
        ledger_help(out);
        return 0;
    }
    git_start();
    struct json *answer = json_new_object();
    if (str_eq(argv[0], "source"))
        rc = do_source(&o, answer, e);
    else if (str_eq(argv[0], "sign"))
        rc = do_sign(&o, e);
    else if ((rc = need(o.repo, "repo", e)) != 0)
        rc = e->code;
    else if (str_eq(argv[0], "commit"))
        rc = do_commit(&o, answer, e);
    else if (str_eq(argv[0], "check"))
        rc = do_check(&o, answer, e);
    else
        rc = run_reader(argv[0], &o, answer, e);
    if (rc == 0) {
        json_write_canonical(answer, out);
        buf_add_char(out, '\n');
    }
    json_free(answer);
    return rc;
}

void ledger_help(struct buf *out)
{
    struct options o = {0};
    struct flag flags[N_FLAGS];
    make_flags(&o, flags);
    buf_add_text(out,
                 "usage: fmforge-ledger VERB [options]\n\n"
                 "Reads and writes the ledger of fmforge; answers with one JSON object.\n\n"
                 "  commit --repo --ref --files --message-file --time [--sign]   record a run\n"
                 "  log    --repo [--ref] [--max]                      runs, newest first\n"
                 "  cat    --repo --commit --path                      one file of a run\n"
                 "  show   --repo --commit                             files of a run\n"
                 "  find   --repo --digest|--path [--ref]              newest run that has it\n"
                 "  check  --repo                                      verify every object\n"
                 "  source --path                                      code commit around it\n"
                 "  sign   --sign                                      can this key sign?\n"
                 "  signatures --repo --signers [--commit]             who has signed the runs\n"
                 "\n");
    flag_help(flags, N_FLAGS, out);
}
