#include "pipeline/store/remote_http.h"

#include <curl/curl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define CONNECT_MS_MAX 2000L
/* Of an answer that is not what was asked for (an error's page). */
#define PAGE_BYTES_MAX ((uint64_t)1 << 20)
/* So long is a speed looked at before it is believed. */
#define PROJECT_MS 500

struct http {
    CURL *curl;
    const struct http_settings *settings;
    struct curl_slist *headers;
    char *url; /* of the request */
    char problem[CURL_ERROR_SIZE];
    /* http_hurry */
    bool in_hurry, is_late;
    int64_t began_ms, limit_ms;
    uint64_t n_expected, n_before;
    /* The answer. */
    struct file_out out;
    struct sha256 *sum;
    uint64_t n_bytes, max_bytes, n_page;
    bool too_large;
    /* What is sent. */
    const char *source;
    size_t n_source, n_sent;
};

/* ---- opening ---- */

static int need_file(const char *what, const char *path, struct err *e)
{
    if (path == NULL || access(path, R_OK) == 0)
        return 0;
    return err_set(e, ERR_CONFIG, "remote `%s`: %s cannot be read", what, path);
}

static void set_always(struct http *h)
{
    const struct http_settings *s = h->settings;
    long timeout_ms = s->timeout_seconds * 1000L;
    curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->problem);
    curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(h->curl, CURLOPT_USERAGENT, "fmforge-remote");
    curl_easy_setopt(h->curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(h->curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(h->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT_MS,
                     timeout_ms < CONNECT_MS_MAX ? timeout_ms : CONNECT_MS_MAX);
    /* Nothing for so long: it hangs. */
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, (long)s->timeout_seconds);
    if (s->ca != NULL)
        curl_easy_setopt(h->curl, CURLOPT_CAINFO, s->ca);
    if (s->netrc != NULL) {
        curl_easy_setopt(h->curl, CURLOPT_NETRC, (long)CURL_NETRC_REQUIRED);
        curl_easy_setopt(h->curl, CURLOPT_NETRC_FILE, s->netrc);
    }
}

static void add_header(struct http *h, const char *line)
{
    struct curl_slist *more = curl_slist_append(h->headers, line);
    if (more != NULL)
        h->headers = more;
}

int http_open(const struct http_settings *s, struct http **out, struct err *e)
{
    int rc = need_file("ca", s->ca, e);
    if (rc == 0)
        rc = need_file("netrc", s->netrc, e);
    if (rc != 0)
        return rc;
    struct http *h = xalloc(sizeof *h);
    h->settings = s;
    h->curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (h->curl == NULL) {
        http_close(h);
        return err_set(e, ERR_IO, "libcurl cannot be started");
    }
    add_header(h, "Expect:"); /* a server that does not know it would cost a second */
    if (s->token != NULL) {
        char *line = xasprintf("Authorization: Bearer %s", s->token);
        add_header(h, line);
        xfree(line);
    }
    *out = h;
    return 0;
}

void http_close(struct http *h)
{
    if (h == NULL)
        return;
    curl_slist_free_all(h->headers);
    curl_easy_cleanup(h->curl);
    curl_global_cleanup();
    xfree(h->url);
    xfree(h);
}

void http_hurry(struct http *h, int64_t limit_ms, uint64_t n_bytes)
{
    h->in_hurry = true;
    h->began_ms = clock_ms();
    h->limit_ms = limit_ms;
    h->n_expected = n_bytes;
    h->n_before = 0;
}

void http_skip(struct http *h, uint64_t n_bytes)
{
    h->n_before += n_bytes;
}

void http_unhurry(struct http *h)
{
    h->in_hurry = false;
}

/* ---- one request ---- */

static int on_progress(void *context, curl_off_t to_come, curl_off_t have, curl_off_t to_go,
                       curl_off_t gone)
{
    struct http *h = context;
    (void)to_come;
    (void)to_go;
    (void)gone;
    if (!h->in_hurry)
        return 0;
    double passed = (double)(clock_ms() - h->began_ms);
    double n = (double)h->n_before + (double)have;
    bool slow = passed >= PROJECT_MS &&
                passed * (double)h->n_expected > (double)h->limit_ms * (n > 0 ? n : 1.0);
    h->is_late = passed > (double)h->limit_ms || slow;
    return h->is_late;
}

static size_t on_bytes(char *bytes, size_t one, size_t n, void *context)
{
    struct http *h = context;
    long status = 0;
    (void)one;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 || h->sum == NULL) {
        h->n_page += n;
        return h->n_page > PAGE_BYTES_MAX ? 0 : n;
    }
    h->too_large = n > h->max_bytes - h->n_bytes;
    if (h->too_large)
        return 0;
    sha256_add(h->sum, bytes, n);
    file_out_add(&h->out, bytes, n);
    h->n_bytes += n;
    return h->out.problem != 0 ? 0 : n;
}

static size_t on_source(char *to, size_t one, size_t n, void *context)
{
    struct http *h = context;
    size_t left = h->n_source - h->n_sent;
    n = n * one < left ? n * one : left;
    if (n > 0)
        memcpy(to, h->source + h->n_sent, n);
    h->n_sent += n;
    return n;
}

static void prepare(struct http *h, const char *path, bool whole)
{
    xfree(h->url);
    h->url = xasprintf("%s/%s", h->settings->url, path);
    h->n_bytes = h->n_page = 0;
    h->too_large = h->is_late = false;
    h->problem[0] = '\0';
    curl_easy_reset(h->curl); /* keeps the connection */
    set_always(h);
    curl_easy_setopt(h->curl, CURLOPT_URL, h->url);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
    if (whole)
        curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, h->settings->timeout_seconds * 1000L);
}

static int no_answer(const struct http *h, const char *verb, CURLcode code, struct err *e)
{
    if (h->is_late)
        return err_set(e, ERR_NUMERIC,
                       "%s %s: too slow: making it takes less time than fetching it", verb, h->url);
    const char *why = h->problem[0] != '\0' ? h->problem : curl_easy_strerror(code);
    return err_set(e, ERR_IO, "%s %s: %s", verb, h->url, why);
}

/* What a status says that is not the wanted one. */
static int judge(const struct http *h, const char *verb, long status, struct err *e)
{
    char *to = NULL;
    curl_easy_getinfo(h->curl, CURLINFO_REDIRECT_URL, &to);
    if (status == 404 || status == 410)
        return err_set(e, ERR_MISSING, "%s %s: it is not there", verb, h->url);
    if (status >= 300 && status < 400)
        return err_set(e, ERR_FORMAT,
                       "%s %s: it redirects to %.200s (status %ld), which is not followed: "
                       "remote `url` must be where the cache itself is",
                       verb, h->url, to != NULL ? to : "nowhere", status);
    if (status == 401 || status == 407)
        return err_set(e, str_eq(verb, "PUT") ? ERR_CONFIG : ERR_IO,
                       "%s %s: status %ld: it wants a login (remote `netrc` or `token`), or "
                       "another one",
                       verb, h->url, status);
    if (status >= 400 && status < 500 && status != 429 && str_eq(verb, "PUT"))
        return err_set(e, ERR_CONFIG,
                       "%s %s: status %ld: it may not be written to (mode: read only reads)", verb,
                       h->url, status);
    return err_set(e, ERR_IO, "%s %s: status %ld", verb, h->url, status);
}

static int perform(struct http *h, const char *verb, struct err *e)
{
    CURLcode code = curl_easy_perform(h->curl);
    long status = 0;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    /* The answer's status says more than that its page is large. */
    bool is_page = status > 0 && status != 200 &&
                   (code == CURLE_WRITE_ERROR || code == CURLE_FILESIZE_EXCEEDED);
    if (h->too_large || (code == CURLE_FILESIZE_EXCEEDED && !is_page))
        return err_set(e, ERR_LIMIT, "%s %s: more than the %llu bytes that it may have", verb,
                       h->url, (unsigned long long)h->max_bytes);
    if (code == CURLE_WRITE_ERROR && h->out.problem != 0)
        return err_set(e, ERR_LIMIT, "%s: cannot write: %s", h->out.path, strerror(h->out.problem));
    if (code != CURLE_OK && !is_page)
        return no_answer(h, verb, code, e);
    bool is_put = str_eq(verb, "PUT");
    if (status == 200 || (is_put && (status == 201 || status == 204)))
        return 0;
    return judge(h, verb, status, e);
}

int http_get(struct http *h, const char *path, uint64_t max_bytes, const char *to,
             struct content_id *id, uint64_t *n_bytes, struct err *e)
{
    struct err why = {0};
    if (file_out_open(&h->out, to, &why) != 0)
        return err_set(e, ERR_LIMIT, "%s", why.text);
    prepare(h, path, !h->in_hurry);
    h->max_bytes = max_bytes;
    h->sum = sha256_open();
    curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(h->curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)max_bytes);
    int rc = perform(h, "GET", e);
    *id = sha256_close(h->sum);
    h->sum = NULL;
    h->n_before += h->n_bytes;
    *n_bytes = h->n_bytes;
    if (rc != 0)
        file_out_abandon(&h->out);
    else if (file_out_close(&h->out, &why) != 0)
        rc = err_set(e, ERR_LIMIT, "%s", why.text);
    return rc;
}

int http_head(struct http *h, const char *path, uint64_t n_bytes, struct err *e)
{
    prepare(h, path, true);
    curl_easy_setopt(h->curl, CURLOPT_NOBODY, 1L);
    int rc = perform(h, "HEAD", e);
    curl_off_t found = -1;
    curl_easy_getinfo(h->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &found);
    if (rc == 0 && found >= 0 && (uint64_t)found != n_bytes)
        rc = err_set(e, ERR_MISSING, "HEAD %s: it has %lld bytes there", h->url, (long long)found);
    return rc;
}

int http_put(struct http *h, const char *path, const void *bytes, uint64_t n_bytes, struct err *e)
{
    prepare(h, path, false);
    /* Nobody waits for it, and a server may think about what it was given. */
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, h->settings->timeout_seconds * 4L);
    h->source = bytes;
    h->n_source = n_bytes;
    h->n_sent = 0;
    curl_easy_setopt(h->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(h->curl, CURLOPT_READFUNCTION, on_source);
    curl_easy_setopt(h->curl, CURLOPT_READDATA, h);
    curl_easy_setopt(h->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)n_bytes);
    return perform(h, "PUT", e);
}
