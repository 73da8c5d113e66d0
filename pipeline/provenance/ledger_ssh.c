#include "pipeline/provenance/ledger_ssh.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "pipeline/base/child.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define PROGRAM "ssh-keygen"
#define NAMESPACE "git"
/* A key that must be touched waits for its owner; a check waits for nobody. */
#define SIGN_LIMIT_MS 30000
#define CHECK_LIMIT_MS 10000
#define WORDS_BYTES_MAX 600
#define ARMOR "-----BEGIN SSH SIGNATURE-----"

static int run(const char *const *argv, const struct buf *input, const struct buf *extra,
               int limit_ms, struct child_result *r, struct err *e)
{
    static const char *const drop[] = {
        "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "LC_ALL", NULL};
    static const char *const add[] = {"SSH_ASKPASS_REQUIRE=never", "LC_ALL=C", NULL};
    struct child_spec spec = {.argv = argv,
                              .env_drop = drop,
                              .env_add = add,
                              .limit_ms = limit_ms,
                              .input = buf_text(input),
                              .n_input_bytes = input->n_bytes};
    if (extra != NULL) {
        spec.extra = buf_text(extra);
        spec.n_extra_bytes = extra->n_bytes;
    }
    int rc = child_run(&spec, r, e);
    if (rc == ERR_MISSING)
        err_wrap(e, "signatures need OpenSSH's client (Debian: openssh-client)");
    return rc;
}

/* Text of another program, fit for a terminal and for JSON. */
static char *clean(const char *text, size_t n)
{
    char *out = xstrndup(text, n);
    bool is_text = str_utf8_prefix(out, strlen(out)) == strlen(out);
    for (char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || (!is_text && (unsigned char)*c >= 0x80))
            *c = '?';
    return out;
}

static bool says_nothing(const char *line)
{
    return *line == '\0' || *line == '@' || str_starts(line, "Signing data on ");
}

/* What it wrote to stderr, in one line, without its prompt and its frames. */
static char *words_of(const struct child_result *r)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    for (const char *line = buf_text(&r->note); *line != '\0' && b.n_bytes < WORDS_BYTES_MAX;) {
        size_t n = strcspn(line, "\n");
        const char *rest = line + n + (line[n] == '\n');
        static const char prompt[] = "Enter passphrase: ";
        if (str_starts(line, prompt)) {
            line += strlen(prompt);
            n -= strlen(prompt);
        }
        while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' '))
            n--;
        char *words = clean(line, n < WORDS_BYTES_MAX ? n : WORDS_BYTES_MAX);
        if (!says_nothing(words))
            buf_printf(&b, "%s%s", b.n_bytes > 0 ? "; " : "", words);
        xfree(words);
        line = rest;
    }
    if (b.n_bytes == 0 && WIFSIGNALED(r->status))
        buf_printf(&b, "it was ended by signal %d", WTERMSIG(r->status));
    else if (b.n_bytes == 0)
        buf_printf(&b, "it ended with status %d and said nothing", WEXITSTATUS(r->status));
    return buf_steal(&b);
}

/* ---- signing ---- */

static const char *advice(const char *words)
{
    if (strstr(words, "incorrect passphrase") != NULL)
        return "the key has a passphrase, and nobody is asked for it here: give the key to "
               "ssh-agent (ssh-add), or use one without";
    if (strstr(words, "agent") != NULL)
        return "is ssh-agent there (SSH_AUTH_SOCK), and does it hold the key (ssh-add -l)?";
    return "expected an SSH private key without passphrase, or a key that ssh-agent holds";
}

int ssh_sign(const char *key, const void *bytes, size_t n_bytes, struct buf *signature,
             struct err *e)
{
    const char *const argv[] = {PROGRAM, "-Y", "sign", "-n", NAMESPACE, "-f", key, NULL};
    struct child_result r = {0};
    struct buf input;
    buf_clear(signature);
    buf_init(&input, BUF_MAX_DEFAULT);
    buf_add(&input, bytes, n_bytes);
    int rc = run(argv, &input, NULL, SIGN_LIMIT_MS, &r, e);
    const char *text = buf_text(&r.out);
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (rc == 0 && r.status != 0) {
        char *words = words_of(&r);
        rc = err_set(e, ERR_IO, "%s: %s (%s)", PROGRAM, words, advice(words));
        xfree(words);
    } else if (rc == 0 && !str_starts(text, ARMOR "\n")) {
        rc = err_set(e, ERR_FORMAT, PROGRAM ": it answered with something else than a signature");
    } else if (rc == 0) {
        buf_add(signature, text, n);
    }
    buf_release(&input);
    child_result_release(&r);
    return rc == 0 ? 0 : err_wrap(e, "signing with %s", key);
}

/* ---- checking ---- */

/* `Good "git" signature for alice with ED25519 key SHA256:...`: what is behind "with ". */
static char *key_of(const struct child_result *r)
{
    const char *text = buf_text(&r->out);
    size_t n = strcspn(text, "\n");
    char *line = clean(text, n);
    char *found = NULL;
    for (char *at = strstr(line, " with "); at != NULL; at = strstr(at + 1, " with "))
        found = at + strlen(" with ");
    found = xstrdup(found != NULL ? found : "a key");
    xfree(line);
    return found;
}

/* Does the list name somebody for the signature's key? `who` gets one of each line. */
static int find_principals(const char *signers, const char *when, const struct buf *signature,
                           struct buf *who, char **words, struct err *e)
{
    const char *const argv[] = {
        PROGRAM, "-Y", "find-principals", "-f", signers, "-s", CHILD_EXTRA_PATH, when, NULL};
    struct child_result r = {0};
    struct buf nothing = {0};
    int rc = run(argv, &nothing, signature, CHECK_LIMIT_MS, &r, e);
    if (rc == 0 && r.status == 0)
        buf_add(who, r.out.bytes, r.out.n_bytes);
    else if (rc == 0)
        *words = words_of(&r);
    child_result_release(&r);
    return rc;
}

static int verify(const char *signers, const char *when, const char *who, const struct buf *bytes,
                  const struct buf *signature, struct ssh_verdict *out, struct err *e)
{
    const char *const argv[] = {PROGRAM, "-Y", "verify", "-n", NAMESPACE,        "-f",
                                signers, "-I", who,      "-s", CHILD_EXTRA_PATH, when,
                                NULL};
    struct child_result r = {0};
    int rc = run(argv, bytes, signature, CHECK_LIMIT_MS, &r, e);
    if (rc == 0 && r.status == 0) {
        out->good = true;
        out->by = clean(who, strlen(who));
        out->key = key_of(&r);
    } else if (rc == 0 && out->reason == NULL) {
        out->reason = words_of(&r);
    }
    child_result_release(&r);
    return rc;
}

/* Nobody on the list can be made out for it: does it at least fit the bytes, and by what key? */
static int check_unlisted(const char *signers, char *words, const struct buf *bytes,
                          const struct buf *signature, struct ssh_verdict *out, struct err *e)
{
    const char *const argv[] = {PROGRAM,   "-Y", "check-novalidate", "-n",
                                NAMESPACE, "-s", CHILD_EXTRA_PATH,   NULL};
    struct child_result r = {0};
    int rc = run(argv, bytes, signature, CHECK_LIMIT_MS, &r, e);
    if (rc == 0 && r.status == 0) {
        out->key = key_of(&r);
        out->reason = xasprintf("%s lists nobody with its %s", signers, out->key);
    } else if (rc == 0) {
        char *also = words_of(&r);
        out->reason = xasprintf("%s%s%s", also, words != NULL ? "; " : "", words ? words : "");
        xfree(also);
    }
    child_result_release(&r);
    return rc;
}

int ssh_check(const char *signers, const struct buf *bytes, const struct buf *signature,
              int64_t unix_time, struct ssh_verdict *out, struct err *e)
{
    char when[64] = "";
    time_t seconds = (time_t)unix_time;
    struct tm local;
    *out = (struct ssh_verdict){0};
    if (!str_starts(buf_text(signature), ARMOR)) {
        out->reason = xstrdup("it is no SSH signature");
        return 0;
    }
    /* In local time, as git asks: what the list says of times is read in local time, too. */
    if (localtime_r(&seconds, &local) == NULL ||
        strftime(when, sizeof when, "-Overify-time=%Y%m%d%H%M%S", &local) == 0)
        return err_set(e, ERR_FORMAT, "%lld is no time", (long long)unix_time);
    struct buf who;
    char *words = NULL;
    buf_init(&who, CHILD_PRINT_BYTES_MAX);
    int rc = find_principals(signers, when, signature, &who, &words, e);
    for (const char *line = buf_text(&who); rc == 0 && !out->good && *line != '\0';) {
        size_t n = strcspn(line, "\n");
        char *one = xstrndup(line, n);
        if (n > 0)
            rc = verify(signers, when, one, bytes, signature, out, e);
        xfree(one);
        line += n + (line[n] == '\n');
    }
    if (rc == 0 && !out->good && who.n_bytes == 0)
        rc = check_unlisted(signers, words, bytes, signature, out, e);
    if (out->good) {
        xfree(out->reason);
        out->reason = NULL;
    }
    xfree(words);
    buf_release(&who);
    return rc;
}

void ssh_verdict_release(struct ssh_verdict *v)
{
    xfree(v->by);
    xfree(v->key);
    xfree(v->reason);
    *v = (struct ssh_verdict){0};
}
