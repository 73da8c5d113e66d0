#include "pipeline/manifest/remote_spec.h"

#include <string.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"

#define TIMEOUT_MAX 600
#define WAIT_MAX 86400
#define SECONDS "whole seconds"

static bool is_url_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~:/[]%", c) != NULL);
}

/* What is between "//" and the path, as host[:port]; 0 when it is none. */
static size_t host_bytes(const char *s)
{
    size_t n = strcspn(s, "/");
    size_t n_host = s[0] == '[' ? strcspn(s, "]/") + 1 : strcspn(s, ":/");
    if (n_host == 0 || n_host > n || (s[0] == '[' && s[n_host - 1] != ']'))
        return 0;
    int64_t port = 0;
    char digits[8] = "";
    if (n_host < n) {
        if (s[n_host] != ':' || n - n_host - 1 >= sizeof digits)
            return 0;
        memcpy(digits, s + n_host + 1, n - n_host - 1);
        if (!str_to_i64(digits, &port) || port < 1 || port > 65535)
            return 0;
    }
    return n_host;
}

static bool is_this_machine(const char *host, size_t n)
{
    static const char *const names[] = {"127.0.0.1", "[::1]", "localhost"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == n && memcmp(names[i], host, n) == 0)
            return true;
    return false;
}

static int read_url(const struct doc_section *s, const struct doc_node *v, struct remote_spec *out,
                    struct err *e)
{
    static const char *const expected =
        "http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH], without ? and #";
    if (v->type != DOC_SCALAR)
        return doc_wrong(s, v, expected, e);
    const char *rest = str_starts(v->text, "https://")  ? v->text + 8
                       : str_starts(v->text, "http://") ? v->text + 7
                                                        : NULL;
    if (strchr(v->text, '@'))
        /* The text is not repeated: it may hold a password. */
        return doc_fail(s->doc, v->mark, e,
                        "remote `url`: a login does not belong into a manifest, which is recorded "
                        "and shared: write it into a netrc file and name that (netrc: FILE), or a "
                        "token into an environment variable (token: NAME)");
    size_t n = strlen(v->text);
    for (size_t i = 0; i < n; i++)
        if (!is_url_char(v->text[i]))
            rest = NULL;
    if (!rest || n > REMOTE_URL_BYTES || host_bytes(rest) == 0)
        return doc_wrong(s, v, expected, e);
    while (v->text[n - 1] == '/')
        n--;
    out->url = v->text;
    out->n_url = (int)n;
    return 0;
}

static int read_path(const struct doc_section *s, const struct doc_node *v, const char **out,
                     struct err *e)
{
    if (v->type != DOC_SCALAR || v->text[0] == '\0' || v->text[0] == '$' ||
        strlen(v->text) >= LIMIT_PATH_BYTES || strchr(v->text, '\n'))
        return doc_wrong(s, v, "the path of a file", e);
    *out = v->text;
    return 0;
}

static int read_member(const struct doc_section *s, const struct doc_node *v,
                       struct remote_spec *out, struct err *e)
{
    if (str_eq(v->key, "url"))
        return read_url(s, v, out, e);
    if (str_eq(v->key, "timeout"))
        return doc_read_i64(s, v, (struct doc_range){SECONDS, 1, TIMEOUT_MAX},
                            &out->timeout_seconds, e);
    if (str_eq(v->key, "wait"))
        return doc_read_i64(s, v, (struct doc_range){SECONDS, 0, WAIT_MAX}, &out->wait_seconds, e);
    if (str_eq(v->key, "ca"))
        return read_path(s, v, &out->ca, e);
    if (str_eq(v->key, "netrc"))
        return read_path(s, v, &out->netrc, e);
    if (str_eq(v->key, "token")) {
        out->token = v->type == DOC_SCALAR ? v->text : "";
        bool is_name = str_is_word(out->token) && !strchr("0123456789", out->token[0]);
        /* What is no name may be the token itself: it is not repeated. */
        return is_name ? 0
                       : doc_fail(s->doc, v->mark, e,
                                  "remote `token`: expected the name of an environment variable "
                                  "(letters, digits and _); the token itself does not belong into "
                                  "a manifest, which is recorded and shared");
    }
    out->writes = v->type == DOC_SCALAR && str_eq(v->text, "readwrite");
    return out->writes || (v->type == DOC_SCALAR && str_eq(v->text, "read"))
               ? 0
               : doc_wrong(s, v, "read or readwrite", e);
}

static int check_whole(const struct yaml_doc *d, const struct doc_node *n,
                       const struct remote_spec *s, struct err *e)
{
    if (!s->url)
        return doc_fail(d, n->mark, e, "remote has no `url`: where is it?");
    if (s->netrc && s->token)
        return doc_fail(d, doc_get(n, "token")->mark, e,
                        "remote has `netrc` and `token`: one login is enough");
    const char *login = s->netrc ? "netrc" : "token";
    if ((s->netrc || s->token) && str_starts(s->url, "http://") &&
        !is_this_machine(s->url + 7, host_bytes(s->url + 7)))
        return doc_fail(d, doc_get(n, login)->mark, e,
                        "remote `%s`: everyone on the way could read it at `%s`: expected "
                        "https://, or a server on this machine",
                        login, s->url);
    return 0;
}

int remote_spec_read(const struct yaml_doc *d, const struct doc_node *n, struct remote_spec *out,
                     struct err *e)
{
    static const char *const known[] = {"url", "mode", "timeout", "wait", "ca", "netrc", "token"};
    const struct doc_section s = {d, "remote", "remote takes no variables"};
    *out = (struct remote_spec){.timeout_seconds = REMOTE_TIMEOUT_DEFAULT,
                                .wait_seconds = REMOTE_WAIT_DEFAULT};
    if (!n)
        return 0;
    out->mark = n->mark;
    int rc = doc_need(d, n, DOC_MAP, "remote", e);
    if (rc == 0)
        rc = doc_only_keys(d, n, "remote", known, sizeof known / sizeof known[0], e);
    for (const struct doc_node *v = rc == 0 ? n->first : NULL; v && rc == 0; v = v->next)
        rc = read_member(&s, v, out, e);
    return rc == 0 ? check_whole(d, n, out, e) : rc;
}
