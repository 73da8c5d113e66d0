#include "pipeline/provenance/ledger_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_git.h"

#define OBJECT_BYTES_MAX ((size_t)1 << 30)

/* The last four bytes of a loose object's zlib stream are the Adler-32 of what it holds; the
 * library stops reading before them. */
static void check_loose_tail(const char *repo, const char *hex, const char *type,
                             const struct buf *content, struct buf *damage)
{
    char *path = xasprintf("%s/objects/%.2s/%s", repo, hex, hex + 2);
    struct file_map m;
    struct err e = {0};
    if (!file_exists(path) || file_map_open(&m, path, &e) != 0) {
        xfree(path);
        return; /* packed */
    }
    char *head = xasprintf("%s %zu", type, content->n_bytes);
    const char *parts[2] = {head, buf_text(content)};
    size_t sizes[2] = {strlen(head) + 1, content->n_bytes};
    uint32_t a = 1, b = 0, found = 0;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizes[k]; i++) {
            a = (a + (unsigned char)parts[k][i]) % 65521;
            b = (b + a) % 65521;
        }
    for (size_t i = 0; m.n_bytes >= 4 && i < 4; i++)
        found = found << 8 | m.bytes[m.n_bytes - 4 + i];
    if (found != (b << 16 | a))
        buf_printf(damage, "object %s is damaged: wrong checksum at the end of %s\n", hex, path);
    xfree(head);
    file_map_close(&m);
    xfree(path);
}

/* One object: 'C' for a sound commit, 'O' for another sound object, 'D' for a damaged one. */
static char check_object(struct git_repo *r, const char *repo, const char *hex, struct buf *content,
                         struct buf *damage)
{
    struct err e = {0};
    const char *type = NULL;
    if (git_repo_object(r, hex, &type, content, damage, &e) != 0)
        buf_printf(damage, "%s\n", e.text);
    else
        check_loose_tail(repo, hex, type, content, damage);
    if (damage->n_bytes > 0)
        return 'D';
    return str_eq(type, "commit") ? 'C' : 'O';
}

/* The child: a line "S" before each object, then "C", "O", or "D" and the damage. */
static void check_from(struct git_repo *r, const char *repo, const struct git_ids *ids, size_t i,
                       int fd)
{
    FILE *out = fdopen(fd, "w");
    struct buf content, damage;
    buf_init(&content, OBJECT_BYTES_MAX);
    buf_init(&damage, OBJECT_BYTES_MAX);
    for (; out != NULL && i < ids->n_ids; i++) {
        buf_clear(&damage);
        fputs("S\n", out);
        fflush(out);
        char mark = check_object(r, repo, ids->ids[i].hex, &content, &damage);
        if (mark != 'D')
            fprintf(out, "%c\n", mark);
        const char *line = buf_text(&damage);
        while (*line != '\0') {
            size_t n = strcspn(line, "\n");
            fprintf(out, "D%.*s\n", (int)n, line);
            line += n + 1;
        }
    }
    if (out == NULL || fclose(out) != 0)
        _exit(1);
    _exit(0);
}

/* Reads what the child says; *n_begun counts the objects it began. */
static void listen_to(FILE *in, struct ledger_check *counts, size_t *n_begun, struct buf *damage)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n = 0;
    while ((n = getline(&line, &room, in)) > 0) {
        if (line[0] == 'S')
            ++*n_begun;
        else if (line[0] == 'C')
            counts->n_commits++;
        else if (line[0] == 'D')
            buf_add(damage, line + 1, (size_t)n - 1);
    }
    xfree(line);
}

/* Runs one child from object i on; *i moves behind the last object it began. */
static int run_child(struct git_repo *r, const char *repo, const struct git_ids *ids, size_t *i,
                     struct ledger_check *counts, struct buf *damage, struct err *e)
{
    int ends[2];
    if (pipe(ends) != 0)
        return err_set_errno(e, errno, "cannot make a pipe");
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return err_set_errno(e, errno, "cannot start a process");
    }
    if (child == 0) {
        close(ends[0]);
        int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (quiet >= 0)
            dup2(quiet, STDERR_FILENO); /* "malloc(): ..." is said better below */
        check_from(r, repo, ids, *i, ends[1]);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    size_t n_begun = 0;
    if (in != NULL) {
        listen_to(in, counts, &n_begun, damage);
        fclose(in);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    *i += n_begun;
    bool died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (died && n_begun == 0)
        return err_set(e, ERR_IO, "%s: the process that reads objects ended early", repo);
    if (died) {
        const char *hex = ids->ids[*i - 1].hex;
        buf_printf(damage, "object %s is damaged: it cannot be read: %s/objects/%.2s/%s\n", hex,
                   repo, hex, hex + 2);
    }
    return 0;
}

int ledger_check_all(const char *repo, struct ledger_check *out, struct buf *damage, struct err *e)
{
    *out = (struct ledger_check){0};
    struct git_repo *r = NULL;
    struct git_ids ids = {0};
    int rc = git_repo_open(repo, false, &r, e);
    if (rc == 0)
        rc = git_repo_ids(r, &ids, e);
    out->n_objects = ids.n_ids;
    size_t i = 0;
    while (rc == 0 && i < ids.n_ids)
        rc = run_child(r, repo, &ids, &i, out, damage, e);
    /* Refs are read last: a damaged commit would end us, and is named already. */
    if (rc == 0 && damage->n_bytes == 0)
        rc = git_repo_check_refs(r, &out->n_refs, damage, e);
    git_ids_release(&ids);
    git_repo_close(r);
    return rc;
}
