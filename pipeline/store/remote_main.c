/*
 * fmforge-remote: the network work of fmforge, in a process of its own (the only one with libcurl).
 * It is spoken to over descriptor 3, in lines; a value goes to the end of its line. First settings,
 * in any order, then requests, each with one answer, one at a time:
 *
 *   set home|url|timeout|ca|netrc|token VALUE
 *
 *   record KEY               found KEY PATH | absent KEY
 *   objects KEY LIMIT_MS LOG have KEY BYTES | late KEY REASON      (after its record)
 *   send KEY LOG             sent KEY BYTES | shut REASON          (nothing can be sent)
 *   replace KEY LOG          the same, whatever is there already
 *   any of them              refused KEY REASON | off REASON       (nothing can be had)
 *
 * LOG is the content id of a log, or "-".
 * It ends when its descriptor does. The token comes this way so that no list of processes shows it.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/remote_fetch.h"
#include "pipeline/store/remote_send.h"

#define CHANNEL 3
#define LINE_BYTES_MAX 16384

struct remote {
    char *home, *url, *ca, *netrc, *token;
    int64_t timeout_seconds;
    struct http_settings settings;
    struct http *http;
    struct remote_fetch fetch; /* its store stays open: what it has fetched is held */
};

/* ---- lines ---- */

struct lines {
    char bytes[LINE_BYTES_MAX];
    size_t n_bytes, n_taken;
};

/* The next line without its newline; NULL at the end. Borrowed until the next call. */
static char *next_line(struct lines *l)
{
    memmove(l->bytes, l->bytes + l->n_taken, l->n_bytes - l->n_taken);
    l->n_bytes -= l->n_taken;
    l->n_taken = 0;
    for (;;) {
        char *end = memchr(l->bytes, '\n', l->n_bytes);
        if (end != NULL) {
            *end = '\0';
            l->n_taken = (size_t)(end - l->bytes) + 1;
            return l->bytes;
        }
        if (l->n_bytes == sizeof l->bytes)
            return NULL;
        ssize_t n = read(CHANNEL, l->bytes + l->n_bytes, sizeof l->bytes - l->n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return NULL;
        l->n_bytes += (size_t)n;
    }
}

/* The word up to the next space; *line moves behind it. */
static char *next_word(char **line)
{
    char *word = *line;
    size_t n = strcspn(word, " ");
    *line = word + n + (word[n] == ' ');
    word[n] = '\0';
    return word;
}

/* One answer; text is a reason, or a path. */
static bool answer(const char *what, const char *key, const char *text)
{
    char *line = xasprintf("%s%s%s %s\n", what, key ? " " : "", key ? key : "", text);
    size_t n = strlen(line), done = 0;
    for (size_t i = 0; i + 1 < n; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    while (done < n) {
        ssize_t written = write(CHANNEL, line + done, n - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        done += (size_t)written;
    }
    xfree(line);
    return done == n;
}

static bool answer_error(int rc, const char *key, const struct err *e)
{
    switch (rc) {
    case ERR_MISSING:
        return answer("absent", key, "");
    case ERR_NUMERIC:
        return answer("late", key, e->text);
    case ERR_CONFIG:
        return answer("shut", NULL, e->text);
    case ERR_FORMAT:
    case ERR_LIMIT:
        return answer("refused", key, e->text);
    default:
        return answer("off", NULL, e->text);
    }
}

static bool answer_bytes(const char *what, const char *key, uint64_t n_bytes)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)n_bytes);
    return answer(what, key, text);
}

/* ---- requests ---- */

static bool set(struct remote *r, char *rest)
{
    const char *name = next_word(&rest);
    char **to = str_eq(name, "home")    ? &r->home
                : str_eq(name, "url")   ? &r->url
                : str_eq(name, "ca")    ? &r->ca
                : str_eq(name, "netrc") ? &r->netrc
                : str_eq(name, "token") ? &r->token
                                        : NULL;
    if (to == NULL)
        return str_eq(name, "timeout") && str_to_i64(rest, &r->timeout_seconds) &&
               r->timeout_seconds > 0 && r->timeout_seconds < 100000;
    xfree(*to);
    *to = xstrdup(rest);
    return true;
}

static int connect_once(struct remote *r, struct err *e)
{
    if (r->http != NULL)
        return 0;
    if (r->url == NULL || r->home == NULL || r->timeout_seconds == 0)
        return err_set(e, ERR_IO, "home, url and timeout are not set");
    r->settings =
        (struct http_settings){r->url, (int)r->timeout_seconds, r->ca, r->netrc, r->token};
    return http_open(&r->settings, &r->http, e);
}

static int open_fetch(struct remote *r, struct err *e)
{
    r->fetch.http = r->http;
    return r->fetch.store != NULL ? 0 : store_open(r->home, &r->fetch.store, e);
}

static bool record(struct remote *r, const char *key)
{
    struct err e = {0};
    char *path = NULL;
    int rc = open_fetch(r, &e);
    if (rc == 0)
        rc = remote_fetch_record(&r->fetch, key, &path, &e);
    bool ok = rc == 0 ? answer("found", key, path) : answer_error(rc, key, &e);
    xfree(path);
    return ok;
}

static const char *log_of(const char *word)
{
    return str_is_hex(word, SHA256_HEX) ? word : NULL;
}

static bool objects(struct remote *r, const char *key, char *rest)
{
    struct err e = {0};
    uint64_t n = 0;
    int64_t limit_ms = 0;
    const char *limit = next_word(&rest);
    int rc = open_fetch(r, &e);
    if (rc == 0 && (!str_to_i64(limit, &limit_ms) || limit_ms < 0))
        rc = err_set(&e, ERR_FORMAT, "objects: %.40s is no time", limit);
    if (rc == 0)
        rc = remote_fetch_objects(&r->fetch, key, limit_ms, log_of(rest), &n, &e);
    return rc == 0 ? answer_bytes("have", key, n) : answer_error(rc, key, &e);
}

/* The store is open only meanwhile: a process that has found what it looked for keeps gc away. */
static bool send_result(struct remote *r, const char *key, const char *log, bool replace)
{
    struct err e = {0};
    struct store *store = NULL;
    uint64_t n = 0;
    int rc = store_open(r->home, &store, &e);
    if (rc == 0)
        rc = remote_send(r->http, store, key, log_of(log), replace, &n, &e);
    store_close(store);
    return rc == 0 ? answer_bytes("sent", key, n) : answer_error(rc, key, &e);
}

static bool serve(struct remote *r, char *line)
{
    const char *verb = next_word(&line);
    if (str_eq(verb, "set"))
        return set(r, line) || answer("off", NULL, "a setting is not known");
    const char *key = next_word(&line);
    struct err e = {0};
    int rc = connect_once(r, &e);
    if (rc != 0)
        return answer("off", NULL, e.text);
    if (!str_is_hex(key, SHA256_HEX))
        return answer("off", NULL, "a request without a key");
    if (str_eq(verb, "record"))
        return record(r, key);
    if (str_eq(verb, "objects"))
        return objects(r, key, line);
    if (str_eq(verb, "send") || str_eq(verb, "replace"))
        return send_result(r, key, line, str_eq(verb, "replace"));
    return answer("off", NULL, "a request that is not known");
}

int main(int argc, char **argv)
{
    (void)argv;
    file_fill_streams();
    if (argc > 1) {
        fprintf(stderr, "fmforge-remote: fmforge starts it, and speaks to it in lines: "
                        "pipeline/store/remote_main.c has them\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct remote r = {0};
    struct lines *lines = xalloc(sizeof *lines);
    for (char *line; (line = next_line(lines)) != NULL;)
        if (!serve(&r, line))
            break;
    store_close(r.fetch.store);
    http_close(r.http);
    char *const texts[] = {r.home, r.url, r.ca, r.netrc, r.token};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        xfree(texts[i]);
    xfree(lines);
    return 0;
}
